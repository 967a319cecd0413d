package synth

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/kube-rehearse/rehearse/harness/record"
)

// Write writes a record into the new directory path, sealed, as a run would have.
func Write(path string, r *record.Record) (err error) {
	d, err := record.Create(path, r.Run)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	w, err := d.Timeline()
	if err != nil {
		return err
	}
	lines := json.NewEncoder(w)
	for i := range r.Events {
		if err := lines.Encode(&r.Events[i]); err != nil {
			return fmt.Errorf("timeline: %w", err)
		}
	}
	for i := range r.Lanes {
		if err := writeLane(d, &r.Lanes[i]); err != nil {
			return fmt.Errorf("lane %s: %w", r.Lanes[i].Lane.Name, err)
		}
	}
	for _, p := range r.Probes {
		w, err := d.Probe(p.Probe.Name)
		if err != nil {
			return err
		}
		for _, s := range p.Samples {
			if err := w.Write(s); err != nil {
				return fmt.Errorf("probe %s: %w", p.Probe.Name, err)
			}
		}
	}
	for name, s := range map[string]*record.Snapshot{record.SnapshotBefore: r.Before, record.SnapshotAfter: r.After} {
		if s == nil {
			continue
		}
		if err := d.SaveSnapshot(name, s); err != nil {
			return err
		}
	}
	return d.Seal()
}

func writeLane(d *record.Dir, l *record.LaneData) error {
	w, err := d.Lane(l.Lane)
	if err != nil {
		return err
	}
	for i := range l.Windows {
		if err := w.WriteWindow(&l.Windows[i]); err != nil {
			return err
		}
	}
	for i := range l.Requests {
		if err := w.WriteRequest(&l.Requests[i]); err != nil {
			return err
		}
	}
	return w.Close()
}
