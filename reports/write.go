package reports

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/record"
)

// files are the reports of a run directory, in the order in which they are
// written: the page that a reader opens comes last, so that it never stands
// beside a verdict of an earlier judgement.
var files = []struct{ name, format string }{
	{"verdict.json", FormatJSON},
	{"report.txt", FormatText},
	{"summary.md", FormatMarkdown},
	{"junit.xml", FormatJUnit},
	{ReportFile, FormatHTML},
}

// ReportFile is the name of the page inside a run directory.
const ReportFile = "report.html"

// Write writes all reports into the run directory dir, which exists, and
// replaces those that are there. Each file is replaced as a whole, and the same
// record and verdict give the same bytes.
func Write(dir string, r *record.Record, v judge.Verdict) error {
	view := NewView(r, v)
	for _, f := range files {
		if !slices.Contains(Formats, f.format) {
			continue
		}
		var b bytes.Buffer
		if err := Render(&b, f.format, view, TextOptions{Report: ReportFile + ", beside this file"}); err != nil {
			return fmt.Errorf("rendering %s: %w", f.name, err)
		}
		if err := replace(filepath.Join(dir, f.name), b.Bytes()); err != nil {
			return fmt.Errorf("writing the reports: %w", err)
		}
	}
	return nil
}

// replace gives path its new content in one step, so that a full disk or an
// interrupt leaves the old file or the new one and nothing in between.
func replace(path string, content []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = os.Remove(f.Name())
		}
	}()
	if _, err = f.Write(content); err != nil {
		return err
	}
	if err = f.Chmod(0o644); err != nil {
		return err
	}
	if err = f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
