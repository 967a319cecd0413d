package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// document is the file of all targets: one section a target, each with the facts
// of its own measurement, so that a target can be measured anew by itself.
type document struct{ sections []section }

// section is what was written of one target.
type section struct {
	number int
	text   string // from its heading to the next
}

const preamble = `# Benchmarks

The unedited output of ` + "`make bench`" + `, which measures rehearse beside what a user could pick instead: vegeta as a library and as a command, wrk, ab. ` + "`make bench TARGETS=8`" + ` measures one target anew and leaves the other sections as they are. ` + "`go doc ./test/bench`" + ` tells the method.

Figures are medians of the rounds, with the least and the greatest in brackets; a ratio is taken within each round. A target is met when the median meets the limit, unless the row says otherwise. Rows without a limit are there for comparison.
`

var heading = regexp.MustCompile(`(?m)^## (\d+)\. `)

// parseDocument reads what an earlier run wrote. What stands before the first
// section, the summary too, is written anew.
func parseDocument(text string) document {
	var d document
	at := heading.FindAllStringSubmatchIndex(text, -1)
	for i, m := range at {
		end := len(text)
		if i+1 < len(at) {
			end = at[i+1][0]
		}
		n, err := strconv.Atoi(text[m[2]:m[3]])
		if err != nil {
			continue // a number beyond any target's
		}
		d.put(section{number: n, text: strings.TrimRight(text[m[0]:end], "\n") + "\n"})
	}
	return d
}

// put replaces the section of the same number, or adds it in order.
func (d *document) put(s section) {
	i, found := slices.BinarySearchFunc(d.sections, s.number, func(a section, n int) int { return a.number - n })
	if found {
		d.sections[i] = s
		return
	}
	d.sections = slices.Insert(d.sections, i, s)
}

// Words of the column that says whether a limit is met.
const (
	wordMet    = "yes"
	wordMissed = "**no**"
	wordInfo   = "–"
	wordUnmade = "**not measured**"
)

// String renders the whole document.
func (d *document) String() string {
	var b strings.Builder
	b.WriteString(preamble)
	b.WriteString("\n| target | figures that meet their limit | that do not | not measured |\n|---|---|---|---|\n")
	for _, t := range targets {
		i := slices.IndexFunc(d.sections, func(s section) bool { return s.number == t.number })
		if i < 0 {
			fmt.Fprintf(&b, "| %d | | | all of it |\n", t.number)
			continue
		}
		count := func(word string) int { return strings.Count(d.sections[i].text, " | "+word+" | ") }
		fmt.Fprintf(&b, "| %d | %d | %d | %d |\n", t.number, count(wordMet), count(wordMissed), count(wordUnmade))
	}
	for _, s := range d.sections {
		b.WriteString("\n" + s.text)
	}
	return b.String()
}

// merge puts a section into the file at path, whatever other run of this
// benchmark writes other sections to it meanwhile.
func merge(path string, s section) (err error) {
	lock, err := os.OpenFile(filepath.Join(os.TempDir(), "rehearse-bench.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("lock %s: %w", path, err)
	}
	defer func() { err = errors.Join(err, lock.Close()) }() // which unlocks
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return fmt.Errorf("lock %s: %w", path, err)
	}
	old, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	d := parseDocument(string(bytes.ReplaceAll(old, []byte("\r\n"), []byte("\n"))))
	d.put(s)
	whole := path + ".new"
	if err := os.WriteFile(whole, []byte(d.String()), 0o644); err != nil {
		return err
	}
	return os.Rename(whole, path)
}
