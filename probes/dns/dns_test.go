package dns

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	restclient "k8s.io/client-go/rest"
	clienttesting "k8s.io/client-go/testing"

	"github.com/kube-rehearse/rehearse/harness/canary"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
	"github.com/kube-rehearse/rehearse/probes"
)

type resolver func(ctx context.Context) error

func (f resolver) LookupHost(ctx context.Context, _ string) ([]string, error) {
	return []string{"10.96.0.1"}, f(ctx)
}

// world is a cluster with agents, and a poller over it.
type world struct {
	t       *testing.T
	client  *fake.Clientset
	mu      sync.Mutex                  // guards agents, samples and order
	agents  map[string]*canary.DNSAgent // by pod
	apiDown atomic.Bool
	fails   atomic.Bool // DNS does
	events  *timeline.Recorder
	samples map[string][]record.ProbeSample
	order   []string // what was declared
	poller  *Poller
}

type answer func() ([]byte, error)

func (f answer) DoRaw(context.Context) ([]byte, error) { return f() }
func (f answer) Stream(context.Context) (io.ReadCloser, error) {
	return nil, errors.New("not used")
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, client: fake.NewClientset(), agents: map[string]*canary.DNSAgent{}, samples: map[string][]record.ProbeSample{}}
	w.client.PrependReactor("list", "pods", func(clienttesting.Action) (bool, runtime.Object, error) {
		if w.apiDown.Load() {
			return true, nil, errors.New("connection refused")
		}
		return false, nil, nil
	})
	w.client.AddProxyReactor("pods", func(action clienttesting.Action) (bool, restclient.ResponseWrapper, error) {
		a, ok := action.(clienttesting.ProxyGetAction)
		if !ok {
			t.Errorf("proxy of %T", action)
		}
		return true, answer(func() ([]byte, error) {
			w.mu.Lock()
			agent := w.agents[a.GetName()]
			w.mu.Unlock()
			if w.apiDown.Load() || agent == nil {
				return nil, errors.New("connection refused")
			}
			if a.GetPath() != "dns" || a.GetPort() != "8080" {
				t.Errorf("asked %s at %s", a.GetPath(), a.GetPort())
			}
			after, err := strconv.ParseInt(a.GetParams()["after"], 10, 64)
			if err != nil {
				t.Error(err)
			}
			return json.Marshal(agent.After(after))
		}), nil
	})
	w.events = timeline.NewRecorder(timeline.NewClock(time.Now()), io.Discard)
	w.poller = New(Config{
		Client: w.client, Namespace: "dns", Selector: "app=agent", Events: w.events,
		Sink: probes.SinkFunc(func(name string, s record.ProbeSample) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			if !slices.Contains(w.order, name) {
				t.Errorf("a sample of %s, which was not declared", name)
			}
			w.samples[name] = append(w.samples[name], s)
			return nil
		}),
		Declare: func(p record.Probe) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.order = append(w.order, p.Name)
			return nil
		},
		Log: slog.New(slog.DiscardHandler),
	})
	return w
}

// node starts an agent in a new pod on a node, until ctx ends.
func (w *world) node(ctx context.Context, node, pod string) {
	w.t.Helper()
	w.restart(ctx, node, pod)
	_, err := w.client.CoreV1().Pods("dns").Create(ctx, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "dns", Name: pod, Labels: map[string]string{"app": "agent"}},
		Spec:       corev1.PodSpec{NodeName: node}, Status: corev1.PodStatus{Phase: corev1.PodRunning, PodIP: "10.244.0.1"},
	}, metav1.CreateOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) restart(ctx context.Context, node, pod string) {
	w.t.Helper()
	a, err := canary.NewDNSAgent(node, canary.DNSConfig{Names: []string{"kubernetes."}, Resolver: resolver(func(context.Context) error {
		if w.fails.Load() {
			return errors.New("server misbehaving")
		}
		return nil
	})})
	if err != nil {
		w.t.Fatal(err)
	}
	w.mu.Lock()
	w.agents[pod] = a
	w.mu.Unlock()
	go a.Run(ctx)
}

// seconds are the whole seconds of the samples, with ! where one failed.
func seconds(samples []record.ProbeSample) string {
	var out []string
	for _, s := range samples {
		text := strconv.FormatInt(s.T/1e9, 10)
		if !s.OK {
			text += "!"
		}
		out = append(out, text)
	}
	return strings.Join(out, " ")
}

func (w *world) run(f func(ctx context.Context)) {
	ctx, cancel := context.WithCancel(w.t.Context())
	time.Sleep(100 * time.Millisecond)
	f(ctx)
	w.poller.Stop(ctx)
	cancel()
	synctest.Wait()
}

func TestAnOutageOfTheAPILosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.run(func(ctx context.Context) {
			w.node(ctx, "a", "p")
			w.poller.Start(ctx)
			time.Sleep(5500 * time.Millisecond)
			w.apiDown.Store(true)
			time.Sleep(2 * time.Second)
			w.fails.Store(true)
			time.Sleep(3 * time.Second)
			w.fails.Store(false)
			time.Sleep(5 * time.Second)
			w.apiDown.Store(false)
			time.Sleep(400 * time.Millisecond)
		})
		if diff := cmp.Diff("0 1 2 3 4 5 6 7 8! 9! 10! 11 12 13 14 15", seconds(w.samples["dns-a"])); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		for _, s := range w.samples["dns-a"] {
			if at := time.Duration(s.T) % time.Second; at < 99*time.Millisecond || at > 101*time.Millisecond {
				t.Errorf("the agent's clock is off: %v", time.Duration(s.T))
			}
		}
		if f := w.poller.Findings(); len(f) != 0 {
			t.Errorf("findings %v", f)
		}
	})
}

func TestAnAgentThatStartsAgainCountsFromOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.run(func(ctx context.Context) {
			w.node(ctx, "a", "p")
			// Between two lookups, so that an answer never races with a question.
			time.Sleep(500 * time.Millisecond)
			w.poller.Start(ctx)
			time.Sleep(9400 * time.Millisecond) // asked at 8.5 s for the last time
			w.restart(ctx, "a", "p")
			time.Sleep(3500 * time.Millisecond)
		})
		if diff := cmp.Diff("1 2 3 4 5 6 7 8 10 11 12 13", seconds(w.samples["dns-a"])); diff != "" {
			t.Errorf("what nobody had been told is a gap (-want +got):\n%s", diff)
		}
	})
}

func TestNodesComeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.run(func(ctx context.Context) {
			w.node(ctx, "old", "p")
			time.Sleep(500 * time.Millisecond) // see above
			w.poller.Start(ctx)
			time.Sleep(4200 * time.Millisecond)
			w.node(ctx, "new", "q")
			if err := w.client.CoreV1().Pods("dns").Delete(ctx, "p", metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(3100 * time.Millisecond)
		})
		if diff := cmp.Diff([]string{"dns-old", "dns-new"}, w.order); diff != "" {
			t.Errorf("series (-want +got):\n%s", diff)
		}
		if got := seconds(w.samples["dns-old"]) + ", " + seconds(w.samples["dns-new"]); got != "1 2 3 4, 4 5 6 7" {
			t.Errorf("samples %s", got)
		}
		if f := w.poller.Findings(); len(f) != 0 {
			t.Errorf("findings %v", f)
		}
	})
}

func TestOnlyWhatCameAfterTheStartCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.run(func(ctx context.Context) {
			w.node(ctx, "a", "p")
			time.Sleep(10500 * time.Millisecond) // as told to a process that was killed
			w.poller.Start(ctx)
			time.Sleep(2 * time.Second)
		})
		if got := seconds(w.samples["dns-a"]); got != "11 12" {
			t.Errorf("samples at %s s, want 11 12", got)
		}
	})
}

func TestManyNodesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.run(func(ctx context.Context) {
			for i := range MaxNodes + 2 {
				w.node(ctx, fmt.Sprintf("n%02d", i), fmt.Sprintf("p%02d", i))
			}
			delete(w.agents, "p07")
			w.poller.Start(ctx)
			time.Sleep(time.Second)
		})
		var got []string
		for _, f := range w.poller.Findings() {
			got = append(got, f.ID+" "+f.Severity+" "+f.Object+": "+f.Cause)
		}
		if diff := cmp.Diff([]string{
			"dns-unwatched warn node/n07: the DNS agent on the node was never heard: ask pod dns/p07: connection refused",
			"dns-unwatched warn cluster: DNS was watched on 50 nodes, and not on 2 more: n50, n51",
		}, got); diff != "" {
			t.Errorf("findings (-want +got):\n%s", diff)
		}
	})
}

func TestDNSThatIsAwayIsAFindingOutsideOfTheNodesTurn(t *testing.T) {
	for _, tc := range []struct {
		name  string
		turn  []string // kind@second of node a
		fails time.Duration
		want  string
	}{
		{"long", nil, 9 * time.Second, "in-cluster DNS did not answer pods on the node for at least 8s in one piece, from +00:02.1 on, outside of the node's own turn: lookup kubernetes.: server misbehaving"},
		{"short", nil, 5 * time.Second, ""},
		{"its own upgrade", []string{timeline.KindUpgradeStart, timeline.KindDrainStart, timeline.KindDrainEnd}, 9 * time.Second, ""},
		{"its own drain", []string{timeline.KindDrainStart}, 9 * time.Second, ""},
		{"a turn that was over", []string{timeline.KindUpgradeStart, timeline.KindUpgradeEnd}, 9 * time.Second, "in-cluster DNS did not answer pods on the node for at least 8s in one piece, from +00:02.1 on, outside of the node's own turn: lookup kubernetes.: server misbehaving"},
		{"it has just joined", []string{timeline.KindNodeAdded}, 30 * time.Second, ""},
		{"it joined and has none", []string{timeline.KindNodeAdded}, 80 * time.Second, "in-cluster DNS did not answer pods on the node for at least 20.5s in one piece, from +01:00.6 on, outside of the node's own turn: lookup kubernetes.: server misbehaving"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.run(func(ctx context.Context) {
					w.node(ctx, "a", "p")
					w.poller.Start(ctx)
					time.Sleep(500 * time.Millisecond)
					for _, kind := range tc.turn {
						w.events.Record(timeline.SourceStep, kind, "node/a", nil)
					}
					time.Sleep(time.Second)
					w.fails.Store(true)
					time.Sleep(tc.fails)
					w.fails.Store(false)
					time.Sleep(3 * time.Second)
				})
				got := ""
				for _, f := range w.poller.Findings() {
					if f.ID != "dns-away" || f.Severity != record.SeverityWarn || f.Object != "node/a" || f.Remedy == "" {
						t.Errorf("finding %+v", f)
					}
					got += f.Cause
				}
				if got != tc.want {
					t.Errorf("\n got %s\nwant %s", got, tc.want)
				}
			})
		})
	}
}

func TestASinkThatRefusesLosesTheSeries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var lost []string
		w.events.Tap(func(e timeline.Event) {
			if e.Kind == timeline.KindProbeLost {
				lost = append(lost, e.Subject+" "+e.Detail["reason"])
			}
		})
		w.poller.cfg.Sink = probes.SinkFunc(func(string, record.ProbeSample) error { return errors.New("disk full") })
		w.run(func(ctx context.Context) {
			w.node(ctx, "a", "p")
			w.poller.Start(ctx)
			time.Sleep(7 * time.Second)
		})
		if diff := cmp.Diff([]string{"probe/dns-a its samples could not be written: disk full"}, lost); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}
