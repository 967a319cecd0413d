package load

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
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
	var from int64
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
			from = resident(t)
		}
	}
	l.end()
	if all, err := l.flush(sink); err != nil || !all {
		t.Fatal(all, err)
	}
	if err := dir.Seal(); err != nil {
		t.Fatal(err)
	}
	grown := float64(resident(t)-from) / (1 << 20)
	per := grown / (float64(*resultsFlag-warm) / 10e6)
	fmt.Printf("results %d, grown %.2f MB, %.3f MB per 10 million\n", *resultsFlag, grown, per)
	// At the reduced size noise outweighs any growth per result: what must not
	// be there is a text kept for each.
	if limit := max(4, float64(*resultsFlag)/10e6); grown > limit {
		t.Errorf("the resident size grew by %.1f MB over %d results, more than %.1f MB", grown, *resultsFlag, limit)
	}
}

// resident returns the resident size after garbage was given back, in bytes; 0
// where the system does not tell.
func resident(t *testing.T) int64 {
	t.Helper()
	debug.FreeOSMemory()
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	pages, err := strconv.ParseInt(strings.Fields(string(b))[1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}
