package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/kube-rehearse/rehearse/scenarios"
)

// production answers for an API server: a version, some nodes, and 404 for the
// rest. It keeps the methods that it was asked with.
type production struct {
	mu      sync.Mutex
	methods map[string]int
	workers int
	label   string // of each worker, as "name":"value"
}

func (p *production) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.methods[r.Method]++
	workers, label := p.workers, p.label
	p.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	switch r.URL.Path {
	case "/version":
		_, _ = w.Write([]byte(`{"gitVersion":"v1.34.4"}`))
	case "/api/v1/nodes":
		items := []string{`{"metadata":{"name":"m","labels":{"node-role.kubernetes.io/control-plane":""}}}`}
		for i := range workers {
			items = append(items, fmt.Sprintf(`{"metadata":{"name":"w%d","labels":{%s}}}`, i, label))
		}
		fmt.Fprintf(w, `{"kind":"NodeList","apiVersion":"v1","items":[%s]}`, strings.Join(items, ","))
	default:
		w.WriteHeader(http.StatusNotFound)
		_, _ = w.Write([]byte(`{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","code":404}`))
	}
}

func kubeconfigOf(t *testing.T, path, server string) {
	t.Helper()
	text := fmt.Sprintf(`{"apiVersion":"v1","kind":"Config","current-context":"c","contexts":[{"name":"c","context":{"cluster":"c","user":"u"}}],"clusters":[{"name":"c","cluster":{"server":%q}}],"users":[{"name":"u","user":{}}]}`, server)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestMirrorAndDiff(t *testing.T) {
	p := &production{methods: map[string]int{}, workers: 2}
	server := httptest.NewServer(p)
	defer server.Close()
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	kubeconfigOf(t, at("kube"), server.URL)
	run := func(args ...string) (code int, out, told string) {
		var stdout, stderr bytes.Buffer
		code = Main(append([]string{"mirror", "--kubeconfig", at("kube")}, args...), Streams{Out: &stdout, Err: &stderr})
		return code, stdout.String(), stderr.String()
	}
	code, out, told := run("--to", "v1.35.4", "--out", at("s.yaml"), "--facts", at("facts.json"))
	if code != 0 || out != "" || !strings.HasPrefix(told, "Fidelity ") {
		t.Fatalf("mirror: %d, %q, %q", code, out, told)
	}
	f, err := scenarios.LoadFile(at("s.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if c := f.Scenarios[0].Cluster; c.Driver != "kind" || c.ControlPlanes != 1 || c.Workers != 2 {
		t.Errorf("cluster %+v", c)
	}
	for _, name := range []string{"s.yaml", "facts.json"} {
		if info, err := os.Stat(at(name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, mode %v", name, err, info.Mode())
		}
	}
	code, out, _ = run("-o", "json", "--driver", "sim")
	var doc scenarios.File
	if err := json.Unmarshal([]byte(out), &doc); code != 0 || err != nil || doc.Scenarios[0].Versions.To != "v1.35.0" {
		t.Errorf("json: %d, %v, %s", code, err, out)
	}

	diff := []string{"--diff", "-f", at("s.yaml"), "--facts", at("facts.json")}
	if code, out, told = run(diff...); code != 0 || !strings.Contains(out, " 0 differ.\n") {
		t.Errorf("diff with itself: %d\n%s%s", code, out, told)
	}
	p.mu.Lock()
	p.workers = 3
	p.mu.Unlock()
	if code, out, _ = run(diff...); code != ExitNoGo || !strings.Contains(out, " 1 differ.\n") || !strings.Contains(out, "the scenario declares 2") {
		t.Errorf("diff with more workers: %d\n%s", code, out)
	}
	facts, err := os.ReadFile(at("facts.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(at("other.json"), append(facts, '\n'), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, args := range map[string][]string{
		"name the facts file that was written with the scenario": {"--diff", "-f", at("s.yaml"), "--facts", at("other.json")},
		"--diff needs --facts":                      {"--diff", "-f", at("s.yaml")},
		`--driver "aks" is unknown; accepted: kind`: {"--driver", "aks"},
		"--to v1.33.0 is older than production's":   {"--to", "v1.33.0"},
		`name: "Not_A_Label"`:                       {"--name", "Not_A_Label"},
		`context "nowhere" does not exist`:          {"--context", "nowhere"},
	} {
		if code, _, told := run(args...); code != ExitUsage || !strings.Contains(told, want) {
			t.Errorf("%v: %d, %s; want %s", args, code, told, want)
		}
	}
	server.Close()
	if code, _, told := run(); code != ExitFailed || !strings.Contains(told, "ask the cluster for its version") {
		t.Errorf("a cluster that is away: %d, %s", code, told)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.methods) != 1 || p.methods["GET"] < 40 {
		t.Errorf("methods %v, want GET alone", p.methods)
	}
}
