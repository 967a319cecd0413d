package timeline_test

import (
	"testing"
	"time"

	"github.com/kube-rehearse/rehearse/harness/timeline"
)

func TestFormatOffset(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0:                                     "+00:00.0",
		566100 * time.Millisecond:             "+09:26.1",
		59949 * time.Millisecond:              "+00:59.9",
		59950 * time.Millisecond:              "+01:00.0",
		time.Hour - 50*time.Millisecond:       "+1:00:00.0",
		26*time.Hour + 3*time.Minute:          "+26:03:00.0",
		-1500 * time.Millisecond:              "-00:01.5",
		140*time.Second + 20*time.Microsecond: "+02:20.0",
	} {
		if got := timeline.FormatOffset(d); got != want {
			t.Errorf("%s is written %s, want %s", d, got, want)
		}
	}
}
