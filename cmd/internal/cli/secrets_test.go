package cli

import (
	"bytes"
	"context"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-rehearse/rehearse/harness"
	"github.com/kube-rehearse/rehearse/harness/canary/deploy"
	"github.com/kube-rehearse/rehearse/harness/cleanup"
	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/cluster/existing"
	"github.com/kube-rehearse/rehearse/harness/cluster/sim"
	"github.com/kube-rehearse/rehearse/harness/notify"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/reports"
	"github.com/kube-rehearse/rehearse/scenarios"
	"github.com/kube-rehearse/rehearse/test/fakeaws"
)

// planted are secrets of every kind that a rehearsal is given.
var planted = map[string]string{
	"AWS access key": fakeaws.AccessKey, "AWS secret key": fakeaws.SecretKey, "AWS session token": fakeaws.SessionToken,
	"kubeconfig token": "planted-kubeconfig-token-0003", "client key": "cGxhbnRlZC1jbGllbnQta2V5LW5ldmVyLXRvLWJlLXNlZW4",
	"webhook": "planted-webhook-token-0004", "basic auth": "planted-basic-password-0005", "argument": "hunter2",
}

const secretScenario = `apiVersion: rehearse/v1alpha1
scenarios:
- name: secrets
  cluster: {driver: existing, kubeconfig: KUBECONFIG}
  versions: {from: v1.34.4, to: v1.35.4}
  canary: {image: IMAGE, url: "URL", replicas: 2}
  load: {rate: 20, warmup: 1s, baseline: 5s, settle: 1s, lanes: [new]}
  upgrade: {strategy: command, command: [COMMAND, --token, hunter2, "https://me:planted-basic-password-0005@deploy.example/x"], commandTimeout: 2m, validationInterval: 100ms}
  checks: {systemComponents: [coredns, kube-proxy]}
`

// tool is a command of the user's that prints all that it was given, as some do.
const tool = `#!/bin/sh
echo "called with $*"
env
cat "$REHEARSE_KUBECONFIG"
echo "connecting with token hunter2" >&2
touch TRIGGER
exit RC
`

// secretBed is a simulated cluster that is there already, and everything that a
// user of it may plant.
type secretBed struct {
	t              *testing.T
	dir            string
	world          *sim.Driver
	c              *cluster.Cluster
	stdout, stderr bytes.Buffer
}

func (b *secretBed) at(name string) string { return filepath.Join(b.dir, name) }

func (b *secretBed) write(name, text string, mode fs.FileMode) {
	b.t.Helper()
	if err := os.WriteFile(b.at(name), []byte(text), mode); err != nil {
		b.t.Fatal(err)
	}
}

// rehearse runs the whole rehearsal with a command that ends with rc, and
// returns the run directory.
func (b *secretBed) rehearse(rc string) string {
	t := b.t
	t.Helper()
	way, err := b.world.Expose(t.Context(), b.c, cluster.Service{Namespace: "rehearse", Name: "canary", NodePort: 30080, HealthPath: "/readyz"})
	if err != nil {
		t.Fatal(err)
	}
	b.write("tool", strings.NewReplacer("TRIGGER", b.at("trigger"), "RC", rc).Replace(tool), 0o700)
	b.write("s.yaml", strings.NewReplacer("IMAGE", sim.CanaryImage, "URL", way.URL, "COMMAND", b.at("tool"), "KUBECONFIG", b.at("kube")).Replace(secretScenario), 0o600)
	f, err := scenarios.LoadFile(b.at("s.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	d, err := existing.New(existing.Options{
		Kubeconfig: b.at("kube"), Namespace: deploy.DefaultNamespace, Image: f.Scenarios[0].Canary.Image, URL: f.Scenarios[0].Canary.URL,
		Connect: func(cluster.Spec) (*cluster.Cluster, error) {
			shared := *b.c
			return &shared, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	p, err := harness.Plan(&f.Scenarios[0], d)
	if err != nil {
		t.Fatal(err)
	}
	streams := Streams{Out: &b.stdout, Err: &b.stderr}
	res, err := harness.Run(t.Context(), p, harness.Options{
		Out: b.at("runs"), Driver: d, Log: slog.New(slog.NewTextHandler(&b.stderr, &slog.HandlerOptions{Level: slog.LevelDebug})), Progress: newProgress(&b.stderr), Cleanup: &cleanup.Stack{},
		Tool: toolVersion(), Command: strings.Join(publicArgs([]string{"rehearse", "run", "--notify", "https://hooks.example/" + planted["webhook"]}), " "), Host: harness.ThisHost(), Report: reports.Write,
	})
	if err != nil {
		t.Fatal(err)
	}
	if passed := res.Record.Run.Outcome == record.OutcomePassed; passed != (rc == "0") {
		t.Errorf("the rehearsal whose command ends with %s: %s, %v", rc, res.Record.Run.Outcome, res.Err)
	}
	_ = tellRun(streams, res, err, "text")
	// A webhook that refuses, whose URL has the token in its path and in its query.
	refuses := httptest.NewServer(http.NotFoundHandler())
	defer refuses.Close()
	flags := notifyFlags{url: strings.Replace(refuses.URL, "http://", "http://me:"+planted["basic auth"]+"@", 1) + "/" + planted["webhook"] + "?token=" + planted["webhook"], format: notify.FormatJSON}
	w, err := flags.open()
	if err != nil {
		t.Fatal(err)
	}
	flags.tell(t.Context(), w, messageOfRun(p.Scenario, res), nil)
	return res.Dir
}

// search looks for what was planted in every byte below the directory and in
// what was printed.
func (b *secretBed) search(dir string) {
	b.t.Helper()
	texts := map[string]string{"stdout": b.stdout.String(), "stderr": b.stderr.String()}
	files := 0
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		texts[path] = string(text)
		files++
		return err
	})
	if err != nil || files < 15 {
		b.t.Fatalf("%d files in %s, %v", files, dir, err)
	}
	for where, text := range texts {
		for what, secret := range planted {
			if i := strings.Index(text, secret); i >= 0 {
				b.t.Errorf("%s has the %s: ...%s", where, what, text[max(0, i-100):min(len(text), i+60)])
			}
		}
	}
}

func TestNoSecretIsWrittenDownOrPrinted(t *testing.T) {
	for _, rc := range []string{"0", "7"} {
		t.Run("a command that ends with "+rc, func(t *testing.T) {
			for k, v := range map[string]string{
				"AWS_ACCESS_KEY_ID": fakeaws.AccessKey, "AWS_SECRET_ACCESS_KEY": fakeaws.SecretKey, "AWS_SESSION_TOKEN": fakeaws.SessionToken,
				"HTTPS_PROXY": "", notifyEnv: "https://hooks.example/" + planted["webhook"], "DEPLOY_URL": "https://me:" + planted["basic auth"] + "@deploy.example",
			} {
				t.Setenv(k, v)
			}
			b := &secretBed{t: t, dir: t.TempDir(), world: sim.New(sim.Options{Seed: 1, Log: slog.New(slog.DiscardHandler)})}
			old := slog.Default()
			slog.SetDefault(slog.New(slog.NewTextHandler(&b.stderr, nil)))
			defer slog.SetDefault(old)
			there := cluster.Spec{RunID: "world", Name: "world", Version: "v1.34.4", ControlPlanes: 1, Workers: 2, Network: "flannel"}
			var err error
			if b.c, err = b.world.Create(t.Context(), there); err != nil {
				t.Fatal(err)
			}
			defer func() { _ = b.world.Delete(context.Background(), there) }()
			b.write("kube", "users:\n- name: u\n  user:\n    token: "+planted["kubeconfig token"]+"\n    client-key-data: "+planted["client key"]+"\n", 0o600)
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			rolled := make(chan error, 1)
			go func() { rolled <- b.roll(ctx) }()
			dir := b.rehearse(rc)
			cancel()
			if err := <-rolled; err != nil && rc == "0" {
				t.Error(err)
			}
			for _, format := range reports.Formats {
				if code := Main([]string{"report", dir, "-o", format}, Streams{Out: &b.stdout, Err: &b.stderr}); code > ExitFailed {
					t.Errorf("report -o %s: %d", format, code)
				}
			}
			for _, args := range [][]string{{"plan", "-f", b.at("s.yaml")}, {"plan", "-f", b.at("s.yaml"), "-o", "json"}, {"run", "--resume", dir}} {
				Main(args, Streams{Out: &b.stdout, Err: &b.stderr})
			}
			b.write("bad.yaml", strings.Replace(secretScenario, `"URL"`, `"http://me:`+planted["basic auth"]+`@canary.example"`, 1), 0o600)
			if code := Main([]string{"plan", "-f", b.at("bad.yaml")}, Streams{Out: &b.stdout, Err: &b.stderr}); code != ExitUsage {
				t.Errorf("a URL with a password: %d", code)
			}
			b.search(dir)
			if !strings.Contains(b.stdout.String()+b.stderr.String(), "--token '***'") && !strings.Contains(b.stdout.String()+b.stderr.String(), "--token ***") {
				t.Errorf("the command is not named at all:\n%s", b.stderr.String())
			}
		})
	}
}

// roll does what the command has set off.
func (b *secretBed) roll(ctx context.Context) error {
	for {
		if _, err := os.Stat(b.at("trigger")); err == nil {
			break
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return nil
		}
	}
	nodes, err := b.c.Client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for i, n := range nodes.Items {
		if _, plane := n.Labels["node-role.kubernetes.io/control-plane"]; plane {
			if err := b.world.UpgradeControlPlane(ctx, b.c, n.Name, "v1.35.4", i == 0); err != nil {
				return err
			}
		}
		if err := b.world.UpgradeNode(ctx, b.c, n.Name, "v1.35.4"); err != nil {
			return err
		}
	}
	return nil
}
