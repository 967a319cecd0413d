package reports

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/test/golden"
)

func render(t *testing.T, format string, f fixture) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := Render(&b, format, NewView(f.record, f.verdict), TextOptions{Report: "report.html"}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestGolden(t *testing.T) {
	extensions := map[string]string{FormatText: "txt", FormatJSON: "json", FormatMarkdown: "md", FormatJUnit: "xml"}
	for _, f := range fixtures() {
		for format, extension := range extensions {
			if CheckFormat(format) != nil {
				continue
			}
			t.Run(f.name+"/"+format, func(t *testing.T) {
				golden.Equal(t, f.name+"."+extension, render(t, format, f))
			})
		}
	}
}

func TestRenderingTwiceGivesTheSameBytes(t *testing.T) {
	for _, f := range fixtures() {
		for _, format := range Formats {
			if first, again := render(t, format, f), render(t, format, f); !bytes.Equal(first, again) {
				t.Errorf("%s as %s differs between two renderings", f.name, format)
			}
		}
	}
}

func TestVerdictDocumentReadsBack(t *testing.T) {
	for _, f := range fixtures() {
		if f.name == "hostile" {
			continue // bytes that are not UTF-8 do not survive JSON
		}
		var back judge.Verdict
		d := json.NewDecoder(bytes.NewReader(render(t, FormatJSON, f)))
		d.DisallowUnknownFields()
		if err := d.Decode(&back); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(f.verdict, back, cmpopts.IgnoreUnexported(judge.Outage{})); diff != "" {
			t.Errorf("%s (-judged +read back):\n%s", f.name, diff)
		}
	}
}

func TestUnknownFormatListsTheValidOnes(t *testing.T) {
	err := Render(io.Discard, "pdf", View{}, TextOptions{})
	want := `unknown report format "pdf": use one of ` + strings.Join(Formats, ", ")
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// TestNoFormatIsForgotten holds Formats and Render together.
func TestNoFormatIsForgotten(t *testing.T) {
	for _, format := range Formats {
		if err := Render(io.Discard, format, NewView(goRecord(), goVerdict()), TextOptions{}); err != nil {
			t.Errorf("%s is listed and cannot be rendered: %v", format, err)
		}
	}
}

// TestViewHoldsNoControlCharacter walks over everything a report shows of a
// record whose every string is hostile.
func TestViewHoldsNoControlCharacter(t *testing.T) {
	v := NewView(hostileRecord(), hostileVerdict())
	seen := 0
	var walk func(path string, x reflect.Value)
	walk = func(path string, x reflect.Value) {
		if path == "View.Verdict" {
			return // kept as judged, for machines
		}
		switch x.Kind() {
		case reflect.String:
			seen++
			for _, r := range x.String() {
				if r != '\n' && !unicode.IsPrint(r) || r == '\n' && path != "View.Run.Scenario" {
					t.Errorf("%s holds %q", path, r)
					return
				}
			}
		case reflect.Pointer:
			if !x.IsNil() {
				walk(path, x.Elem())
			}
		case reflect.Slice:
			if x.Len() == 0 {
				t.Errorf("%s is empty: the hostile record does not reach it", path)
			}
			for i := range x.Len() {
				walk(path+"[]", x.Index(i))
			}
		case reflect.Struct:
			for i := range x.NumField() {
				if x.Type().Field(i).IsExported() {
					walk(path+"."+x.Type().Field(i).Name, x.Field(i))
				}
			}
		}
	}
	walk("View", reflect.ValueOf(v))
	if seen < 60 {
		t.Errorf("only %d strings were looked at", seen)
	}
}

func TestTextFitsItsWidthAndHoldsNoEscape(t *testing.T) {
	for _, f := range fixtures() {
		for _, width := range []int{72, 80, 120} {
			var b bytes.Buffer
			if err := Text(&b, NewView(f.record, f.verdict), TextOptions{Width: width}); err != nil {
				t.Fatal(err)
			}
			for _, line := range strings.Split(b.String(), "\n") {
				if columns(line) > width && f.name != "hostile" {
					t.Errorf("%s at %d columns: %d in %q", f.name, width, columns(line), line)
				}
				if i := strings.IndexFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }); i >= 0 {
					t.Errorf("%s: %q holds a character that does not print", f.name, line)
				}
			}
		}
	}
}

func TestColourOnlyRepeatsWhatWordsSay(t *testing.T) {
	for _, f := range fixtures() {
		v := NewView(f.record, f.verdict)
		var colored, plain bytes.Buffer
		if err := Text(&colored, v, TextOptions{Color: true}); err != nil {
			t.Fatal(err)
		}
		if err := Text(&plain, v, TextOptions{}); err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(colored.String(), "\x1b[") {
			t.Errorf("%s: the verdict has no colour", f.name)
		}
		stripped := colored.String()
		for {
			before, after, found := strings.Cut(stripped, "\x1b[")
			if !found {
				break
			}
			_, after, _ = strings.Cut(after, "m")
			stripped = before + after
		}
		if diff := cmp.Diff(strings.Fields(plain.String()), strings.Fields(stripped)); diff != "" {
			t.Errorf("%s: colours change the words (-plain +coloured):\n%s", f.name, diff)
		}
	}
}

func TestColourNeedsATerminalAndConsent(t *testing.T) {
	environment := func(m map[string]string) func(string) string { return func(k string) string { return m[k] } }
	file, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	for _, w := range []io.Writer{io.Discard, file} {
		if ColorAllowed(w, environment(nil)) {
			t.Errorf("%T is not a terminal and was given colours", w)
		}
		if got := TerminalWidth(w); got != 80 {
			t.Errorf("%T: width %d, want 80", w, got)
		}
	}
	tty, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Logf("no terminal to be had here, the rest is not asserted: %v", err)
		return
	}
	defer func() { _ = tty.Close() }()
	for _, c := range []struct {
		env  map[string]string
		want bool
	}{{nil, true}, {map[string]string{"NO_COLOR": "1"}, false}, {map[string]string{"TERM": "dumb"}, false}} {
		if got := ColorAllowed(tty, environment(c.env)); got != c.want {
			t.Errorf("on a terminal with %v: %t, want %t", c.env, got, c.want)
		}
	}
}
