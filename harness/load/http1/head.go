package http1

import (
	"bytes"
	"errors"
	"io"
	"time"
)

// head is what an answer's header says about its framing.
type head struct {
	length  int64 // -1 when not given
	chunked bool
	close   bool
	http10  bool
}

// readHead reads the status line and the header, passing over informational
// answers.
func (c *conn) readHead(cl *Client, a *Answer) (head, error) {
	for {
		h, err := c.readOneHead(cl, a)
		if err != nil || a.Status >= 200 || a.Status == 101 {
			return h, err
		}
	}
}

func (c *conn) readOneHead(cl *Client, a *Answer) (head, error) {
	h := head{length: -1}
	if c.r == c.w {
		if err := c.fill(); err != nil {
			return h, err // io.EOF: closed without a byte of an answer
		}
	}
	if a.FirstByte == 0 {
		a.FirstByte = time.Since(a.Sent)
	}
	line, err := c.headLine()
	if err != nil {
		return h, err
	}
	if err := h.status(line, a); err != nil {
		return h, err
	}
	var framing framing
	for {
		line, err := c.headLine()
		if err != nil {
			return h, err
		}
		if len(line) == 0 {
			break
		}
		name, value, err := field(line)
		if err != nil {
			return h, err
		}
		if err := framing.see(name, value); err != nil {
			return h, err
		}
		for i, want := range cl.names {
			if equalFold(name, want) {
				a.Header[i] = cl.strings.get(value)
			}
		}
	}
	return h, framing.apply(&h)
}

// headLine returns a line of the header without its line end, which may be a
// bare line feed as in net/http.
func (c *conn) headLine() ([]byte, error) {
	line, err := c.line()
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	if c.head += len(line); c.head > maxHead {
		return nil, malformed("a header above %d bytes", maxHead)
	}
	line = line[:len(line)-1]
	if n := len(line); n > 0 && line[n-1] == '\r' {
		line = line[:n-1]
	}
	return line, nil
}

// status reads a status line such as "HTTP/1.1 200 OK".
func (h *head) status(line []byte, a *Answer) error {
	version, rest, ok := bytes.Cut(line, []byte(" "))
	switch {
	case !ok:
		return malformed("status line %.60q", line)
	case string(version) == "HTTP/1.1":
	case string(version) == "HTTP/1.0":
		h.http10 = true
	default:
		return malformed("status line %.60q", line)
	}
	code, _, _ := bytes.Cut(bytes.TrimLeft(rest, " "), []byte(" "))
	if len(code) != 3 {
		return malformed("status line %.60q", line)
	}
	a.Status = 0
	for _, d := range code {
		if d < '0' || d > '9' {
			return malformed("status line %.60q", line)
		}
		a.Status = 10*a.Status + int(d-'0')
	}
	if a.Status < 100 {
		return malformed("status line %.60q", line)
	}
	return nil
}

// field splits a header line into name and trimmed value.
func field(line []byte) (name, value []byte, err error) {
	name, value, ok := bytes.Cut(line, []byte(":"))
	if !ok || len(name) == 0 {
		return nil, nil, malformed("header line %.60q", line)
	}
	for _, b := range name {
		if !isToken[b] {
			return nil, nil, malformed("header line %.60q", line)
		}
	}
	for _, b := range value {
		if b < ' ' && b != '\t' || b == 0x7f {
			return nil, nil, malformed("header line %.60q", line)
		}
	}
	return name, bytes.Trim(value, " \t"), nil
}

// framing collects the headers that say where the answer ends.
type framing struct {
	length    int64
	hasLength bool
	encodings int
	chunked   bool
	close     bool
	keepAlive bool
}

func (f *framing) see(name, value []byte) error {
	switch len(name) {
	case len("content-length"):
		if !equalFold(name, "Content-Length") {
			return nil
		}
		n, err := parseLength(value)
		if err != nil {
			return err
		}
		if f.hasLength && n != f.length {
			return malformed("two content lengths, %d and %d", f.length, n)
		}
		f.length, f.hasLength = n, true
	case len("transfer-encoding"):
		if equalFold(name, "Transfer-Encoding") {
			f.encodings++
			f.chunked = equalFold(value, "chunked")
		}
	case len("connection"):
		if !equalFold(name, "Connection") {
			return nil
		}
		for len(value) > 0 {
			var token []byte
			token, value, _ = bytes.Cut(value, []byte(","))
			token = bytes.Trim(token, " \t")
			f.close = f.close || equalFold(token, "close")
			f.keepAlive = f.keepAlive || equalFold(token, "keep-alive")
		}
	}
	return nil
}

// apply follows RFC 9112, section 6.3, for answers to GET.
func (f *framing) apply(h *head) error {
	if f.encodings > 0 && !h.http10 {
		if f.encodings > 1 || !f.chunked {
			return malformed("a transfer encoding other than chunked")
		}
		h.chunked = true
	} else if f.hasLength {
		h.length = f.length
	}
	h.close = f.close || h.http10 && !f.keepAlive
	return nil
}

// equalFold reports whether b is s in any case; s is ASCII.
func equalFold(b []byte, s string) bool {
	if len(b) != len(s) {
		return false
	}
	for i, c := range b {
		d := s[i]
		if c == d {
			continue
		}
		if c|0x20 != d|0x20 || c|0x20 < 'a' || c|0x20 > 'z' {
			return false
		}
	}
	return true
}

// isToken marks the bytes of a header's name (RFC 9110, section 5.6.2).
var isToken = func() (t [256]bool) {
	for c := range t {
		t[c] = '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' ||
			bytes.IndexByte([]byte("!#$%&'*+-.^_`|~"), byte(c)) >= 0
	}
	return t
}()
