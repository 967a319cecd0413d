package main

import (
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/kube-rehearse/rehearse/harness/load/agent"
	"github.com/kube-rehearse/rehearse/test/buffer"
)

func TestAgentServesUntilItIsToldToEnd(t *testing.T) {
	var log buffer.Locked
	code := make(chan int, 1)
	go func() {
		code <- run(t.Context(), []string{"agent", "-address", "127.0.0.1", "-port", "0"},
			env(map[string]string{agent.EnvName: "agent-0", agent.EnvToken: "secret"}), nil, &log)
	}()
	waiting := regexp.MustCompile(`msg="waiting for the runner" agent=agent-0 address=(127\.0\.0\.1:\d+)`)
	var address string
	for deadline := time.Now().Add(time.Minute); address == "" && time.Now().Before(deadline); {
		if m := waiting.FindStringSubmatch(log.String()); m != nil {
			address = m[1]
		}
	}
	ask := func(method, path, token string) (int, []byte) {
		req, err := http.NewRequestWithContext(t.Context(), method, "http://"+address+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set(agent.HeaderToken, token)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, body
	}
	if status, _ := ask(http.MethodGet, agent.PathReady, ""); status != http.StatusOK {
		t.Errorf("ready: %d", status)
	}
	if status, _ := ask(http.MethodGet, agent.PathClock, "guess"); status != http.StatusForbidden {
		t.Errorf("a stranger got %d", status)
	}
	var c agent.ClockAnswer
	if status, body := ask(http.MethodGet, agent.PathClock, "secret"); status != http.StatusOK || json.Unmarshal(body, &c) != nil || c.Boot == "" || c.Sent < c.Received {
		t.Errorf("clock: %d %s", status, body)
	}
	if status, _ := ask(http.MethodPost, agent.PathQuit, "secret"); status != http.StatusOK {
		t.Errorf("quit: %d", status)
	}
	if got := <-code; got != exitOK {
		t.Errorf("exit code %d; log:\n%s", got, log.String())
	}
}

func TestAgentWrongUse(t *testing.T) {
	for _, tc := range []struct {
		args []string
		want string // the first line on standard error
	}{
		{[]string{"agent"}, "load agent: no token: set REHEARSE_AGENT_TOKEN"},
		{[]string{"agent", "now"}, `canary agent: it takes no arguments, got "now"`},
		{[]string{"agent", "-rate=1"}, "flag provided but not defined: -rate"},
	} {
		var stderr buffer.Locked
		if got := run(t.Context(), tc.args, env(nil), nil, &stderr); got != exitUsage {
			t.Errorf("%v: exit code %d", tc.args, got)
		}
		if first, _, _ := strings.Cut(stderr.String(), "\n"); first != tc.want {
			t.Errorf("%v: got %q, want %q", tc.args, first, tc.want)
		}
	}
}
