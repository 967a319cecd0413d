package probes

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"syscall"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kube-rehearse/rehearse/harness/record"
)

func TestClassify(t *testing.T) {
	nodes := schema.GroupResource{Resource: "nodes"}
	syscallErr := func(op string, e syscall.Errno) error {
		return &url.Error{Op: "Get", URL: "https://10.0.0.1:6443/readyz",
			Err: &net.OpError{Op: op, Net: "tcp", Err: os.NewSyscallError("connect", e)}}
	}
	tests := []struct {
		name string
		err  error
		want record.Class
	}{
		{"nil", nil, record.OK},
		{"a failure says its own class", fmt.Errorf("probe: %w", Fail(record.WrongBody, "body %q", "x")), record.WrongBody},
		{"nothing listens", syscallErr("dial", syscall.ECONNREFUSED), record.Refused},
		{"refused inside a timed-out context", errors.Join(context.DeadlineExceeded, syscallErr("dial", syscall.ECONNREFUSED)), record.Refused},
		{"no route", syscallErr("dial", syscall.EHOSTUNREACH), record.Unreachable},
		{"no network", syscallErr("dial", syscall.ENETUNREACH), record.Unreachable},
		{"dial timed out", syscallErr("dial", syscall.ETIMEDOUT), record.TimeoutConnect},
		{"read timed out", &net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}, record.TimeoutResponse},
		{"context timed out", &url.Error{Op: "Get", Err: context.DeadlineExceeded}, record.TimeoutResponse},
		{"reset", syscallErr("read", syscall.ECONNRESET), record.Reset},
		{"broken pipe", syscallErr("write", syscall.EPIPE), record.Reset},
		{"closed before an answer", &url.Error{Op: "Get", Err: io.EOF}, record.Reset},
		{"http2 connection lost", errors.New("http2: client connection lost"), record.Reset},
		{"http2 stream reset", errors.New("stream error: stream ID 5; INTERNAL_ERROR; received from peer"), record.Reset},
		{"cut body", fmt.Errorf("read body: %w", io.ErrUnexpectedEOF), record.Truncated},
		{"name does not resolve", &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: "api", IsNotFound: true}}, record.DNS},
		{"name server timed out", &net.OpError{Op: "dial", Err: &net.DNSError{Err: "i/o timeout", Name: "api", IsTimeout: true}}, record.DNS},
		{"unknown authority", &url.Error{Op: "Get", Err: x509.UnknownAuthorityError{}}, record.TLS},
		{"handshake timed out", errors.New("net/http: TLS handshake timeout"), record.TimeoutResponse},
		{"no TLS spoken", errors.New("http: server gave HTTP response to HTTPS client"), record.TLS},
		{"forbidden", apierrors.NewForbidden(nodes, "n", errors.New("RBAC not ready")), record.HTTP4xx},
		{"unauthorized", apierrors.NewUnauthorized("who are you"), record.HTTP4xx},
		{"too many requests", apierrors.NewTooManyRequests("later", 1), record.HTTP4xx},
		{"etcd leader changed", apierrors.NewInternalError(errors.New("etcdserver: leader changed")), record.HTTP5xx},
		{"server timeout", apierrors.NewServerTimeout(nodes, "get", 1), record.HTTP5xx},
		{"unavailable", apierrors.NewServiceUnavailable("shutting down"), record.HTTP5xx},
		{"anything else", errors.New("strange"), record.Other},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := Classify(tt.err); got != tt.want {
				t.Errorf("Classify(%v) = %v, want %v", tt.err, got, tt.want)
			}
		})
	}
}
