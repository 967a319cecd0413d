package judge

import (
	"fmt"

	"github.com/kube-rehearse/rehearse/harness/record"
)

// Sections, as record.Step.Section, of the steps that are the upgrade, and its
// way back.
const (
	sectionUpgrade  = "upgrade"
	sectionRollback = "rollback"
)

// judgeUpgrade judges whether the upgrade could be carried out at all: a step of
// it that failed is a failure of the upgrade, while any other failed step only
// means that there is nothing to judge. A record without such steps, made by
// `rehearse record`, has no such criterion.
func (j *judgement) judgeUpgrade() (Criterion, bool) {
	out := Criterion{ID: "upgrade", Name: "The upgrade was carried out"}
	run := &j.up.rec.Run
	steps, done := 0, 0
	var failed, open *record.Step
	for i := range run.Steps {
		s := &run.Steps[i]
		if s.Section != sectionUpgrade && s.Section != sectionRollback {
			continue
		}
		steps++
		switch s.Outcome {
		case record.OutcomePassed:
			done++
		case record.OutcomeFailed:
			if failed == nil {
				failed = s
			}
		default:
			if open == nil {
				open = s
			}
		}
	}
	if steps == 0 {
		return out, false
	}
	out.Samples.Upgrade = uint64(steps)
	switch {
	case failed != nil:
		out.Result = Fail
		out.Explain = fmt.Sprintf("Step %d of the upgrade, %q, failed: %s", failed.Number, failed.Description, sentence(failed.Error))
	case open != nil && run.Outcome != record.OutcomePassed:
		undecidedf(&out, "Step %d of the upgrade, %q, did not end (%s).", open.Number, open.Description, open.Outcome)
	default:
		out.Result = Pass
		out.Explain = fmt.Sprintf("All %d steps of the upgrade were carried out.", steps)
		if done < steps {
			out.Explain = fmt.Sprintf("%d of %d steps of the upgrade were carried out; the others had nothing to do.", done, steps)
		}
	}
	return out, true
}
