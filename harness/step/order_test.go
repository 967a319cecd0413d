package step

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

func TestABrokenOrderIsToldAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env, events := newEnv(driver{})
		var told bytes.Buffer
		env.Log = slog.New(slog.NewTextHandler(&told, nil))
		watchOrder(env, &record.Snapshot{ServerVersion: "v1.34.4", Nodes: []record.Node{{Name: "cp", ControlPlane: true, KubeletVersion: "v1.34.4"}, {Name: "w", KubeletVersion: "v1.34.4"}}}, false)
		env.Timeline.Record(timeline.SourceKube, timeline.KindNodeVersion, "node/w", map[string]string{"component": "kubelet", "to": "v1.35.4"})
		time.Sleep(3 * time.Second)
		env.Timeline.Record(timeline.SourceKube, timeline.KindNodeReady, "node/w", nil)
		synctest.Wait()
		if err := env.Cleanup.Run(t.Context(), time.Second); err != nil {
			t.Fatal(err)
		}
		const what = "the kubelet of w ran v1.35.4 while the API server on cp ran v1.34.4"
		want := `"source":"probe","kind":"order-violated","subject":"node/w","detail":{"from":"0","rule":"kubelets","what":"` + what + `"}}`
		if n := strings.Count(events.String(), want); n != 1 {
			t.Errorf("timeline:\n%s", events)
		}
		if !strings.Contains(told.String(), "the order of the upgrade is broken: "+what) {
			t.Errorf("told: %s", told.String())
		}
	})
}
