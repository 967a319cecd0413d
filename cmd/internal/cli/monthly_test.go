package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/kube-rehearse/rehearse/harness"
	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/judge/synth"
)

// synthMonthly is rehearse monthly without a cluster: what it would rehearse is
// made up, GO unless REHEARSE_SYNTH is outage.
func synthMonthly(args []string, s Streams) int {
	ctx, stop := watchSignals(context.Background(), s)
	defer stop()
	f := &monthlyFlags{carryOut: func(_ context.Context, r *rehearsalFlags, _ Streams, p *harness.RunPlan, _ cluster.Driver) (*harness.Result, error) {
		o := synth.Options{
			Lanes: []string{"new"}, Baseline: 40 * time.Second, Upgrade: 45 * time.Second, Settle: 5 * time.Second, Warmup: time.Second,
			From: p.Scenario.Versions.From, To: p.Scenario.Versions.To,
		}
		if os.Getenv("REHEARSE_SYNTH") == "outage" {
			o.Faults = []synth.Fault{{Lane: "new", Start: 10 * time.Second, Length: 5 * time.Second}}
		}
		rec, sc := synth.Record(o), o.Scenario()
		dir := filepath.Join(r.out, p.Scenario.Name+"-"+rec.Run.ID)
		if _, err := os.Stat(dir); err == nil {
			dir += "-again"
		}
		return &harness.Result{Dir: dir, Record: rec, Verdict: judge.Judge(rec, sc.Criteria())}, synth.Write(dir, rec)
	}}
	cmd := f.command(s)
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetArgs(args)
	return exitCode(cmd.ExecuteContext(ctx), s)
}

// upgradable writes prod.kubeconfig into dir, of an API server whose version
// stands in the file api in dir, and its node's in the file kubelet.
func upgradable(t *testing.T, dir string) error {
	read := func(name string) string {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return "v1.34.4-eks-3025e55"
		}
		return strings.TrimSpace(string(b))
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch {
		case r.Method != http.MethodGet:
			t.Errorf("%s %s: production may only be read", r.Method, r.URL)
		case r.URL.Path == "/version":
			fmt.Fprintf(w, `{"major":"1","minor":"34+","gitVersion":%q}`, read("api"))
		case r.URL.Path == "/api/v1/nodes":
			fmt.Fprintf(w, `{"kind":"NodeList","apiVersion":"v1","items":[{"metadata":{"name":"w1"},"status":{"nodeInfo":{"kubeletVersion":%q},"conditions":[{"type":"Ready","status":"True"}]}}]}`, read("kubelet"))
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(server.Close)
	config := `{"apiVersion":"v1","kind":"Config","current-context":"c","clusters":[{"name":"c","cluster":{"server":"` + server.URL + `"}}],"contexts":[{"name":"c","context":{"cluster":"c","user":"u"}}],"users":[{"name":"u","user":{}}]}`
	return os.WriteFile(filepath.Join(dir, "prod.kubeconfig"), []byte(config), 0o600)
}

func TestPublicArgs(t *testing.T) {
	got := strings.Join(publicArgs([]string{
		"rehearse", "monthly", "--versions=https://u:hunter2@example.com/v?token=hunter2", "--versions", "https://example.com/v?token=hunter2",
		"--target", "http://canary.example/", "--take=patch", "--notify", "https://x/hunter2", "--notify=https://x/hunter2", "--then", "kops", "--", "--token", "hunter2",
	}), " ")
	want := "rehearse monthly --versions=https://example.com/v?... --versions https://example.com/v?... --target http://canary.example/ --take=patch --notify ... --notify=... --then kops -- ..."
	if got != want {
		t.Errorf("got %s", got)
	}
}

// hook starts a webhook that appends what it is sent to a file, one line a
// message, and sets HOOK to its URL: hook FILE. Below /refuse it refuses.
func hook(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: hook FILE")
	}
	file := ts.MkAbs(args[0])
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/refuse") {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		f, err := os.OpenFile(file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		if err == nil {
			_, err = io.Copy(f, r.Body)
			_, err2 := f.WriteString("\n")
			err = errors.Join(err, err2, f.Close())
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	}))
	ts.Defer(server.Close)
	ts.Setenv("HOOK", server.URL)
}
