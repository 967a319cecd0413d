package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/kube-rehearse/rehearse/harness/canary"
	"github.com/kube-rehearse/rehearse/test/buffer"
)

func env(m map[string]string) func(string) string { return func(k string) string { return m[k] } }

func TestServesWithItsNameFromTheEnvironmentUntilToldToStop(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var log buffer.Locked
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, []string{"-address", "127.0.0.1", "-port", "0", "-shutdown-delay", "0s", "-body-bytes", "7"},
			env(map[string]string{canary.EnvPod: "canary-1", canary.EnvNode: "worker-1"}), nil, &log)
	}()
	serving := regexp.MustCompile(`msg=serving .*address=(127\.0\.0\.1:\d+)`)
	var address string
	for deadline := time.Now().Add(time.Minute); address == "" && time.Now().Before(deadline); {
		if m := serving.FindStringSubmatch(log.String()); m != nil {
			address = m[1]
		}
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.ContentLength != 7 || resp.Header.Get(canary.HeaderPod) != "canary-1" || resp.Header.Get(canary.HeaderNode) != "worker-1" {
		t.Errorf("got %d bytes from pod %q on node %q", resp.ContentLength, resp.Header.Get(canary.HeaderPod), resp.Header.Get(canary.HeaderNode))
	}
	cancel()
	if got := <-code; got != exitOK {
		t.Errorf("exit code %d, want %d; log:\n%s", got, exitOK, log.String())
	}
	if !strings.Contains(log.String(), "msg=stopped") {
		t.Errorf("the log does not say that it stopped:\n%s", log.String())
	}
}

func TestWrongUse(t *testing.T) {
	for _, tc := range []struct {
		args []string
		want string // the first line on standard error
	}{
		{[]string{"-body-bytes", "-1"}, "canary: body size -1: want 0 to 67108864 bytes"},
		{[]string{"look", "kubernetes"}, `canary: unknown command "look"; the commands are lookup and agent`},
		{[]string{"-port", "x"}, `invalid value "x" for flag -port: parse error`},
		{[]string{"lookup"}, "canary lookup: want one name, got 0"},
		{[]string{"lookup", "a", "b"}, "canary lookup: want one name, got 2"},
		{[]string{"lookup", "-timeout", "soon", "a"}, `invalid value "soon" for flag -timeout: parse error`},
	} {
		var stderr bytes.Buffer
		if code := run(t.Context(), tc.args, env(nil), &bytes.Buffer{}, &stderr); code != exitUsage {
			t.Errorf("%q: exit code %d, want %d", tc.args, code, exitUsage)
		}
		if first, _, _ := strings.Cut(stderr.String(), "\n"); first != tc.want {
			t.Errorf("%q:\n got %s\nwant %s", tc.args, first, tc.want)
		}
	}
}

func TestPortInUse(t *testing.T) {
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	var stderr bytes.Buffer
	if code := run(t.Context(), []string{"-address", "127.0.0.1", "-port", port}, env(nil), nil, &stderr); code != exitFailed {
		t.Errorf("exit code %d, want %d", code, exitFailed)
	}
	want := "canary: listen: listen tcp 127.0.0.1:" + port + ": bind: address already in use\n"
	if stderr.String() != want {
		t.Errorf("got %q, want %q", stderr.String(), want)
	}
}

type fixed struct {
	addresses []string
	err       error
}

func (f fixed) LookupHost(context.Context, string) ([]string, error) { return f.addresses, f.err }

func TestLookupWritesTheMessageThatThePodStatusCarries(t *testing.T) {
	message := filepath.Join(t.TempDir(), "termination-log")
	if err := os.WriteFile(message, []byte("something older and longer than the result will be, so that it must be truncated"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		resolver canary.Resolver
		code     int
		want     *regexp.Regexp
	}{
		{fixed{addresses: []string{"10.96.0.1"}}, exitOK, regexp.MustCompile(`^lookup kubernetes: 10\.96\.0\.1 in \S+$`)},
		{fixed{err: &net.DNSError{Err: "no such host"}}, exitFailed, regexp.MustCompile(`^lookup kubernetes: no such host$`)},
	} {
		var stdout, stderr bytes.Buffer
		code := lookup(t.Context(), []string{"-termination-log", message, "kubernetes"}, tc.resolver, &stdout, &stderr)
		if code != tc.code {
			t.Errorf("exit code %d, want %d", code, tc.code)
		}
		written, err := os.ReadFile(message)
		if err != nil {
			t.Fatal(err)
		}
		if !tc.want.Match(written) || stdout.String() != string(written)+"\n" {
			t.Errorf("standard output %q, message %q, want %s", stdout.String(), written, tc.want)
		}
		if stderr.Len() > 0 {
			t.Errorf("standard error: %s", stderr.String())
		}
	}
}

func TestLookupOutsideAPodHasNoMessageToWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "none")
	var stdout, stderr bytes.Buffer
	if code := lookup(t.Context(), []string{"-termination-log", path, "kubernetes"}, fixed{addresses: []string{"10.0.0.1"}}, &stdout, &stderr); code != exitOK {
		t.Errorf("exit code %d, want %d", code, exitOK)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) || stderr.Len() > 0 {
		t.Errorf("stat: %v, standard error: %q", err, stderr.String())
	}
}

func TestWatchesDNSUntilToldToStop(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var log buffer.Locked
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, []string{"-address", "127.0.0.1", "-port", "0", "-dns", "localhost", "-dns-every", "10ms"},
			env(map[string]string{canary.EnvNode: "worker-1"}), nil, &log)
	}()
	told := regexp.MustCompile(`resolving localhost every 10ms, told at (127\.0\.0\.1:\d+)`)
	var answer canary.DNSAnswer
	for deadline := time.Now().Add(time.Minute); len(answer.Results) == 0 && time.Now().Before(deadline); {
		m := told.FindStringSubmatch(log.String())
		if m == nil {
			continue
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+m[1]+canary.PathDNS, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
	}
	if answer.Node != "worker-1" || len(answer.Results) == 0 || !answer.Results[0].OK {
		t.Errorf("answer %+v; log %s", answer, log.String())
	}
	cancel()
	if got := <-code; got != exitOK {
		t.Errorf("exit code %d: %s", got, log.String())
	}
}

func TestDNSNeedsNames(t *testing.T) {
	var log buffer.Locked
	if got := run(t.Context(), []string{"-dns", "a,,b"}, env(nil), nil, &log); got != exitUsage {
		t.Errorf("exit code %d", got)
	}
	if want := "DNS agent: one of the names [\"a\" \"\" \"b\"] is empty\n"; log.String() != want {
		t.Errorf("said %q, want %q", log.String(), want)
	}
}
