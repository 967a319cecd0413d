package english

import (
	"math"
	"testing"
	"time"
)

func TestNumber(t *testing.T) {
	for n, want := range map[int]string{0: "0", 7: "7", 999: "999", 1000: "1,000", 120000: "120,000", 1234567: "1,234,567", -1: "-1", -1000: "-1,000", math.MinInt64: "-9,223,372,036,854,775,808"} {
		if got := Number(n); got != want {
			t.Errorf("Number(%d) = %q, want %q", n, got, want)
		}
	}
	if got := Number(uint64(math.MaxUint64)); got != "18,446,744,073,709,551,615" {
		t.Errorf("the largest: %q", got)
	}
}

func TestCount(t *testing.T) {
	for n, want := range map[uint64]string{0: "0 nodes", 1: "1 node", 2: "2 nodes", 1000: "1,000 nodes"} {
		if got := Count(n, "node"); got != want {
			t.Errorf("Count(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestRoughly(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0 s", 400 * time.Millisecond: "0 s", 40 * time.Second: "40 s", 3 * time.Minute: "3 min", 200 * time.Second: "3 min 20 s",
		599 * time.Second: "9 min 59 s", 750 * time.Second: "13 min", 3599 * time.Second: "1 h 0 min", 65 * time.Minute: "1 h 5 min", 50 * time.Hour: "50 h 0 min",
	} {
		if got := Roughly(d); got != want {
			t.Errorf("Roughly(%s) = %q, want %q", d, got, want)
		}
	}
}

func TestCapital(t *testing.T) {
	for s, want := range map[string]string{"": "", "a": "A", "no pod": "No pod", "Ärger": "Ärger", "über": "Über"} {
		if got := Capital(s); got != want {
			t.Errorf("Capital(%q) = %q, want %q", s, got, want)
		}
	}
}
