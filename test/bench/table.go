package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"
)

// table renders what was measured as Markdown.
type table struct {
	bench *bench
	buf   bytes.Buffer
	met   int
	rows  int
}

func (t *table) begin(ctx context.Context) {
	fmt.Fprintf(&t.buf, "# Benchmarks\n\nThe unedited output of `go run ./test/bench -rounds %d%s` (`make bench`), which see for the method.\n\n",
		t.bench.rounds, map[bool]string{true: " -quick"}[t.bench.quick])
	fmt.Fprintf(&t.buf, "%s; %d CPUs (%s); %s/%s, %s; load average before: %s; wrk %s; ab %s.\n\n",
		time.Now().UTC().Format("2006-01-02 15:04 UTC"), runtime.NumCPU(), cpuModel(), runtime.GOOS, runtime.GOARCH, runtime.Version(),
		loadAverage(), version(ctx, "wrk"), version(ctx, "ab"))
	fmt.Fprintf(&t.buf, "Figures are medians of %d alternating rounds, with the least and the greatest in brackets.\n", t.bench.rounds)
}

func (t *table) add(target target, rows []row) {
	fmt.Fprintf(&t.buf, "\n## %d. %s\n\n", target.number, upperFirst(target.title))
	fmt.Fprintf(&t.buf, "| what | rehearse | others | limit | met | reason |\n|---|---|---|---|---|---|\n")
	for _, r := range rows {
		met, reason := "yes", ""
		if !r.met {
			met, reason = "**no**", r.reason
		} else {
			t.met++
		}
		t.rows++
		fmt.Fprintf(&t.buf, "| %s | %s | %s | %s | %s | %s |\n", cell(r.what), cell(r.ours), cell(r.reference), cell(r.limit), met, cell(reason))
	}
}

func (t *table) end() {
	fmt.Fprintf(&t.buf, "\n%d of %d figures meet their limit. Load average after: %s.\n", t.met, t.rows, loadAverage())
}

// String returns the table.
func (t *table) String() string { return t.buf.String() }

func upperFirst(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// cell keeps a text within its cell.
func cell(s string) string { return strings.ReplaceAll(s, "|", "\\|") }

func cpuModel() string {
	b, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "unknown"
	}
	for line := range strings.Lines(string(b)) {
		if name, ok := strings.CutPrefix(line, "model name"); ok {
			return strings.TrimSpace(strings.TrimLeft(name, "\t :"))
		}
	}
	return "unknown"
}

func loadAverage() string {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Join(strings.Fields(string(b))[:3], " ")
}

// version returns the first word of a tool's own words that looks like one.
func version(ctx context.Context, tool string) string {
	// wrk exits with an error after it has said what it is.
	out, _ := exec.CommandContext(ctx, tool, map[string]string{"wrk": "-v", "ab": "-V"}[tool]).CombinedOutput()
	for _, word := range strings.Fields(string(out)) {
		if strings.Trim(word, "0123456789.") == "" && strings.Contains(word, ".") || strings.Contains(word, "debian/") {
			return word
		}
	}
	return "of unknown version"
}

// sample is what the rounds gave.
type sample []float64

func (s sample) median() float64 {
	if len(s) == 0 {
		return 0
	}
	c := slices.Clone(s)
	slices.Sort(c)
	if n := len(c); n%2 == 0 {
		return (c[n/2-1] + c[n/2]) / 2
	}
	return c[len(c)/2]
}

// format prints the median and the range.
func (s sample) format(verb, unit string) string {
	if len(s) == 0 {
		return "not measured"
	}
	if len(s) == 1 {
		return fmt.Sprintf(verb+"%s", s[0], unit)
	}
	return fmt.Sprintf(verb+"%s ["+verb+", "+verb+"]", s.median(), unit, slices.Min(s), slices.Max(s))
}

// over returns the ratios of s to t, round by round.
func (s sample) over(t sample) sample {
	out := make(sample, 0, len(s))
	for i := range min(len(s), len(t)) {
		out = append(out, s[i]/t[i])
	}
	return out
}
