package fakeaws

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/eks/types"
)

// TestCancelUpdateIsAsStrictAsAWS: no upgrade can be cancelled, and a rollback in
// auto mode alone, while its nodes go back.
func TestCancelUpdateIsAsStrictAsAWS(t *testing.T) {
	for name, tc := range map[string]struct {
		auto, back bool
		wait       time.Duration
		granted    bool
	}{
		"an upgrade": {}, "an upgrade in auto mode": {auto: true}, "a rollback": {back: true},
		"a rollback in auto mode": {auto: true, back: true, granted: true}, "its control plane goes back": {auto: true, back: true, wait: 5 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := New()
				a.EKS.UpdateTakes, a.EKS.NodesBack = 10*time.Minute, 4*time.Minute
				a.EKS.Clusters["c"] = &Cluster{Name: "c", Version: "1.35", Before: "1.34", Upgraded: time.Now(), Auto: tc.auto}
				to, client, cluster := "1.36", eks.NewFromConfig(a.Config()), "c"
				if tc.back {
					to = "1.34"
				}
				out, err := client.UpdateClusterVersion(t.Context(), &eks.UpdateClusterVersionInput{Name: &cluster, Version: &to})
				if err != nil {
					t.Fatal(err)
				}
				if tc.back != (out.Update.Type == types.UpdateTypeVersionRollback) {
					t.Errorf("type %s", out.Update.Type)
				}
				if _, err := client.UpdateClusterVersion(t.Context(), &eks.UpdateClusterVersionInput{Name: &cluster, Version: &to}); err == nil {
					t.Error("a second update was taken")
				}
				time.Sleep(tc.wait)
				_, err = client.CancelUpdate(t.Context(), &eks.CancelUpdateInput{Name: &cluster, UpdateId: out.Update.Id})
				if tc.granted != (err == nil) {
					t.Errorf("granted %v: %v", tc.granted, err)
				}
			})
		})
	}
}
