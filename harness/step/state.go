package step

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/record"
)

// Restorer is a step whose effect ends with the process that carried it out, at
// least in part.
type Restorer interface {
	// Restore brings back, in a process that goes on with an interrupted run, what
	// later steps need of this one, which an earlier process has carried out. It
	// does not repeat the step's work.
	Restore(ctx context.Context, env *Env) error
}

// Redoer is a step that cannot simply run again where an interrupted process had
// begun it and not ended it.
type Redoer interface {
	// Redo clears away what is half done, and carries the step out.
	Redo(ctx context.Context, env *Env) error
}

// stateFormat is the version of state.json.
const stateFormat = 1

// State is state.json: what a process that goes on with an interrupted run needs
// and run.json does not hold. It is no evidence.
type State struct {
	Format int `json:"format"`
	// Plan holds the description of every entry: a run goes on only by the plan
	// that it was begun with.
	Plan []string     `json:"plan"`
	Spec cluster.Spec `json:"spec"`
	// CanaryImage, Canary and Twin are set once the canary is deployed.
	CanaryImage string           `json:"canaryImage,omitempty"`
	Canary      cluster.Endpoint `json:"canary,omitzero"`
	Twin        cluster.Endpoint `json:"twin,omitzero"`
	// Roll is what is known of the workers of the hop that is under way.
	Roll *Roll `json:"roll,omitempty"`
	// Measuring is set from the start of the load until it is told to stop.
	Measuring bool `json:"measuring,omitempty"`
	// Kept is set where the run ended and left its cluster on purpose.
	Kept bool `json:"kept,omitempty"`
}

// SaveState writes state.json, atomically. The runner calls it whenever a step
// begins or ends; a step calls it as well where what it changes must not be
// forgotten if the process is killed before the step ends.
func (e *Env) SaveState() error {
	e.State.Format = stateFormat
	e.State.Spec = e.Spec
	e.State.CanaryImage, e.State.Canary, e.State.Twin = e.CanaryImage, e.Canary, e.Twin
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(e.State); err != nil {
		return fmt.Errorf("save state: %w", err)
	}
	return e.Dir.SaveState(b.Bytes())
}

// RestoreState takes over what an earlier process saved.
func (e *Env) RestoreState(s State) {
	e.State, e.Spec = s, s.Spec
	e.Roll = s.Roll
	e.CanaryImage, e.Canary, e.Twin = s.CanaryImage, s.Canary, s.Twin
}

// ReadState reads the state that belongs to a run directory.
func ReadState(d *record.Dir) (State, error) {
	data, err := d.State()
	if err != nil {
		return State{}, fmt.Errorf("read state.json: %w", err)
	}
	if data == nil {
		return State{}, fmt.Errorf("%s has no state.json: the run was interrupted before its first step, or made by an older version of rehearse, and cannot be gone on with", d.Path())
	}
	// The version comes first: a later one may have fields unknown here.
	var version struct {
		Format int `json:"format"`
	}
	if err := json.Unmarshal(data, &version); err != nil {
		return State{}, fmt.Errorf("state.json: %w", err)
	}
	if version.Format != stateFormat {
		return State{}, fmt.Errorf("state.json: format version %d; this version of rehearse reads version %d", version.Format, stateFormat)
	}
	var s State
	if err := record.DecodeStrict(data, &s); err != nil {
		return State{}, fmt.Errorf("state.json: %w", err)
	}
	return s, nil
}
