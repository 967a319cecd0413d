package canary

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// PathDNS is where an agent tells what it saw, as DNSAnswer: everything it
// remembers, or with ?after=SEQ what came later.
const PathDNS = "/dns"

// DNSConfig says what an agent resolves, and how often. Zero durations and Keep
// stand for the defaults.
type DNSConfig struct {
	Names    []string
	Resolver Resolver
	Every    time.Duration // 1 s
	Timeout  time.Duration // of one observation, 2 s
	Keep     int           // observations remembered, 900: 15 minutes of one a second
}

// DNSResult is one observation: all names were resolved at the same time, and OK
// is whether each had an address in time.
type DNSResult struct {
	Seq   int64  `json:"seq"` // from 1, without gaps
	T     int64  `json:"t"`   // when it began, ns since the agent's start
	D     int64  `json:"d"`   // how long it took, ns
	OK    bool   `json:"ok"`
	Class string `json:"class,omitempty"` // "dns", or "timeout-response" where nothing answered
	Error string `json:"error,omitempty"`
}

// DNSAnswer is what an agent tells. Now relates its clock to that of whoever asks,
// and Boot tells an agent from the one before it, whose Seq began at 1 as well.
type DNSAnswer struct {
	Boot    string      `json:"boot"`
	Node    string      `json:"node"`
	Now     int64       `json:"now"` // ns since the agent's start
	Results []DNSResult `json:"results"`
}

// Classes of a DNSResult that is not OK, as the record's.
const (
	dnsFailed  = "dns"
	dnsTimeout = "timeout-response"
)

// DNSAgent resolves names again and again from inside a pod, and remembers what
// came of it until somebody asks.
type DNSAgent struct {
	cfg   DNSConfig
	boot  string
	node  string
	start time.Time

	mu   sync.Mutex
	ring []DNSResult // ring[seq % Keep]
	last int64
}

// NewDNSAgent returns an agent on a node. It fails where there is nothing to
// resolve.
func NewDNSAgent(node string, cfg DNSConfig) (*DNSAgent, error) {
	if len(cfg.Names) == 0 {
		return nil, errors.New("DNS agent: no name to resolve; give at least one")
	}
	for _, n := range cfg.Names {
		if n == "" {
			return nil, fmt.Errorf("DNS agent: one of the names %q is empty", cfg.Names)
		}
	}
	if cfg.Every < 0 || cfg.Timeout < 0 || cfg.Keep < 0 {
		return nil, fmt.Errorf("DNS agent: every %s, timeout %s and %d observations: none may be negative", cfg.Every, cfg.Timeout, cfg.Keep)
	}
	if cfg.Every == 0 {
		cfg.Every = time.Second
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 2 * time.Second
	}
	if cfg.Keep == 0 {
		cfg.Keep = 900
	}
	boot, err := newBootID()
	if err != nil {
		return nil, err
	}
	return &DNSAgent{cfg: cfg, boot: boot, node: node, start: time.Now(), ring: make([]DNSResult, cfg.Keep)}, nil
}

// Run observes until ctx ends. Observations do not overlap: what came due while
// one waited is left out.
func (a *DNSAgent) Run(ctx context.Context) {
	due := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		r := a.observe(ctx)
		if ctx.Err() != nil {
			return // it was cut short and says nothing
		}
		a.keep(r)
		for !due.After(time.Now()) {
			due = due.Add(a.cfg.Every)
		}
		timer.Reset(time.Until(due))
	}
}

func (a *DNSAgent) observe(ctx context.Context) DNSResult {
	r := DNSResult{T: int64(time.Since(a.start)), OK: true}
	errs := make([]error, len(a.cfg.Names))
	var wg sync.WaitGroup
	for i, name := range a.cfg.Names {
		wg.Go(func() { _, errs[i] = Lookup(ctx, a.cfg.Resolver, name, a.cfg.Timeout) })
	}
	wg.Wait()
	r.D = int64(time.Since(a.start)) - r.T
	for _, err := range errs {
		if err == nil {
			continue
		}
		r.OK, r.Class, r.Error = false, dnsFailed, err.Error()
		if errors.Is(err, errNoAnswer) {
			r.Class = dnsTimeout
		}
		break
	}
	return r
}

func (a *DNSAgent) keep(r DNSResult) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.last++
	r.Seq = a.last
	a.ring[r.Seq%int64(len(a.ring))] = r
}

// After returns what is remembered of what came after seq, in order.
func (a *DNSAgent) After(seq int64) DNSAnswer {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := DNSAnswer{Boot: a.boot, Node: a.node, Results: []DNSResult{}}
	for s := max(seq+1, 1, a.last-int64(len(a.ring))+1); s <= a.last; s++ {
		out.Results = append(out.Results, a.ring[s%int64(len(a.ring))])
	}
	out.Now = int64(time.Since(a.start))
	return out
}

// ServeHTTP implements http.Handler.
func (a *DNSAgent) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case PathHealth, PathReady:
		return
	case PathDNS:
	default:
		http.NotFound(w, r)
		return
	}
	var after int64
	if text := r.URL.Query().Get("after"); text != "" {
		var err error
		if after, err = strconv.ParseInt(text, 10, 64); err != nil {
			http.Error(w, fmt.Sprintf("after=%q is no sequence number", text), http.StatusBadRequest)
			return
		}
	}
	w.Header().Set("Content-Type", "application/json")
	// Whoever asked and left asks again.
	_ = json.NewEncoder(w).Encode(a.After(after))
}
