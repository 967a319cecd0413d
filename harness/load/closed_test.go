package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kube-rehearse/rehearse/harness/load/faulttest"
	"github.com/kube-rehearse/rehearse/harness/record"
)

func TestClosedLoopAcceptsBodiesOfVaryingLength(t *testing.T) {
	var served atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		n := served.Add(1)
		if n == 50 {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		_, _ = io.WriteString(w, strings.Repeat("x", int(n%7)))
	}))
	defer srv.Close()
	c, err := RunClosed(t.Context(), Lane{Name: "ab", Kind: Reused, Target: srv.URL, Timeout: 20 * time.Second}, 300, 5)
	if err != nil {
		t.Fatal(err)
	}
	if c.Requests != 300 || served.Load() != 300 || c.Counts[record.OK] != 299 || c.Counts[record.HTTP5xx] != 1 {
		t.Errorf("%d requests, %d served, %v", c.Requests, served.Load(), c.Classes)
	}
	if c.ShortestBody != 0 || c.LongestBody != 6 || c.Latency.Count() != 299 || c.NewConns != 5 {
		t.Errorf("%+v", c)
	}
	if c.FirstError != "status 502 instead of 200 to 299" || fmt.Sprint(c.Classes) != "map[http-5xx:1 ok:299]" {
		t.Errorf("%q, %v", c.FirstError, c.Classes)
	}
}

func TestClosedLoopEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, dial := startInMemory(t, faulttest.Fault{Kind: faulttest.SlowTail, From: 0, To: time.Hour, Delay: 10 * time.Millisecond})
		srv.Arm(time.Now())
		ctx, cancel := context.WithTimeout(t.Context(), 995*time.Millisecond)
		defer cancel()
		c, err := RunClosed(ctx, Lane{Name: "ab", Kind: New, Target: srv.URL(), Timeout: time.Second, Dial: dial}, 1e9, 3)
		if err != nil {
			t.Fatal(err)
		}
		if c.Requests != 300 || c.Counts[record.OK] != 300 || c.NewConns != 300 || c.Rate() < 290 || c.Rate() > 300 {
			t.Errorf("%+v, rate %v", c, c.Rate())
		}
	})
}

func TestClosedLoopRefusesNonsense(t *testing.T) {
	lane := Lane{Name: "ab", Kind: Stream, Target: "http://127.0.0.1:1/", Timeout: time.Second}
	_, err := RunClosed(t.Context(), lane, 0, 0)
	if want := "lane ab: 0 requests, 0 at a time, on a lane of kind stream; both numbers must be positive, and the kind not stream"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("interrupt"))
	lane.Kind = Reused
	if _, err := RunClosed(ctx, lane, 5, 1); err == nil || err.Error() != "lane ab: nothing was sent: interrupt" {
		t.Errorf("got %v", err)
	}
}
