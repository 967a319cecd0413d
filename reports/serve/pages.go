package serve

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/reports"
)

// perPage is how many runs a page of the list has.
const perPage = 250

// noVerdict is the filter's word for runs without one.
const noVerdict = "none"

// filter is one choice among the values that the runs have.
type filter struct {
	Name, Label string
	Values      []string
	Chosen      string
	of          func(*run) string
}

func newFilters(q url.Values, runs []*run) []filter {
	filters := []filter{
		{Name: "scenario", Label: "Scenario", of: func(r *run) string { return r.Scenario }},
		{Name: "verdict", Label: "Verdict", of: func(r *run) string {
			if r.Verdict == "" || r.State == stateRunning {
				return noVerdict
			}
			return string(r.Verdict)
		}},
		{Name: "driver", Label: "Driver", of: func(r *run) string { return r.Driver }},
		{Name: "simulated", Label: "Cluster", of: func(r *run) string {
			if r.Simulated {
				return "simulated"
			}
			return "real"
		}},
	}
	for i := range filters {
		f := &filters[i]
		f.Chosen = reports.Line(q.Get(f.Name))
		if f.Chosen != "" {
			f.Values = append(f.Values, f.Chosen)
		}
		for _, r := range runs {
			if v := f.of(r); v != "" && !slices.Contains(f.Values, v) {
				f.Values = append(f.Values, v)
			}
		}
		slices.Sort(f.Values)
	}
	return filters
}

func chosen(filters []filter, runs []*run) []*run {
	var out []*run
	for _, r := range runs {
		if !slices.ContainsFunc(filters, func(f filter) bool { return f.Chosen != "" && f.of(r) != f.Chosen }) {
			out = append(out, r)
		}
	}
	return out
}

type listData struct {
	listing
	Dir          string
	Filters      []filter
	Filtered     bool
	Shown        []*run
	Found        int
	Tally        string
	Newer, Older string // query strings of the neighbouring pages
	First        int
}

func (s *Server) listPage(w http.ResponseWriter, r *http.Request) {
	l, ok := s.look(w, perLook)
	if !ok {
		return
	}
	if l.Pending > 0 {
		w.Header().Set("Refresh", "1")
	}
	q := r.URL.Query()
	d := listData{listing: *l, Dir: reports.Line(s.store.dir), Filters: newFilters(q, l.Runs)}
	found := chosen(d.Filters, l.Runs)
	d.Found, d.Tally = len(found), tally(found)
	keep := url.Values{}
	for _, f := range d.Filters {
		if f.Chosen != "" {
			d.Filtered = true
			keep.Set(f.Name, f.Chosen)
		}
	}
	from, err := strconv.Atoi(q.Get("from"))
	if err != nil || from < 0 || from >= len(found) {
		from = 0
	}
	from -= from % perPage
	d.First, d.Shown = from+1, found[from:min(len(found), from+perPage)]
	if from > 0 {
		keep.Set("from", strconv.Itoa(from-perPage))
		d.Newer = "?" + keep.Encode()
	}
	if from+perPage < len(found) {
		keep.Set("from", strconv.Itoa(from+perPage))
		d.Older = "?" + keep.Encode()
	}
	s.show(w, http.StatusOK, "list", "Runs", "", d)
}

// tally counts runs by verdict.
func tally(runs []*run) string {
	n := map[judge.Outcome]int{}
	for _, r := range runs {
		n[r.Verdict]++
	}
	var out []string
	for _, x := range []struct {
		o    judge.Outcome
		name string
	}{{judge.Go, "GO"}, {judge.NoGo, "NO-GO"}, {judge.Inconclusive, "INCONCLUSIVE"}, {"", "without a verdict"}} {
		if n[x.o] > 0 {
			out = append(out, fmt.Sprintf("%d %s", n[x.o], x.name))
		}
	}
	return strings.Join(out, ", ")
}

// look lists the runs, of which it reads at most so many, or answers that it
// cannot.
func (s *Server) look(w http.ResponseWriter, most int) (*listing, bool) {
	l, err := s.store.list(most)
	if err != nil {
		s.o.Log.Error("the runs cannot be listed", "error", err)
		s.message(w, http.StatusInternalServerError, "The runs cannot be listed", reports.Line(err.Error()))
		return nil, false
	}
	return l, true
}

func (s *Server) path(r *run) string { return filepath.Join(s.store.dir, filepath.FromSlash(r.Dir)) }

func (s *Server) runPage(w http.ResponseWriter, req *http.Request) {
	l, ok := s.look(w, maxRuns)
	if !ok {
		return
	}
	r := l.find(req.PathValue("dir"))
	if r == nil {
		s.message(w, http.StatusNotFound, "There is no such run", "It may have been moved or deleted; the list has all that are there.")
		return
	}
	print, err := evidence(s.path(r))
	if err != nil {
		s.unreadable(w, r, err)
		return
	}
	print += r.State + r.Why // of a run that is going on
	key := "run\x00" + r.Dir
	p, ok := s.cache.get(key, print)
	if !ok {
		p, err = s.exclusive(req.Context(), func() (page, error) {
			if p, ok := s.cache.get(key, print); ok {
				return p, nil // somebody asked for it meanwhile
			}
			return s.reportOf(r, print, key)
		})
	}
	switch {
	case req.Context().Err() != nil && err != nil:
		return // the reader went away
	case err != nil:
		s.unreadable(w, r, err)
	default:
		s.write(w, p)
	}
}

func (s *Server) reportOf(r *run, print, key string) (page, error) {
	j, err := s.judgeAnew(s.path(r))
	if err != nil {
		return page{}, err
	}
	s.store.judgedAnew(r.Dir, j.verdict.Outcome)
	around := reports.Around{
		Links: []reports.Link{
			{Text: "← All runs", URL: "/"},
			{Text: "History of " + r.Scenario, URL: "/history?scenario=" + url.QueryEscape(r.Scenario)},
			{Text: "Compare with another run", URL: "/compare?b=" + url.QueryEscape(id(r.Dir))},
		},
		Notices: j.notices(s.path(r), r, s.o.Tool),
	}
	var b bytes.Buffer
	if err := reports.HTMLWithin(&b, j.view, around); err != nil {
		return page{}, err
	}
	p := page{print: print, status: http.StatusOK, body: b.Bytes(), policy: s.reporter + "; frame-ancestors 'none'"}
	s.cache.put(key, p)
	return p, nil
}

// unreadable says why a run's record shows no report.
func (s *Server) unreadable(w http.ResponseWriter, r *run, err error) {
	text := r.Why + "."
	if r.State != stateBroken {
		text = "The record cannot be read or trusted: " + reports.Line(strings.ReplaceAll(because(err), s.store.dir+string(filepath.Separator), "")) + "."
	}
	s.show(w, http.StatusUnprocessableEntity, "message", r.Dir, "", struct {
		Title, Text string
		Run         *run
	}{"No report of " + reports.Line(r.Dir), text, r})
}

type compareData struct {
	Runs   []*run
	A, B   string
	Advice string
	With   *comparison // nil until two runs are chosen
}

func (s *Server) comparePage(w http.ResponseWriter, req *http.Request) {
	l, ok := s.look(w, maxRuns)
	if !ok {
		return
	}
	q := req.URL.Query()
	if ticked := q["run"]; len(ticked) > 0 {
		s.ticked(w, req, l, ticked)
		return
	}
	d := compareData{Runs: l.Runs, A: q.Get("a"), B: q.Get("b")}
	a, b := l.chosen(d.A), l.chosen(d.B)
	switch {
	case d.A == "" && d.B == "":
		d.Advice = "Choose two runs. The second is held against the first."
	case d.A == "" || d.B == "":
		d.Advice = "Choose the other run too."
	case a == nil, b == nil:
		missing := d.A
		if a != nil {
			missing = d.B
		}
		d.Advice = "There is no run " + reports.Line(missing) + "; it may have been moved or deleted."
	case a == b:
		d.Advice = "Choose two different runs."
	default:
		s.compared(w, req, l, a, b)
		return
	}
	s.show(w, http.StatusOK, "compare", "Compare two runs", "", d)
}

// ticked leads from the list to the comparison of the two runs that were ticked
// there, the older one first.
func (s *Server) ticked(w http.ResponseWriter, req *http.Request, l *listing, names []string) {
	var runs []*run
	for _, name := range names {
		if r := l.chosen(name); r != nil && !slices.Contains(runs, r) {
			runs = append(runs, r)
		}
	}
	if len(runs) > 2 {
		s.show(w, http.StatusOK, "compare", "Compare two runs", "", compareData{Runs: l.Runs, Advice: fmt.Sprintf("%d runs were ticked; two can be compared. Choose them here.", len(runs))})
		return
	}
	slices.SortStableFunc(runs, func(a, b *run) int { return a.Started.Compare(b.Started) })
	to := url.Values{}
	for i, r := range runs {
		to.Set([]string{"a", "b"}[i], id(r.Dir))
	}
	http.Redirect(w, req, "/compare?"+to.Encode(), http.StatusSeeOther)
}

// labels tells whether the choices of a page are still those that there are.
func labels(l *listing) string {
	sum := sha256.New()
	for _, r := range l.Runs {
		io.WriteString(sum, r.Label()+"\n") //nolint:errcheck // never fails
	}
	return string(sum.Sum(nil))
}

func (s *Server) compared(w http.ResponseWriter, req *http.Request, l *listing, a, b *run) {
	var prints [2]string
	for i, r := range []*run{a, b} {
		var err error
		if prints[i], err = evidence(s.path(r)); err != nil {
			s.unreadable(w, r, err)
			return
		}
	}
	print, key := prints[0]+prints[1]+a.State+b.State+labels(l), "compare\x00"+a.Dir+"\x00"+b.Dir
	p, ok := s.cache.get(key, print)
	if !ok {
		var err error
		var of *run
		p, err = s.exclusive(req.Context(), func() (page, error) {
			if p, ok := s.cache.get(key, print); ok {
				return p, nil
			}
			var both [2]*judged
			for i, r := range []*run{a, b} {
				var err error
				if both[i], err = s.judgeAnew(s.path(r)); err != nil {
					of = r
					return page{}, err
				}
				s.store.judgedAnew(r.Dir, both[i].verdict.Outcome)
			}
			body, err := s.render("compare", "Compare two runs", "", compareData{Runs: l.Runs, A: id(a.Dir), B: id(b.Dir), With: compareRuns(a, b, both[0], both[1])})
			if err != nil {
				return page{}, err
			}
			p := page{print: print, status: http.StatusOK, body: body}
			s.cache.put(key, p)
			return p, nil
		})
		switch {
		case err != nil && (req.Context().Err() != nil || errors.Is(err, context.Canceled)):
			return // the reader went away
		case of != nil:
			s.unreadable(w, of, err)
			return
		case err != nil:
			s.message(w, http.StatusInternalServerError, "The runs cannot be compared", reports.Line(err.Error()))
			return
		}
	}
	s.write(w, p)
}
