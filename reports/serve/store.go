package serve

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/record"
)

// Bounds of what is looked at. Run directories lie directly in the served
// directory, or below directories of theirs, as of a search or of a test.
const (
	maxDepth = 4
	maxDirs  = 20_000
	maxRuns  = 5_000
)

// perLook bounds how many runs a look at the list reads, so that a page of many
// is there soon and with the newest; the next look reads on.
const perLook = 150

// sealing is how long after its seal a record's verdict may be written: judging a
// run of many hours takes a minute.
const sealing = 10 * time.Minute

// store knows the runs below a directory. Each look at them asks the file system
// for what has changed, and reads only that.
type store struct {
	dir string

	mu    sync.Mutex
	known map[string]entry

	reads atomic.Int64 // run directories read so far
}

type entry struct {
	print fingerprint
	run   *run
}

// fingerprint tells whether the files of a run that the list is made of are as
// they were.
type fingerprint [3]struct {
	size    int64
	written time.Time
	mode    fs.FileMode
}

// listing is what was found.
type listing struct {
	Runs []*run // newest first
	// Left is how many older runs there was no room for, and Cut is true where
	// there were too many directories to look into.
	Left int
	Cut  bool
	// Unread are directories that could not be looked into, with the reason.
	Unread []string
	// Pending is how many runs were not read yet: this look had read as many as one
	// may. They are older than those that were.
	Pending int
}

// Known is how many runs there are, read or not, of those that are looked at.
func (l listing) Known() int { return len(l.Runs) + l.Pending }

// chosen returns the run that a form calls name; see id.
func (l *listing) chosen(name string) *run {
	if escaped, ok := strings.CutPrefix(name, "%"); ok {
		name, _ = url.PathUnescape(escaped) // of what is no escaped name there is no run
	}
	return l.find(name)
}

// find returns the run that is called dir.
func (l *listing) find(dir string) *run {
	for _, r := range l.Runs {
		if r.Dir == dir {
			return r
		}
	}
	return nil
}

func newStore(dir string) (*store, error) {
	info, err := os.Stat(dir)
	if err != nil {
		return nil, fmt.Errorf("%w; name the directory that holds the run directories", err)
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("%s is a file; name the directory that holds the run directories", dir)
	}
	if _, err := os.Lstat(filepath.Join(dir, runFile)); err == nil {
		return nil, fmt.Errorf("%s is a run directory itself; name the directory that holds it: %s", dir, filepath.Dir(filepath.Clean(dir)))
	}
	return &store{dir: dir, known: map[string]entry{}}, nil
}

// found is a run directory.
type found struct {
	dir   string
	print fingerprint
}

// directories finds the run directories that are there at this moment, and reads
// none of them.
func (s *store) directories() ([]found, *listing, error) {
	l := &listing{}
	var runs []found
	looked := 0
	var walk func(dir string, depth int) error
	walk = func(dir string, depth int) error {
		entries, err := os.ReadDir(filepath.Join(s.dir, filepath.FromSlash(dir)))
		if err != nil {
			return err
		}
		for _, e := range entries {
			// A link could lead anywhere: it is not followed.
			if !e.IsDir() || strings.HasPrefix(e.Name(), ".") {
				continue
			}
			if looked++; looked > maxDirs {
				l.Cut = true
				return nil
			}
			name := e.Name()
			if dir != "" {
				name = dir + "/" + name
			}
			if print, ok := s.look(name); ok {
				runs = append(runs, found{name, print})
				continue
			}
			if depth == maxDepth {
				continue
			}
			if err := walk(name, depth+1); err != nil && !errors.Is(err, fs.ErrNotExist) {
				l.Unread = append(l.Unread, name+" "+because(err))
			}
		}
		return nil
	}
	if err := walk("", 1); err != nil {
		return nil, nil, err
	}
	slices.SortStableFunc(runs, func(a, b found) int { return b.print[0].written.Compare(a.print[0].written) })
	if len(runs) > maxRuns {
		l.Left = len(runs) - maxRuns
		runs = runs[:maxRuns]
	}
	return runs, l, nil
}

// list looks at the directory anew, and reads at most so many runs.
func (s *store) list(most int) (*listing, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	runs, l, err := s.directories()
	if err != nil {
		return nil, err
	}
	entries := make([]entry, len(runs))
	var unread []int
	for i, f := range runs {
		switch e, ok := s.known[f.dir]; {
		case ok && e.print == f.print:
			entries[i] = e
		case len(unread) == most:
			l.Pending++
		default:
			unread = append(unread, i)
		}
	}
	// Most of the time is that of decoding JSON.
	var next atomic.Int64
	var readers sync.WaitGroup
	for range min(len(unread), runtime.GOMAXPROCS(0)) {
		readers.Go(func() {
			for n := next.Add(1) - 1; n < int64(len(unread)); n = next.Add(1) - 1 {
				f := runs[unread[n]]
				r := readRun(filepath.Join(s.dir, filepath.FromSlash(f.dir)), f.dir)
				r.Touched = f.print.touched()
				entries[unread[n]] = entry{print: f.print, run: r}
			}
		})
	}
	readers.Wait()
	s.reads.Add(int64(len(unread)))
	known := make(map[string]entry, len(runs))
	for i, f := range runs {
		if entries[i].run == nil {
			continue // the next look reads it
		}
		known[f.dir] = entries[i]
		l.Runs = append(l.Runs, s.present(entries[i].run))
	}
	s.known = known // what is gone is forgotten
	slices.SortFunc(l.Runs, func(a, b *run) int {
		return cmp.Or(b.Started.Compare(a.Started), strings.Compare(a.Dir, b.Dir))
	})
	return l, nil
}

// look reports whether dir is a run directory, even one without its run.json, and
// how its files stand.
func (s *store) look(dir string) (fingerprint, bool) {
	path := filepath.Join(s.dir, filepath.FromSlash(dir))
	var print fingerprint
	isRun := false
	for i, name := range []string{runFile, verdictFile, sumsFile} {
		if info, err := os.Lstat(filepath.Join(path, name)); err == nil {
			print[i].size, print[i].written, print[i].mode = info.Size(), info.ModTime(), info.Mode()
			isRun = true
		}
	}
	if !isRun {
		_, err := os.Lstat(filepath.Join(path, timelineFile))
		isRun = err == nil
	}
	return print, isRun
}

// present returns r as it stands at this moment: whether a process is still
// writing it is in no file.
func (s *store) present(r *run) *run {
	if r.State != stateStopped || !record.Held(filepath.Join(s.dir, filepath.FromSlash(r.Dir))) {
		return r
	}
	now := *r
	now.State, now.NoVerdict = stateRunning, "not over yet"
	now.Why = "The run is going on: " + r.step
	return &now
}

// touched names the files that were written so long after the record was sealed
// that it was not the run that wrote them.
func (p fingerprint) touched() string {
	var names []string
	for i, name := range []string{runFile, verdictFile} {
		if seal := p[2].written; !seal.IsZero() && p[i].written.Sub(seal) > sealing {
			names = append(names, name)
		}
	}
	return strings.Join(names, " and ")
}

// judgedAnew remembers what verdict the record of a run gives by itself.
func (s *store) judgedAnew(dir string, outcome judge.Outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.known[dir]
	if !ok {
		return
	}
	if outcome == e.run.Verdict {
		outcome = ""
	}
	if e.run.Anew != outcome || e.run.Touched != "" {
		changed := *e.run
		changed.Anew, changed.Touched = outcome, ""
		e.run = &changed
		s.known[dir] = e
	}
}
