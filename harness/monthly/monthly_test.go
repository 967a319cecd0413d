package monthly_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/gate"
	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/monthly"
	"github.com/kube-rehearse/rehearse/harness/releases"
)

// house is a production that can be looked at, upgraded and measured; it writes
// down what is done to it.
type house struct {
	did      []string
	version  cluster.Version
	nodes    []monthly.Node
	lookErr  error
	looked   int
	onLook   func(*house)
	rehearse error
	closed   bool
	fewer    bool
	upgrade  func(context.Context, *house) error
	traffic  *error // of Before; nil for no traffic
	stopErr  error
}

func (h *house) do(format string, args ...any) { h.did = append(h.did, fmt.Sprintf(format, args...)) }

func (h *house) Before(context.Context) error { h.do("baseline"); return *h.traffic }

func (h *house) During(context.Context) (func() error, error) {
	h.do("measure")
	return func() error { h.do("stop"); return h.stopErr }, nil
}

func (h *house) Compare(context.Context) (*monthly.Measured, error) {
	h.do("compare")
	return &monthly.Measured{Verdict: judge.Go}, nil
}

func (h *house) job() *monthly.Job {
	j := &monthly.Job{
		Policy: releases.TakeNewest, Looked: true, Landing: time.Minute, Every: 10 * time.Second, Settle: 30 * time.Second, FewerNodes: h.fewer,
		Tell: func(string) {},
		Production: func(context.Context) (monthly.Production, error) {
			h.looked++
			if h.onLook != nil {
				h.onLook(h)
			}
			return monthly.Production{Version: h.version, Nodes: h.nodes}, h.lookErr
		},
		Versions: func(context.Context, cluster.Version) ([]cluster.Version, error) {
			return []cluster.Version{"v1.34.4", "v1.35.4"}, nil
		},
		Rehearse: func(_ context.Context, from, to cluster.Version) (*monthly.Rehearsal, error) {
			h.do("rehearse %s %s", from, to)
			return &monthly.Rehearsal{Dir: "runs/x", Verdict: judge.Go}, h.rehearse
		},
		Gate: func(_ context.Context, dir string, from, to cluster.Version) (*gate.Decision, error) {
			h.do("gate %s", dir)
			return &gate.Decision{Open: !h.closed}, nil
		},
	}
	if h.upgrade != nil {
		j.Upgrade = func(ctx context.Context, from, to cluster.Version, dir string) error {
			h.do("upgrade %s %s %s", from, to, dir)
			return h.upgrade(ctx, h)
		}
	}
	if h.traffic != nil {
		j.Traffic = h
	}
	return j
}

// three nodes at a version, and cordoned those of nodes that are counted.
func three(v cluster.Version) []monthly.Node {
	return []monthly.Node{{Name: "w0", Version: v, Ready: true}, {Name: "w1", Version: v, Ready: true}, {Name: "w2", Version: v, Ready: true}}
}

func cordoned(nodes []monthly.Node, which ...int) []monthly.Node {
	for _, i := range which {
		nodes[i].Cordoned = true
	}
	return nodes
}

func lands(_ context.Context, h *house) error {
	h.version, h.nodes = "v1.35.4", []monthly.Node{{Name: "w1", Version: "v1.35.4", Ready: true}}
	return nil
}

func TestRun(t *testing.T) {
	none := error(nil)
	refused := errors.New("refused")
	for _, tc := range []struct {
		name string
		h    house
		did  string
		out  string // of the upgrade: command, landed, missing, measured
		err  string
	}{
		{"nothing to do", house{version: "v1.35.4", upgrade: lands}, "", "", ""},
		{"a rehearsal and no more", house{version: "v1.34.4"}, "rehearse v1.34.4 v1.35.4", "", ""},
		{"a rehearsal that could not be carried out", house{version: "v1.34.4", rehearse: refused, upgrade: lands}, "rehearse v1.34.4 v1.35.4", "", "refused"},
		{"production cannot be looked at", house{lookErr: refused}, "", "", "production's version: refused"},
		{"the gate is closed", house{version: "v1.34.4", closed: true, upgrade: lands}, "rehearse v1.34.4 v1.35.4, gate runs/x", "", ""},
		{"lands", house{version: "v1.34.4", upgrade: lands}, "rehearse v1.34.4 v1.35.4, gate runs/x, upgrade v1.34.4 v1.35.4 runs/x", "passed true ", ""},
		{"measured", house{version: "v1.34.4", upgrade: lands, traffic: &none},
			"rehearse v1.34.4 v1.35.4, gate runs/x, baseline, measure, upgrade v1.34.4 v1.35.4 runs/x, stop, compare", "passed true  GO", ""},
		{"no baseline, no upgrade", house{version: "v1.34.4", upgrade: lands, traffic: &refused},
			"rehearse v1.34.4 v1.35.4, gate runs/x, baseline", "", "production could not be measured: refused; production was not upgraded"},
		{"a lane that was lost", house{version: "v1.34.4", upgrade: lands, traffic: &none, stopErr: refused},
			"rehearse v1.34.4 v1.35.4, gate runs/x, baseline, measure, upgrade v1.34.4 v1.35.4 runs/x, stop", "passed true ", "measure production: refused"},
		{"fails half-way", house{version: "v1.34.4", nodes: []monthly.Node{{Name: "w1", Version: "v1.34.4", Ready: true}}, traffic: &none, upgrade: func(_ context.Context, h *house) error {
			h.version = "v1.35.4"
			return refused
		}}, "rehearse v1.34.4 v1.35.4, gate runs/x, baseline, measure, upgrade v1.34.4 v1.35.4 runs/x, stop, compare", "refused false node w1 runs v1.34.4 GO", "production's upgrade: refused"},
		{"something else upgraded it in the meantime", house{version: "v1.34.4", upgrade: lands, onLook: func(h *house) {
			if h.looked == 2 {
				h.version = "v1.34.9"
			}
		}}, "rehearse v1.34.4 v1.35.4, gate runs/x", "", "production runs v1.34.9 now, and v1.34.4 was rehearsed: something else upgraded it; production was not upgraded, run this again"},
		{"nodes are late", house{version: "v1.34.4", upgrade: func(_ context.Context, h *house) error {
			h.version, h.nodes = "v1.35.4", []monthly.Node{{Name: "w1", Version: "v1.35.4"}}
			return nil
		}, onLook: func(h *house) {
			if h.looked == 6 { // two before, four after: half a minute
				h.nodes[0].Ready = true
			}
		}}, "rehearse v1.34.4 v1.35.4, gate runs/x, upgrade v1.34.4 v1.35.4 runs/x", "passed true ", ""},
		{"never lands", house{version: "v1.34.4", upgrade: func(_ context.Context, h *house) error {
			h.version = "v1.35.4"
			for i := range 7 {
				h.nodes = append(h.nodes, monthly.Node{Name: fmt.Sprintf("w%d", i), Version: "v1.34.4", Ready: true})
			}
			return nil
		}}, "rehearse v1.34.4 v1.35.4, gate runs/x, upgrade v1.34.4 v1.35.4 runs/x",
			"passed false node w0 runs v1.34.4, node w1 runs v1.34.4, node w2 runs v1.34.4, node w3 runs v1.34.4, node w4 runs v1.34.4, and 2 more", ""},
		{"nodes that do not come back", house{version: "v1.34.4", nodes: three("v1.34.4"), upgrade: func(_ context.Context, h *house) error {
			h.version, h.nodes = "v1.35.4", three("v1.35.4")[:1]
			return nil
		}}, "rehearse v1.34.4 v1.35.4, gate runs/x, upgrade v1.34.4 v1.35.4 runs/x", "passed false 1 of 3 nodes are left", ""},
		{"fewer nodes, which may be", house{version: "v1.34.4", nodes: three("v1.34.4"), fewer: true, upgrade: func(_ context.Context, h *house) error {
			h.version, h.nodes = "v1.35.4", three("v1.35.4")[:1]
			return nil
		}}, "rehearse v1.34.4 v1.35.4, gate runs/x, upgrade v1.34.4 v1.35.4 runs/x", "passed true ", ""},
		{"no node at all", house{version: "v1.34.4", nodes: three("v1.34.4"), fewer: true, upgrade: func(_ context.Context, h *house) error {
			h.version, h.nodes = "v1.35.4", nil
			return nil
		}}, "rehearse v1.34.4 v1.35.4, gate runs/x, upgrade v1.34.4 v1.35.4 runs/x", "passed false there are no nodes", ""},
		{"nodes that are left cordoned", house{version: "v1.34.4", nodes: cordoned(three("v1.34.4"), 0), upgrade: func(_ context.Context, h *house) error {
			h.version, h.nodes = "v1.35.4", cordoned(three("v1.35.4"), 0, 2)
			return nil
		}}, "rehearse v1.34.4 v1.35.4, gate runs/x, upgrade v1.34.4 v1.35.4 runs/x", "passed false node w2 is cordoned", ""},
		{"not answering afterwards", house{version: "v1.34.4", upgrade: func(_ context.Context, h *house) error {
			h.lookErr = refused
			return nil
		}}, "rehearse v1.34.4 v1.35.4, gate runs/x, upgrade v1.34.4 v1.35.4 runs/x", "passed false ", "production after its upgrade: refused"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := tc.h
				begun := time.Now()
				res, err := h.job().Run(t.Context())
				text := ""
				if err != nil {
					text = err.Error()
				}
				if diff := cmp.Diff(tc.err, text); diff != "" {
					t.Errorf("error (-want +got):\n%s", diff)
				}
				if diff := cmp.Diff(tc.did, strings.Join(h.did, ", ")); diff != "" {
					t.Errorf("what was done (-want +got):\n%s", diff)
				}
				out := ""
				if res != nil && res.Upgrade != nil {
					u := res.Upgrade
					out = fmt.Sprintf("%s %t %s", u.Command, u.Landed, u.Missing)
					if u.Measured != nil {
						out += " " + string(u.Measured.Verdict)
					}
					if u.Landed != (u.Next != nil) {
						t.Errorf("landed %t, next %v", u.Landed, u.Next)
					}
				}
				if diff := cmp.Diff(tc.out, out); diff != "" {
					t.Errorf("the upgrade (-want +got):\n%s", diff)
				}
				if took := time.Since(begun); took > 2*time.Minute {
					t.Errorf("took %s; landing is a minute", took)
				}
			})
		})
	}
}

// An interrupt during the upgrade ends the waiting, and what is left of
// production is told nevertheless.
func TestInterruptedUpgrade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		none := error(nil)
		h := house{version: "v1.34.4", traffic: &none, upgrade: func(ctx context.Context, h *house) error {
			h.version = "v1.35.4"
			h.nodes = []monthly.Node{{Name: "w1", Version: "v1.34.4", Ready: true}}
			cancel(errors.New("interrupted"))
			<-ctx.Done()
			return errors.New("signal: interrupt")
		}}
		begun := time.Now()
		res, err := h.job().Run(ctx)
		if err == nil || err.Error() != "production's upgrade: signal: interrupt" {
			t.Errorf("got %v", err)
		}
		if res.Upgrade.Landed || res.Upgrade.Missing != "node w1 runs v1.34.4" || res.Upgrade.Measured == nil {
			t.Errorf("%+v", res.Upgrade)
		}
		if time.Since(begun) != 0 {
			t.Errorf("waited %s after the interrupt", time.Since(begun))
		}
	})
}

// Without --kubeconfig production is not looked at.
func TestNotLooked(t *testing.T) {
	h := house{version: "v1.34.4", upgrade: func(context.Context, *house) error { return nil }}
	j := h.job()
	j.Looked = false
	res, err := j.Run(t.Context())
	if err != nil || res.Upgrade.Looked || h.looked != 1 {
		t.Errorf("%+v, looked %d times, %v", res.Upgrade, h.looked, err)
	}
}

func TestProgram(t *testing.T) {
	var out strings.Builder
	p := monthly.Program{Args: []string{"sh", "-c", "echo $REHEARSE_FROM $REHEARSE_TO $REHEARSE_RUN_DIR $1", "sh", "a b"}, Output: &out}
	if err := p.Run(t.Context(), "v1.34.4", "v1.35.4", "runs/x"); err != nil || out.String() != "v1.34.4 v1.35.4 runs/x a b\n" {
		t.Errorf("%q, %v", out.String(), err)
	}
	p.Args = []string{"sh", "-c", "exit 3", "secret"}
	if err := p.Run(t.Context(), "v1.34.4", "v1.35.4", "runs/x"); err == nil || err.Error() != "sh: exit status 3; what it printed is in the log above" {
		t.Errorf("got %v", err)
	}
	p.Args = []string{"/no/such"}
	if err := p.Run(t.Context(), "v1.34.4", "v1.35.4", "runs/x"); err == nil || !strings.HasSuffix(err.Error(), "; is it installed, and executable?") {
		t.Errorf("got %v", err)
	}
	// An interrupt is passed on, and the program may end in its own time.
	out.Reset()
	ctx, cancel := context.WithCancel(t.Context())
	started := &notify{then: cancel}
	p = monthly.Program{Args: []string{"sh", "-c", "trap 'echo rolling back; exit 9' INT; echo started; while :; do sleep 0.01; done"}, Output: started}
	err := p.Run(ctx, "v1.34.4", "v1.35.4", "runs/x")
	if err == nil || !strings.Contains(started.String(), "rolling back") {
		t.Errorf("%q, %v", started.String(), err)
	}
}

// notify calls then at the first write.
type notify struct {
	strings.Builder
	then func()
}

func (n *notify) Write(b []byte) (int, error) {
	if n.Len() == 0 {
		n.then()
	}
	return n.Builder.Write(b)
}

// TestAgain rehearses after production's upgrade: what is next, or the same.
func TestAgain(t *testing.T) {
	const upgraded = "rehearse v1.34.4 v1.35.4, gate runs/x, upgrade v1.34.4 v1.35.4 runs/x"
	for _, tc := range []struct {
		again  string
		newest cluster.Version
		lands  bool
		want   string
	}{
		{monthly.AgainNext, "v1.36.2", true, upgraded + ", rehearse v1.35.4 v1.36.2"},
		{monthly.AgainNext, "v1.35.4", true, upgraded},
		{monthly.AgainSame, "v1.35.4", true, upgraded + ", rehearse v1.34.4 v1.35.4"},
		{monthly.AgainSame, "v1.35.4", false, upgraded},
		{monthly.AgainNo, "v1.36.2", true, upgraded},
	} {
		synctest.Test(t, func(t *testing.T) {
			h := house{version: "v1.34.4", upgrade: func(ctx context.Context, h *house) error {
				if !tc.lands {
					return nil
				}
				return lands(ctx, h)
			}}
			j := h.job()
			j.Again = tc.again
			j.Versions = func(context.Context, cluster.Version) ([]cluster.Version, error) {
				return []cluster.Version{"v1.34.4", "v1.35.4", tc.newest}, nil
			}
			res, err := j.Run(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, strings.Join(h.did, ", ")); diff != "" {
				t.Errorf("%s, newest %s, lands %t (-want +got):\n%s", tc.again, tc.newest, tc.lands, diff)
			}
			if again := res.Upgrade.Again != nil; again != (tc.want != upgraded) {
				t.Errorf("%s: told %t", tc.again, again)
			}
		})
	}
}
