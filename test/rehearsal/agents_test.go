package rehearsal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/rest"
	clienttesting "k8s.io/client-go/testing"

	"github.com/kube-rehearse/rehearse/harness"
	"github.com/kube-rehearse/rehearse/harness/cleanup"
	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/load/agent"
	"github.com/kube-rehearse/rehearse/harness/load/agentjob"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/step"
	"github.com/kube-rehearse/rehearse/harness/timeline"
	"github.com/kube-rehearse/rehearse/test/interruption"
)

// agentsOfATest is how many send the load.
const agentsOfATest = 2

// loadCluster is a cluster that load agents run in: its API server is a fake, its
// pods are agents of this process, and they are reached by HTTP as the proxy to
// pods is.
type loadCluster struct {
	t      *testing.T
	client *fake.Clientset
	server *httptest.Server

	mu      sync.Mutex
	pods    map[string]*agentPod
	made    int
	removed int  // namespaces
	forbid  bool // to delete namespaces
}

type agentPod struct {
	agent *agent.Agent
	end   context.CancelFunc
	ended chan struct{}
	// lost is set where the process that knew it was killed: it goes on, and that
	// process hears and says nothing any more.
	lost bool
}

func newLoadCluster(t *testing.T) *loadCluster {
	t.Helper()
	c := &loadCluster{t: t, pods: map[string]*agentPod{}, client: fake.NewClientset(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: metav1.NamespaceSystem, UID: "load"}})}
	c.server = httptest.NewServer(c)
	c.client.PrependReactor("create", "selfsubjectaccessreviews", func(a clienttesting.Action) (bool, runtime.Object, error) {
		r := a.(clienttesting.CreateAction).GetObject().(*authorizationv1.SelfSubjectAccessReview)
		r.Status.Allowed = true
		return true, r, nil
	})
	c.client.PrependReactor("create", "jobs", c.runJob)
	c.client.PrependReactor("delete", "namespaces", c.deleteNamespace)
	c.client.PrependReactor("get", "pods", func(a clienttesting.Action) (bool, runtime.Object, error) {
		name := a.(clienttesting.GetAction).GetName()
		c.mu.Lock()
		defer c.mu.Unlock()
		if p := c.pods[name]; p != nil && p.lost {
			return true, nil, apierrors.NewNotFound(corev1.Resource("pods"), name)
		}
		return false, nil, nil
	})
	t.Cleanup(func() {
		c.server.Close()
		for _, p := range c.pods {
			p.end()
			<-p.ended
		}
	})
	return c
}

// runJob is the Job's controller, the scheduler and the kubelet.
func (c *loadCluster) runJob(a clienttesting.Action) (bool, runtime.Object, error) {
	job := a.(clienttesting.CreateAction).GetObject().(*batchv1.Job)
	secret, err := c.client.Tracker().Get(corev1.SchemeGroupVersion.WithResource("secrets"), job.Namespace, "load-agents")
	if err != nil {
		return true, nil, err
	}
	token := secret.(*corev1.Secret).StringData["token"]
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range int(*job.Spec.Completions) {
		c.made++
		name := fmt.Sprintf("load-agents-%d-%03d", i, c.made)
		ctx, cancel := context.WithCancel(c.t.Context())
		one, err := agent.New(ctx, agent.Config{Name: name, Token: token, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			cancel()
			return true, nil, err
		}
		p := &agentPod{agent: one, end: cancel, ended: make(chan struct{})}
		go func() {
			defer close(p.ended)
			_ = one.Run()
		}()
		c.pods[name] = p
		err = c.client.Tracker().Add(&corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{
				Name: name, Namespace: job.Namespace, UID: types.UID(name),
				Labels: map[string]string{"app.kubernetes.io/name": "load-agents", batchv1.JobCompletionIndexAnnotation: fmt.Sprint(i)},
			},
			Spec: corev1.PodSpec{NodeName: fmt.Sprintf("load-%d", i)},
			Status: corev1.PodStatus{Phase: corev1.PodRunning, Conditions: []corev1.PodCondition{
				{Type: corev1.PodScheduled, Status: corev1.ConditionTrue}, {Type: corev1.PodReady, Status: corev1.ConditionTrue},
			}},
		})
		if err != nil {
			return true, nil, err
		}
	}
	return false, nil, nil
}

// deleteNamespace ends what is in a namespace, as its controller does.
func (c *loadCluster) deleteNamespace(a clienttesting.Action) (bool, runtime.Object, error) {
	ns := a.(clienttesting.DeleteAction).GetName()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.forbid {
		return true, nil, apierrors.NewForbidden(corev1.Resource("namespaces"), ns, errors.New("not any more"))
	}
	c.removed++
	for name, p := range c.pods {
		p.end()
		_ = c.client.Tracker().Delete(corev1.SchemeGroupVersion.WithResource("pods"), ns, name) // gone with an earlier one
	}
	for resource, of := range map[string]string{"jobs": "batch", "secrets": ""} {
		version := corev1.SchemeGroupVersion
		if of != "" {
			version = batchv1.SchemeGroupVersion
		}
		_ = c.client.Tracker().Delete(version.WithResource(resource), ns, "load-agents")
	}
	return false, nil, nil
}

// ServeHTTP is the API server's proxy to pods.
func (c *loadCluster) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, rest, _ := strings.Cut(r.URL.Path, "/pods/")
	name, path, ok := strings.Cut(rest, ":8090/proxy")
	c.mu.Lock()
	p := c.pods[name]
	c.mu.Unlock()
	if !ok || p == nil || p.lost {
		http.Error(w, "no such pod", http.StatusServiceUnavailable)
		return
	}
	r.URL.Path = path
	p.agent.ServeHTTP(w, r)
}

// forget is what the death of the runner's process is to its agents.
func (c *loadCluster) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.pods {
		p.lost = true
	}
}

// sending counts the agents that have not ended.
func (c *loadCluster) sending() (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.pods {
		select {
		case <-p.ended:
		default:
			n++
		}
	}
	return n
}

// into makes the load of a plan one of agents in the cluster, as the plan of a
// scenario with load.agents is. The scenario of an embedded cluster may not say so.
func (c *loadCluster) into(p *harness.RunPlan) {
	in := step.AgentsCluster{Kubeconfig: "load.kubeconfig", Context: "load", Connect: func() (*agentjob.Cluster, error) {
		return &agentjob.Cluster{Client: c.client, Config: &rest.Config{Host: c.server.URL, QPS: -1}, Kubeconfig: "load.kubeconfig", Context: "load"}, nil
	}}
	var out []harness.Entry
	add := func(e harness.Entry) {
		e.Number = len(out) + 1
		out = append(out, e)
	}
	of := func(section string, s step.Step) harness.Entry {
		return harness.Entry{Section: section, Description: s.Describe(), Step: s}
	}
	for i, e := range p.Entries {
		if s, ok := e.Step.(step.StartLoad); ok {
			add(of(harness.SectionMeasure, step.LoadAgents{In: in, Count: agentsOfATest, Image: "canary:1", Rate: 40}))
			s.Agents, s.Twin = agentsOfATest, agent.Twin{BodyBytes: 1024}
			e.Step, e.Description = s, s.Describe()
		}
		add(e)
		if i == 0 {
			add(of(harness.SectionPrepare, step.CheckAgents{In: in}))
		}
	}
	p.Entries = out
}

// gone checks that the agents have ended, and that nothing of a run is left.
func (c *loadCluster) gone(run string) {
	c.t.Helper()
	_, err := c.client.CoreV1().Namespaces().Get(c.t.Context(), agentjob.Namespace(run), metav1.GetOptions{})
	if !apierrors.IsNotFound(err) {
		c.t.Errorf("namespace %s: %v", agentjob.Namespace(run), err)
	}
	for _, p := range c.pods {
		select {
		case <-p.ended:
		case <-time.After(20 * time.Second):
			c.t.Fatal("an agent has not ended")
		}
	}
}

// killWithin kills a run in the last step of a section, and leaves its agents to
// themselves.
func killWithin(t *testing.T, section string) (*killing, *loadCluster) {
	t.Helper()
	k, c := newKilling(t), newLoadCluster(t)
	k.extend, k.onKill = c.into, c.forget
	s := k.scenario(t)
	for _, e := range k.plan(t, s).Entries {
		if e.Section == section {
			k.number, k.inside = e.Number, true
		}
	}
	if _, err := k.goOn(t, s); err == nil {
		t.Fatal("the run was not killed")
	}
	if c.made != agentsOfATest || c.removed != 0 || c.sending() != agentsOfATest {
		t.Fatalf("the kill left %d of %d agents sending, %d namespaces removed", c.sending(), c.made, c.removed)
	}
	k.number = 0
	return k, c
}

// TestAgentsOfAKilledRunAreReplaced goes on with a run whose agents are still
// sending: they are removed, others begin, and the record holds what each sent.
func TestAgentsOfAKilledRunAreReplaced(t *testing.T) {
	t.Parallel()
	for _, section := range []string{harness.SectionMeasure, harness.SectionUpgrade} {
		t.Run(section, func(t *testing.T) {
			k, c := killWithin(t, section)
			res, err := k.goOn(t, k.scenario(t))
			if err != nil || res.Err != nil {
				t.Fatalf("resume: %v, %v", err, res)
			}
			if c.made != 2*agentsOfATest || c.removed != 2 {
				t.Errorf("%d agents made, %d times removed", c.made, c.removed)
			}
			rec := res.Record
			c.gone(rec.Run.ID)
			if len(res.Left) > 0 {
				t.Errorf("left: %v", res.Left)
			}
			names := map[string]bool{}
			for _, a := range rec.Run.Agents {
				names[a.Name] = true
			}
			if len(rec.Run.Agents) != 2*agentsOfATest || len(names) != 2*agentsOfATest {
				t.Fatalf("agents in the record: %+v", rec.Run.Agents)
			}
			for _, l := range rec.Lanes {
				for i, p := range l.Parts {
					// A run that is killed as soon as it measures has heard nothing yet.
					early := section == harness.SectionMeasure && i < agentsOfATest
					if !early && (p.Seconds == 0 || p.Sum.Sent() == 0) {
						t.Errorf("lane %s: nothing of agent %d, %s", l.Lane.Name, i, rec.Run.Agents[i].Name)
					}
				}
				if len(l.Parts) != 2*agentsOfATest {
					t.Errorf("lane %s: %d parts", l.Lane.Name, len(l.Parts))
				}
			}
			ends := 0
			for _, e := range rec.Events {
				if e.Kind == timeline.KindAgentLost {
					t.Errorf("an agent was lost: %+v", e)
				}
				if e.Kind == timeline.KindAgentEnd {
					ends++
				}
			}
			if ends != agentsOfATest {
				t.Errorf("%d agents told everything", ends)
			}
			checkAgentRules(t, res, section == harness.SectionMeasure)
			if section == harness.SectionUpgrade {
				interruption.Check(t, res.Verdict)
			}
		})
	}
}

// checkAgentRules holds that the rule about agents passes, and speaks of those whose
// measurement counts.
func checkAgentRules(t *testing.T, res *harness.Result, anew bool) {
	t.Helper()
	for _, v := range res.Verdict.Validity {
		if v.Rule != "load-agents" && v.Rule != "agent-clocks" {
			continue
		}
		if v.Result != judge.Pass {
			t.Errorf("%s %s: %s", v.Rule, v.Result, v.Explain)
		}
		for i, a := range res.Record.Run.Agents {
			counts := i >= agentsOfATest || !anew
			if v.Rule == "load-agents" && strings.Contains(v.Explain, a.Name) != counts {
				t.Errorf("agent %s: it counts (%v), and the rule says %s", a.Name, counts, v.Explain)
			}
		}
	}
}

// TestAgentsAreNamedWhereARunCannotGoOn takes the cluster under test away.
func TestAgentsAreNamedWhereARunCannotGoOn(t *testing.T) {
	t.Parallel()
	k, c := killWithin(t, harness.SectionMeasure)
	killed, err := record.Load(k.dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := k.driver.Delete(t.Context(), cluster.Spec{RunID: killed.Run.ID}); err != nil {
		t.Fatal(err)
	}
	_, err = k.goOn(t, k.scenario(t))
	want := "delete load agents in context load with: kubectl --kubeconfig load.kubeconfig --context load delete namespace rehearse-agents-" + killed.Run.ID
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want it to say %s", err, want)
	}
	if c.removed != 0 {
		t.Error("the agents were removed, although nothing may be touched before the cluster is found")
	}
}

// interrupting interrupts a run some time after a step has begun.
type interrupting struct {
	quiet
	number int
	cancel context.CancelCauseFunc
}

func (i interrupting) Start(e harness.Entry, _ int) {
	if e.Number == i.number {
		time.AfterFunc(1500*time.Millisecond, func() { i.cancel(errors.New("interrupted")) })
	}
}

// TestInterruptedRunRemovesItsAgents is Ctrl-C in the middle of the baseline.
func TestInterruptedRunRemovesItsAgents(t *testing.T) {
	t.Parallel()
	for name, forbid := range map[string]bool{"removed": false, "not allowed to": true} {
		t.Run(name, func(t *testing.T) {
			k, c := newKilling(t), newLoadCluster(t)
			k.extend = c.into
			p := k.plan(t, k.scenario(t))
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			progress := interrupting{cancel: cancel}
			for _, e := range p.Entries {
				if w, ok := e.Step.(watched); ok {
					if h, ok := w.Step.(step.Hold); ok && h.Phase == timeline.PhaseBaseline {
						h.For, w.Step = time.Minute, h
						p.Entries[e.Number-1].Step = w
						progress.number = e.Number
					}
				}
			}
			c.forbid = forbid
			o := k.options()
			o.Progress, o.Cleanup = progress, &cleanup.Stack{}
			res, err := harness.Run(ctx, p, o)
			if err != nil {
				t.Fatal(err)
			}
			if res.Record.Run.Outcome != record.OutcomeInterrupted || c.made != agentsOfATest {
				t.Errorf("outcome %s, %d agents", res.Record.Run.Outcome, c.made)
			}
			if !forbid {
				c.gone(res.Record.Run.ID)
				if len(res.Left) != 0 || c.removed != 1 {
					t.Errorf("left %v, removed %d times", res.Left, c.removed)
				}
				return
			}
			how := "kubectl --kubeconfig load.kubeconfig --context load delete namespace rehearse-agents-" + res.Record.Run.ID
			if len(res.Left) != 1 || res.Left[0].What != "load agents in context load" || res.Left[0].How != how {
				t.Errorf("left: %+v", res.Left)
			}
			last := res.Record.Run.Steps[len(res.Record.Run.Steps)-1]
			if !strings.Contains(last.Error, "not any more; delete them with: "+how) {
				t.Errorf("the tear-down says %q", last.Error)
			}
			// Told to stop they were all the same.
			c.forbid = false
			for _, p := range c.pods {
				select {
				case <-p.ended:
				case <-time.After(20 * time.Second):
					t.Fatal("an agent goes on sending")
				}
			}
		})
	}
}
