package timeline

import (
	"fmt"
	"time"
)

// FormatOffset writes an instant of a run, as an offset from the run's start, in
// the one way in which every sentence, table and axis writes it: "+09:26.1", and
// from an hour on "+1:02:03.4". It is rounded to a tenth of a second; what lies
// before the start has the sign "-".
func FormatOffset(d time.Duration) string {
	sign := "+"
	if d < 0 {
		sign, d = "-", -d
	}
	d = d.Round(100 * time.Millisecond)
	whole := fmt.Sprintf("%02d:%04.1f", d%time.Hour/time.Minute, (d % time.Minute).Seconds())
	if d >= time.Hour {
		return fmt.Sprintf("%s%d:%s", sign, d/time.Hour, whole)
	}
	return sign + whole
}
