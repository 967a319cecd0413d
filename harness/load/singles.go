package load

import (
	"slices"

	"github.com/kube-rehearse/rehearse/harness/load/http1"
	"github.com/kube-rehearse/rehearse/harness/record"
)

// Bounds of the requests recorded singly: so many failed and slow ones a second,
// evenly spread over the second's, until a lane has written maxSingles; then one
// of each a second.
const (
	maxSingles      = 20_000
	failedPerSecond = 24
	slowPerSecond   = 8
	maxErrorText    = 200
)

// sampler keeps an evenly spread part of what it sees: every stride-th, with the
// stride doubled whenever twice the bound is reached.
type sampler struct {
	kept   []record.Request
	seen   uint64
	stride uint64
}

func (s sampler) reset() sampler { return sampler{kept: s.kept[:0]} }

func (s *sampler) see(make func() record.Request) {
	if s.stride == 0 {
		s.stride = 1
	}
	if s.seen%s.stride == 0 {
		if len(s.kept) == 2*failedPerSecond {
			half := s.kept[:0]
			for i := 0; i < len(s.kept); i += 2 {
				half = append(half, s.kept[i])
			}
			s.kept = half
			s.stride *= 2
		}
		if s.seen%s.stride == 0 {
			s.kept = append(s.kept, make())
		}
	}
	s.seen++
}

// pick returns at most n of what was kept, evenly spread.
func (s *sampler) pick(n int) []record.Request {
	if len(s.kept) <= n {
		return s.kept
	}
	out := make([]record.Request, 0, n)
	for i := range n {
		out = append(out, s.kept[i*len(s.kept)/n])
	}
	return out
}

// singleBudget is what a lane may still write.
type singleBudget struct{ left int }

// choose returns the single requests of w to write, in order of due time, and
// how many are left out.
func (b *singleBudget) choose(w *openWindow) (requests []record.Request, dropped uint64) {
	seen := w.failed.seen + w.slow.seen
	if seen == 0 {
		return nil, 0
	}
	failed, slow := failedPerSecond, slowPerSecond
	if b.left < failed+slow {
		failed, slow = 1, 1
	}
	requests = slices.Concat(w.failed.pick(failed), w.slow.pick(slow))
	slices.SortStableFunc(requests, func(x, y record.Request) int {
		switch {
		case x.Due < y.Due:
			return -1
		case x.Due > y.Due:
			return 1
		}
		return 0
	})
	b.left = max(0, b.left-len(requests))
	return requests, seen - uint64(len(requests))
}

// single describes one request by itself.
func single(due, sent, done int64, c record.Class, text string, a *http1.Answer) record.Request {
	r := record.Request{
		Due: due, Sent: sent, Latency: done - due, Class: c.String(), Status: a.Status, Reused: a.Reused,
		Pod: a.Header[headerPod], Node: a.Header[headerNode],
		ConnectNS: int64(a.Connect), TLSNS: int64(a.TLS), FirstByte: int64(a.FirstByte), Error: text,
	}
	if a.Remote != nil {
		r.Remote = a.Remote.String()
	}
	if len(r.Error) > maxErrorText {
		r.Error = r.Error[:maxErrorText]
	}
	return r
}
