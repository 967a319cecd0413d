package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/kube-rehearse/rehearse/harness/load"
	"github.com/kube-rehearse/rehearse/harness/load/faulttest"
	"github.com/kube-rehearse/rehearse/harness/record"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newAgent(t *testing.T, cfg Config) *Agent {
	t.Helper()
	cfg.Name, cfg.Token, cfg.Log = "agent-0", "secret", slog.New(slog.DiscardHandler)
	a, err := New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// ask sends a request as the runner does.
func ask(t *testing.T, a *Agent, method, path, body string) (int, string) {
	t.Helper()
	req := httptest.NewRequestWithContext(t.Context(), method, "http://agent"+path, strings.NewReader(body))
	req.Header.Set(HeaderToken, "secret")
	rec := httptest.NewRecorder()
	a.ServeHTTP(rec, req)
	return rec.Code, rec.Body.String()
}

func wants(t *testing.T, a *Agent, method, path, body string, status int, text string) {
	t.Helper()
	code, got := ask(t, a, method, path, body)
	if code != status || strings.TrimSpace(got) != text {
		t.Errorf("%s %s: %d %q; want %d %q", method, path, code, got, status, text)
	}
}

func TestNobodyWithoutTheTokenIsServed(t *testing.T) {
	if _, err := New(t.Context(), Config{}); err == nil || err.Error() != "load agent: no token: set REHEARSE_AGENT_TOKEN" {
		t.Error(err)
	}
	a := newAgent(t, Config{})
	for path, want := range map[string]int{PathReady: 200, PathClock: 403, PathTold: 403, PathStart: 403, PathPrepare: 403, PathStop: 403, PathQuit: 403} {
		for _, token := range []string{"", "secret2"} {
			req := httptest.NewRequestWithContext(t.Context(), "POST", path, nil)
			req.Header.Set(HeaderToken, token)
			rec := httptest.NewRecorder()
			a.ServeHTTP(rec, req)
			if rec.Code != want {
				t.Errorf("%s: status %d, want %d", path, rec.Code, want)
			}
		}
	}
	select {
	case <-a.quit:
		t.Error("it was told to end by a stranger")
	default:
	}
}

func TestWhatAnAgentRefuses(t *testing.T) {
	a := newAgent(t, Config{})
	lanes := `"lanes":[{"name":"new","kind":"new","target":"http://192.0.2.1/","rate":10,"timeoutNS":1000000}]`
	wants(t, a, "POST", PathStart, `{"zero":0,"at":1}`, 400, "nothing was prepared")
	wants(t, a, "POST", PathPrepare, `{"version":7}`, 400, "the runner speaks version 7 of the agents' protocol, this agent version 1: use an image of the same release (load.agentImage)")
	wants(t, a, "POST", PathPrepare, `{"version":1,"later":1}`, 400, `json: unknown field "later"`)
	wants(t, a, "POST", PathPrepare, `{"version":1}`, 400, "no lane to send")
	wants(t, a, "POST", PathPrepare, `{"version":1,"part":{"index":3,"of":3},`+lanes+`}`, 400, "lane new: part 3 of 3; parts are numbered from 0, and there are at most 100")
	wants(t, a, "GET", PathTold+"?after=x", "", 400, `after="x" is no sequence number`)
	wants(t, a, "GET", PathTold+"?after=1", "", 409, "after=1: from 1 to 0 are kept; another runner has asked before")
	wants(t, a, "GET", "/other", "", 404, "404 page not found")
	wants(t, a, "GET", PathStop, "", 404, "404 page not found")
}

// TestTheTwinIsInTheAgent has a control lane and nothing else.
func TestTheTwinIsInTheAgent(t *testing.T) {
	a := newAgent(t, Config{})
	ran := make(chan error, 1)
	go func() { ran <- a.Run() }()
	code, body := ask(t, a, "POST", PathPrepare, `{"version":1,"part":{"index":0,"of":1},"twin":{"bodyBytes":100,"latencyNS":0},"lanes":[{"name":"control","kind":"new","rate":50,"timeoutNS":1000000000,"control":true,"canary":true}]}`)
	var p Prepared
	if err := json.Unmarshal([]byte(body), &p); err != nil || code != 200 || len(p.Lanes) != 1 || p.Lanes[0] != (Check{Lane: "control"}) || p.Name != "agent-0" || p.CPUs < 1 {
		t.Fatalf("%d %s", code, body)
	}
	at := int64(time.Since(a.begun)) + 3e8
	start, _ := json.Marshal(Start{At: at})
	wants(t, a, "POST", PathStart, string(start), 200, "{}")
	wants(t, a, "POST", PathStart, string(start), 200, "{}")
	wants(t, a, "POST", PathStart, `{"zero":1,"at":5}`, 409, "the load was started already")
	wants(t, a, "POST", PathPrepare, `{"version":1}`, 409, "the load was started already")
	time.Sleep(time.Second)
	wants(t, a, "POST", PathStop, "", 200, "{}")
	var sum [record.NumClasses]int
	seq := int64(0)
	for over := false; !over; {
		over = tell(t, a, &seq, func(s *load.Second) {
			for _, x := range s.Slots {
				sum[x.Class]++
			}
		})
		time.Sleep(10 * time.Millisecond)
	}
	if sum[record.OK] < 10 {
		t.Errorf("%v", sum)
	}
	wants(t, a, "POST", PathQuit, "", 200, "{}")
	if err := <-ran; err != nil {
		t.Error(err)
	}
}

// tell asks for what comes after seq.
func tell(t *testing.T, a *Agent, seq *int64, f func(*load.Second)) (over bool) {
	t.Helper()
	code, body := ask(t, a, "GET", PathTold+"?after="+itoa(*seq), "")
	if code != 200 {
		t.Fatal(code, body)
	}
	_, payload, rest, err := ReadEntry([]byte(body))
	var h Head
	if err != nil || json.Unmarshal(payload, &h) != nil || h.Reason != "" {
		t.Fatalf("%v %s", err, payload)
	}
	for len(rest) > 0 {
		var kind byte
		if kind, payload, rest, err = ReadEntry(rest); err != nil {
			t.Fatal(err)
		}
		if *seq++; kind != KindSecond {
			continue
		}
		_, s, err := ReadSecond(payload)
		if err != nil {
			t.Fatal(err)
		}
		f(s)
	}
	return h.Over && h.Left == 0
}

func itoa(n int64) string { b, _ := json.Marshal(n); return string(b) }

// sending is an agent in a bubble that sends load which nobody asks about.
func sending(t *testing.T, cfg Config) (*Agent, *faulttest.Server, chan error) {
	t.Helper()
	var m faulttest.Memory
	server, err := faulttest.StartIn(&m, bytes.Repeat([]byte("x"), 100))
	if err != nil {
		t.Fatal(err)
	}
	cfg.Dial = m.Dial
	a := newAgent(t, cfg)
	ran := make(chan error, 1)
	go func() { ran <- a.Run() }()
	wants200 := func(path, body string) {
		if code, text := ask(t, a, "POST", path, body); code != 200 {
			t.Fatal(code, text)
		}
	}
	wants200(PathPrepare, `{"version":1,"part":{"index":0,"of":1},"lanes":[{"name":"new","kind":"new","target":"`+server.URL()+`","rate":20,"timeoutNS":1000000000}]}`)
	wants200(PathStart, `{"at":1000000000}`)
	server.Arm(time.Now())
	return a, server, ran
}

func TestAnAgentAloneEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, server, ran := sending(t, Config{})
		if err := <-ran; err == nil || err.Error() != "load agent: nothing was heard of the runner for 5m0s" {
			t.Error(err)
		}
		sent := len(server.Log())
		if sent < 20*299 || sent > 20*302 {
			t.Errorf("%d requests", sent)
		}
		time.Sleep(time.Minute)
		if n := len(server.Log()); n != sent {
			t.Errorf("%d more requests after its end", n-sent)
		}
		server.Close()
	})
}

func TestWhatIsKeptIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, server, ran := sending(t, Config{MaxHeld: 1000})
		time.Sleep(time.Minute)
		if n := len(server.Log()); n > 20*30 {
			t.Errorf("%d requests were sent although nothing more could be kept", n)
		}
		code, body := ask(t, a, "GET", PathTold+"?after=0", "")
		_, payload, _, err := ReadEntry([]byte(body))
		var h Head
		if err != nil || code != http.StatusOK || json.Unmarshal(payload, &h) != nil {
			t.Fatal(code, err)
		}
		if want := "its lane new died: write the record: 0 MiB were kept for the runner, and it did not fetch them"; !h.Over || h.Reason != want {
			t.Errorf("over %v, %q", h.Over, h.Reason)
		}
		if len(body) > 1500 {
			t.Errorf("%d bytes were kept", len(body))
		}
		ask(t, a, "POST", PathQuit, "")
		if err := <-ran; err != nil {
			t.Error(err)
		}
		server.Close()
	})
}

func TestTheLoadEndsWithTheContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	a, err := New(ctx, Config{Token: "x"})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := a.Run(); err != nil {
		t.Error(err)
	}
}
