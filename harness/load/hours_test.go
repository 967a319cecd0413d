package load

import (
	"context"
	"io"
	"net/http"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kube-rehearse/rehearse/harness/load/faulttest"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// discard is a sink that counts.
type discard struct{ windows, requests int }

func (d *discard) WriteWindow(*record.Window) error   { d.windows++; return nil }
func (d *discard) WriteRequest(*record.Request) error { d.requests++; return nil }
func (d *discard) Close() error                       { return nil }

// TestEightHoursKeepTheEngineFlat runs the whole engine for eight hours of a
// bubble's time, with a server that now and then does not answer: what it holds
// after the eighth hour is what it held after the first.
func TestEightHoursKeepTheEngineFlat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const hours, rate = 8, 1.0
		network := &faulttest.Memory{}
		started := time.Now()
		server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch at := time.Since(started) % (10 * time.Minute); {
			case at < 5*time.Second:
				<-r.Context().Done() // until the client gives up
			case at < 10*time.Second:
				w.WriteHeader(http.StatusServiceUnavailable)
			default:
				_, _ = io.WriteString(w, "ok")
			}
		})}
		go func() { _ = server.Serve(network.Listen()) }()
		sinks := map[string]*discard{}
		running, err := Start(t.Context(), Config{
			Lanes: []Lane{
				{Name: "new", Kind: New, Target: "http://192.0.2.1/", Rate: rate, Timeout: 2 * time.Second, Dial: network.Dial},
				{Name: "reused", Kind: Reused, Target: "http://192.0.2.1/", Rate: rate, Timeout: 2 * time.Second, Dial: network.Dial},
			},
			Timeline: timeline.NewRecorder(timeline.NewClock(started), io.Discard),
			Open: func(l record.Lane) (LaneSink, error) {
				sinks[l.Name] = &discard{}
				return sinks[l.Name], nil
			},
			Observer: Observer{Window: func(record.Lane, *record.Window) {}},
		}, timeline.PhaseWarmup)
		if err != nil {
			t.Fatal(err)
		}
		var heap [hours]uint64
		var goroutines [hours]int
		for h := range hours {
			time.Sleep(time.Hour)
			synctest.Wait()
			heap[h], goroutines[h] = held(), runtime.NumGoroutine()
		}
		if err := running.Stop(); err != nil {
			t.Error(err)
		}
		if err := server.Shutdown(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
		t.Logf("held after each hour: %v bytes, %v goroutines", heap, goroutines)
		if ratio := float64(heap[hours-1]) / float64(heap[0]); ratio > 1.2 {
			t.Errorf("after %d hours the heap holds %.2f times what it held after one: %v bytes", hours, ratio, heap)
		}
		if goroutines[hours-1] > goroutines[0] {
			t.Errorf("goroutines after each hour: %v", goroutines)
		}
		for name, s := range sinks {
			if want := hours*3600 - 2; s.windows < want || s.requests < hours*6*5 {
				t.Errorf("lane %s: %d windows and %d single requests, want %d windows at least and those of %d outages", name, s.windows, s.requests, want, hours*6)
			}
		}
	})
}

// held returns the bytes that the heap holds after a collection.
func held() uint64 {
	runtime.GC()
	runtime.GC() // what the first one finalised
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
