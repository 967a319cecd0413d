package prove

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kube-rehearse/rehearse/harness/record"
)

// Options of a proof.
type Options struct {
	Only []string // names of faults; empty for all
	Tool string   // version of rehearse
	// Out keeps the record of every rehearsal in this directory. Where it is
	// empty, records are made in a temporary directory, and only those of faults
	// that were missed are left there.
	Out string
	// Begin and End are told of each rehearsal; one at a time, from several
	// goroutines. All may be nil.
	Begin func(f Fault, attempt int)
	End   func(f Fault, row record.ProofOfOne, took time.Duration)
}

// Pick returns the faults called names, in the table's order; all, where names
// is empty. An unknown name is an error that lists the known ones.
func Pick(table []Fault, names []string) ([]Fault, error) {
	if len(names) == 0 {
		return table, nil
	}
	for _, n := range names {
		if !slices.ContainsFunc(table, func(f Fault) bool { return f.Name == n }) {
			var known []string
			for _, f := range table {
				known = append(known, f.Name)
			}
			return nil, fmt.Errorf("no fault is called %q; accepted: %s", n, strings.Join(known, ", "))
		}
	}
	var out []Fault
	for _, f := range table {
		if slices.Contains(names, f.Name) {
			out = append(out, f)
		}
	}
	return out, nil
}

// Run plants the faults, several rehearsals side by side as the bed allows and
// those that ask for it alone. What was not found is tried once more, alone: on
// a small machine rehearsals can disturb each other, and the row says so. The
// error is for a proof that was not carried out: ctx ended, or there is no
// place for the records.
func Run(ctx context.Context, bed Bed, o Options) (*record.Proof, error) {
	faults, err := Pick(bed.Faults(), o.Only)
	if err != nil {
		return nil, err
	}
	out := o.Out
	if out == "" {
		if out, err = os.MkdirTemp("", "rehearse-prove-"); err != nil {
			return nil, fmt.Errorf("a place for the records: %w; name one with --out", err)
		}
	} else if err := os.MkdirAll(out, 0o755); err != nil {
		return nil, fmt.Errorf("a place for the records: %w; name another with --out", err)
	}
	started := time.Now()
	p := &proof{bed: bed, o: o, out: out, rows: make([]record.ProofOfOne, len(faults))}
	p.all(ctx, faults)
	if o.Out == "" {
		_ = os.Remove(out) // stays where a record of a missed fault is in it
	}
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	return &record.Proof{
		Driver: bed.Driver(), Tool: o.Tool, Started: started.UTC().Truncate(time.Second), TookNS: int64(time.Since(started)),
		Partial: len(faults) < len(bed.Faults()), Rows: p.rows,
	}, nil
}

type proof struct {
	bed  Bed
	o    Options
	out  string
	tell sync.Mutex
	rows []record.ProofOfOne
}

func (p *proof) all(ctx context.Context, faults []Fault) {
	var together, alone []int
	for i, f := range faults {
		if f.Alone || p.bed.Width() <= 1 {
			alone = append(alone, i)
		} else {
			together = append(together, i)
		}
	}
	slices.SortStableFunc(together, func(a, b int) int { return cmp.Compare(faults[b].Takes, faults[a].Takes) })
	var wg sync.WaitGroup
	next := make(chan int)
	for range min(p.bed.Width(), len(together)) {
		wg.Go(func() {
			for i := range next {
				p.rows[i] = p.once(ctx, faults[i], 1)
			}
		})
	}
	for _, i := range together {
		next <- i
	}
	close(next)
	wg.Wait()
	for _, i := range alone {
		p.rows[i] = p.once(ctx, faults[i], 1)
	}
	for i, f := range faults {
		if p.rows[i].Found || ctx.Err() != nil {
			continue
		}
		first := p.rows[i]
		again := p.once(ctx, f, 2)
		again.First = first.WhyNot
		if again.Found && p.o.Out == "" && first.Record != "" {
			_ = os.RemoveAll(first.Record)
		}
		p.rows[i] = again
	}
}

// once rehearses with one fault and evaluates.
func (p *proof) once(ctx context.Context, f Fault, attempt int) record.ProofOfOne {
	if ctx.Err() != nil {
		return Failed(f, context.Cause(ctx))
	}
	p.told(func() {
		if p.o.Begin != nil {
			p.o.Begin(f, attempt)
		}
	})
	begun := time.Now()
	trial, dir, err := p.bed.Rehearse(ctx, f.Name, p.out)
	var row record.ProofOfOne
	if err != nil {
		row = Failed(f, err)
	} else {
		row = Evaluate(f, &trial)
	}
	row.Attempts = attempt
	switch {
	case dir == "":
	case !row.Found || p.o.Out != "":
		row.Record = dir
	default:
		_ = os.RemoveAll(filepath.Clean(dir))
	}
	p.told(func() {
		if p.o.End != nil {
			p.o.End(f, row, time.Since(begun))
		}
	})
	return row
}

func (p *proof) told(f func()) {
	p.tell.Lock()
	defer p.tell.Unlock()
	f()
}
