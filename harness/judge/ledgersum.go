package judge

import (
	"fmt"
	"strings"

	"github.com/kube-rehearse/rehearse/harness/english"
)

// summary says how many of the lost and slow requests have a cause.
func (l *Ledger) summary() string {
	var lost, slow causes
	for _, x := range l.Lanes {
		lost.all, slow.all = lost.all+x.Lost, slow.all+x.Slow
	}
	for i := range l.Bursts {
		x := &l.Bursts[i]
		if x.Kind == BurstAPI {
			continue
		}
		switch {
		case x.Signature == SignatureContention:
			lost.machine, slow.machine = lost.machine+x.Lost, slow.machine+x.Slow
		case !strings.HasPrefix(x.Cause, unattributed):
			lost.caused, slow.caused = lost.caused+x.Lost, slow.caused+x.Slow
		}
	}
	out := "No request was lost."
	if lost.all > 0 {
		out = lost.say("lost")
	}
	for _, r := range l.Rest {
		if r.Bursts == 0 {
			slow.scattered += r.Slow
		}
	}
	if slow.all > 0 {
		out += " " + slow.say("slow")
	}
	return out
}

// causes counts requests by what is known of their cause. Scattered are those of
// the unattributed that are in no burst.
type causes struct{ all, caused, machine, scattered uint64 }

// say writes "521 requests were lost: 480 explained by an event, 41 unattributed.".
func (s causes) say(what string) string {
	are := "requests were"
	if s.all == 1 {
		are = "request was"
	}
	var parts []string
	for _, p := range []struct {
		n    uint64
		what string
	}{
		{s.caused, "explained by an event"}, {s.machine, "put down to contention of the machine"},
		{s.all - s.caused - s.machine - s.scattered, unattributed}, {s.scattered, "scattered and " + unattributed},
	} {
		switch {
		case p.n == 0:
		case p.n < s.all:
			parts = append(parts, english.Number(p.n)+" "+p.what)
		case p.n == 1:
			parts = append(parts, p.what)
		default:
			parts = append(parts, "all "+p.what)
		}
	}
	return fmt.Sprintf("%s %s %s: %s.", english.Number(s.all), are, what, strings.Join(parts, ", "))
}
