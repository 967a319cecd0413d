package agentjob

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	authorizationv1 "k8s.io/api/authorization/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/rest"
	clienttesting "k8s.io/client-go/testing"
	"sigs.k8s.io/yaml"

	"github.com/kube-rehearse/rehearse/harness/load/agent"
	"github.com/kube-rehearse/rehearse/harness/record"
)

var cfg = Config{RunID: "4f2a91", Agents: 3, Image: "rehearse/canary:test", Rate: 3000}

func on(objects ...runtime.Object) *Cluster {
	return &Cluster{Client: fake.NewClientset(objects...), Config: &rest.Config{Host: "http://127.0.0.1:1"}, Kubeconfig: "load.kubeconfig", Context: "load"}
}

func actions(c *Cluster) (out []string) {
	for _, a := range c.Client.(*fake.Clientset).Actions() {
		name := ""
		switch x := a.(type) {
		case clienttesting.CreateAction:
			name = x.GetObject().(metav1.Object).GetName()
		case interface{ GetName() string }: // to get, and to delete
			name = x.GetName()
		}
		out = append(out, a.GetVerb()+" "+a.GetResource().Resource+" "+name)
	}
	return out
}

func TestCreateMakesAnIndexedJobInANamespaceOfItsOwn(t *testing.T) {
	c := on()
	token, err := Create(t.Context(), c, cfg)
	if err != nil || len(token) != 64 {
		t.Fatal(token, err)
	}
	if diff := cmp.Diff([]string{"create namespaces rehearse-agents-4f2a91", "create secrets load-agents", "create jobs load-agents"}, actions(c)); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
	j, err := c.Client.BatchV1().Jobs("rehearse-agents-4f2a91").Get(t.Context(), "load-agents", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	j.ManagedFields = nil
	got, err := yaml.Marshal(j)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(got), token) {
		t.Error("the token stands in the Job")
	}
	if diff := cmp.Diff(wantJob, string(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	ns, err := c.Client.CoreV1().Namespaces().Get(t.Context(), "rehearse-agents-4f2a91", metav1.GetOptions{})
	if err != nil || ns.Labels["io.rehearse.run"] != "4f2a91" || ns.Labels["pod-security.kubernetes.io/enforce"] != "restricted" {
		t.Errorf("%v %v", ns.Labels, err)
	}
}

const wantJob = `apiVersion: batch/v1
kind: Job
metadata:
  labels:
    app.kubernetes.io/name: load-agents
    app.kubernetes.io/part-of: rehearse
    io.rehearse.run: 4f2a91
  name: load-agents
  namespace: rehearse-agents-4f2a91
spec:
  backoffLimit: 0
  completionMode: Indexed
  completions: 3
  parallelism: 3
  podReplacementPolicy: Failed
  template:
    metadata:
      annotations:
        cluster-autoscaler.kubernetes.io/safe-to-evict: "false"
      labels:
        app.kubernetes.io/name: load-agents
        app.kubernetes.io/part-of: rehearse
        io.rehearse.run: 4f2a91
    spec:
      automountServiceAccountToken: false
      containers:
      - args:
        - agent
        - -port=8090
        env:
        - name: REHEARSE_AGENT_NAME
          valueFrom:
            fieldRef:
              fieldPath: metadata.name
        - name: REHEARSE_AGENT_TOKEN
          valueFrom:
            secretKeyRef:
              key: token
              name: load-agents
        image: rehearse/canary:test
        imagePullPolicy: IfNotPresent
        name: agent
        ports:
        - containerPort: 8090
          name: agent
          protocol: TCP
        readinessProbe:
          failureThreshold: 3
          httpGet:
            path: /readyz
            port: agent
            scheme: HTTP
          periodSeconds: 1
          timeoutSeconds: 5
        resources:
          requests:
            cpu: 200m
            memory: 114Mi
        securityContext:
          allowPrivilegeEscalation: false
          capabilities:
            drop:
            - ALL
          readOnlyRootFilesystem: true
      enableServiceLinks: false
      restartPolicy: Never
      securityContext:
        runAsGroup: 65532
        runAsNonRoot: true
        runAsUser: 65532
        seccompProfile:
          type: RuntimeDefault
      terminationGracePeriodSeconds: 2
      topologySpreadConstraints:
      - labelSelector:
          matchLabels:
            app.kubernetes.io/name: load-agents
        maxSkew: 1
        topologyKey: kubernetes.io/hostname
        whenUnsatisfiable: ScheduleAnyway
  ttlSecondsAfterFinished: 600
status: {}
`

// pod is an agent's; change makes it another than a ready one.
func pod(index string, change func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "rehearse-agents-4f2a91", Name: "load-agents-" + index + "-x", UID: "uid-" + "1",
			Labels: map[string]string{"app.kubernetes.io/name": "load-agents", batchv1.JobCompletionIndexAnnotation: index},
		},
		Spec:   corev1.PodSpec{NodeName: "node-" + index},
		Status: corev1.PodStatus{Phase: corev1.PodRunning, Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}},
	}
	if change != nil {
		change(p)
	}
	return p
}

func TestWaitReturnsThemInOrderOfTheirIndex(t *testing.T) {
	c := on(pod("2", nil), pod("0", nil), pod("1", nil))
	got, err := Wait(t.Context(), c, cfg, "token", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, a := range got {
		names = append(names, a.Name+" "+a.Node)
	}
	if diff := cmp.Diff([]string{"load-agents-0-x node-0", "load-agents-1-x node-1", "load-agents-2-x node-2"}, names); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestWaitSaysWhatEachPodDoes(t *testing.T) {
	pending := func(c corev1.PodCondition) func(*corev1.Pod) {
		return func(p *corev1.Pod) {
			p.Status = corev1.PodStatus{Phase: corev1.PodPending, Conditions: []corev1.PodCondition{c}}
		}
	}
	for _, x := range []struct {
		name string
		pods []runtime.Object
		want string
	}{
		{"not ready", []runtime.Object{
			pod("0", nil),
			pod("1", pending(corev1.PodCondition{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "Unschedulable", Message: "0/1 nodes are available"})),
			pod("2", func(p *corev1.Pod) {
				p.Status = corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ErrImagePull", Message: "not found"}}}}}
			}),
		}, "the load agents in context load were not ready after 1m0s:\n" +
			"pod rehearse-agents-4f2a91/load-agents-1-x: Unschedulable: 0/1 nodes are available\n" +
			"pod rehearse-agents-4f2a91/load-agents-2-x: ErrImagePull: not found"},
		{"a quota", []runtime.Object{pod("0", nil)}, "the load agents in context load were not ready after 1m0s:\n" +
			"1 pods exist, 3 are wanted; a quota or an admission webhook may keep the Job from making them"},
		{"one has ended", []runtime.Object{pod("0", nil), pod("1", nil), pod("2", func(p *corev1.Pod) {
			p.Status = corev1.PodStatus{Phase: corev1.PodFailed, ContainerStatuses: []corev1.ContainerStatus{{State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 64, Reason: "Error"}}}}}
		})}, "a load agent in context load has ended before it was told what to send; its image must be of this release (load.agentImage):\n" +
			"pod rehearse-agents-4f2a91/load-agents-2-x: its pod has ended (exit code 64, Error)"},
	} {
		t.Run(x.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, err := Wait(t.Context(), on(x.pods...), cfg, "token", time.Minute)
				if err == nil || err.Error() != x.want {
					t.Errorf("got  %v\nwant %s", err, x.want)
				}
			})
		})
	}
}

func TestRemove(t *testing.T) {
	c := on(namespace(cfg))
	for range 2 {
		if err := Remove(t.Context(), c, cfg.RunID); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]string{
		"get namespaces rehearse-agents-4f2a91", "delete namespaces rehearse-agents-4f2a91", "get namespaces rehearse-agents-4f2a91",
		"get namespaces rehearse-agents-4f2a91",
	}, actions(c)); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
	foreign := on(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "rehearse-agents-4f2a91"}})
	want := "remove the load agents in context load: namespace rehearse-agents-4f2a91 is not this run's: it is left as it is"
	if err := Remove(t.Context(), foreign, cfg.RunID); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if got, want := c.DeleteCommand("4f2a91"), "kubectl --kubeconfig load.kubeconfig --context load delete namespace rehearse-agents-4f2a91"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestRemoveThatFailsSaysHow holds that whoever is left with agents is told what
// happened and the command.
func TestRemoveThatFailsSaysHow(t *testing.T) {
	const how = "kubectl --kubeconfig load.kubeconfig --context load delete namespace rehearse-agents-4f2a91"
	deny := func(c *Cluster, verb string, err error, times int) {
		c.Client.(*fake.Clientset).PrependReactor(verb, "namespaces", func(clienttesting.Action) (bool, runtime.Object, error) {
			if times--; times < 0 {
				return false, nil, nil
			}
			return true, nil, err
		})
	}
	forbidden := apierrors.NewForbidden(corev1.Resource("namespaces"), "rehearse-agents-4f2a91", errors.New("no"))
	refused := errors.New("connection refused")
	stuck := namespace(cfg)
	stuck.DeletionTimestamp, stuck.Finalizers = new(metav1.Now()), []string{"kubernetes"}
	for _, x := range []struct {
		name  string
		ns    *corev1.Namespace
		verb  string
		err   error
		times int
		want  string
	}{
		{"the user may not", namespace(cfg), "delete", forbidden, 1, "remove the load agents in context load: delete namespace rehearse-agents-4f2a91: " + forbidden.Error() + "; delete them with: " + how},
		{"the API server is away for half a minute", namespace(cfg), "get", refused, 30, ""},
		{"it answers to nothing but deletion", namespace(cfg), "get", refused, 1000, "remove the load agents in context load: get namespace rehearse-agents-4f2a91: connection refused; delete them with: " + how},
		{"the namespace does not go", stuck, "list", nil, 0, "namespace rehearse-agents-4f2a91 in context load is being deleted and not gone: context deadline exceeded; see what keeps it, and delete it with: " + how},
	} {
		synctest.Test(t, func(t *testing.T) {
			c := on(x.ns)
			deny(c, x.verb, x.err, x.times)
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
			defer cancel()
			got := ""
			if err := Remove(ctx, c, cfg.RunID); err != nil {
				got = err.Error()
			}
			if got != x.want {
				t.Errorf("%s:\ngot  %s\nwant %s", x.name, got, x.want)
			}
		})
	}
}

func TestPreflight(t *testing.T) {
	c := on(namespace(Config{RunID: "old"}))
	denied := map[string]bool{}
	c.Client.(*fake.Clientset).PrependReactor("create", "selfsubjectaccessreviews", func(a clienttesting.Action) (bool, runtime.Object, error) {
		r := a.(clienttesting.CreateAction).GetObject().(*authorizationv1.SelfSubjectAccessReview)
		r.Status.Allowed = !denied[spelled(*r.Spec.ResourceAttributes)]
		return true, r, nil
	})
	got, err := Preflight(t.Context(), c, cfg.RunID)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]record.Finding{{
		ID: "leftover", Severity: record.SeverityWarn, Object: "namespace/rehearse-agents-old",
		Cause:  "run old left its load agents behind in context load, or is under way",
		Remedy: "kubectl --kubeconfig load.kubeconfig --context load delete namespace rehearse-agents-old",
	}}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	denied["create pods/proxy"], denied["create jobs.batch"] = true, true
	if got, err = Preflight(t.Context(), c, cfg.RunID); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]record.Finding{{
		ID: "agents-forbidden", Severity: record.SeverityBlock, Object: "cluster/agents",
		Cause:  "in context load this user may not: create jobs.batch, create pods/proxy",
		Remedy: "grant it (docs/guides/agents.md has the ClusterRole), or name another cluster in load.agentsKubeconfig",
	}}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestConn goes by a server that answers as the API server's proxy does.
func TestConn(t *testing.T) {
	var seen []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		seen = append(seen, r.Method+" "+r.URL.RequestURI()+" "+r.Header.Get(agent.HeaderToken)+" "+string(body))
		if strings.HasSuffix(r.URL.Path, agent.PathStart) {
			http.Error(w, "the agreed start is over", http.StatusBadRequest)
			return
		}
		_, _ = io.WriteString(w, "answer")
	}))
	defer server.Close()
	c := on(pod("0", nil))
	c.Config = &rest.Config{Host: server.URL}
	all, err := agents(c, []corev1.Pod{*pod("0", nil)}, "secret")
	if err != nil {
		t.Fatal(err)
	}
	got, err := all[0].Conn.Do(t.Context(), http.MethodGet, agent.PathTold, "after=7", nil)
	if err != nil || string(got) != "answer" {
		t.Errorf("%q, %v", got, err)
	}
	_, err = all[0].Conn.Do(t.Context(), http.MethodPost, agent.PathStart, "", []byte("{}"))
	if want := "POST /start: status 400: the agreed start is over"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	const proxy = "/api/v1/namespaces/rehearse-agents-4f2a91/pods/load-agents-0-x:8090/proxy"
	if diff := cmp.Diff([]string{"GET " + proxy + "/told?after=7 secret ", "POST " + proxy + "/start secret {}"}, seen); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := all[0].Conn.Do(ctx, http.MethodGet, agent.PathClock, "", nil); err == nil {
		t.Error("a request outlives its context")
	}
}

func TestGone(t *testing.T) {
	for want, objects := range map[string][]runtime.Object{
		"":                                {pod("0", nil)},
		"its pod was deleted":             nil,
		"its pod was replaced by another": {pod("0", func(p *corev1.Pod) { p.UID = "other" })},
		"its pod has ended, Evicted: The node was low on resource: memory.": {pod("0", func(p *corev1.Pod) {
			p.Status = corev1.PodStatus{Phase: corev1.PodFailed, Reason: "Evicted", Message: "The node was low on resource: memory."}
		})},
	} {
		all, err := agents(on(objects...), []corev1.Pod{*pod("0", nil)}, "secret")
		if err != nil {
			t.Fatal(err)
		}
		got, err := all[0].Conn.Gone(t.Context())
		if err != nil || got != want {
			t.Errorf("got %q, %v; want %q", got, err, want)
		}
	}
}
