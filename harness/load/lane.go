// Package load sends open-loop load, on vegeta, and records what became of every
// single slot of its schedule.
//
// A lane is one client class with a schedule of its own: slot i is due at
// i/rate. The schedule is never adapted to the target: a slot is sent when it
// is due, however many are still unanswered, and latency is counted from the
// due time, so that a hang shows in full (no coordinated omission). What the
// runner itself could not send in time is recorded as unsent, never silently
// left out and never sent in a burst afterwards.
//
// The lanes of a run are started once and run through all its phases; a phase
// begins with a fresh vegeta attacker and takes over the schedule at the very
// slot where the one before left off.
package load

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/kube-rehearse/rehearse/harness/canary"
	"github.com/kube-rehearse/rehearse/harness/record"
)

// Kind is a client class, as a scenario and --lanes spell it.
type Kind string

// Client classes.
const (
	// New opens a connection, and resolves the target's name, for each request.
	New Kind = "new"
	// Reused keeps connections and uses them in turn.
	Reused Kind = "reused"
	// HTTP2 sends its requests over one HTTP/2 connection: over TLS for an https
	// target, with prior knowledge (h2c) for http. Requests that fall due while
	// it is being opened may open further ones.
	HTTP2 Kind = "http2"
	// CachedDNS opens a connection for each request, to the addresses that the
	// target's name had when the lane was started.
	CachedDNS Kind = "cached-dns"
	// Stream keeps one long-lived answer open and expects a line of it for each
	// slot. A broken stream fails the slots until the next line. With Canary set
	// it asks for the canary's stream, at DefaultStreamRate or less.
	Stream Kind = "stream"
)

// Kinds returns all client classes, in the order in which errors list them.
func Kinds() []Kind { return []Kind{New, Reused, HTTP2, CachedDNS, Stream} }

// ParseKind returns the client class that is spelled name. The error lists those
// that exist.
func ParseKind(name string) (Kind, error) {
	if slices.Contains(Kinds(), Kind(name)) {
		return Kind(name), nil
	}
	var names []string
	for _, k := range Kinds() {
		names = append(names, string(k))
	}
	return "", fmt.Errorf("unknown kind of lane %q; it is one of %s", name, strings.Join(names, ", "))
}

// Lane is one client class of load against one target.
type Lane struct {
	// Name is the lane's name in the record; it is unique in a run.
	Name string
	// Kind is the client class; each has a client of its own.
	Kind Kind
	// Target is an http or https URL.
	Target string
	// Rate is the number of slots a second, above 0 and at most 100,000, of all
	// parts together. For Stream it is the number of lines a second that the target
	// writes, or fewer.
	Rate float64
	// Part is which of the slots this engine sends; its zero value is all.
	Part Part
	// Timeout bounds each request, from the moment it is sent to the last byte of
	// its answer; at most a minute. For Stream it bounds the wait for a line.
	Timeout time.Duration
	// Control marks the twin outside the cluster.
	Control bool

	// Canary says that the target is rehearse's canary: an answer without
	// its checksum header came from somebody else and is a wrong body.
	Canary bool
	// Status is the status expected; 0 stands for any of 200 to 299.
	Status int
	// Body is the body expected; nil accepts any body, of any length.
	Body []byte
	// Connections is how many connections a Reused lane keeps at least; 0 stands
	// for DefaultConnections. It opens more when more requests are under way.
	Connections int
	// TLS configures https targets; nil verifies the certificate by the system's
	// roots. It is not changed.
	TLS *tls.Config
	// Dial connects, as net.Dialer.DialContext does; nil stands for that. HTTP2
	// lanes do not use it.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
}

// Defaults of lanes.
const (
	// DefaultConnections is how many connections a Reused lane keeps.
	DefaultConnections = 10
	// DefaultTimeout bounds each request: long enough for a slow answer, short
	// enough for a hang of seconds to be a failure.
	DefaultTimeout = 5 * time.Second
	// DefaultRate is in requests a second.
	DefaultRate = 200
	// DefaultStreamRate is the number of lines a second of the canary's stream,
	// one each canary.StreamInterval.
	DefaultStreamRate = float64(time.Second / canary.StreamInterval)
)

// resolved returns the lane as it is sent: a Stream lane of the canary gets the
// canary's stream, and at most one slot for each line that it writes.
func (l Lane) resolved() Lane {
	if l.Kind != Stream || !l.Canary {
		return l
	}
	if u, err := url.Parse(l.Target); err == nil && (u.Path == "" || u.Path == canary.PathRoot) {
		u.Path = canary.PathStream
		l.Target = u.String()
	}
	l.Rate = min(l.Rate, DefaultStreamRate)
	return l
}

// ownRate is how many slots a second this engine sends.
func (l Lane) ownRate() float64 { return l.Rate / float64(l.Part.of()) }

// Record returns the lane as run.json describes it, with the target and the rate
// that are really used, of all parts together.
func (l Lane) Record() record.Lane {
	l = l.resolved()
	return record.Lane{Name: l.Name, Target: l.Target, Rate: l.Rate, TimeoutNS: int64(l.Timeout), Control: l.Control}
}

// Validate reports the first thing that makes the lane impossible, in a sentence
// that names the lane, what was given and what is accepted. It does not connect.
func (l Lane) Validate() error {
	if l.Name == "" {
		return fmt.Errorf("a lane without a name")
	}
	if _, err := ParseKind(string(l.Kind)); err != nil {
		return fmt.Errorf("lane %s: %w", l.Name, err)
	}
	u, err := url.Parse(l.Target)
	if err != nil {
		return fmt.Errorf("lane %s: target: %w", l.Name, err)
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return fmt.Errorf("lane %s: target %q is not an http or https URL such as http://192.0.2.1:8080/", l.Name, l.Target)
	}
	if !(l.Rate > 0) || l.Rate > maxRate {
		return fmt.Errorf("lane %s: rate %v; it must be above 0 and at most %d requests a second", l.Name, l.Rate, maxRate)
	}
	if err := l.Part.validate(); err != nil {
		return fmt.Errorf("lane %s: %w", l.Name, err)
	}
	if l.Timeout <= 0 || l.Timeout > maxTimeout {
		return fmt.Errorf("lane %s: timeout %s; it must be above 0 and at most %s", l.Name, l.Timeout, maxTimeout)
	}
	return nil
}

const (
	maxRate    = 100_000
	maxTimeout = time.Minute
)
