package http1

import (
	"bufio"
	"bytes"
	"errors"
	"hash/crc32"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// readReference reads data with net/http, as a client's transport would.
func readReference(data []byte) (status int, body []byte, err error) {
	req := &http.Request{Method: http.MethodGet}
	r := bufio.NewReader(bytes.NewReader(data))
	for {
		resp, err := http.ReadResponse(r, req)
		if err != nil {
			return 0, nil, err
		}
		if resp.StatusCode < 200 && resp.StatusCode != http.StatusSwitchingProtocols {
			continue
		}
		body, err := io.ReadAll(resp.Body)
		return resp.StatusCode, body, err
	}
}

// readFast reads data with this package, step bytes at a time.
func readFast(t testing.TB, data []byte, step int) (Answer, bool) {
	u, err := url.Parse("http://127.0.0.1/")
	if err != nil {
		t.Fatal(err)
	}
	cl, err := New(t.Context(), Config{URL: u, KeepAlive: true, Header: []string{"X-Canary-Pod"}})
	if err != nil {
		t.Fatal(err)
	}
	c := &conn{buf: make([]byte, bufSize), rw: struct {
		io.Reader
		io.Writer
	}{&stepReader{data, step}, io.Discard}}
	a := Answer{Sent: time.Now()}
	keep, err := c.readAnswer(cl, &a)
	a.Err = err
	return a, keep && c.r == c.w
}

// stepReader gives its data in pieces, as a network does.
type stepReader struct {
	data []byte
	step int
}

func (r *stepReader) Read(p []byte) (int, error) {
	if len(r.data) == 0 {
		return 0, io.EOF
	}
	n := copy(p, r.data[:min(r.step, len(r.data))])
	r.data = r.data[n:]
	return n, nil
}

var answers = []struct {
	data string
	keep bool
}{
	{"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Canary-Pod: a\r\n\r\nhello", true},
	{"HTTP/1.1 200 OK\r\ncontent-LENGTH:5 \r\n\r\nhello", true},
	{"HTTP/1.1 200 OK\nContent-Length: 2\n\nhi", true},
	{"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello", true},
	{"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: foo, Close\r\n\r\nhello", false},
	{"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", true},
	{"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhello", false},
	{"HTTP/1.1 200\r\nContent-Length: 5\r\n\r\nhello", true},
	{"HTTP/1.1 200 \r\n\r\nuntil the end", false},
	{"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", false},
	{"HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\nhello", true},
	{"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", false},
	{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", true},
	{"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\nContent-Length: 3\r\n\r\nA;x=y\r\n0123456789\r\n1 \r\nx\r\n0\r\nTrailer: 1\r\n\r\n", true},
	{"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", true},
	{"HTTP/1.1 204 No Content\r\nContent-Length: 7\r\n\r\n", true},
	{"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n", true},
	{"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy", true},
	{"HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n", true},
	{"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n" + strings.Repeat("0123456789", 900), true},
	{"HTTP/1.1 200 OK\r\nX-Long: " + strings.Repeat("x", 20000) + "\r\nContent-Length: 1\r\n\r\ny", true},
}

// broken answers are refused here and by net/http alike.
var broken = []string{
	"",
	"HTTP/1.1",
	"HTTP/1.1 200 OK",
	"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n",
	"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell",
	"HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\nhello",
	"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello",
	"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello",
	"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello!\r\n0\r\n\r\n",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\nhello\r\n0\r\n\r\n",
	"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
	"HTTP/1.1 2000 OK\r\n\r\n",
	"HTTP/1.1 abc OK\r\n\r\n",
	"SSH-2.0-OpenSSH_9.2\r\n",
	"\r\n\r\n",
}

func TestReadsAsNetHTTPDoes(t *testing.T) {
	for _, c := range answers {
		status, body, err := readReference([]byte(c.data))
		if err != nil {
			t.Fatalf("net/http does not read %.80q: %v", c.data, err)
		}
		for _, step := range []int{1, 7, 1 << 20} {
			a, keep := readFast(t, []byte(c.data), step)
			if a.Err != nil || a.Status != status || a.Length != int64(len(body)) || a.Sum != crc32.ChecksumIEEE(body) {
				t.Errorf("%.80q by %d: status %d, %d bytes, %v; net/http: status %d, %d bytes", c.data, step, a.Status, a.Length, a.Err, status, len(body))
			}
			// How much of a following answer is seen depends on the pieces.
			if step == 1<<20 && keep != c.keep {
				t.Errorf("%.80q: keep = %v", c.data, keep)
			}
		}
	}
	if a, _ := readFast(t, []byte(answers[0].data), 3); a.Header[0] != "a" {
		t.Errorf("Header = %q", a.Header)
	}
	for _, data := range broken {
		if _, _, err := readReference([]byte(data)); err == nil {
			t.Errorf("net/http reads %q", data)
		}
		for _, step := range []int{1, 1 << 20} {
			if a, _ := readFast(t, []byte(data), step); a.Err == nil {
				t.Errorf("%q by %d was read: %+v", data, step, a)
			}
		}
	}
}

// FuzzAgainstNetHTTP holds that what this package accepts, net/http accepts,
// with the same status and body; and that what it refuses although net/http does
// not, it refuses as malformed, never as a failure of the network.
func FuzzAgainstNetHTTP(f *testing.F) {
	for _, c := range answers[:len(answers)-2] {
		f.Add([]byte(c.data), 5)
	}
	for _, data := range broken {
		f.Add([]byte(data), 1000)
	}
	f.Fuzz(func(t *testing.T, data []byte, step int) {
		if bytes.Contains(data, []byte(" 101")) {
			t.Skip("switching protocols is never asked for")
		}
		a, _ := readFast(t, data, 1+min(max(step, 0), 1<<16))
		status, body, err := readReference(data)
		switch {
		case a.Err == nil && err != nil:
			t.Fatalf("accepted, but net/http says: %v", err)
		case a.Err == nil && (a.Status != status || a.Length != int64(len(body)) || a.Sum != crc32.ChecksumIEEE(body)):
			t.Fatalf("status %d and %d bytes; net/http reads status %d and %d bytes", a.Status, a.Length, status, len(body))
		case a.Err != nil && err == nil && !errors.Is(a.Err, ErrMalformed):
			t.Fatalf("refused with %v; net/http reads status %d and %d bytes", a.Err, status, len(body))
		}
	})
}
