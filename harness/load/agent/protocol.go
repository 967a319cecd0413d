// Package agent is one of several engines that send a scenario's load together:
// package load's engine behind an HTTP server, in a pod, told by the runner what to
// send and when to begin, and asked again and again what became of it. What it
// tells has sequence numbers and is kept until the runner says that it has it, so
// that an answer which was lost on the way is asked for again, and nothing is
// counted twice.
package agent

import (
	"errors"
	"fmt"
	"time"

	"github.com/kube-rehearse/rehearse/harness/load"
)

// Version is that of the protocol between runner and agent, which are the same
// release: they refuse each other where it differs.
const Version = 1

// Paths of an agent's server. All but PathReady want the run's token in
// HeaderToken: an agent sends load to whatever it is told.
const (
	PathReady   = "/readyz"
	PathClock   = "/clock"   // GET: ClockAnswer
	PathPrepare = "/prepare" // POST Prepare: Prepared; may be repeated until Start
	PathStart   = "/start"   // POST Start; repeating the same is no error
	PathTold    = "/told"    // GET ?after=SEQ: entries, see Told
	PathStop    = "/stop"    // POST: the load ends, and what is left is told
	PathQuit    = "/quit"    // POST: the process ends
)

// HeaderToken is the header that carries the token, and EnvToken where the agent
// has it from. EnvName is the agent's own name, its pod's.
const (
	HeaderToken = "X-Rehearse-Token"
	EnvToken    = "REHEARSE_AGENT_TOKEN"
	EnvName     = "REHEARSE_AGENT_NAME"
)

// DefaultPort is where an agent listens.
const DefaultPort = 8090

// Alone is how long an agent goes on without hearing from the runner: load that
// nobody counts must not go on.
const Alone = 5 * time.Minute

// MaxHeld bounds what an agent keeps until it is asked for, in bytes. At a thousand
// slots a second that is more than two hours.
const MaxHeld = 32 << 20

// ClockAnswer tells the agent's clock, in nanoseconds since its start, when the
// question came and when the answer left: T2 and T3 of RFC 5905, section 8.
type ClockAnswer struct {
	Boot     string `json:"boot"` // another one is another process
	Received int64  `json:"received"`
	Sent     int64  `json:"sent"`
}

// Lane is a lane as the runner tells it. The control lane has no target: each agent
// has a twin of the canary of its own, next to the load.
type Lane struct {
	Name      string  `json:"name"`
	Kind      string  `json:"kind"`
	Target    string  `json:"target,omitempty"`
	Rate      float64 `json:"rate"` // of all agents together
	TimeoutNS int64   `json:"timeoutNS"`
	Control   bool    `json:"control,omitempty"`
	Canary    bool    `json:"canary,omitempty"`
}

// Twin says what the twin is like, as the canary.
type Twin struct {
	BodyBytes int   `json:"bodyBytes"`
	LatencyNS int64 `json:"latencyNS"`
}

// Prepare tells an agent what it is going to send.
type Prepare struct {
	Version int       `json:"version"` // Version
	Part    load.Part `json:"part"`
	Lanes   []Lane    `json:"lanes"`
	Twin    Twin      `json:"twin"`
}

// Prepared answers Prepare: whether each lane's address answers from there.
type Prepared struct {
	Version int     `json:"version"`
	Boot    string  `json:"boot"`
	Name    string  `json:"name"`
	CPUs    int     `json:"cpus"` // that the process may use
	Lanes   []Check `json:"lanes"`
}

// Check is one lane's. Error is empty where the lane was served.
type Check struct {
	Lane  string `json:"lane"`
	Error string `json:"error,omitempty"`
}

// Start says when the run began, by the agent's own clock, and at which offset from
// there the first slots fall due.
type Start struct {
	Zero int64 `json:"zero"` // ns since the agent's start
	At   int64 `json:"at"`   // ns since the run's
}

// Head begins every answer to PathTold.
type Head struct {
	ClockAnswer
	// First is the sequence number of the first entry that follows, which is the one
	// after what was asked for; Left is how many are kept beyond those that follow.
	First int64 `json:"first"`
	Left  int   `json:"left"`
	// Over is set once nothing more will be told than what is kept; Reason says why
	// where the runner has not asked for it.
	Over   bool   `json:"over,omitempty"`
	Reason string `json:"reason,omitempty"`
}

// TwinURL is the target of the control lane in the record: each agent's own twin, on
// a port of its own.
const TwinURL = "http://127.0.0.1/"

// errBusy is for what comes at the wrong time.
var errBusy = errors.New("the load was started already")

// lanes returns the lanes as this agent sends them; twin is its own.
func (p *Prepare) lanes(twin string) ([]load.Lane, error) {
	if p.Version != Version {
		return nil, fmt.Errorf("the runner speaks version %d of the agents' protocol, this agent version %d: use an image of the same release (load.agentImage)", p.Version, Version)
	}
	if len(p.Lanes) == 0 {
		return nil, errors.New("no lane to send")
	}
	out := make([]load.Lane, 0, len(p.Lanes))
	for _, l := range p.Lanes {
		if l.Control {
			l.Target = twin
		}
		lane := load.Lane{
			Name: l.Name, Kind: load.Kind(l.Kind), Target: l.Target, Rate: l.Rate, Part: p.Part,
			Timeout: time.Duration(l.TimeoutNS), Control: l.Control, Canary: l.Canary,
		}
		if err := lane.Validate(); err != nil {
			return nil, err
		}
		out = append(out, lane)
	}
	return out, nil
}
