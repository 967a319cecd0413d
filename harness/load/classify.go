package load

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/kube-rehearse/rehearse/harness/canary"
	"github.com/kube-rehearse/rehearse/harness/load/http1"
	"github.com/kube-rehearse/rehearse/harness/record"
)

// Places of the canary's headers in http1.Answer.Header.
const (
	headerSum = iota
	headerPod
	headerNode
)

var canaryHeaders = []string{headerSum: canary.HeaderSum, headerPod: canary.HeaderPod, headerNode: canary.HeaderNode}

// expectation is what a whole answer must be like.
type expectation struct {
	canary  bool
	status  int // 0: any of 200 to 299
	body    bool
	bodyLen int64
	bodySum uint32
}

func expectationOf(l Lane) expectation {
	return expectation{canary: l.Canary, status: l.Status, body: l.Body != nil, bodyLen: int64(len(l.Body)), bodySum: crc32.ChecksumIEEE(l.Body)}
}

// classify returns the class of an answer, and a text for a person where it is
// not OK.
func (e *expectation) classify(a *http1.Answer) (record.Class, string) {
	if a.Err != nil {
		return classOf(a.Err, a.Stage), a.Err.Error()
	}
	if c, ok := e.statusClass(a.Status); !ok {
		want := "200 to 299"
		if e.status != 0 {
			want = strconv.Itoa(e.status)
		}
		return c, fmt.Sprintf("status %d instead of %s", a.Status, want)
	}
	switch sum := a.Header[headerSum]; {
	case sum != "":
		if want, err := strconv.ParseUint(sum, 16, 32); err != nil || uint32(want) != a.Sum {
			return record.WrongBody, fmt.Sprintf("the body's checksum is %08x, the header says %s", a.Sum, sum)
		}
	case e.canary:
		return record.WrongBody, "the answer has no " + canary.HeaderSum + " header: it is not the canary's"
	}
	if e.body && (a.Length != e.bodyLen || a.Sum != e.bodySum) {
		return record.WrongBody, fmt.Sprintf("a body of %d bytes that is not the one expected", a.Length)
	}
	return record.OK, ""
}

func (e *expectation) statusClass(status int) (record.Class, bool) {
	switch {
	case e.status != 0 && status == e.status, e.status == 0 && 200 <= status && status <= 299:
		return record.OK, true
	case status >= 500:
		return record.HTTP5xx, false
	case status >= 300:
		return record.HTTP4xx, false
	}
	return record.Other, false
}

// byErrno are the classes of system errors. Those that say that this machine has
// run out of something are no outcome of the target: the slot was not sent.
var byErrno = map[syscall.Errno]record.Class{
	syscall.ECONNREFUSED:  record.Refused,
	syscall.ECONNRESET:    record.Reset,
	syscall.ECONNABORTED:  record.Reset,
	syscall.EPIPE:         record.Reset,
	syscall.EHOSTUNREACH:  record.Unreachable,
	syscall.ENETUNREACH:   record.Unreachable,
	syscall.EHOSTDOWN:     record.Unreachable,
	syscall.ENETDOWN:      record.Unreachable,
	syscall.EMFILE:        record.Unsent,
	syscall.ENFILE:        record.Unsent,
	syscall.EADDRNOTAVAIL: record.Unsent,
	syscall.EADDRINUSE:    record.Unsent,
	syscall.ENOBUFS:       record.Unsent,
	syscall.ENOMEM:        record.Unsent,
}

// classOf returns the class of a request's error: by the error's type, and by
// its text only where a library gives no type.
func classOf(err error, stage http1.Stage) record.Class {
	var dns *net.DNSError
	if errors.As(err, &dns) {
		return record.DNS
	}
	var errno syscall.Errno
	if errors.As(err, &errno) {
		if c, ok := byErrno[errno]; ok {
			return c
		}
	}
	if isTimeout(err) {
		if stage == http1.StageDial {
			return record.TimeoutConnect
		}
		return record.TimeoutResponse
	}
	switch {
	case errors.Is(err, http1.ErrMalformed):
		return record.Other
	case stage == http1.StageTLS:
		return record.TLS
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		if stage == http1.StageBody {
			return record.Truncated
		}
		return record.Reset
	}
	return classOfText(err.Error())
}

func isTimeout(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) ||
		errors.As(err, &timeout) && timeout.Timeout()
}

// classOfText is for net/http's HTTP/2 client, whose errors have no exported type.
func classOfText(text string) record.Class {
	for _, c := range []struct {
		part  string
		class record.Class
	}{
		{"GOAWAY", record.Reset},
		{"stream error", record.Reset},
		{"client connection lost", record.Reset},
		{"client connection force closed", record.Reset},
		{"connection reset", record.Reset},
		{"broken pipe", record.Reset},
		{"unexpected EOF", record.Truncated},
		{"tls: ", record.TLS},
		{"x509: ", record.TLS},
		{"timeout", record.TimeoutResponse},
	} {
		if strings.Contains(text, c.part) {
			return c.class
		}
	}
	return record.Other
}
