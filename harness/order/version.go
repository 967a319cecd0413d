package order

import (
	"strconv"
	"strings"
)

// newer reports whether version a is above b, and whether both could be read.
// What a vendor appends ("-eks-ab12", "+k3s1") does not count.
func newer(a, b string) (above, ok bool) {
	x, okX := parse(a)
	y, okY := parse(b)
	if !okX || !okY {
		return false, false
	}
	for i := range x {
		if x[i] != y[i] {
			return x[i] > y[i], true
		}
	}
	return false, true
}

// newer is newer, remembered: a run compares few versions, very often.
func (m *Monitor) newer(a, b string) (above, ok bool) {
	key := [2]string{a, b}
	c, known := m.compared[key]
	if !known {
		c.above, c.ok = newer(a, b)
		if m.compared == nil {
			m.compared = map[[2]string]comparison{}
		}
		m.compared[key] = c
	}
	return c.above, c.ok
}

// comparison is what newer found.
type comparison struct{ above, ok bool }

func parse(s string) (out [3]int, ok bool) {
	s = strings.TrimPrefix(s, "v")
	if i := strings.IndexAny(s, "-+"); i >= 0 {
		s = s[:i]
	}
	parts := strings.Split(s, ".")
	if len(parts) != 3 {
		return out, false
	}
	for i, p := range parts {
		n, err := strconv.Atoi(p)
		if err != nil || n < 0 {
			return out, false
		}
		out[i] = n
	}
	return out, true
}
