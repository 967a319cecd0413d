package reports

import (
	"bufio"
	"io"
	"strings"
	"unicode/utf8"

	"golang.org/x/term"

	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/record"
)

// descriptor is what can be a terminal: an *os.File, or what wraps one.
type descriptor interface{ Fd() uintptr }

// ColorAllowed reports whether colours may be written to w: it is a terminal,
// and the environment neither sets NO_COLOR (https://no-color.org) nor calls
// the terminal dumb.
func ColorAllowed(w io.Writer, getenv func(string) string) bool {
	f, ok := w.(descriptor)
	return ok && getenv("NO_COLOR") == "" && getenv("TERM") != "dumb" && term.IsTerminal(int(f.Fd()))
}

// TerminalWidth returns the number of columns of the terminal w, between 72 and
// 120, or 80 where w is none: longer lines are hard to read.
func TerminalWidth(w io.Writer) int {
	if f, ok := w.(descriptor); ok {
		if columns, _, err := term.GetSize(int(f.Fd())); err == nil && columns > 0 {
			return min(max(columns, 72), 120)
		}
	}
	return 80
}

// style is the parameter of an ANSI "select graphic rendition" sequence.
type style string

const (
	plain  style = ""
	bold   style = "1"
	dim    style = "2"
	red    style = "31"
	green  style = "32"
	yellow style = "33"
)

func verdictStyle(o judge.Outcome) style {
	switch o {
	case judge.Go:
		return "1;30;42"
	case judge.NoGo:
		return "1;37;41"
	}
	return "1;30;43"
}

func resultStyle(r judge.Result) style {
	switch r {
	case judge.Pass:
		return green
	case judge.Fail:
		return red
	case judge.Undecided:
		return yellow
	}
	return dim
}

func outcomeStyle(outcome string) style {
	switch outcome {
	case record.OutcomePassed:
		return green
	case record.OutcomeSkipped:
		return dim
	}
	return red
}

func severityStyle(severity string) style {
	switch severity {
	case record.SeverityInfo:
		return dim
	case record.SeverityWarn:
		return yellow
	}
	return red
}

// text lays out lines of at most width columns. Writing errors stay in w until
// it is flushed.
type text struct {
	w     *bufio.Writer
	width int
	color bool
}

// cell is one cell of a table.
type cell struct {
	s     string
	style style
}

func (t *text) paint(s style, x string) string {
	if !t.color || s == plain || x == "" {
		return x
	}
	return "\x1b[" + string(s) + "m" + x + "\x1b[0m"
}

func (t *text) line(s string) {
	_, _ = t.w.WriteString(strings.TrimRight(s, " ") + "\n")
}

func (t *text) section(title string) {
	t.line("")
	t.line(t.paint(bold, title))
}

// wrap writes s behind first, and what does not fit on further lines behind
// rest. A lead that leaves too little room folds together with s.
func (t *text) wrap(first, rest, s string) {
	if room := t.width - max(columns(first), columns(rest)); room < 24 {
		s = strings.TrimSpace(first) + " " + s
		first, rest = "    ", "    "
	}
	lead := first
	for i, l := range fold(s, t.width-max(columns(first), columns(rest))) {
		if i > 0 {
			lead = rest
		}
		t.line(lead + l)
	}
}

const gap = 2 // columns between the columns of a table

// table writes rows under a header. format has a letter for each column: l and
// r align to the left and right; w, only for the last, is prose. Where prose has
// too little room beside the others it goes on lines of its own, as it always
// does with b, and where the columns are too wide together the widest fold.
func (t *text) table(format string, header []string, rows [][]cell) {
	last := len(format) - 1
	below := format[last] == 'b' || format[last] == 'w' && t.width-widthOf(natural(last, header, rows)) < 24+gap
	cols := len(format)
	if below {
		cols--
	}
	widths := t.fit(format[:cols], natural(cols, header, rows))
	if header != nil {
		cells := make([]cell, cols)
		for i := range cells {
			cells[i] = cell{s: header[i], style: dim}
		}
		t.row(format, widths, cells)
	}
	for _, row := range rows {
		t.row(format, widths, row[:cols])
		if below && row[last].s != "" {
			t.wrap("      ", "      ", row[last].s)
		}
	}
}

// natural returns the widths that the first n columns would like to have.
func natural(n int, header []string, rows [][]cell) []int {
	widths := make([]int, n)
	for i := range widths {
		if header != nil {
			widths[i] = columns(header[i])
		}
		for _, row := range rows {
			widths[i] = max(widths[i], columns(row[i].s))
		}
	}
	return widths
}

func widthOf(widths []int) int {
	sum := 0
	for _, w := range widths {
		sum += gap + w
	}
	return sum
}

// fit narrows the columns of text, the widest first, until the table fits.
func (t *text) fit(format string, widths []int) []int {
	const least = 12
	for widthOf(widths) > t.width {
		widest := -1
		for i, w := range widths {
			if format[i] != 'r' && w > least && (widest < 0 || w > widths[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			break
		}
		widths[widest]--
	}
	return widths
}

func (t *text) row(format string, widths []int, row []cell) {
	folded := make([][]string, len(row))
	height := 1
	for i, c := range row {
		folded[i] = fold(c.s, widths[i])
		height = max(height, len(folded[i]))
	}
	for n := range height {
		var b strings.Builder
		for i, c := range row {
			s := ""
			if n < len(folded[i]) {
				s = folded[i][n]
			}
			fill := strings.Repeat(" ", gap)
			rest := strings.Repeat(" ", max(0, widths[i]-columns(s)))
			if format[i] == 'r' {
				fill, rest = fill+rest, ""
			}
			b.WriteString(fill + t.paint(c.style, s) + rest)
		}
		t.line(b.String())
	}
}

func pad(s string, n int) string { return s + strings.Repeat(" ", max(0, n-columns(s))) }

// columns counts the columns that s takes, without its colours. It takes every
// character for one column wide; a wider one only shifts its own line.
func columns(s string) int {
	n := 0
	for {
		before, after, found := strings.Cut(s, "\x1b[")
		n += utf8.RuneCountInString(before)
		if !found {
			return n
		}
		_, s, _ = strings.Cut(after, "m")
	}
}

// fold breaks s into lines of at most width columns: at spaces where it can, and
// else in a word, after one of the marks that names are joined with.
func fold(s string, width int) []string {
	width = max(width, 1)
	var lines []string
	line := ""
	for _, word := range strings.Fields(s) {
		if line != "" && columns(line)+1+columns(word) > width {
			lines = append(lines, line)
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += word
		for columns(line) > width {
			head := cut(line, width)
			if i := strings.LastIndexAny(head, "-/.,_:"); i >= len(head)/2 {
				head = head[:i+1]
			}
			lines = append(lines, head)
			line = line[len(head):]
		}
	}
	if line != "" || len(lines) == 0 {
		lines = append(lines, line)
	}
	return lines
}
