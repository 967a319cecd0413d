package record

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// Load reads a run directory. What a crash leaves behind (no seal, a torn last
// frame or line) is reported in the Record; anything that is not as it was
// written is a *CorruptError that names file and offset.
func Load(path string) (*Record, error) {
	seal, err := readSums(path)
	if err != nil {
		return nil, fmt.Errorf("load record %s: %w", path, err)
	}
	l := loader{dir: path, seal: seal, rec: &Record{}}
	if err := l.load(); err != nil {
		return nil, fmt.Errorf("load record %s: %w", path, err)
	}
	return l.rec, nil
}

type loader struct {
	dir  string
	seal sums
	rec  *Record
}

func (l *loader) load() error {
	// Before run.json: a series that joins while the record is read, as that of a new
	// node's probe, is put into run.json before its file is made.
	files, err := evidence(l.dir)
	if err != nil {
		return err
	}
	data, err := l.read(runFile)
	if err != nil {
		return err
	}
	if data == nil {
		return fmt.Errorf("%s is missing: not a run directory", runFile)
	}
	if err := l.decodeRun(data); err != nil {
		return err
	}
	if err := l.loadTimeline(); err != nil {
		return err
	}
	for _, lane := range l.rec.Run.Lanes {
		if err := l.loadLane(lane); err != nil {
			return err
		}
	}
	for _, p := range l.rec.Run.Probes {
		file := probesDir + "/" + p.Name + linesExt
		samples, err := loadLines(l, file, (*ProbeSample).check)
		if err != nil {
			return err
		}
		l.rec.Probes = append(l.rec.Probes, ProbeData{Probe: p, Samples: samples})
	}
	if l.rec.Before, err = l.loadSnapshot(SnapshotBefore); err != nil {
		return err
	}
	if l.rec.After, err = l.loadSnapshot(SnapshotAfter); err != nil {
		return err
	}
	if err := l.checkStrangers(files); err != nil {
		return err
	}
	l.rec.Complete = l.seal != nil
	return l.seal.checkAll(l.dir)
}

// read returns the content of a file, or nil where there is none.
func (l *loader) read(file string) ([]byte, error) {
	data, err := os.ReadFile(filepath.Join(l.dir, file))
	if errors.Is(err, fs.ErrNotExist) {
		if _, ok := l.seal[file]; ok {
			return nil, &CorruptError{File: file, What: "is missing, but the record was sealed with it"}
		}
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if data == nil {
		data = []byte{}
	}
	return data, nil
}

func (l *loader) decodeRun(data []byte) error {
	// The version comes first: a later version may have fields unknown here.
	var version struct {
		Format int `json:"format"`
	}
	if err := json.Unmarshal(data, &version); err != nil {
		return &CorruptError{File: runFile, Offset: jsonOffset(err), What: err.Error()}
	}
	if version.Format != FormatVersion {
		return &CorruptError{File: runFile, What: fmt.Sprintf("format version %d; this version of rehearse reads version %d", version.Format, FormatVersion)}
	}
	if err := decodeStrict(data, &l.rec.Run); err != nil {
		return &CorruptError{File: runFile, Offset: jsonOffset(err), What: err.Error()}
	}
	if err := l.rec.Run.check(); err != nil {
		return &CorruptError{File: runFile, What: err.Error()}
	}
	// The file is indented; the scenario's bytes proper are the compact ones.
	var compact bytes.Buffer
	if err := json.Compact(&compact, l.rec.Run.Scenario); err == nil && compact.String() != "null" {
		l.rec.Run.Scenario = compact.Bytes()
	} else {
		l.rec.Run.Scenario = nil
	}
	return l.seal.check(runFile, data)
}

func (l *loader) loadTimeline() error {
	events, err := loadLines(l, timelineFile, checkEvent)
	if err != nil {
		return err
	}
	// Recorders write from many goroutines, and some stamp before they write.
	slices.SortStableFunc(events, func(a, b timeline.Event) int {
		switch {
		case a.T < b.T:
			return -1
		case a.T > b.T:
			return 1
		}
		return 0
	})
	l.rec.Events = events
	return nil
}

func (l *loader) loadLane(lane Lane) error {
	out := LaneData{Lane: lane}
	file := loadDir + "/" + lane.Name + framesExt
	data, err := l.read(file)
	if err != nil {
		return err
	}
	if data != nil {
		var torn int64
		if out.Windows, torn, err = decodeFrames(file, lane.Name, data); err != nil {
			return err
		}
		if err := l.torn(file, torn, len(data), "frame"); err != nil {
			return err
		}
		if err := l.seal.check(file, data); err != nil {
			return err
		}
	}
	for i := range out.Windows {
		out.Dropped += out.Windows[i].Dropped
	}
	if out.Requests, err = loadLines(l, loadDir+"/"+lane.Name+requestsExt, (*Request).check); err != nil {
		return err
	}
	for k := range l.rec.Run.Agents {
		part, err := l.loadPart(lane.Name, k)
		if err != nil {
			return err
		}
		out.Parts = append(out.Parts, part)
	}
	l.rec.Lanes = append(l.rec.Lanes, out)
	return nil
}

// loadPart reads an agent's part of a lane and keeps its sum: of many agents, the
// windows would be many times the lane's own.
func (l *loader) loadPart(lane string, index int) (Part, error) {
	file := loadDir + "/" + partName(lane, index) + framesExt
	data, err := l.read(file)
	if err != nil || data == nil {
		return Part{}, err
	}
	windows, torn, err := decodeFrames(file, lane, data)
	if err != nil {
		return Part{}, err
	}
	if err := l.torn(file, torn, len(data), "frame"); err != nil {
		return Part{}, err
	}
	return sumOf(windows), l.seal.check(file, data)
}

func sumOf(windows []Window) Part {
	p := Part{Seconds: len(windows)}
	var latency, lag Dense
	for i := range windows {
		w := &windows[i]
		if i == 0 {
			p.Sum.Second = w.Second
		}
		for c, n := range w.Counts {
			p.Sum.Counts[c] += n
		}
		p.Sum.NewConns += w.NewConns
		p.Sum.Dropped += w.Dropped
		latency.Merge(&w.Latency, 1)
		lag.Merge(&w.SendLag, 1)
	}
	p.Sum.Latency, p.Sum.SendLag = latency.Histogram(), lag.Histogram()
	return p
}

// LoadPart reads the windows of one agent's part of a lane, by the agent's index. A
// torn last frame is left out.
func LoadPart(path, lane string, index int) ([]Window, error) {
	file := loadDir + "/" + partName(lane, index) + framesExt
	data, err := os.ReadFile(filepath.Join(path, file))
	if err != nil {
		return nil, fmt.Errorf("load lane %s of agent %d: %w", lane, index, err)
	}
	windows, _, err := decodeFrames(file, lane, data)
	return windows, err
}

func loadLines[T any](l *loader, file string, check func(*T) error) ([]T, error) {
	data, err := l.read(file)
	if err != nil || data == nil {
		return nil, err
	}
	values, torn, err := decodeLines(file, data, check)
	if err != nil {
		return nil, err
	}
	if err := l.torn(file, torn, len(data), "line"); err != nil {
		return nil, err
	}
	return values, l.seal.check(file, data)
}

// torn notes a last entry that was not written out. In a sealed record nothing
// can be torn: there it was cut off later.
func (l *loader) torn(file string, offset int64, size int, what string) error {
	if offset < 0 {
		return nil
	}
	if l.seal != nil {
		return &CorruptError{File: file, Offset: offset, What: "the file was truncated after the record was sealed"}
	}
	l.rec.Damage = append(l.rec.Damage, Damage{
		File: file, Offset: offset,
		What: fmt.Sprintf("the last %s was not written out (%d bytes of it); it is left out", what, int64(size)-offset),
	})
	return nil
}

func (l *loader) loadSnapshot(name string) (*Snapshot, error) {
	file := clusterDir + "/" + name + jsonExt
	data, err := l.read(file)
	if err != nil || data == nil {
		return nil, err
	}
	var s Snapshot
	if err := decodeStrict(data, &s); err != nil {
		return nil, &CorruptError{File: file, Offset: jsonOffset(err), What: err.Error()}
	}
	return &s, l.seal.check(file, data)
}

// checkStrangers reports those of the load and probe files that run.json does not
// list: evidence that nobody would look at.
func (l *loader) checkStrangers(files []string) error {
	known := map[string]bool{}
	for _, lane := range l.rec.Run.Lanes {
		known[loadDir+"/"+lane.Name+framesExt] = true
		known[loadDir+"/"+lane.Name+requestsExt] = true
		for k := range l.rec.Run.Agents {
			known[loadDir+"/"+partName(lane.Name, k)+framesExt] = true
		}
	}
	for _, p := range l.rec.Run.Probes {
		known[probesDir+"/"+p.Name+linesExt] = true
	}
	for _, f := range files {
		if (strings.HasPrefix(f, loadDir+"/") || strings.HasPrefix(f, probesDir+"/")) && !known[f] {
			return &CorruptError{File: f, What: "belongs to no lane and no probe that run.json lists"}
		}
	}
	return nil
}
