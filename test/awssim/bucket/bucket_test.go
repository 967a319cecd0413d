package bucket

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestBucket(t *testing.T) {
	s, err := New("state")
	if err != nil {
		t.Fatal(err)
	}
	do := func(method, url, body string, header ...string) (int, string) {
		t.Helper()
		r := httptest.NewRequest(method, url, strings.NewReader(body))
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		b, _ := io.ReadAll(w.Body)
		return w.Code, string(b)
	}
	const chunked = "5;x=y\r\nhello\r\n6\r\n world\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n"
	if code, text := do(http.MethodPut, "https://state.s3.dualstack.us-east-1.amazonaws.com/a/b", chunked, "X-Amz-Content-Sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "Content-Encoding", "aws-chunked"); code != http.StatusOK {
		t.Fatalf("%d %s", code, text)
	}
	if b, err := s.Read("a/b"); string(b) != "hello world" || err != nil {
		t.Errorf("read %q, %v", b, err)
	}
	if code, text := do(http.MethodGet, "https://s3.us-east-1.amazonaws.com/state/a/b", ""); code != http.StatusOK || text != "hello world" {
		t.Errorf("%d %s", code, text)
	}
	if keys, err := s.Keys(); err != nil || strings.Join(keys, " ") != "a/b" {
		t.Errorf("keys %v, %v", keys, err)
	}
	if code, text := do(http.MethodGet, "https://other.s3.us-east-1.amazonaws.com/?location=", ""); code != http.StatusNotFound || !strings.Contains(text, "NoSuchBucket") {
		t.Errorf("another bucket: %d %s", code, text)
	}
	if code, _ := do(http.MethodPut, "https://state.s3.us-east-1.amazonaws.com/c", "zz", "X-Amz-Content-Sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"); code != http.StatusBadRequest {
		t.Errorf("half a chunk: %d", code)
	}
}
