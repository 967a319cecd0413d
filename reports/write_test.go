package reports

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestWriteIsCompleteAndTheSameEveryTime(t *testing.T) {
	first, again := t.TempDir(), t.TempDir()
	for _, dir := range []string{first, again, again} { // the last one replaces
		if err := Write(dir, noGoRecord(), noGoVerdict()); err != nil {
			t.Fatal(err)
		}
	}
	entries, err := os.ReadDir(again)
	if err != nil {
		t.Fatal(err)
	}
	var names, want []string
	for _, e := range entries {
		names = append(names, e.Name())
		a, errA := os.ReadFile(filepath.Join(first, e.Name()))
		b, errB := os.ReadFile(filepath.Join(again, e.Name()))
		if errA != nil || errB != nil || !bytes.Equal(a, b) {
			t.Errorf("%s differs between two writings (%v, %v)", e.Name(), errA, errB)
		}
	}
	for _, f := range files {
		if slices.Contains(Formats, f.format) {
			want = append(want, f.name)
		}
	}
	slices.Sort(want)
	if !slices.Equal(names, want) {
		t.Errorf("the run directory holds %v, want %v", names, want)
	}
}

func TestWriteNamesWhatItCouldNotWrite(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "gone")
	err := Write(dir, goRecord(), goVerdict())
	if err == nil || !strings.HasPrefix(err.Error(), "writing the reports: open "+dir+"/.verdict.json-") {
		t.Errorf("got %v", err)
	}
}
