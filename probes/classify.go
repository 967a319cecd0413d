package probes

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"syscall"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/kube-rehearse/rehearse/harness/record"
)

// Failure is an observation that was not fine, together with its class.
type Failure struct {
	Class record.Class
	Err   error
}

// Error returns the text of the wrapped error; the class is a field of the sample.
func (f *Failure) Error() string { return f.Err.Error() }

// Unwrap returns the wrapped error.
func (f *Failure) Unwrap() error { return f.Err }

// Fail returns a Failure of class c.
func Fail(c record.Class, format string, args ...any) error {
	return &Failure{Class: c, Err: fmt.Errorf(format, args...)}
}

// Classify returns the outcome class of an error that a probe returned, and OK
// for nil. The most specific cause wins: a refused connection inside a timed-out
// context is "refused". What fits nowhere is Other.
func Classify(err error) record.Class {
	if err == nil {
		return record.OK
	}
	var failure *Failure
	if errors.As(err, &failure) {
		return failure.Class
	}
	var status apierrors.APIStatus
	if errors.As(err, &status) {
		return classifyStatus(err, int(status.Status().Code))
	}
	return classifyTransport(err)
}

// classifyStatus classes an answer of the API server: whatever its code, the
// server was reached and spoke.
func classifyStatus(err error, code int) record.Class {
	switch {
	case code >= 500:
		return record.HTTP5xx
	case code >= 300:
		return record.HTTP4xx
	case apierrors.IsTimeout(err), apierrors.IsServerTimeout(err):
		return record.HTTP5xx
	}
	return record.Other
}

func classifyTransport(err error) record.Class {
	var (
		dns       *net.DNSError
		op        *net.OpError
		authority x509.UnknownAuthorityError
		hostname  x509.HostnameError
		invalid   x509.CertificateInvalidError
		verify    *tls.CertificateVerificationError
		header    tls.RecordHeaderError
		alert     tls.AlertError
	)
	dialing := errors.As(err, &op) && op.Op == "dial"
	switch {
	case errors.As(err, &dns):
		return record.DNS
	case errors.Is(err, syscall.ECONNREFUSED):
		return record.Refused
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return record.Unreachable
	case errors.As(err, &verify), errors.As(err, &authority), errors.As(err, &hostname),
		errors.As(err, &invalid), errors.As(err, &header), errors.As(err, &alert):
		return record.TLS
	case containsAny(err, tlsTexts):
		return record.TLS
	case isTimeout(err) && dialing:
		return record.TimeoutConnect
	case isTimeout(err), containsAny(err, hangTexts):
		return record.TimeoutResponse
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, io.EOF),
		containsAny(err, resetTexts):
		return record.Reset
	case errors.Is(err, io.ErrUnexpectedEOF):
		return record.Truncated
	}
	return record.Other
}

// Texts of errors that net/http does not export.
var (
	tlsTexts   = []string{"server gave HTTP response to HTTPS client"}
	hangTexts  = []string{"TLS handshake timeout"} // a time limit of the transport's own
	resetTexts = []string{"http2: client connection lost", "server sent GOAWAY", "stream error: stream ID"}
)

func containsAny(err error, texts []string) bool {
	text := err.Error()
	return slices.ContainsFunc(texts, func(t string) bool { return strings.Contains(text, t) })
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &t) && t.Timeout()
}
