package drains

import (
	"context"
	"fmt"
	"math/rand/v2"
)

// Cases are those that the field's threads tell of, for a bed of three workers.
// bareStops says whether the bed's drains refuse pods without a controller.
func Cases(bareStops bool) []Case {
	bare := Case{Name: "bare pod", Nodes: []int{0}, Make: func(ctx context.Context, n *Namespace) error { return n.Bare(ctx, "alone", 0) }, Stops: []int{}}
	if bareStops {
		bare.Stops = []int{0}
	}
	return []Case{
		{Name: "clean", Nodes: []int{0}, Stops: []int{}, Make: guarded(Workload{Name: "web", Replicas: 3}, "maxUnavailable=1")},
		{Name: "two on one node, one at a time", Nodes: []int{0}, Stops: []int{}, Make: func(ctx context.Context, n *Namespace) error {
			return chain(n.Deploy(ctx, Workload{Name: "web", Replicas: 4}), n.Guard(ctx, "web", "web", "minAvailable=75%", false))
		}},
		{Name: "minAvailable is replicas", Nodes: []int{0, 1, 2}, Make: guarded(Workload{Name: "web", Replicas: 2}, "minAvailable=2")},
		{Name: "single replica with a budget", Nodes: []int{1}, Stops: []int{1}, Make: guarded(Workload{Name: "web", Replicas: 1, On: []int{1}}, "minAvailable=1")},
		{Name: "maxUnavailable 0", Nodes: []int{1}, Stops: []int{1}, Make: guarded(Workload{Name: "web", Replicas: 2, On: []int{1}}, "maxUnavailable=0")},
		{Name: "overlapping budgets", Nodes: []int{0}, Stops: []int{0}, Make: func(ctx context.Context, n *Namespace) error {
			return chain(n.Deploy(ctx, Workload{Name: "web", Replicas: 2, On: []int{0}}), n.Guard(ctx, "a", "web", "maxUnavailable=1", false), n.Guard(ctx, "b", "web", "maxUnavailable=1", false))
		}},
		{Name: "unready and guarded", Nodes: []int{2}, Stops: []int{2}, Make: guarded(Workload{Name: "web", Replicas: 2, On: []int{2}, Unready: true}, "minAvailable=1")},
		{Name: "unready and let go", Nodes: []int{2}, Stops: []int{}, Make: func(ctx context.Context, n *Namespace) error {
			return chain(n.Deploy(ctx, Workload{Name: "web", Replicas: 2, On: []int{2}, Unready: true}), n.Guard(ctx, "web", "web", "minAvailable=1", true))
		}},
		{Name: "anti-affinity leaves a pod without a node", Nodes: []int{0, 1}, Stops: []int{1}, Make: guarded(Workload{Name: "web", Replicas: 3, Apart: true}, "maxUnavailable=1")},
		bare,
	}
}

func guarded(w Workload, rule string) func(context.Context, *Namespace) error {
	return func(ctx context.Context, n *Namespace) error {
		return chain(n.Deploy(ctx, w), n.Guard(ctx, w.Name, w.Name, rule, false))
	}
}

func chain(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// Random is a case drawn from a seed: up to three workloads, each with any of the
// rules, under drains of up to two nodes.
func Random(seed uint64) Case {
	r := rand.New(rand.NewPCG(seed, 1))
	rules := []string{"", "minAvailable=1", "minAvailable=2", "minAvailable=50%", "minAvailable=51%", "minAvailable=100%", "maxUnavailable=0", "maxUnavailable=1", "maxUnavailable=1%", "maxUnavailable=34%"}
	type drawn struct {
		Workload
		rule          string
		always, twice bool
	}
	var all []drawn
	for i := range 1 + r.IntN(3) {
		d := drawn{Workload: Workload{Name: fmt.Sprintf("web%d", i), Replicas: int32(1 + r.IntN(4)), Unready: r.IntN(5) == 0, Apart: r.IntN(4) == 0},
			rule: rules[r.IntN(len(rules))], always: r.IntN(3) == 0, twice: r.IntN(8) == 0}
		if r.IntN(2) == 0 {
			d.On = []int{r.IntN(3)}
		}
		all = append(all, d)
	}
	nodes := r.Perm(3)[:1+r.IntN(2)]
	return Case{Name: fmt.Sprintf("seed %d", seed), Nodes: nodes, Make: func(ctx context.Context, n *Namespace) error {
		for _, d := range all {
			if err := n.Deploy(ctx, d.Workload); err != nil {
				return err
			}
			if d.rule == "" {
				continue
			}
			if err := n.Guard(ctx, d.Name, d.Name, d.rule, d.always); err != nil {
				return err
			}
			if d.twice {
				if err := n.Guard(ctx, d.Name+"-too", d.Name, "maxUnavailable=1", false); err != nil {
					return err
				}
			}
		}
		return nil
	}}
}
