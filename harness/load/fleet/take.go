package fleet

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/kube-rehearse/rehearse/harness/load"
	"github.com/kube-rehearse/rehearse/harness/load/agent"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// take uses what an agent has told. Over says that it will tell nothing more, left
// that more is waiting, and why, where it is not empty, why the agent is lost.
//
// Entries are used one by one, and counted: of an answer that was cut short the rest
// is asked for again.
func (r *Running) take(m *member, body []byte, t1, t4 int64) (over, left bool, why string) {
	kind, payload, rest, err := agent.ReadEntry(body)
	if errors.Is(err, agent.ErrCut) {
		return false, false, ""
	}
	var head agent.Head
	if err == nil && kind != agent.KindHead {
		err = fmt.Errorf("an answer begins with an entry of kind %d", kind)
	}
	if err == nil {
		err = json.Unmarshal(payload, &head)
	}
	if err != nil {
		return false, false, "its answer cannot be read: " + err.Error()
	}
	if head.Boot != m.boot {
		return false, false, errRestarted.Error()
	}
	if o := exchange(t1, head.Received-m.zero, head.Sent-m.zero, t4); o.certain() > jump {
		return false, false, fmt.Sprintf("its clock has jumped: it is %s off the runner's", o)
	}
	if head.First != m.seq+1 {
		return false, false, fmt.Sprintf("entry %d was asked for, and %d came", m.seq+1, head.First)
	}
	for len(rest) > 0 {
		kind, payload, rest, err = agent.ReadEntry(rest)
		if errors.Is(err, agent.ErrCut) {
			return false, true, ""
		}
		if err == nil {
			err = r.use(m, kind, payload)
		}
		if err != nil {
			return false, false, err.Error()
		}
		m.seq++
	}
	if !head.Over || head.Left > 0 {
		return false, head.Left > 0, ""
	}
	return true, false, head.Reason
}

// use uses one entry. An error means that the agent is lost.
func (r *Running) use(m *member, kind byte, payload []byte) error {
	switch kind {
	case agent.KindSecond:
		lane, s, err := agent.ReadSecond(payload)
		if err != nil {
			return err
		}
		return r.useSecond(m, lane, s)
	case agent.KindEvent:
		var e timeline.Event
		if err := json.Unmarshal(payload, &e); err != nil {
			return fmt.Errorf("an event: %w", err)
		}
		r.useEvent(m, e)
		return nil
	}
	return fmt.Errorf("an entry of the unknown kind %d", kind)
}

func (r *Running) useSecond(m *member, lane int, s *load.Second) error {
	if lane >= len(r.mergers) {
		return fmt.Errorf("it tells of lane %d; there are %d", lane, len(r.mergers))
	}
	if now := r.events.Clock().Now(); time.Duration(s.Second)*time.Second > now+jump {
		return fmt.Errorf("it tells of second %d, which has not come: its clock has jumped", s.Second)
	}
	err := r.mergers[lane].Add(m.index, s)
	var sink *load.SinkError
	if errors.As(err, &sink) {
		r.loseLane(lane, err)
		err = nil
	}
	if err != nil {
		return err
	}
	m.lanes[lane] = (s.Second + 1) * 1e9
	m.told = slices.Min(m.lanes)
	return nil
}

// useEvent puts what the agent's engine says into the timeline, as far as it is not
// the runner's to say.
func (r *Running) useEvent(m *member, e timeline.Event) {
	switch e.Kind {
	case timeline.KindPhase, timeline.KindPhaseEnd, timeline.KindLaneStart, timeline.KindLaneEnd, timeline.KindLaneLost:
		return
	}
	detail := maps.Clone(e.Detail)
	if detail == nil {
		detail = map[string]string{}
	}
	detail["agent"] = m.Name
	e.Detail = detail
	r.events.Add(e)
}
