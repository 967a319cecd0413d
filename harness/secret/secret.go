// Package secret keeps what is given to be used, and not to be read, out of what
// is printed and written down: passwords in arguments and URLs, tokens, keys.
//
// What is secret is told in two ways. A text tells it by its form: the value
// after a name such as --token or password=, the user of a URL, a bearer token, a
// key of AWS. And values that are known, from arguments and the environment, are
// looked for as they are, wherever they turn up. Neither finds a secret that looks
// like nothing and is called nothing, so none belongs on a command line.
package secret

import (
	"bytes"
	"cmp"
	"io"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// Mask stands where something was taken out.
const Mask = "***"

const words = `token|secret|passw(?:or)?d|passphrase|api[-_]?key|access[-_]?key|private[-_]?key|client[-_]?key|credentials?|authorization`

var (
	named = regexp.MustCompile(`(?i)(?:` + words + `)`)
	// harmless are names that point to a secret and hold none.
	harmless = regexp.MustCompile(`(?i)(?:file|path|dir|name|ref|arn|url|ttl|type|id)s?$`)

	forms = []struct {
		form *regexp.Regexp
		with string
	}{
		{regexp.MustCompile(`://[^/\s@'"]+@`), "://" + Mask + "@"},
		{regexp.MustCompile(`(hooks\.slack\.com/services/)[^\s'"]+`), "${1}" + Mask},
		{regexp.MustCompile(`(?i)\b(bearer|basic) +[A-Za-z0-9+/=._~-]{6,}`), "${1} " + Mask},
		{regexp.MustCompile(`\b(?:AKIA|ASIA)[A-Z0-9]{12,}\b`), Mask},
		{regexp.MustCompile(`-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)`), Mask},
	}
	// pairs are a name, what is between, and its value, which may be in quotes.
	pairs = regexp.MustCompile(`(?i)(--?[\w.-]*(?:` + words + `)[\w.-]*[ =]|[\w.-]*(?:` + words + `)[\w.-]*(?:=|"?: ?))("[^"\n]*"|'[^'\n]*'|[^\s"'&,;]+)`)
)

// isSecret tells whether what is called so is secret.
func isSecret(name string) bool { return named.MatchString(name) && !harmless.MatchString(name) }

// Without takes the values out of a text, and nothing else: what is data stays
// as it is.
func Without(s string, values []string) string {
	for _, v := range values {
		s = strings.ReplaceAll(s, v, Mask)
	}
	return s
}

// Text takes out of a text for people what has the form of a secret, and the
// values.
func Text(s string, values []string) string {
	s = Without(s, values)
	for _, f := range forms {
		s = f.form.ReplaceAllString(s, f.with)
	}
	return pairs.ReplaceAllStringFunc(s, func(pair string) string {
		m := pairs.FindStringSubmatch(pair)
		if !holds(m) {
			return pair
		}
		quote := ""
		if m[2][0] == '"' || m[2][0] == '\'' {
			quote = m[2][:1]
		}
		return m[1] + quote + Mask + quote
	})
}

// holds tells whether what follows a name in a match of pairs is its secret.
func holds(m []string) bool {
	scheme := strings.EqualFold(m[2], "bearer") || strings.EqualFold(m[2], "basic")
	return isSecret(strings.Trim(m[1], `-=: "`)) && !strings.HasPrefix(m[2], "-") && !strings.Contains(m[2], Mask) && !scheme
}

// Args returns the arguments of a program without their secrets: as many, in
// the same order.
func Args(args []string) []string {
	out := make([]string, len(args))
	for i, a := range args {
		if i > 0 && follows(args[i-1], a) {
			a = Mask
		}
		out[i] = Text(a, nil)
	}
	return out
}

// follows tells whether a is the secret value of the flag before it.
func follows(flag, a string) bool {
	return strings.HasPrefix(flag, "-") && !strings.ContainsAny(flag, "= ") && !strings.HasPrefix(a, "-") && isSecret(strings.TrimLeft(flag, "-"))
}

// leastLength is how long a value must be to be looked for as it is: a shorter
// one would be found in words.
const leastLength = 6

// Values are the secrets of a program's arguments and environment, the longest
// first, so that none is replaced by halves.
func Values(args, environ []string) []string {
	var all []string
	for i, a := range args {
		if i > 0 && follows(args[i-1], a) {
			all = append(all, a)
		}
		all = append(all, inText(a)...)
	}
	for _, e := range environ {
		name, value, _ := strings.Cut(e, "=")
		if isSecret(name) || name == "AWS_ACCESS_KEY_ID" {
			all = append(all, value)
		}
		all = append(all, inText(value)...)
	}
	return Known(all...)
}

// inText are the values of pairs, and the passwords of URLs, in a text.
func inText(s string) []string {
	var all []string
	for _, m := range pairs.FindAllStringSubmatch(s, -1) {
		if holds(m) {
			all = append(all, strings.Trim(m[2], `"'`))
		}
	}
	for _, m := range regexp.MustCompile(`://[^/\s@:'"]*:([^/\s@'"]+)@`).FindAllStringSubmatch(s, -1) {
		all = append(all, m[1])
	}
	return all
}

// Known are values to look for, line by line, without what is too short or no
// secret by itself, the longest first.
func Known(values ...string) []string {
	var all []string
	for _, v := range values {
		for line := range strings.Lines(v) {
			if line = strings.TrimSpace(line); len(line) >= leastLength && !strings.HasPrefix(line, "-----") {
				all = append(all, line)
			}
		}
	}
	slices.SortFunc(all, func(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) })
	return slices.Compact(all)
}

// Writer hands whole lines on, without their secrets. It is safe for concurrent
// use.
type Writer struct {
	mu   sync.Mutex
	to   io.Writer
	free func(string) string
	line []byte
}

// NewWriter returns a Writer to to by Without.
func NewWriter(to io.Writer, values []string) *Writer {
	return &Writer{to: to, free: func(s string) string { return Without(s, values) }}
}

// NewTextWriter returns a Writer to to by Text.
func NewTextWriter(to io.Writer, values []string) *Writer {
	return &Writer{to: to, free: func(s string) string { return Text(s, values) }}
}

// longest is how much of a line is held back; a longer one is handed on in parts.
const longest = 64 << 10

// Write implements io.Writer.
func (w *Writer) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.line = append(w.line, p...)
	end := bytes.LastIndexByte(w.line, '\n') + 1
	if end == 0 && len(w.line) >= longest {
		end = len(w.line)
	}
	if end == 0 {
		return len(p), nil
	}
	text := w.free(string(w.line[:end]))
	w.line = append(w.line[:0], w.line[end:]...)
	if _, err := io.WriteString(w.to, text); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Flush hands on a last line that did not end.
func (w *Writer) Flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.line) == 0 {
		return nil
	}
	text := w.free(string(w.line))
	w.line = nil
	_, err := io.WriteString(w.to, text)
	return err
}
