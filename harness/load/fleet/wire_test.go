package fleet

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"time"

	"github.com/kube-rehearse/rehearse/harness/load/agent"
	"github.com/kube-rehearse/rehearse/harness/record"
)

const token = "a-token"

// wire reaches an agent of this process, by a way that takes its time and, where the
// test says so, loses what is sent over it. The agent's clock is off by skew.
type wire struct {
	handler  http.Handler
	there    time.Duration
	back     time.Duration
	skew     func() time.Duration
	mangle   func(path string, body []byte) ([]byte, error) // of an answer
	gone     func() string
	requests int
	mu       sync.Mutex
}

func (w *wire) Do(ctx context.Context, method, path, query string, body []byte) ([]byte, error) {
	w.mu.Lock()
	w.requests++
	w.mu.Unlock()
	if w.gone() != "" {
		return nil, errors.New("no route")
	}
	if err := pause(ctx, w.there); err != nil {
		return nil, err
	}
	if path == agent.PathStart {
		var s agent.Start
		if err := json.Unmarshal(body, &s); err != nil {
			return nil, err
		}
		s.Zero -= int64(w.skew())
		body, _ = json.Marshal(s)
	}
	req := httptest.NewRequestWithContext(ctx, method, "http://agent"+path+"?"+query, bytes.NewReader(body))
	req.Header.Set(agent.HeaderToken, token)
	rec := httptest.NewRecorder()
	w.handler.ServeHTTP(rec, req)
	if rec.Code/100 != 2 {
		return nil, fmt.Errorf("status %d: %s", rec.Code, strings.TrimSpace(rec.Body.String()))
	}
	out := w.skewed(path, rec.Body.Bytes())
	if err := pause(ctx, w.back); err != nil {
		return nil, err
	}
	return w.mangle(path, out)
}

// skewed makes the agent's clock another.
func (w *wire) skewed(path string, body []byte) []byte {
	switch path {
	case agent.PathClock:
		var c agent.ClockAnswer
		_ = json.Unmarshal(body, &c)
		c.Received, c.Sent = c.Received+int64(w.skew()), c.Sent+int64(w.skew())
		body, _ = json.Marshal(c)
	case agent.PathTold:
		_, payload, rest, _ := agent.ReadEntry(body)
		var h agent.Head
		_ = json.Unmarshal(payload, &h)
		h.Received, h.Sent = h.Received+int64(w.skew()), h.Sent+int64(w.skew())
		payload, _ = json.Marshal(h)
		body = append(agent.AppendEntry(nil, agent.KindHead, payload), rest...)
	}
	return body
}

func (w *wire) Gone(context.Context) (string, error) { return w.gone(), nil }

// memory is a sink that keeps what it is given.
type memory struct {
	windows  []record.Window
	requests []record.Request
	closed   bool
	err      error
}

func (m *memory) WriteWindow(w *record.Window) error {
	m.windows = append(m.windows, *w)
	return m.err
}

func (m *memory) WriteRequest(r *record.Request) error {
	m.requests = append(m.requests, *r)
	return nil
}

func (m *memory) Close() error { m.closed = true; return nil }
