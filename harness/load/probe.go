package load

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kube-rehearse/rehearse/harness/load/http1"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// Probe sends the lane's request once and returns nil where it was answered as
// the lane expects; of a stream it reads the first bytes. Otherwise the error
// says why in a sentence that names lane and target: the name does not resolve,
// the connection is refused, the status is another, the body is cut.
func Probe(ctx context.Context, l Lane) error {
	if err := l.Validate(); err != nil {
		return err
	}
	l = l.resolved()
	if l.Kind == Stream {
		return probeStream(ctx, l)
	}
	c, err := newClient(ctx, l)
	if err != nil {
		return err
	}
	defer c.Close()
	deadline := time.Now().Add(l.Timeout)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	var a http1.Answer
	c.Do(deadline, &a)
	e := expectationOf(l)
	if class, text := e.classify(&a); class != record.OK {
		return notServed(l, class, text)
	}
	return nil
}

// reasons say what a class means for a target that was never served.
var reasons = map[record.Class]string{
	record.Refused:         "refuses the connection; is anything listening there?",
	record.Reset:           "closes the connection without an answer",
	record.TimeoutConnect:  "does not accept the connection in time; is it reachable from here?",
	record.TimeoutResponse: "accepts the connection, but does not answer in time",
	record.Unreachable:     "is not reachable from here",
	record.DNS:             "has a name that does not resolve",
	record.TLS:             "fails the TLS handshake",
	record.HTTP4xx:         "answers with another status than expected",
	record.HTTP5xx:         "answers with a server error",
	record.Truncated:       "sends a body that is cut short",
	record.WrongBody:       "sends another body than expected",
	record.Unsent:          "could not be asked: this machine lacks the means",
}

func notServed(l Lane, class record.Class, text string) error {
	reason, ok := reasons[class]
	if !ok {
		reason = "does not answer as expected"
	}
	return fmt.Errorf("lane %s: %s %s (%s: %s)", l.Name, l.Target, reason, class, text)
}

var errServed = errors.New("served")

func probeStream(ctx context.Context, l Lane) error {
	ctx, cancel := context.WithTimeout(ctx, l.Timeout)
	defer cancel()
	s := newStreamer(l, timeline.NewClock(time.Now()), nil, nil)
	defer s.http.CloseIdleConnections()
	a := http1.Answer{Sent: time.Now()}
	_, err := s.read(ctx, &a, func(bool) error { return errServed })
	if errors.Is(err, errServed) {
		return nil
	}
	a.Err = err
	e := expectationOf(l)
	class, text := e.classify(&a)
	return notServed(l, class, text)
}
