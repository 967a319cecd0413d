package agent

import (
	"fmt"
	"sync"
)

// queue keeps entries, each with a sequence number from 1, until they are known to
// have arrived.
type queue struct {
	mu     sync.Mutex
	most   int      // bytes kept at most
	first  int64    // sequence number of kept[0]
	kept   [][]byte // whole entries
	bytes  int
	over   bool
	reason string
}

func newQueue(most int) *queue { return &queue{most: most, first: 1} }

// add appends an entry. The error says that nobody asks for what is kept.
func (q *queue) add(kind byte, payload []byte) error {
	e := AppendEntry(make([]byte, 0, entryHead+len(payload)), kind, payload)
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.over {
		return nil
	}
	if q.bytes+len(e) > q.most {
		return fmt.Errorf("%d MiB were kept for the runner, and it did not fetch them", q.most>>20)
	}
	q.kept = append(q.kept, e)
	q.bytes += len(e)
	return nil
}

// end says that nothing more comes; reason is empty where that was asked for. The
// first end counts.
func (q *queue) end(reason string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.over {
		q.over, q.reason = true, reason
	}
}

// after forgets the entries up to seq, and appends those that come next to b, up
// to about most bytes and at least one.
func (q *queue) after(seq int64, most int) (h Head, entries []byte, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	last := q.first + int64(len(q.kept)) - 1
	if seq < q.first-1 || seq > last {
		return h, nil, fmt.Errorf("after=%d: from %d to %d are kept; another runner has asked before", seq, q.first, last)
	}
	for ; q.first <= seq; q.first++ {
		q.bytes -= len(q.kept[0])
		q.kept[0] = nil
		q.kept = q.kept[1:]
	}
	n := 0
	for ; n < len(q.kept) && (n == 0 || len(entries)+len(q.kept[n]) <= most); n++ {
		entries = append(entries, q.kept[n]...)
	}
	return Head{First: q.first, Left: len(q.kept) - n, Over: q.over, Reason: q.reason}, entries, nil
}
