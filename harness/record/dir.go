package record

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"syscall"
)

// Paths inside a run directory.
const (
	runFile      = "run.json"
	stateFile    = "state.json"
	timelineFile = "timeline.ndjson"
	loadDir      = "load"
	probesDir    = "probes"
	clusterDir   = "cluster"
	logsDir      = "logs"
	framesExt    = ".frames"
	requestsExt  = ".slow.ndjson"
	linesExt     = ".ndjson"
	jsonExt      = ".json"
)

// Names of snapshots.
const (
	SnapshotBefore = "before"
	SnapshotAfter  = "after"
)

// Dir is a run directory that is being written. Its methods are safe for
// concurrent use.
type Dir struct {
	path string
	lock *os.File // held until Seal or Close; nil where the file system has no locks
	// reopened is set by Reopen, and last then holds the last second that each
	// lane has recorded.
	reopened bool
	last     map[string]int64

	saving sync.Mutex // of run.json, taken before mu
	added  []Probe    // by AddProbe

	mu      sync.Mutex
	sealed  bool
	closed  bool
	opened  map[string]bool
	closers []io.Closer
}

// Create makes the run directory path, with run.json in it. It fails where path
// exists and is not empty: no record is ever written over another. Where it fails
// nothing is left but directories above path.
func Create(path string, run Run) (*Dir, error) {
	entries, err := os.ReadDir(path)
	if err == nil && len(entries) > 0 {
		return nil, fmt.Errorf("create record: %s exists and is not empty; choose another directory", path)
	}
	mine := errors.Is(err, fs.ErrNotExist)
	d, err := create(path, run)
	if err != nil && !errors.Is(err, errLocked) {
		err = errors.Join(err, withdraw(path, mine))
	}
	return d, err
}

// withdraw removes what a create that failed has made, and nothing else: of two
// that began together the other may have made the same directories.
func withdraw(path string, mine bool) error {
	names := []string{loadDir, probesDir, clusterDir, logsDir}
	for i, sub := range names {
		names[i] = filepath.Join(path, sub)
	}
	if mine {
		names = append(names, path)
	}
	var errs []error
	for _, name := range names {
		err := os.Remove(name)
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTEMPTY) && !errors.Is(err, syscall.ENOTDIR) && !errors.Is(err, syscall.EROFS) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func create(path string, run Run) (*Dir, error) {
	for _, sub := range []string{loadDir, probesDir, clusterDir, logsDir} {
		if err := os.MkdirAll(filepath.Join(path, sub), 0o755); err != nil {
			return nil, fmt.Errorf("create record: %w", err)
		}
	}
	// Without locks a record can be made; only that a run still goes on cannot be
	// told then.
	lock, err := lockDir(path)
	if errors.Is(err, errLocked) {
		return nil, fmt.Errorf("create record: %w", err)
	}
	d := &Dir{path: path, lock: lock, opened: map[string]bool{}}
	if err := d.SaveRun(run); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// Path returns the directory's path as Create was given it.
func (d *Dir) Path() string { return d.path }

// SaveRun writes run.json anew, atomically. It sets Format, and ScenarioSHA256
// where that is empty; a digest that is given and does not match is an error.
//
// Probes that AddProbe was given are part of it.
func (d *Dir) SaveRun(run Run) error {
	d.saving.Lock()
	defer d.saving.Unlock()
	return d.saveRun(run)
}

func (d *Dir) saveRun(run Run) error {
	run.Format = FormatVersion
	run.Probes = slices.Clone(run.Probes)
	for _, p := range d.added {
		if !slices.ContainsFunc(run.Probes, func(q Probe) bool { return q.Name == p.Name }) {
			run.Probes = append(run.Probes, p)
		}
	}
	sum, err := ScenarioDigest(run.Scenario)
	if err != nil {
		return fmt.Errorf("save %s: scenario: %w", runFile, err)
	}
	if run.ScenarioSHA256 == "" {
		run.ScenarioSHA256 = sum
	}
	if err := run.check(); err != nil {
		return fmt.Errorf("save %s: %w", runFile, err)
	}
	data, err := marshalIndent(run)
	if err != nil {
		return fmt.Errorf("save %s: %w", runFile, err)
	}
	return d.saveEvidence(runFile, data)
}

// AddProbe puts a probe into run.json that nobody knew of when the run was saved
// last, as one of a node that joined meanwhile, and into what is saved from now
// on. A probe of that name that is there already is left as it is.
func (d *Dir) AddProbe(p Probe) error {
	d.saving.Lock()
	defer d.saving.Unlock()
	data, err := os.ReadFile(filepath.Join(d.path, runFile))
	if err != nil {
		return fmt.Errorf("add probe %s: %w", p.Name, err)
	}
	var run Run
	if err := json.Unmarshal(data, &run); err != nil {
		return fmt.Errorf("add probe %s: %s: %w", p.Name, runFile, err)
	}
	added := d.added
	d.added = append(slices.Clip(added), p)
	if err := d.saveRun(run); err != nil {
		d.added = added
		return fmt.Errorf("add probe %s: %w", p.Name, err)
	}
	return nil
}

// SaveSnapshot writes cluster/<name>.json; name is SnapshotBefore or SnapshotAfter.
func (d *Dir) SaveSnapshot(name string, s *Snapshot) error {
	if name != SnapshotBefore && name != SnapshotAfter {
		return fmt.Errorf("save snapshot: unknown name %q; it is %s or %s", name, SnapshotBefore, SnapshotAfter)
	}
	data, err := marshalIndent(s)
	if err != nil {
		return fmt.Errorf("save snapshot %s: %w", name, err)
	}
	return d.saveEvidence(clusterDir+"/"+name+jsonExt, data)
}

// SaveResult writes a file that is computed from the record (verdict.json and
// the reports) atomically into the run directory's top level. Such files are
// not evidence: they may be written anew after Seal.
func (d *Dir) SaveResult(name string, data []byte) error {
	if name != filepath.Base(name) || name == runFile || name == timelineFile || name == sumsFile || name == stateFile {
		return fmt.Errorf("save result: %q is not the name of a result", name)
	}
	return writeAtomic(filepath.Join(d.path, name), data)
}

// saveEvidence writes a file that the seal covers. After Seal it renews the
// seal; a crash in between leaves a record without one, never a wrong one.
func (d *Dir) saveEvidence(name string, data []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return fmt.Errorf("save %s: the record was closed", name)
	}
	if d.sealed {
		if err := os.Remove(filepath.Join(d.path, sumsFile)); err != nil {
			return fmt.Errorf("save %s: %w", name, err)
		}
	}
	if err := writeAtomic(filepath.Join(d.path, name), data); err != nil {
		return fmt.Errorf("save %s: %w", name, err)
	}
	if d.sealed {
		return writeSums(d.path)
	}
	return nil
}

// Timeline opens timeline.ndjson, for a timeline.Recorder to write to. Seal
// closes it.
func (d *Dir) Timeline() (io.Writer, error) { return d.open(timelineFile) }

// Log opens the log of a step, logs/<step>.log, to append to. The caller closes
// it.
func (d *Dir) Log(step string) (io.WriteCloser, error) {
	if err := checkName("step", step); err != nil {
		return nil, err
	}
	return os.OpenFile(filepath.Join(d.path, logsDir, step+".log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
}

// FailLog renames the log of a step to logs/FAILED-<step>.log and returns the
// path of that inside the run directory.
func (d *Dir) FailLog(step string) (string, error) {
	failed := logsDir + "/FAILED-" + step + ".log"
	err := os.Rename(filepath.Join(d.path, logsDir, step+".log"), filepath.Join(d.path, failed))
	if err != nil {
		return "", fmt.Errorf("rename log: %w", err)
	}
	return failed, nil
}

// ProbeWriter writes what one probe observed.
type ProbeWriter struct{ lineWriter }

// Probe opens probes/<name>.ndjson. Seal closes it where its user did not.
func (d *Dir) Probe(name string) (*ProbeWriter, error) {
	if err := checkName("probe", name); err != nil {
		return nil, err
	}
	f, err := d.open(probesDir + "/" + name + linesExt)
	if err != nil {
		return nil, err
	}
	return &ProbeWriter{lineWriter{file: f}}, nil
}

// Write appends one sample. It is safe for concurrent use.
func (w *ProbeWriter) Write(s ProbeSample) error { return w.write(s) }

// open opens a file that is appended to, and that an earlier process may have
// begun where the record was reopened; opening one twice is an error.
func (d *Dir) open(name string) (*os.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.closed:
		return nil, fmt.Errorf("open %s: the record was closed", name)
	case d.sealed:
		return nil, fmt.Errorf("open %s: the record is sealed", name)
	case d.opened[name]:
		return nil, fmt.Errorf("open %s: it is open already", name)
	}
	flags := os.O_CREATE | os.O_WRONLY | os.O_APPEND
	if !d.reopened {
		flags |= os.O_EXCL
	}
	f, err := os.OpenFile(filepath.Join(d.path, name), flags, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	d.opened[name] = true
	d.closers = append(d.closers, f)
	return f, nil
}

// Seal closes what is open and writes SHA256SUMS over run.json, the timeline,
// load, probes and cluster, which makes the record complete: from then on a
// change to any of these files is detected. SaveRun and SaveSnapshot renew the
// seal; results and logs are outside it.
func (d *Dir) Seal() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return fmt.Errorf("seal record: it was closed")
	}
	if err := d.closeFiles(); err != nil {
		return fmt.Errorf("seal record: %w", err)
	}
	d.sealed = true
	if err := writeSums(d.path); err != nil {
		return err
	}
	d.unlock()
	return nil
}

// Close closes what is open and leaves the record without a seal, as a killed
// process does; Reopen goes on with it. Nothing can be written by d afterwards.
func (d *Dir) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	d.unlock()
	return d.closeFiles()
}

func (d *Dir) closeFiles() error {
	var errs []error
	for _, c := range slices.Backward(d.closers) {
		if err := c.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
			errs = append(errs, err)
		}
	}
	d.closers = nil
	return errors.Join(errs...)
}

var namePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)

// checkName reports a name that cannot be a file's.
func checkName(what, name string) error {
	if !namePattern.MatchString(name) {
		return fmt.Errorf("%s name %q: a name is letters, digits, dots, dashes and underscores, and begins with a letter or digit", what, name)
	}
	return nil
}

func writeAtomic(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // does nothing after the rename
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// marshalIndent encodes v for people to read too; unlike json.MarshalIndent it
// leaves <, > and & alone, which keeps the scenario's bytes as they are.
func marshalIndent(v any) ([]byte, error) {
	var buf bytes.Buffer
	e := json.NewEncoder(&buf)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}
