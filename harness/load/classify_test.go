package load

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/kube-rehearse/rehearse/harness/load/http1"
	"github.com/kube-rehearse/rehearse/harness/record"
)

func TestClassOfErrors(t *testing.T) {
	op := func(errno syscall.Errno) error {
		return &net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("read", errno)}
	}
	for _, c := range []struct {
		err   error
		stage http1.Stage
		want  record.Class
	}{
		{op(syscall.ECONNREFUSED), http1.StageDial, record.Refused},
		{op(syscall.ECONNRESET), http1.StageHeader, record.Reset},
		{op(syscall.ECONNRESET), http1.StageBody, record.Reset},
		{op(syscall.ECONNRESET), http1.StageTLS, record.Reset},
		{op(syscall.EPIPE), http1.StageWrite, record.Reset},
		{io.EOF, http1.StageHeader, record.Reset},
		{io.ErrUnexpectedEOF, http1.StageHeader, record.Reset},
		{io.ErrUnexpectedEOF, http1.StageBody, record.Truncated},
		{fmt.Errorf("x: %w", os.ErrDeadlineExceeded), http1.StageDial, record.TimeoutConnect},
		{op(syscall.ETIMEDOUT), http1.StageDial, record.TimeoutConnect},
		{os.ErrDeadlineExceeded, http1.StageTLS, record.TimeoutResponse},
		{context.DeadlineExceeded, http1.StageHeader, record.TimeoutResponse},
		{op(syscall.EHOSTUNREACH), http1.StageDial, record.Unreachable},
		{op(syscall.ENETUNREACH), http1.StageDial, record.Unreachable},
		{&net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: "x"}}, http1.StageDial, record.DNS},
		{&net.DNSError{Err: "i/o timeout", IsTimeout: true}, http1.StageDial, record.DNS},
		{errors.New("remote error: tls: bad certificate"), http1.StageTLS, record.TLS},
		{fmt.Errorf("%w: status line", http1.ErrMalformed), http1.StageHeader, record.Other},
		{op(syscall.EMFILE), http1.StageDial, record.Unsent},
		{op(syscall.EADDRNOTAVAIL), http1.StageDial, record.Unsent},
		{errors.New("http2: server sent GOAWAY and closed the connection"), http1.StageHeader, record.Reset},
		{errors.New("stream error: stream ID 3; INTERNAL_ERROR; received from peer"), http1.StageBody, record.Reset},
		{errors.New("something new"), http1.StageHeader, record.Other},
	} {
		if got := classOf(c.err, c.stage); got != c.want {
			t.Errorf("%v at stage %d: %s, want %s", c.err, c.stage, got, c.want)
		}
	}
}

func TestExpectations(t *testing.T) {
	body := []byte("hello")
	whole := http1.Answer{Status: 200, Length: 5, Sum: crc32.ChecksumIEEE(body), Stage: http1.StageDone}
	with := func(f func(*http1.Answer)) *http1.Answer { a := whole; f(&a); return &a }
	for _, c := range []struct {
		lane  Lane
		a     *http1.Answer
		class record.Class
		text  string
	}{
		{Lane{}, &whole, record.OK, ""},
		{Lane{}, with(func(a *http1.Answer) { a.Status = 204 }), record.OK, ""},
		{Lane{}, with(func(a *http1.Answer) { a.Status = 302 }), record.HTTP4xx, "status 302 instead of 200 to 299"},
		{Lane{}, with(func(a *http1.Answer) { a.Status = 404 }), record.HTTP4xx, "status 404 instead of 200 to 299"},
		{Lane{Status: 404}, with(func(a *http1.Answer) { a.Status = 404 }), record.OK, ""},
		{Lane{Status: 404}, &whole, record.Other, "status 200 instead of 404"},
		{Lane{}, with(func(a *http1.Answer) { a.Status = 502 }), record.HTTP5xx, "status 502 instead of 200 to 299"},
		{Lane{Canary: true}, &whole, record.WrongBody, "the answer has no X-Canary-Sum header: it is not the canary's"},
		{Lane{Canary: true}, with(func(a *http1.Answer) { a.Header[headerSum] = "3610a686" }), record.OK, ""},
		{Lane{}, with(func(a *http1.Answer) { a.Header[headerSum] = "00000000" }), record.WrongBody, "the body's checksum is 3610a686, the header says 00000000"},
		{Lane{Body: body}, &whole, record.OK, ""},
		{Lane{Body: []byte("hallo")}, &whole, record.WrongBody, "a body of 5 bytes that is not the one expected"},
		{Lane{Body: []byte{}}, &whole, record.WrongBody, "a body of 5 bytes that is not the one expected"},
	} {
		e := expectationOf(c.lane)
		if class, text := e.classify(c.a); class != c.class || text != c.text {
			t.Errorf("%+v of %+v:\n got %s %q\nwant %s %q", c.lane, c.a, class, text, c.class, c.text)
		}
	}
}
