package canary

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"
)

// Resolver resolves names; *net.Resolver is one.
type Resolver interface {
	LookupHost(ctx context.Context, host string) ([]string, error)
}

var errNoAnswer = errors.New("no answer")

// Lookup is one lookup of a name: what a pod that checks the cluster's DNS
// from the inside does. It returns one sentence for a person to read, and the
// error when there was no address within the timeout. The sentence is filled
// in either case.
func Lookup(ctx context.Context, r Resolver, name string, timeout time.Duration) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("%w within %s", errNoAnswer, timeout))
	defer cancel()
	start := time.Now()
	addresses, err := r.LookupHost(ctx, name)
	took := time.Since(start).Round(100 * time.Microsecond)
	if err == nil && len(addresses) == 0 {
		err = errors.New("an answer without an address")
	}
	if err != nil {
		var dns *net.DNSError
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		} else if errors.As(err, &dns) {
			// The whole error repeats the name and embeds the server's address.
			err = errors.New(dns.Err)
		}
		err = fmt.Errorf("lookup %s: %w", name, err)
		return err.Error(), err
	}
	slices.Sort(addresses)
	return fmt.Sprintf("lookup %s: %s in %s", name, strings.Join(addresses, ", "), took), nil
}
