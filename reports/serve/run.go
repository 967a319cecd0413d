package serve

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/kube-rehearse/rehearse/harness/history"
	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
	"github.com/kube-rehearse/rehearse/reports"
)

// Names of files inside a run directory.
const (
	runFile      = "run.json"
	verdictFile  = "verdict.json"
	sumsFile     = "SHA256SUMS"
	timelineFile = "timeline.ndjson"
)

// maxDocument bounds what is read of run.json and of verdict.json: they take some
// tens of kilobytes.
const maxDocument = 16 << 20

// States of a run.
const (
	stateFinished    = "finished"
	stateRunning     = "running"
	stateStopped     = "stopped" // without an end: killed
	stateInterrupted = "interrupted"
	stateFailed      = "failed"
	stateBroken      = "broken" // cannot be read
)

// run is what the list knows of a run directory. Its texts are neutralised.
type run struct {
	Dir   string // below the served directory, with slashes
	State string
	// Why says in a sentence what is wrong with the run, or what it is doing.
	Why  string
	step string // how far a run came that has not ended

	ID, Scenario, Driver, From, To, Tool string
	Simulated                            bool
	Started                              time.Time // of a broken run, when run.json was written
	Took                                 time.Duration
	Upgrade                              time.Duration // from the first step of the upgrade to the end of the last
	Fidelity                             *float64
	Shape                                string // see history.Shape; empty where it cannot be told

	// Verdict is what verdict.json says, empty where there is none; NoVerdict then
	// says why.
	Verdict   judge.Outcome
	Summary   string
	NoVerdict string
	// Anew is the verdict of the record where it was judged anew and is another.
	Anew judge.Outcome
	// Touched names files that were written after the record was sealed, until it
	// was judged anew.
	Touched string

	Lanes  []laneFigures
	Outage *outage // the longest that counts; nil where there was none
	Lost   uint64  // of Sent requests during the upgrade, on all lanes but control
	Sent   uint64
}

// laneFigures are a lane's p99 in milliseconds; 0 where nothing was answered.
type laneFigures struct {
	Name              string
	Baseline, Upgrade float64
}

type outage struct {
	Lane            string
	AtLeast, AtMost time.Duration
}

// Measured reports whether verdict.json has figures of the upgrade.
func (r *run) Measured() bool { return r.Sent > 0 }

// Worst returns the lane whose p99 grew most, or nil.
func (r *run) Worst() *laneFigures {
	var worst *laneFigures
	for i, l := range r.Lanes {
		if l.Baseline > 0 && l.Upgrade > 0 && (worst == nil || l.Upgrade/l.Baseline > worst.Upgrade/worst.Baseline) {
			worst = &r.Lanes[i]
		}
	}
	return worst
}

// Label names the run for a list of choices.
func (r *run) Label() string {
	verdict := string(r.Verdict)
	if verdict == "" {
		verdict = r.State
	}
	return fmt.Sprintf("%s  %s  %s", r.Started.UTC().Format("2006-01-02 15:04"), verdict, reports.Line(r.Dir))
}

// readRun reads what the list shows of the run directory path, which is called
// dir. It never fails: what cannot be read is said in the run.
func readRun(path, dir string) *run {
	r := &run{Dir: dir, State: stateBroken}
	var doc record.Run
	written, err := readDocument(filepath.Join(path, runFile), &doc)
	if err == nil {
		err = checkFormat(doc.Format)
	}
	if err != nil {
		r.Started, r.Why = written, reports.Line("run.json "+because(err))
		r.NoVerdict = "the run cannot be read"
		return r
	}
	r.fill(&doc)
	if r.Started.IsZero() {
		r.Started = written
	}
	r.judged(path, doc.Lanes)
	return r
}

func checkFormat(format int) error {
	if format != record.FormatVersion {
		return fmt.Errorf("has format version %d; this version of rehearse reads version %d", format, record.FormatVersion)
	}
	return nil
}

// because makes the end of a sentence of an error, without paths of the machine.
func because(err error) string {
	var path *fs.PathError
	if errors.As(err, &path) {
		err = path.Err
	}
	if errors.Is(err, fs.ErrNotExist) {
		return "is missing"
	}
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return fmt.Sprintf("is no JSON from byte %d on: %s", syntax.Offset, err)
	}
	return err.Error()
}

// readDocument decodes the JSON file path, and says when it was written.
func readDocument(path string, v any) (time.Time, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return time.Time{}, err
	}
	if !info.Mode().IsRegular() {
		return info.ModTime(), errors.New("is no regular file")
	}
	if info.Size() > maxDocument {
		return info.ModTime(), fmt.Errorf("has %d bytes, and at most %d are read", info.Size(), maxDocument)
	}
	f, err := os.Open(path)
	if err != nil {
		return info.ModTime(), err
	}
	defer f.Close() //nolint:errcheck // nothing was written
	b, err := io.ReadAll(io.LimitReader(f, maxDocument))
	if err != nil {
		return info.ModTime(), err
	}
	return info.ModTime(), json.Unmarshal(b, v)
}

func (r *run) fill(doc *record.Run) {
	r.ID, r.Scenario, r.Driver, r.Tool = reports.Line(doc.ID), reports.Line(doc.Name), reports.Line(doc.Driver), reports.Line(doc.Tool)
	r.From, r.To, r.Simulated, r.Started = reports.Line(doc.Versions.From), reports.Line(doc.Versions.To), doc.Simulated, doc.Started.UTC()
	if !doc.Ended.IsZero() {
		r.Took = max(0, doc.Ended.Sub(doc.Started))
	}
	switch doc.Outcome {
	case record.OutcomePassed:
		r.State = stateFinished
	case record.OutcomeFailed:
		r.State, r.Why = stateFailed, reports.Line("The run failed. "+doc.Failure)
	case record.OutcomeInterrupted:
		r.State, r.Why = stateInterrupted, reports.Line("The run was interrupted. "+doc.Failure)
	case record.OutcomeRunning:
		r.State, r.step = stateStopped, reports.Line(lastStep(doc.Steps))
		r.Why = "The run has no end: " + r.step + " It was killed, or goes on on another machine. rehearse run --resume may go on with it."
	default:
		r.State, r.Why = stateBroken, reports.Line(fmt.Sprintf("run.json has the unknown outcome %q", doc.Outcome))
	}
	var first, last int64 = -1, 0
	for _, s := range doc.Steps {
		if s.Section == "upgrade" && s.EndNS > s.StartNS {
			if first < 0 {
				first = s.StartNS
			}
			last = max(last, s.EndNS)
		}
	}
	if first >= 0 && last > first {
		r.Upgrade = time.Duration(last - first)
	}
	var mirrored struct {
		Mirror *struct {
			Fidelity float64 `json:"fidelity"`
		} `json:"mirror"`
	}
	if json.Unmarshal(doc.Scenario, &mirrored) == nil && mirrored.Mirror != nil {
		r.Fidelity = &mirrored.Mirror.Fidelity
	}
	if shape, err := history.Shape(doc); err == nil {
		r.Shape = shape
	}
}

// lastStep says how far a run came that has not ended.
func lastStep(steps []record.Step) string {
	for i := len(steps) - 1; i >= 0; i-- {
		if s := steps[i]; s.Outcome != "" {
			return fmt.Sprintf("the last step that was written down is %d, %s (%s).", s.Number, s.Description, s.Outcome)
		}
	}
	return "no step was written down."
}

// judged fills in what verdict.json says.
func (r *run) judged(path string, lanes []record.Lane) {
	var v struct {
		Format    int           `json:"format"`
		Outcome   judge.Outcome `json:"outcome"`
		Summary   string        `json:"summary"`
		Simulated bool          `json:"simulated"`
		Lanes     []struct {    // of judge.LaneSum and judge.Outage what the list shows
			Lane   string  `json:"lane"`
			Phase  string  `json:"phase"`
			Sent   uint64  `json:"sent"`
			Failed uint64  `json:"failed"`
			P99MS  float64 `json:"p99MS"`
		} `json:"lanes"`
		Outages []struct {
			Lane    string `json:"lane"`
			LowerNS int64  `json:"lowerNS"`
			UpperNS int64  `json:"upperNS"`
			Usable  bool   `json:"usable"`
		} `json:"outages"`
	}
	_, err := readDocument(filepath.Join(path, verdictFile), &v)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		r.NoVerdict = "verdict.json is missing"
		return
	case err == nil && v.Format != judge.FormatVersion:
		err = fmt.Errorf("has format version %d; this version of rehearse reads version %d", v.Format, judge.FormatVersion)
	case err == nil && v.Outcome != judge.Go && v.Outcome != judge.NoGo && v.Outcome != judge.Inconclusive:
		err = fmt.Errorf("has the unknown outcome %q", v.Outcome)
	}
	if err != nil {
		r.NoVerdict = reports.Line("verdict.json " + because(err))
		return
	}
	r.Verdict, r.Summary, r.Simulated = v.Outcome, reports.Line(v.Summary), r.Simulated || v.Simulated
	control, at := map[string]bool{}, map[string]int{}
	for _, l := range lanes {
		control[l.Name] = l.Control
	}
	for _, s := range v.Lanes {
		if control[s.Lane] {
			continue
		}
		if _, ok := at[s.Lane]; !ok {
			at[s.Lane] = len(r.Lanes)
			r.Lanes = append(r.Lanes, laneFigures{Name: reports.Line(s.Lane)})
		}
		l := &r.Lanes[at[s.Lane]]
		switch s.Phase {
		case timeline.PhaseBaseline:
			l.Baseline = max(0, s.P99MS)
		case timeline.PhaseUpgrade:
			l.Upgrade = max(0, s.P99MS)
			r.Lost += s.Failed
			r.Sent += s.Sent
		}
	}
	for _, o := range v.Outages {
		if o.Usable && (r.Outage == nil || time.Duration(o.UpperNS) > r.Outage.AtMost) {
			r.Outage = &outage{Lane: reports.Line(o.Lane), AtLeast: time.Duration(o.LowerNS), AtMost: time.Duration(o.UpperNS)}
		}
	}
}
