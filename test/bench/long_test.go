package main

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestNumbersOfALongRun reads lines as the tests of target 9 print them.
func TestNumbersOfALongRun(t *testing.T) {
	for _, x := range []struct {
		pattern *regexp.Regexp
		line    string
		want    []float64
	}{
		{heapOfHours, "heap after hour 1 3.21 MB, after hour 8 3.30 MB, ratio 1.028", []float64{3.21, 3.3, 1.028}},
		{recordOf8, "record 52.3 MB, 605 bytes a second of each of 3 lanes at 200/s", []float64{52.3, 605}},
		{judgedOf8, "judged in 0.33 s of CPU time, 0.190 s for 10 M results, of 17.3 M; loaded in 0.90 s, reported in 1.20 s; report 1.10 MB", []float64{0.33, 0.19, 17.3, 0.9, 1.2, 1.1}},
		{metricsAdd, "metrics add 102 ns to the 95000 ns of a request, 0.11%", []float64{102, 95000, 0.11}},
		{drawnOfHours, "report of 8 h drawn after 310 ms [290, 350], of 10 min after 200 ms, ratio 1.6", []float64{310, 290, 350, 200, 1.6}},
	} {
		got, err := numbersIn([]byte("=== RUN   Test\n"+x.line+"\nPASS\n"), []*regexp.Regexp{x.pattern})
		if err != nil || len(got) != 1 || !slices.Equal(got[0], x.want) {
			t.Errorf("%q: %v, %v", x.line, got, err)
		}
	}
	if _, err := numbersIn([]byte("PASS\n"), []*regexp.Regexp{heapOfHours}); err == nil || !strings.HasPrefix(err.Error(), "the test's output is not understood:") {
		t.Errorf("%v", err)
	}
}
