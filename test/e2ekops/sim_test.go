//go:build e2ekops

// Package e2ekops drives the kops driver with the real kops command, against the
// simulated world of test/awssim and a real API server: create, the five stages of
// an upgrade with a kops that is killed and a drain that is blocked, delete.
// `make e2e-kops` builds all of it and runs this.
package e2ekops

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// simulation is a running awssim.
type simulation struct {
	Proxy, Certificate, Control string
}

// world is what awssim tells of itself.
type world struct {
	Resources, Objects []string
	Gaps, Actions      map[string]int
}

var (
	sim      simulation
	evidence string // where the output of each call of kops is kept
	// lifeline is awssim's standard input: it ends when this end of it is gone, so
	// with this process.
	lifeline io.WriteCloser
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "e2ekops-")
	if err == nil {
		defer os.RemoveAll(dir)
		err = setUp(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2ekops:", err)
		return 1
	}
	return m.Run()
}

// setUp starts awssim and makes it the world of this process and of the kops that
// it starts: a proxy and its certificate are all it takes. It must come before the
// first request, since net/http reads the proxy once.
func setUp(dir string) error {
	evidence = os.Getenv("ARTIFACTS")
	if evidence == "" {
		evidence = filepath.Join(dir, "evidence")
	}
	if err := os.MkdirAll(evidence, 0o755); err != nil {
		return err
	}
	var args []string
	for _, a := range []struct{ flag, variable string }{{"-kube", "E2EKOPS_KUBE"}, {"-etcd", "E2EKOPS_ETCD"}, {"-channels", "E2EKOPS_CHANNELS"}} {
		value := os.Getenv(a.variable)
		if value == "" {
			return fmt.Errorf("%s is not set: run make e2e-kops", a.variable)
		}
		args = append(args, a.flag, value)
	}
	log, err := os.Create(filepath.Join(evidence, "awssim.log"))
	if err != nil {
		return err
	}
	cmd := exec.Command(os.Getenv("E2EKOPS_AWSSIM"), append(args, "-dir", dir)...)
	cmd.Stderr = log
	if lifeline, err = cmd.StdinPipe(); err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("E2EKOPS_AWSSIM: %w", err)
	}
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err != nil {
		return errors.Join(fmt.Errorf("awssim said nothing; see %s", log.Name()), err)
	}
	if err := json.Unmarshal(line, &sim); err != nil {
		return err
	}
	for k, v := range map[string]string{
		"HTTPS_PROXY": sim.Proxy, "SSL_CERT_FILE": sim.Certificate, "AWS_CA_BUNDLE": sim.Certificate, "HOME": dir, "AWS_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true",
		"AWS_ACCESS_KEY_ID": "AKIAAWSSIM", "AWS_SECRET_ACCESS_KEY": "awssim",
	} {
		if err := os.Setenv(k, v); err != nil {
			return err
		}
	}
	return nil
}

// look asks awssim what there is.
func look(t *testing.T) world {
	t.Helper()
	resp, err := http.Get(sim.Control + "/status")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("awssim: %s %s %v", resp.Status, text, err)
	}
	var w world
	if err := json.Unmarshal(text, &w); err != nil {
		t.Fatal(err)
	}
	return w
}

// of are the resources of a kind.
func (w world) of(kind string) []string {
	var all []string
	for _, r := range w.Resources {
		if name, ok := strings.CutPrefix(r, kind+" "); ok {
			all = append(all, name)
		}
	}
	return all
}

// until waits for a condition that the simulation brings about by itself.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("after 30 seconds still not: %s", what)
		}
		time.Sleep(200 * time.Millisecond)
	}
}
