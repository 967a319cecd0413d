package record

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// LaneWriter writes what one lane recorded. A frame that was written survives a
// crash of the process. It is not safe for concurrent use.
type LaneWriter struct {
	frames   *os.File
	requests *lineWriter
	buf      []byte
	last     int64
}

// Lane opens load/<lane>.frames and load/<lane>.slow.ndjson. Seal closes them
// where their user did not. A lane without a name that can be a file's, without a
// rate, or opened twice is an error.
func (d *Dir) Lane(lane Lane) (*LaneWriter, error) {
	if err := lane.check(); err != nil {
		return nil, err
	}
	frames, err := d.open(loadDir + "/" + lane.Name + framesExt)
	if err != nil {
		return nil, err
	}
	if err := beginFrames(frames, lane.Name); err != nil {
		return nil, fmt.Errorf("lane %s: %w", lane.Name, err)
	}
	requests, err := d.open(loadDir + "/" + lane.Name + requestsExt)
	if err != nil {
		return nil, err
	}
	return &LaneWriter{frames: frames, requests: &lineWriter{file: requests}, last: d.lastSecond(lane.Name)}, nil
}

// Part opens load/<lane>.agent-<index>.frames, for what one agent sends of a lane.
// It has no single requests: they are the lane's, and name their agent.
func (d *Dir) Part(lane Lane, index int) (*LaneWriter, error) {
	if err := lane.check(); err != nil {
		return nil, err
	}
	name := partName(lane.Name, index)
	frames, err := d.open(loadDir + "/" + name + framesExt)
	if err != nil {
		return nil, err
	}
	if err := beginFrames(frames, lane.Name); err != nil {
		return nil, fmt.Errorf("lane %s of agent %d: %w", lane.Name, index, err)
	}
	return &LaneWriter{frames: frames, last: d.lastSecond(name)}, nil
}

// Parts returns how many agents have a part of some lane in the record.
func (d *Dir) Parts() (int, error) {
	files, err := filepath.Glob(filepath.Join(d.path, loadDir, "*.agent-*"+framesExt))
	if err != nil {
		return 0, err
	}
	most := 0
	for _, f := range files {
		name := strings.TrimSuffix(filepath.Base(f), framesExt)
		k, err := strconv.Atoi(name[strings.LastIndexByte(name, '-')+1:])
		if err == nil {
			most = max(most, k+1)
		}
	}
	return most, nil
}

// partName is that of the file of one agent's part of a lane, without extension.
func partName(lane string, index int) string { return fmt.Sprintf("%s.agent-%d", lane, index) }

// beginFrames writes the header unless an earlier process has.
func beginFrames(f *os.File, lane string) error {
	info, err := f.Stat()
	if err != nil || info.Size() > 0 {
		return err
	}
	_, err = f.Write(appendHeader(nil, lane))
	return err
}

// lastSecond returns the last second that an earlier process recorded in a file of
// frames, or -1.
func (d *Dir) lastSecond(name string) int64 {
	if s, ok := d.last[name]; ok {
		return s
	}
	return -1
}

// WriteWindow appends one window. Windows come in order of Second; one that
// contradicts itself (counts that do not sum up) is refused, so that a mistake
// of the writer does not surface only when the record is read.
func (w *LaneWriter) WriteWindow(win *Window) error {
	if win.Second <= w.last {
		return fmt.Errorf("write window: second %d comes after second %d", win.Second, w.last)
	}
	if err := win.check(); err != nil {
		return fmt.Errorf("write window of second %d: %w", win.Second, err)
	}
	w.buf = appendFrame(w.buf[:0], win)
	if _, err := w.frames.Write(w.buf); err != nil {
		return fmt.Errorf("write window of second %d: %w", win.Second, err)
	}
	w.last = win.Second
	return nil
}

// WriteRequest appends one failed or slow request. The caller bounds their
// number and counts those left out in Window.Dropped.
func (w *LaneWriter) WriteRequest(r *Request) error {
	if err := r.check(); err != nil {
		return fmt.Errorf("write request: %w", err)
	}
	if w.requests == nil {
		return fmt.Errorf("write request: an agent's part of a lane has no single requests")
	}
	return w.requests.write(r)
}

// Close closes the lane's files; closing again does nothing.
func (w *LaneWriter) Close() error {
	var err error
	if w.requests != nil {
		err = w.requests.Close()
	}
	if e := (&lineWriter{file: w.frames}).Close(); err == nil {
		err = e
	}
	return err
}
