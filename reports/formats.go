package reports

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// Formats lists what a report can be written as, in the order of help texts.
var Formats = []string{FormatText, FormatJSON, FormatJUnit, FormatMarkdown, FormatHTML}

// Names of formats.
const (
	FormatText     = "text"
	FormatJSON     = "json"
	FormatJUnit    = "junit"
	FormatMarkdown = "markdown"
	FormatHTML     = "html"
)

// CheckFormat returns an error that lists the valid formats unless name is one.
func CheckFormat(name string) error {
	if !slices.Contains(Formats, name) {
		return fmt.Errorf("unknown report format %q: use one of %s", name, strings.Join(Formats, ", "))
	}
	return nil
}

// Render writes v to w in the named format. Only text looks at o.
func Render(w io.Writer, format string, v View, o TextOptions) error {
	switch format {
	case FormatText:
		return Text(w, v, o)
	case FormatJSON:
		return JSON(w, v)
	case FormatJUnit:
		return JUnit(w, v)
	case FormatMarkdown:
		return Markdown(w, v)
	case FormatHTML:
		return HTML(w, v)
	}
	return CheckFormat(format)
}
