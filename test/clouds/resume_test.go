package clouds

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kube-rehearse/rehearse/harness"
	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/step"
	"github.com/kube-rehearse/rehearse/harness/timeline"
	"github.com/kube-rehearse/rehearse/test/interruption"
)

// process is one process that rehearses and is ended in the middle of a roll: by a
// kill, which leaves the files and what lies outside as they are, or by an
// interrupt, after which it still writes and cleans up.
type process struct {
	cancel context.CancelCauseFunc
	dir    string

	mu  sync.Mutex
	env *step.Env
}

// watched lets the process be killed within its step.
type watched struct {
	step.Step
	p *process
}

func (w watched) Run(ctx context.Context, env *step.Env) error {
	w.p.mu.Lock()
	w.p.env = env
	w.p.mu.Unlock()
	return w.Step.Run(ctx, env)
}

func (p *process) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = p.env.Dir.Close()
	p.env.Cleanup.Release()
	p.cancel(errors.New("killed"))
}

func (p *process) interrupt() { p.cancel(errors.New("interrupted")) }

// run begins the rehearsal and returns when the process has ended.
func (p *process) run(t *testing.T, file string, driver cluster.Driver, change func(*harness.Options)) (*harness.Result, error) {
	t.Helper()
	ctx, cancel := context.WithCancelCause(t.Context())
	t.Cleanup(func() { cancel(nil) })
	p.cancel = cancel
	plan := planned(t, file, driver)
	for i := range plan.Entries {
		if s, ok := plan.Entries[i].Step.(step.RollRole); ok {
			plan.Entries[i].Step = watched{s, p}
		}
	}
	o := options(t.TempDir(), driver)
	o.Begun = func(dir string) { p.dir = dir }
	change(&o)
	return harness.Run(ctx, plan, o)
}

// resume is the process that goes on.
func (p *process) resume(t *testing.T, driver cluster.Driver) *harness.Result {
	t.Helper()
	i, err := harness.Reopen(p.dir)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := harness.Plan(i.Scenario, driver)
	if err != nil {
		t.Fatal(err)
	}
	res, err := harness.Resume(t.Context(), i, plan, options("", driver))
	if err != nil {
		t.Fatal(err)
	}
	if res.Err != nil {
		t.Fatal(res.Err)
	}
	for _, s := range res.Record.Run.Steps {
		if s.Outcome != record.OutcomePassed {
			t.Errorf("step %d, %s: %s %s", s.Number, s.Description, s.Outcome, s.Error)
		}
	}
	if n := len(res.Record.Run.Interruptions); n != 1 {
		t.Errorf("%d interruptions", n)
	}
	interruption.Check(t, res.Verdict)
	return res
}

// left are the findings that name what is left, each with its remedy.
func left(r *record.Record) []string {
	var all []string
	for _, f := range r.Run.Findings {
		if f.ID == "left-behind" {
			all = append(all, f.Object+": "+f.Remedy)
		}
	}
	return all
}

// versions counts the kubelets after a run.
func versions(r *record.Record) map[string]int {
	n := map[string]int{}
	for _, node := range r.After.Nodes {
		if node.Ready && !node.Unschedulable {
			n[node.KubeletVersion]++
		}
	}
	return n
}

// count counts the calls that are wanted.
func count(calls []string, want string) int {
	n := 0
	for _, c := range calls {
		if c == want {
			n++
		}
	}
	return n
}

func TestKilledInTheRollOnKopsAndResumed(t *testing.T) {
	t.Parallel()
	k, d := newKops(t)
	p := &process{}
	k.hang = p.kill
	if res, err := p.run(t, kopsScenario, d, func(*harness.Options) {}); err == nil {
		t.Fatalf("it was not killed: %+v", res.Verdict)
	}
	if last := k.calls[len(k.calls)-1]; last == "delete cluster --yes" {
		t.Fatal("a killed run has deleted its cluster")
	}
	res := p.resume(t, k.driver())
	same(t, "kubelets", map[string]int{"v1.35.4": 6}, versions(res.Record))
	same(t, "rolls of the workers, and of the control plane", []int{2, 1}, []int{count(k.calls, "rolling-update cluster --yes"), count(k.calls, "rolling-update cluster --yes control-plane,apiserver")})
	if got, want := explain(res.Verdict, "versions"), "pass: The API server and 6 of 6 nodes run v1.35.4 and are Ready; 3 of them took the place of 3 that are gone."; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if last := k.calls[len(k.calls)-1]; last != "delete cluster --yes" {
		t.Errorf("the cluster is still there: the last call is %s", last)
	}
}

// TestInterruptedInTheRollOnKops ends as Ctrl-C does with --keep-cluster.
func TestInterruptedInTheRollOnKops(t *testing.T) {
	t.Parallel()
	k, d := newKops(t)
	p := &process{}
	k.hang = p.interrupt
	res, err := p.run(t, kopsScenario, d, func(o *harness.Options) { o.KeepCluster = true })
	if err != nil {
		t.Fatal(err)
	}
	if out := res.Record.Run.Outcome; out != record.OutcomeInterrupted {
		t.Errorf("outcome %s", out)
	}
	same(t, "left behind", []string{
		"cordoned node/mirror-worker2: kubectl uncordon mirror-worker2", "detached instance/mirror-worker2: aws ec2 terminate-instances --instance-ids mirror-worker2",
		"tainted nodes/nodes-us-east-1b (1): kubectl taint nodes -l kops.k8s.io/instancegroup=nodes-us-east-1b kops.k8s.io/scheduled-for-update-",
	}, left(res.Record))
	if len(res.Kept) == 0 {
		t.Error("nothing is told to be kept")
	}
	for _, e := range res.Kept {
		if strings.Contains(e.What, "cluster") && e.How != "kops delete cluster --name mirror.k8s.local --state s3://state --yes" {
			t.Errorf("%s is deleted with %q", e.What, e.How)
		}
	}
	same(t, "kubelets after it", map[string]int{"v1.35.4": 6}, versions(p.resume(t, k.driver()).Record))
}

// rolling calls f once an update of the node group is under way.
func rolling(f func()) func(timeline.Event) {
	var once sync.Once
	return func(e timeline.Event) {
		if e.Kind == timeline.KindUpgradeStart && e.Subject == "group/apps" {
			once.Do(func() { go f() }) // not within the recorder's lock
		}
	}
}

func TestKilledInTheRollOnEKSAndResumed(t *testing.T) {
	t.Parallel()
	a, d := newEKS(t)
	a.With(func() { a.EKS.UpdateTakes = 2 * time.Second })
	p := &process{}
	if res, err := p.run(t, eksScenario, d, func(o *harness.Options) { o.Events = rolling(p.kill) }); err == nil {
		t.Fatalf("it was not killed: %+v", res.Verdict)
	}
	res := p.resume(t, eksOf(a, d.fleet))
	same(t, "kubelets", map[string]int{"v1.35.5": 4}, versions(res.Record))
	// The update that was under way is followed; EKS would take no second one.
	calls := a.Calls()
	same(t, "updates of the control plane, add-ons and groups", []int{1, 1, 1}, []int{count(calls, "eks:UpdateClusterVersion"), count(calls, "eks:UpdateAddon"), count(calls, "eks:UpdateNodegroupVersion")})
}

// TestInterruptedInTheRollOnEKS ends as Ctrl-C does: the cluster is not ours, and
// EKS goes on.
func TestInterruptedInTheRollOnEKS(t *testing.T) {
	t.Parallel()
	a, d := newEKS(t)
	a.With(func() { a.EKS.UpdateTakes = 2 * time.Second })
	p := &process{}
	res, err := p.run(t, eksScenario, d, func(o *harness.Options) { o.Events = rolling(p.interrupt) })
	if err != nil {
		t.Fatal(err)
	}
	if out := res.Record.Run.Outcome; out != record.OutcomeInterrupted {
		t.Errorf("outcome %s", out)
	}
	same(t, "left behind", []string{
		"EKS update/node group apps u-3: EKS goes on with it and cancels none of this kind; look with: aws eks describe-update --region eu-west-1 --name payments --nodegroup-name apps --update-id u-3",
	}, left(res.Record))
}

// TestADrillOnEKSGoesAllTheWayBack upgrades and goes back, control plane and all.
func TestADrillOnEKSGoesAllTheWayBack(t *testing.T) {
	t.Parallel()
	a, d := newEKS(t)
	a.With(func() { a.EKS.AddonDefaults["coredns/1.34"] = "v1.11.4-eksbuild.1" })
	res := rehearse(t, strings.Replace(eksScenario, "interval: 0s,", "interval: 0s, rollback: {after: 100%},", 1), d)
	check(t, res)
	if got, want := explain(res.Verdict, "versions"), "pass: The API server and 4 of 4 nodes run 1.34 again and are Ready. EKS chooses the patch, so minors are compared; the API server runs v1.34.4."; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if c := a.EKS.Clusters["payments"]; c.Version != "1.34" || c.Groups["apps"].Version != "1.34" || c.Addons["coredns"] != "v1.11.4-eksbuild.1" {
		t.Errorf("cluster %+v", c)
	}
}
