package serve

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/reports"
	"github.com/kube-rehearse/rehearse/scenarios"
)

// maxRecord bounds the files of a record that is read into memory as a whole.
const maxRecord = 1 << 30

// judged is a record that was judged anew.
type judged struct {
	record  *record.Record
	verdict judge.Verdict
	view    reports.View
}

// evidence tells the present state of all files that a record and its verdict
// consist of, without reading them. The error says why they are not read.
func evidence(path string) (string, error) {
	sum := sha256.New()
	var size int64
	for _, sub := range []string{"", "load", "probes", "cluster"} {
		entries, err := os.ReadDir(filepath.Join(path, sub))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", err
		}
		for _, e := range entries {
			name := filepath.Join(sub, e.Name())
			if e.IsDir() || sub == "" && name != runFile && name != sumsFile && name != timelineFile && name != verdictFile {
				continue
			}
			info, err := e.Info()
			if err != nil {
				return "", err
			}
			if !info.Mode().IsRegular() {
				return "", fmt.Errorf("%s is no regular file, and is not read", name)
			}
			size += info.Size()
			fmt.Fprintf(sum, "%s %d %d\n", name, info.Size(), info.ModTime().UnixNano())
		}
	}
	if size > maxRecord {
		return "", fmt.Errorf("the record has %d bytes, and at most %d are read here: rehearse report shows it", size, maxRecord)
	}
	return string(sum.Sum(nil)), nil
}

// judgeAnew loads the record in path and judges it by its own scenario.
func (s *Server) judgeAnew(path string) (*judged, error) {
	s.judgements.Add(1)
	r, err := record.Load(path)
	if err != nil {
		return nil, err
	}
	scenario, err := scenarios.FromResolved(r.Run.Scenario)
	if err != nil {
		return nil, err
	}
	j := &judged{record: r, verdict: judge.Judge(r, scenario.Criteria())}
	j.view = reports.NewView(r, j.verdict)
	return j, nil
}

// notices says how the verdict that was judged anew stands to verdict.json, and
// what else is to be known of the run before its report is read.
func (j *judged) notices(path string, r *run, tool string) []reports.Notice {
	var out []reports.Notice
	switch r.State {
	case stateRunning, stateStopped:
		out = append(out, reports.Notice{Text: r.Why + " What is shown is what has been written so far."})
	}
	if !j.record.Complete && r.State != stateRunning {
		out = append(out, reports.Notice{Alarm: true, Text: "The record is not sealed: the run did not finish, or SHA256SUMS was removed. Nothing shows that it is as it was written."})
	}
	var now bytes.Buffer
	if err := reports.JSON(&now, j.view); err != nil {
		return append(out, reports.Notice{Alarm: true, Text: reports.Line(err.Error())})
	}
	stored, err := os.ReadFile(filepath.Join(path, verdictFile))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if r.State != stateRunning {
			out = append(out, reports.Notice{Text: "There is no verdict.json: nobody judged this run before."})
		}
	case err != nil:
		out = append(out, reports.Notice{Alarm: true, Text: reports.Line("verdict.json " + because(err))})
	case bytes.Equal(stored, now.Bytes()):
		out = append(out, reports.Notice{Text: "Judged anew from the record; verdict.json says the same, byte for byte."})
	case r.Verdict != "" && r.Verdict != j.verdict.Outcome:
		out = append(out, reports.Notice{Alarm: true, Text: fmt.Sprintf(
			"verdict.json says %s. Judged anew from the record, the verdict is %s, and that is what this page shows. %s", r.Verdict, j.verdict.Outcome, whoDiffers(r.Tool, tool))})
	case r.Verdict == "":
		out = append(out, reports.Notice{Alarm: true, Text: r.NoVerdict + ". This page shows what the record says, judged anew."})
	default:
		out = append(out, reports.Notice{Text: fmt.Sprintf(
			"verdict.json says %s too, and differs in what stands beside it. This page shows what the record says, judged anew. %s", r.Verdict, whoDiffers(r.Tool, tool))})
	}
	return out
}

func whoDiffers(wrote, here string) string {
	return fmt.Sprintf("Either another version of rehearse wrote it (the run was made by %s, this is %s), or it was changed.", wrote, here)
}

// exclusive runs make unless ctx ends before its turn: one record is in memory at
// a time, two where two are compared.
func (s *Server) exclusive(ctx context.Context, make func() (page, error)) (page, error) {
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
		return make()
	case <-ctx.Done():
		return page{}, context.Cause(ctx)
	}
}
