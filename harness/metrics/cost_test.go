package metrics

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"syscall"
	"testing"
	"time"

	"github.com/kube-rehearse/rehearse/harness/load"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// nowhere is where the windows of a load go that nobody records.
type nowhere struct{}

func (nowhere) WriteWindow(*record.Window) error   { return nil }
func (nowhere) WriteRequest(*record.Request) error { return nil }
func (nowhere) Close() error                       { return nil }

// TestCountingIsNothingBesideSending sends real requests and holds the processor
// time of the metrics, for the very windows that this made, against it. What it
// prints is what make bench measures.
func TestCountingIsNothingBesideSending(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }))
	defer server.Close()
	var windows []*record.Window
	requests := uint64(0)
	began := cpuTime(t)
	running, err := load.Start(t.Context(), load.Config{
		Lanes:    []load.Lane{{Name: "reused", Kind: load.Reused, Target: server.URL, Rate: 500, Timeout: time.Second}},
		Timeline: timeline.NewRecorder(timeline.NewClock(time.Now()), io.Discard),
		Open:     func(record.Lane) (load.LaneSink, error) { return nowhere{}, nil },
		Observer: load.Observer{Window: func(_ record.Lane, w *record.Window) { windows = append(windows, w); requests += w.Sent() }},
	}, timeline.PhaseBaseline)
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(3 * time.Second)
	if err := running.Stop(); err != nil {
		t.Fatal(err)
	}
	if requests == 0 {
		t.Fatal("nothing was sent")
	}
	sending := float64(cpuTime(t)-began) / float64(requests)

	m := New(Build{})
	m.Event(timeline.Event{Kind: timeline.KindPhase, Subject: "phase/baseline"})
	see := m.Observer().Load.Window
	const rounds = 200 // one takes less than the clock of the processor tells
	began = cpuTime(t)
	for range rounds {
		for _, w := range windows {
			see(record.Lane{Name: "reused"}, w)
		}
	}
	counting := float64(cpuTime(t)-began) / rounds / float64(requests)
	fmt.Printf("metrics add %.0f ns to the %.0f ns of a request, %.2f%%\n", counting, sending, 100*counting/sending)
	if counting > 0.02*sending {
		t.Errorf("to count a request takes %.0f ns of processor time, and to send one %.0f ns: more than 2%%", counting, sending)
	}
}

func cpuTime(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
