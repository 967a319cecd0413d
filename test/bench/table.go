package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
)

// measured is what became of one target.
type measured struct {
	rows []row
	// notes are sentences about how the rounds went.
	notes []string
	// err says why the rows are not all there.
	err error
}

// sectionOf renders what was measured of a target; facts say on what and when.
func sectionOf(t target, facts string, m measured) section {
	var b strings.Builder
	fmt.Fprintf(&b, "## %d. %s\n\n%s\n", t.number, upperFirst(t.title), facts)
	for i, n := range m.notes {
		if i == 0 {
			b.WriteString("\n")
		}
		fmt.Fprintf(&b, "- %s\n", n)
	}
	b.WriteString("\n| what | rehearse | others | limit | met | reason |\n|---|---|---|---|---|---|\n")
	line := func(r row, word, reason string) {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", cell(r.what), cell(r.ours), cell(r.reference), cell(r.limit), word, cell(reason))
	}
	for _, r := range m.rows {
		switch {
		case r.limit == "":
			line(r, wordInfo, "")
		case r.met:
			line(r, wordMet, "")
		default:
			line(r, wordMissed, r.reason)
		}
	}
	if m.err != nil {
		line(row{what: "the rest of this target"}, wordUnmade, m.err.Error())
	}
	return section{number: t.number, text: b.String()}
}

// missed counts the figures beyond their limit.
func (m *measured) missed() int {
	n := 0
	for _, r := range m.rows {
		if r.limit != "" && !r.met {
			n++
		}
	}
	return n
}

// machine returns the facts of the machine and of the contestants, for each
// section.
func machine(ctx context.Context) string {
	return fmt.Sprintf("commit %s; %d CPUs (%s), %s of memory, %s/%s, %s, wrk %s, ab %s, vegeta %s",
		commit(ctx), runtime.NumCPU(), cpuModel(), memTotal(), runtime.GOOS, runtime.GOARCH, runtime.Version(), version(ctx, "wrk"), version(ctx, "ab"), vegetaVersion())
}

// commit names what is measured, and says where its code was changed since.
func commit(ctx context.Context) string {
	id, err := exec.CommandContext(ctx, "git", "rev-parse", "--short", "HEAD").Output()
	if err != nil {
		return "unknown"
	}
	changed, err := exec.CommandContext(ctx, "git", "status", "--porcelain", "--", "*.go", "go.mod", "go.sum").Output()
	if err != nil || len(changed) > 0 {
		return strings.TrimSpace(string(id)) + " with changes"
	}
	return strings.TrimSpace(string(id))
}

func vegetaVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "of unknown version"
	}
	for _, m := range info.Deps {
		if m.Path == "github.com/tsenart/vegeta/v12" {
			return m.Version
		}
	}
	return "of unknown version"
}

func upperFirst(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// cell keeps a text within its cell.
func cell(s string) string {
	return strings.ReplaceAll(strings.Join(strings.Fields(s), " "), "|", "\\|")
}

func memTotal() string {
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return "unknown"
	}
	for line := range strings.Lines(string(b)) {
		var kb int64
		if n, _ := fmt.Sscanf(line, "MemTotal: %d kB", &kb); n == 1 {
			return fmt.Sprintf("%.1f GiB", float64(kb)/(1<<20))
		}
	}
	return "unknown"
}

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
