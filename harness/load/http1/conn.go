package http1

import (
	"bytes"
	"errors"
	"hash/crc32"
	"io"
	"net"
	"os"
	"strconv"
	"syscall"
	"time"
)

const (
	bufSize = 4 << 10
	// maxHead bounds an answer's header, and a line of a chunked body.
	maxHead = 64 << 10
	// closeWait is how long the server may take to close a connection that both
	// sides agreed to close. Leaving the first close to the server leaves the
	// TIME_WAIT there too, and the runner does not run out of ports.
	closeWait = 20 * time.Millisecond
)

// conn is one connection and its buffer.
type conn struct {
	nc     net.Conn
	rw     io.ReadWriter // nc, or the TLS connection over it
	remote net.Addr
	raw    syscall.RawConn
	used   time.Time // when the last answer ended
	peek   func(fd uintptr) bool
	open   bool // set by peek

	buf  []byte
	r, w int // buf[r:w] was read and not yet used
	head int // bytes of header read for the present answer
}

func newConn(nc net.Conn) *conn {
	c := &conn{nc: nc, rw: nc, remote: nc.RemoteAddr(), buf: make([]byte, bufSize)}
	if sc, ok := nc.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			c.raw = raw
		}
	}
	c.peek = func(fd uintptr) bool {
		var b [1]byte
		n, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		// An idle connection has nothing to say: data on it is no answer to
		// anything, and no data without "would block" is its end.
		c.open = n < 0 && errors.Is(err, syscall.EAGAIN)
		return true
	}
	return c
}

// alive reports whether an idle connection is still open, as far as the server's
// packets tell.
func (c *conn) alive() bool {
	if c.raw == nil {
		// Without a file descriptor: a read that may not wait tells.
		if c.nc.SetReadDeadline(time.Unix(1, 0)) != nil {
			return false
		}
		_, err := c.nc.Read(c.buf[:1])
		return errors.Is(err, os.ErrDeadlineExceeded)
	}
	return c.raw.Read(c.peek) == nil && c.open
}

func (c *conn) close() { _ = c.nc.Close() } // nothing is lost with an error here

// awaitClose waits a little for the server to close.
func (c *conn) awaitClose() {
	if c.nc.SetReadDeadline(time.Now().Add(closeWait)) != nil {
		return
	}
	_, _ = c.nc.Read(c.buf) // whatever it returns, the connection is closed next
}

// exchange sends the request and reads the answer. It reports whether the
// connection can be used again.
func (c *conn) exchange(cl *Client, deadline time.Time, a *Answer) (keep bool) {
	c.r, c.w, c.head = 0, 0, 0
	a.Stage = StageWrite
	err := c.nc.SetDeadline(deadline)
	if err == nil {
		_, err = c.rw.Write(cl.request)
	}
	if err == nil {
		keep, err = c.readAnswer(cl, a)
	}
	c.used = time.Now()
	a.Done = c.used
	a.Err = err
	if err == nil {
		a.Stage = StageDone
	}
	return keep && err == nil && c.r == c.w
}

// readAnswer reads a whole answer and reports whether the connection may serve
// another.
func (c *conn) readAnswer(cl *Client, a *Answer) (bool, error) {
	a.Stage = StageHeader
	h, err := c.readHead(cl, a)
	if err != nil {
		return false, err
	}
	a.Stage = StageBody
	switch {
	case a.Status == 204 || a.Status == 304 || a.Status < 200:
	case h.chunked:
		err = c.readChunked(a)
	case h.length >= 0:
		err = c.readN(a, h.length)
	default:
		h.close = true
		err = c.readToEnd(a)
	}
	return !h.close && a.Status >= 200, err
}

// fill reads more into the buffer, making room where it is full.
func (c *conn) fill() error {
	if c.r == c.w {
		c.r, c.w = 0, 0
	}
	if c.w == len(c.buf) {
		switch {
		case c.r > 0:
			c.w = copy(c.buf, c.buf[c.r:c.w])
			c.r = 0
		case len(c.buf) < maxHead:
			c.buf = append(c.buf, make([]byte, len(c.buf))...)
		default:
			return malformed("a line above %d bytes", maxHead)
		}
	}
	n, err := c.rw.Read(c.buf[c.w:])
	c.w += n
	if n > 0 {
		return nil // an error comes again with the next read
	}
	if err == nil {
		return io.ErrNoProgress
	}
	return err
}

// line returns the next line with its line end. It is valid until the next read.
func (c *conn) line() ([]byte, error) {
	from := c.r
	for {
		if i := bytes.IndexByte(c.buf[from:c.w], '\n'); i >= 0 {
			line := c.buf[c.r : from+i+1]
			c.r = from + i + 1
			return line, nil
		}
		scanned := c.w - c.r
		if err := c.fill(); err != nil {
			return nil, err
		}
		from = c.r + scanned
	}
}

// take accounts for b as part of the body.
func (a *Answer) take(b []byte) {
	a.Length += int64(len(b))
	a.Sum = crc32.Update(a.Sum, crc32.IEEETable, b)
}

// readN reads a body of n bytes.
func (c *conn) readN(a *Answer, n int64) error {
	for n > 0 {
		if c.r == c.w {
			if err := c.fill(); err != nil {
				return cut(err)
			}
		}
		b := c.buf[c.r:c.w]
		if int64(len(b)) > n {
			b = b[:n]
		}
		a.take(b)
		c.r += len(b)
		n -= int64(len(b))
	}
	return nil
}

// readToEnd reads a body that ends with the connection.
func (c *conn) readToEnd(a *Answer) error {
	for {
		a.take(c.buf[c.r:c.w])
		c.r = c.w
		switch err := c.fill(); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
}

// readChunked reads a body in chunks (RFC 9112, section 7.1), its trailer too.
func (c *conn) readChunked(a *Answer) error {
	for {
		line, err := c.crlfLine()
		if err != nil {
			return err
		}
		if i := bytes.IndexByte(line, ';'); i >= 0 {
			line = line[:i] // extensions mean nothing to us
		}
		line = bytes.TrimRight(line, " \t")
		n, err := parseHex(line)
		if err != nil {
			return err
		}
		if n == 0 {
			break
		}
		if err := c.readN(a, n); err != nil {
			return err
		}
		if end, err := c.crlfLine(); err != nil {
			return err
		} else if len(end) > 0 {
			return malformed("a chunk is longer than its size says")
		}
	}
	for {
		line, err := c.crlfLine()
		if err != nil || len(line) == 0 {
			return err
		}
		if c.head += len(line); c.head > maxHead {
			return malformed("header and trailer above %d bytes", maxHead)
		}
		if _, _, err := field(line); err != nil {
			return err
		}
	}
}

// crlfLine returns a line of a chunked body without its line end.
func (c *conn) crlfLine() ([]byte, error) {
	line, err := c.line()
	if err != nil {
		return nil, cut(err)
	}
	body, ok := bytes.CutSuffix(line, []byte("\r\n"))
	if !ok || bytes.IndexByte(body, '\r') >= 0 {
		return nil, malformed("a line of a chunked body does not end in CR LF")
	}
	return body, nil
}

// cut tells an end within the body, which is a truncated answer.
func cut(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func parseHex(b []byte) (int64, error) {
	if len(b) == 0 || len(b) > 15 {
		return 0, malformed("chunk size %q", b)
	}
	var n int64
	for _, d := range b {
		switch {
		case '0' <= d && d <= '9':
			d -= '0'
		case 'a' <= d && d <= 'f':
			d -= 'a' - 10
		case 'A' <= d && d <= 'F':
			d -= 'A' - 10
		default:
			return 0, malformed("chunk size %q", b)
		}
		n = n<<4 | int64(d)
	}
	return n, nil
}

func parseLength(b []byte) (int64, error) {
	if len(b) == 0 || len(b) > 18 {
		return 0, malformed("content length %q", b)
	}
	for _, d := range b {
		if d < '0' || d > '9' {
			return 0, malformed("content length %q", b)
		}
	}
	return strconv.ParseInt(string(b), 10, 64)
}
