package eks

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/test/fakeaws"
)

// upgraded is a bed whose cluster has just been upgraded.
func upgraded(t *testing.T, change func(*Options)) *bed {
	t.Helper()
	b := newBed(t, change)
	b.a.EKS.AddonDefaults["coredns/1.34"], b.a.EKS.AddonDefaults["kube-proxy/1.34"], b.a.EKS.AddonDefaults["vpc-cni/1.34"] = "v1.11.4-eksbuild.1", "v1.34.0-eksbuild.1", "v1.20.0-eksbuild.1"
	for _, roll := range []func() error{
		func() error { return b.d.RollControlPlane(b.ctx(t), b.cluster(), "v1.35.4", b.options()) },
		func() error { return b.d.RollWorkers(b.ctx(t), b.cluster(), "v1.35.4", b.options()) },
	} {
		if err := roll(); err != nil {
			t.Fatal(err)
		}
	}
	b.events = nil
	return b
}

func TestTheWayBackTakesGroupsAddonsAndThenTheControlPlane(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := upgraded(t, nil)
		o := b.options()
		if err := b.d.RollBackWorkers(b.ctx(t), b.cluster(), "v1.34.4", o); err != nil {
			t.Fatal(err)
		}
		if err := b.d.RollBackControlPlane(b.ctx(t), b.cluster(), "v1.34.4", o); err != nil {
			t.Fatal(err)
		}
		want := []string{
			"0m upgrade-start group/apps v1.34.4", "9m upgrade-end group/apps v1.34.4", "9m upgrade-start group/batch v1.34.4", "18m upgrade-end group/batch v1.34.4",
			// vpc-cni is listed for 1.34 as it is.
			"18m upgrade-start addon/coredns v1.11.4-eksbuild.1", "27m upgrade-end addon/coredns v1.11.4-eksbuild.1",
			"27m upgrade-start addon/kube-proxy v1.34.0-eksbuild.1", "36m upgrade-end addon/kube-proxy v1.34.0-eksbuild.1",
			"36m upgrade-start control-plane/payments v1.34.4", "45m upgrade-end control-plane/payments v1.34.4",
		}
		if diff := cmp.Diff(want, b.events); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
		if c := b.a.EKS.Clusters["payments"]; c.Version != "1.34" || c.Groups["apps"].Version != "1.34" || c.Groups["batch"].Version != "1.34" {
			t.Errorf("cluster %s, groups %s and %s", c.Version, c.Groups["apps"].Version, c.Groups["batch"].Version)
		}
		// Once more does nothing.
		calls := len(b.a.Calls())
		for _, err := range []error{b.d.RollBackWorkers(b.ctx(t), b.cluster(), "v1.34.4", o), b.d.RollBackControlPlane(b.ctx(t), b.cluster(), "v1.34.4", o)} {
			if err != nil {
				t.Error(err)
			}
		}
		if slices.ContainsFunc(b.a.Calls()[calls:], func(c string) bool { return strings.HasPrefix(c, "eks:Update") }) {
			t.Errorf("called %q", b.a.Calls()[calls:])
		}
	})
}

// TestWhatEKSRefusesOnTheWayBack are the conditions of EKS' documentation.
func TestWhatEKSRefusesOnTheWayBack(t *testing.T) {
	for name, tc := range map[string]struct {
		spoil func(*bed)
		force bool
		want  string
	}{
		"after seven days":    {func(*bed) { time.Sleep(7 * 24 * time.Hour) }, true, "was upgraded more than 7 days ago and cannot be rolled back"},
		"made at the version": {func(b *bed) { b.a.EKS.Clusters["payments"].Before = "" }, true, "was not upgraded to 1.35 in place and cannot be rolled back"},
		"an insight": {func(b *bed) {
			c := b.a.EKS.Clusters["payments"]
			c.Insights = append(c.Insights, fakeaws.Insight{ID: "r1", Name: "API usage", Category: "ROLLBACK_READINESS", Status: "ERROR", Reason: "fields of 1.35 are in use", Version: "1.34", Refreshed: time.Now(), Recommendation: "remove them"})
		}, false, "API reference; insight/API usage: ERROR: fields of 1.35 are in use; remove them"},
		"nodes that are newer": {func(b *bed) { b.a.EKS.Clusters["payments"].Groups["apps"].Version = "1.35" }, false, "Kubelet version skew: node group apps is at 1.35"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := upgraded(t, func(o *Options) { o.Force = tc.force })
				if err := b.d.RollBackWorkers(b.ctx(t), b.cluster(), "v1.34.4", b.options()); err != nil {
					t.Fatal(err)
				}
				tc.spoil(b)
				err := b.d.RollBackControlPlane(b.ctx(t), b.cluster(), "v1.34.4", b.options())
				if err == nil || !strings.HasPrefix(err.Error(), "eks:UpdateClusterVersion payments: ") || !strings.Contains(err.Error(), tc.want) {
					t.Errorf("got  %v\nwant %s", err, tc.want)
				}
				if b.a.EKS.Clusters["payments"].Version != "1.35" {
					t.Error("it went back")
				}
			})
		})
	}
	t.Run("a budget", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := upgraded(t, nil)
			b.a.EKS.FailUpdate["nodegroup/apps"] = fakeaws.UpdateError{Code: "PodEvictionFailure", Message: "Reached max retries"}
			var left *cluster.RollError
			if err := b.d.RollBackWorkers(b.ctx(t), b.cluster(), "v1.34.4", b.options()); !errors.As(err, &left) || !strings.Contains(err.Error(), "PodEvictionFailure") || len(left.Left) != 1 {
				t.Errorf("got %v", err)
			}
		})
	})
	t.Run("an image of one's own", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := upgraded(t, nil)
			b.a.EKS.Clusters["payments"].Groups["apps"].AMIType = "CUSTOM"
			const want = "node group apps has an image of its own, and nothing tells which version of its launch template it had: EKS cannot take it back"
			if err := b.d.RollBackWorkers(b.ctx(t), b.cluster(), "v1.34.4", b.options()); err == nil || err.Error() != want {
				t.Errorf("got  %v\nwant %s", err, want)
			}
		})
	})
}

func TestPreflightLooksWhetherTheClusterCanGoBack(t *testing.T) {
	b := newBed(t, func(o *Options) { o.Rollback, o.LaunchTemplates = true, map[string]string{"apps": "2"} })
	c := b.a.EKS.Clusters["payments"]
	c.Groups["apps"].AMIType, c.Auto = "CUSTOM", true
	c.Insights = append(c.Insights, fakeaws.Insight{ID: "i2", Name: "Kubelet version skew", Status: "PASSING", Version: "1.36", Refreshed: time.Now()})
	got, err := b.d.Preflight(b.ctx(t), b.spec, "v1.36.1")
	if err != nil {
		t.Fatal(err)
	}
	var texts []string
	for _, f := range got {
		if strings.HasPrefix(f.ID, "rollback-") || f.ID == "auto-mode" {
			texts = append(texts, f.Severity+" "+f.ID+" "+f.Object+": "+f.Cause)
		}
	}
	want := []string{
		"block rollback-minors upgrade.rollback: EKS takes a cluster back by one minor version, and the upgrade goes from 1.34 to 1.36",
		"block rollback-image nodegroup/apps: it has an image of its own, which EKS cannot take back to the version of before",
		"warn auto-mode cluster/payments: EKS runs it in auto mode: it moves the nodes of that mode in its own time after the control plane, and this driver does not wait for them",
	}
	if diff := cmp.Diff(want, texts); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
}
