package watch

import (
	"strconv"
)

// change is one event that has no offset yet.
type change struct {
	kind, subject string
	detail        map[string]string
}

// pair is one object before and after; nil where it did not exist.
type pair[T any] struct{ before, after *T }

// detail makes the detail of a change from keys and values in turn, leaving out
// those without a value.
func detail(keysAndValues ...string) map[string]string {
	out := map[string]string{}
	for i := 0; i+1 < len(keysAndValues); i += 2 {
		if keysAndValues[i+1] != "" {
			out[keysAndValues[i]] = keysAndValues[i+1]
		}
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

func itoa(n int32) string { return strconv.Itoa(int(n)) }
