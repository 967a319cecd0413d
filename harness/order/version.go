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
