package reports

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxText is the number of characters that one text of a record may take in a
// report. The record keeps all of it.
const maxText = 1000

// clean makes s safe to show on one line of any report: line ends become a
// visible sign, every other character that does not print (ANSI escapes, the
// marks that reverse the direction of writing, bytes that are not UTF-8) becomes
// its escaped spelling, and a text of more than maxText characters is cut with a
// note that says by how much.
func clean(s string) string {
	s = strings.TrimSpace(s)
	if n := utf8.RuneCountInString(s); n > maxText {
		s = cut(s, maxText) + fmt.Sprintf(" … (%d more characters in the record)", n-maxText)
	}
	if printable(s) {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, size := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, s[0])
		case strings.HasPrefix(s, "\r\n"):
			b.WriteString(" ⏎ ")
			size = 2
		case r == '\n' || r == '\u2028' || r == '\u2029':
			b.WriteString(" ⏎ ")
		case r == '\t' || unicode.Is(unicode.Zs, r):
			b.WriteByte(' ')
		case unicode.IsPrint(r):
			b.WriteRune(r)
		case r < 0x100:
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
		s = s[size:]
	}
	return b.String()
}

func printable(s string) bool {
	if !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return false
		}
	}
	return true
}

// cut returns the first n characters of s.
func cut(s string, n int) string {
	for i := range s {
		if n == 0 {
			return s[:i]
		}
		n--
	}
	return s
}

func cleanAll(in []string) []string {
	out := make([]string, 0, len(in))
	for _, s := range in {
		out = append(out, clean(s))
	}
	return out
}
