package canary

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

type resolverFunc func(ctx context.Context, host string) ([]string, error)

func (f resolverFunc) LookupHost(ctx context.Context, host string) ([]string, error) {
	return f(ctx, host)
}

func TestLookup(t *testing.T) {
	for _, tc := range []struct {
		name     string
		resolver resolverFunc
		want     string
		fails    bool
	}{
		{"found", func(context.Context, string) ([]string, error) { return []string{"10.96.0.2", "10.96.0.1"}, nil },
			"lookup kubernetes.default: 10.96.0.1, 10.96.0.2 in 0s", false},
		{"unknown name", func(_ context.Context, host string) ([]string, error) {
			return nil, &net.DNSError{Err: "no such host", Name: host, Server: "10.96.0.10:53", IsNotFound: true}
		}, "lookup kubernetes.default: no such host", true},
		{"no server", func(ctx context.Context, _ string) ([]string, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}, "lookup kubernetes.default: no answer within 5s", true},
		{"empty", func(context.Context, string) ([]string, error) { return nil, nil },
			"lookup kubernetes.default: an answer without an address", true},
		{"other", func(context.Context, string) ([]string, error) { return nil, errors.New("boom") },
			"lookup kubernetes.default: boom", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				got, err := Lookup(t.Context(), tc.resolver, "kubernetes.default", 5*time.Second)
				if got != tc.want {
					t.Errorf("got %q, want %q", got, tc.want)
				}
				if (err != nil) != tc.fails {
					t.Errorf("error %v, want one: %t", err, tc.fails)
				}
				if err != nil && !strings.Contains(err.Error(), tc.want) {
					t.Errorf("error %q does not say %q", err, tc.want)
				}
			})
		})
	}
}
