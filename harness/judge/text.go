package judge

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kube-rehearse/rehearse/harness/english"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// duration writes nanoseconds as a person reads them: "320 µs", "12.5 ms",
// "5.02 s", "8 min 20 s".
func duration(ns float64) string {
	switch a := math.Abs(ns); {
	case a >= 120e9:
		d := time.Duration(ns).Round(time.Second)
		if d%time.Minute == 0 {
			return fmt.Sprintf("%d min", d/time.Minute)
		}
		return fmt.Sprintf("%d min %d s", d/time.Minute, d%time.Minute/time.Second)
	case a >= 1e9:
		return digits(ns/1e9, 3) + " s"
	case a >= 1e6:
		return digits(ns/1e6, 3) + " ms"
	case a == 0:
		return "0 ms"
	default:
		return digits(ns/1e3, 3) + " µs"
	}
}

// digits writes x with n significant digits, without trailing zeros.
func digits(x float64, n int) string {
	if x == 0 {
		return "0"
	}
	decimals := max(0, n-1-int(math.Floor(math.Log10(math.Abs(x)))))
	s := strconv.FormatFloat(x, 'f', decimals, 64)
	if strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	return s
}

// share writes a share of one as a percentage. Near one it keeps as many digits
// as the distance from one has meaning: "99.987%".
func share(x float64) string {
	if rest := 1 - x; rest > 0 && rest < 0.01 {
		decimals := int(math.Ceil(-math.Log10(rest))) - 1
		s := strconv.FormatFloat(x*100, 'f', min(decimals+1, 8), 64)
		return strings.TrimRight(strings.TrimRight(s, "0"), ".") + "%"
	}
	return digits(x*100, 3) + "%"
}

// growth writes a relative growth with its sign: "+12.3%", "-4%".
func growth(x float64) string {
	s := strings.TrimSuffix(strconv.FormatFloat(x*100, 'f', 1, 64), ".0")
	if s == "-0" {
		s = "0"
	}
	if !strings.HasPrefix(s, "-") {
		s = "+" + s
	}
	return s + "%"
}

// enumerate joins words with commas and "and", naming at most six.
func enumerate(words []string) string {
	const most = 6
	if len(words) > most {
		words = append(slices.Clone(words[:most]), fmt.Sprintf("%d more", len(words)-most))
	}
	switch len(words) {
	case 0:
		return ""
	case 1:
		return words[0]
	}
	return strings.Join(words[:len(words)-1], ", ") + " and " + words[len(words)-1]
}

// tally writes counts by class, the most frequent first: "refused 480, reset 22".
func tally(counts map[string]uint64) string {
	names := make([]string, 0, len(counts))
	for name := range counts {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		if counts[a] != counts[b] {
			if counts[a] > counts[b] {
				return -1
			}
			return 1
		}
		return strings.Compare(a, b)
	})
	for i, name := range names {
		names[i] = name + " " + english.Number(counts[name])
	}
	return strings.Join(names, ", ")
}

// offset writes an instant of the run: "+01:42.3".
func offset(ns int64) string { return timeline.FormatOffset(time.Duration(ns)) }

// at writes when something was: "at +01:42.3".
func at(ns int64) string { return "at " + offset(ns) }
