package probes_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-rehearse/rehearse/harness/canary/deploy"
	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/cluster/sim"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
	"github.com/kube-rehearse/rehearse/probes"
	"github.com/kube-rehearse/rehearse/probes/apiserver"
	"github.com/kube-rehearse/rehearse/probes/nodes"
	"github.com/kube-rehearse/rehearse/probes/preflight"
	"github.com/kube-rehearse/rehearse/probes/system"
	"github.com/kube-rehearse/rehearse/probes/watch"
	"github.com/kube-rehearse/rehearse/test/buffer"
)

const (
	from = cluster.Version("v1.34.4")
	to   = cluster.Version("v1.35.4")
)

var components = []string{"kube-flannel", "coredns", "kube-proxy", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "etcd"}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestWholeUpgrade lets every probe look at one simulated upgrade together, as
// they do in a rehearsal: what they say must add up to that upgrade.
func TestWholeUpgrade(t *testing.T) {
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	driver := sim.New(sim.Options{Scale: 40, Log: log})
	spec := cluster.Spec{RunID: "probes", Name: "t", Version: from, ControlPlanes: 1, Workers: 2, Network: "flannel"}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	c, err := driver.Create(ctx, spec)
	must(t, err)
	defer func() {
		must(t, driver.Delete(context.WithoutCancel(ctx), spec))
		http.DefaultClient.CloseIdleConnections()
	}()
	image, err := driver.CanaryImage(ctx, c)
	must(t, err)
	one := 1
	canary := deploy.Config{Image: image, Replicas: 2, Budget: &deploy.Budget{MaxUnavailable: &one}, ShutdownDelay: time.Second, GracePeriod: 5 * time.Second}
	must(t, deploy.Deploy(ctx, c.Client, canary))
	must(t, deploy.WaitReady(ctx, c.Client, canary, time.Minute))

	found, err := preflight.Look(ctx, preflight.Source{Client: c.Client, Dynamic: c.Dynamic}, to.String())
	must(t, err)
	var ids []string
	for _, r := range found {
		for _, f := range r.Findings {
			ids = append(ids, f.Severity+" "+f.ID+" "+f.Object)
		}
	}
	equal(t, "preflight of a clean cluster", ids, []string{"info single-control-plane cluster"})

	var buf buffer.Locked
	events := timeline.NewRecorder(timeline.NewClock(time.Now()), &buf)
	w := watch.New(c.Client, events, watch.ForCanary(deploy.DefaultNamespace), log)
	w.Start(ctx)
	defer w.Stop()
	must(t, w.Synced(ctx))

	var mu sync.Mutex
	samples := map[string]int{}
	scheduler := probes.NewScheduler(events, probes.SinkFunc(func(probe string, s record.ProbeSample) error {
		mu.Lock()
		defer mu.Unlock()
		samples[probe+" "+okOr(s.Class)]++
		return nil
	}), log)
	var servers []apiserver.Server
	for _, a := range c.APIServers {
		servers = append(servers, apiserver.Server{Name: a.Name, Config: a.Config})
	}
	api, err := apiserver.New(servers)
	must(t, err)
	for _, p := range api {
		must(t, scheduler.Add(p, 50*time.Millisecond, apiserver.Timeout))
	}
	scheduler.Start(ctx)
	defer scheduler.Stop()

	snapshot := func() record.Snapshot {
		t.Helper()
		s, err := system.Snapshot(ctx, c.Client, c.Dynamic, system.Options{
			Clock: events.Clock(), Components: components, CanaryNamespace: deploy.DefaultNamespace, CanarySelector: "app.kubernetes.io/name=canary",
			Etcd:   func(ctx context.Context) ([]record.Named, error) { return driver.EtcdMembers(ctx, c) },
			Lookup: system.LookupByPod(c.Client, deploy.DefaultNamespace, image),
		})
		must(t, err)
		return s
	}
	healthy := func() {
		t.Helper()
		must(t, system.WaitHealthy(ctx, c.Client, system.HealthOptions{Consecutive: 2, Interval: 100 * time.Millisecond, Timeout: time.Minute,
			CanaryNamespace: deploy.DefaultNamespace, CanaryName: deploy.DefaultName, Events: events}))
	}
	observe := func() nodes.State {
		t.Helper()
		s, err := nodes.Observe(ctx, c.Client)
		must(t, err)
		return s
	}

	before := snapshot()
	healthy()
	var names []string
	for _, n := range before.Nodes {
		names = append(names, n.Name)
		if problems := observe().Kubelet(n.Name, to.String()); len(problems) != 1 {
			t.Errorf("before the upgrade: %q", problems)
		}
	}
	control := names[slices.IndexFunc(before.Nodes, func(n record.Node) bool { return n.ControlPlane })]
	must(t, driver.UpgradeControlPlane(ctx, c, control, to, true))
	equal(t, "control plane", observe().Plane(control, to.String()), nil)
	for _, n := range names {
		must(t, driver.UpgradeNode(ctx, c, n, to))
		healthy()
		equal(t, "kubelet of "+n, observe().Kubelet(n, to.String()), nil)
		equal(t, "skew after "+n, observe().Skew(), nil)
	}
	after := snapshot()
	scheduler.Stop()
	w.Stop()

	for _, s := range []struct {
		record.Snapshot
		version cluster.Version
	}{{before, from}, {after, to}} {
		equal(t, "server", s.ServerVersion, s.version.String())
		equal(t, "network", s.Network, "flannel")
		equal(t, "lookup of "+s.DNSLookup.Name+": "+s.DNSLookup.Detail, s.DNSLookup.OK, true)
		equal(t, "canary's pods", len(s.Canary), 2)
		equal(t, "lingering", len(s.Lingering), 0)
		for _, comp := range s.Components {
			equal(t, comp.Name+"'s problem", comp.Problem, "")
		}
		for _, n := range s.Nodes {
			equal(t, "versions of "+n.Name, n.KubeletVersion+" "+n.KubeProxyVersion, s.version.String()+" "+s.version.String())
		}
	}
	equal(t, "what the timeline says of versions", versions(t, strings.NewReader(buf.String())), expected(names, control))
	for _, p := range api {
		if n := samples[p.Name()+" ok"]; n < 10 {
			t.Errorf("%s: %d good samples, want at least 10", p.Name(), n)
		}
	}
	if n := samples["api-new refused"]; n == 0 {
		t.Errorf("the only API server restarted and no probe was refused: %v", samples)
	}
	equal(t, "probes lost", scheduler.Lost(), nil)
}

func expected(names []string, control string) []string {
	var out []string
	for _, c := range nodes.ControlPlane {
		out = append(out, fmt.Sprintf("pod-version pod/kube-system/%s-%s v1.34.4 v1.35.4", c, control))
	}
	for _, n := range names {
		out = append(out, fmt.Sprintf("node-version node/%s v1.34.4 v1.35.4", n))
	}
	slices.Sort(out)
	return out
}

// versions returns the changes of version in a timeline, in order of their text,
// and checks that the watch was blind once for each time that it saw again.
func versions(t *testing.T, b io.Reader) []string {
	t.Helper()
	var out []string
	blind := 0
	for dec := json.NewDecoder(b); dec.More(); {
		var e timeline.Event
		must(t, dec.Decode(&e))
		switch e.Kind {
		case timeline.KindWatchBlind:
			blind++
		case timeline.KindWatchSeeing:
			blind--
		case timeline.KindPodVersion, timeline.KindNodeVersion:
			if !strings.Contains(e.Subject, "etcd") {
				out = append(out, e.Kind+" "+e.Subject+" "+e.Detail["from"]+" "+e.Detail["to"])
			}
		}
	}
	equal(t, "gaps that did not end", blind, 0)
	slices.Sort(out)
	return out
}

func okOr(class string) string {
	if class == "" {
		return "ok"
	}
	return class
}

func equal[T any](t *testing.T, what string, got, want T) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}
