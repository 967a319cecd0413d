package load

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kube-rehearse/rehearse/harness/load/http1"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

var resultsFlag = flag.Int("results", 200_000, "results that TestMemoryStaysFlat feeds; the benchmark feeds 30 million")

// TestMemoryStaysFlat is target 4: the resident size does not grow with the
// number of results, every one of them an error with a text of its own included.
// It feeds the ledger, because 30 million real requests would take an hour; what
// is before the ledger keeps nothing of a request.
func TestMemoryStaysFlat(t *testing.T) {
	const rate = 5000
	dir, err := record.Create(filepath.Join(t.TempDir(), "run"), record.Run{})
	if err != nil {
		t.Fatal(err)
	}
	sink, err := dir.Lane(record.Lane{Name: "l", Rate: rate})
	if err != nil {
		t.Fatal(err)
	}
	clock := timeline.NewClock(time.Now())
	l := newLedger(schedule{rate: rate}, time.Second, clock)
	var fromHeap, fromResident int64
	warm := *resultsFlag / 10
	for n := range *resultsFlag {
		i := l.begin()
		due := clock.Start().Add(time.Duration(l.sched.due(i)))
		a := http1.Answer{Sent: due, Done: due.Add(time.Duration(n%5000) * time.Microsecond), Stage: http1.StageHeader}
		l.resolve(i, record.Reset, "read tcp 10.0.0.1:"+strconv.Itoa(n)+"->10.0.0.2:80: connection reset by peer", &a)
		if n%rate == 0 {
			if _, err := l.flush(sink); err != nil {
				t.Fatal(err)
			}
		}
		if n == warm {
			fromHeap, fromResident = sizes(t)
		}
	}
	l.end()
	if all, err := l.flush(sink); err != nil || !all {
		t.Fatal(all, err)
	}
	if err := dir.Seal(); err != nil {
		t.Fatal(err)
	}
	heap, resident := sizes(t)
	const mb = 1 << 20
	grown := float64(resident-fromResident) / mb
	fmt.Printf("results %d, RSS grown %.2f MB, %.3f MB per 10 million\n", *resultsFlag, grown, grown/(float64(*resultsFlag-warm)/10e6))
	// At the reduced size, and under the race detector, the resident size says
	// more of the runtime than of the ledger; what the heap holds is exact.
	if grown, limit := float64(heap-fromHeap)/mb, max(1, float64(*resultsFlag)/10e6); grown > limit {
		t.Errorf("the heap grew by %.1f MB over %d results, more than %.1f MB", grown, *resultsFlag, limit)
	}
}

// sizes returns the bytes that the heap holds after a collection, and the
// resident size after garbage was given back; 0 where the system does not tell.
func sizes(t *testing.T) (heap, resident int64) {
	t.Helper()
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return int64(m.HeapAlloc), 0
	}
	pages, err := strconv.ParseInt(strings.Fields(string(b))[1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return int64(m.HeapAlloc), pages * int64(os.Getpagesize())
}
