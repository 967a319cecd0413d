package reports

import (
	"regexp"
	"strings"
	"testing"
)

// TestMarkdownIsOneScreen counts the lines above the first fold.
func TestMarkdownIsOneScreen(t *testing.T) {
	for _, f := range fixtures() {
		above, _, found := strings.Cut(string(render(t, FormatMarkdown, f)), "<details>")
		if lines := strings.Count(above, "\n"); !found || lines > 24 {
			t.Errorf("%s shows %d lines before its first fold, want at most 24", f.name, lines)
		}
	}
}

// TestMarkdownHoldsOnlyItsOwnHTML: whatever the record says, the document holds
// the elements that this package writes and no others, and nobody is mentioned.
func TestMarkdownHoldsOnlyItsOwnHTML(t *testing.T) {
	element := regexp.MustCompile(`<[^>]*>?`)
	for _, f := range fixtures() {
		doc := string(render(t, FormatMarkdown, f))
		for _, e := range element.FindAllString(doc, -1) {
			switch e {
			case "<details>", "<summary>", "</summary>", "</details>", "<code>", "</code>":
			default:
				t.Errorf("%s holds %q", f.name, e)
			}
		}
		if strings.Contains(doc, "@someone") {
			t.Errorf("%s mentions somebody", f.name)
		}
		if opened, closed := strings.Count(doc, "<details>"), strings.Count(doc, "</details>"); opened != closed {
			t.Errorf("%s opens %d folds and closes %d", f.name, opened, closed)
		}
	}
}

func TestMarkdownTablesKeepTheirColumns(t *testing.T) {
	unescaped := regexp.MustCompile(`(^|[^\\])\|`)
	for _, f := range fixtures() {
		columns := 0
		for _, line := range strings.Split(string(render(t, FormatMarkdown, f)), "\n") {
			if !strings.HasPrefix(line, "|") {
				columns = 0
				continue
			}
			n := len(unescaped.FindAllString(line, -1))
			if columns != 0 && n != columns {
				t.Errorf("%s: %d bars instead of %d in %s", f.name, n, columns, line)
			}
			columns = n
		}
	}
}
