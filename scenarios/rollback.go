package scenarios

import (
	"math"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Rollback declares when a roll is turned round under load: exactly one of the
// two is set. Workers go back to the version of before; a control plane cannot.
type Rollback struct {
	// After makes it a drill: the roll stops when this share of the workers is
	// done, and goes back.
	After *Percent `json:"after,omitempty"`
	// OnFailure turns round at the first step of the upgrade that fails, or
	// criterion that is seen to fail after a worker.
	OnFailure bool `json:"onFailure,omitempty"`
}

// Workers is how many of n workers are upgraded before a drill turns round; with
// OnFailure, or without a rollback, all are.
func (r *Rollback) Workers(n int) int {
	if r == nil || r.After == nil {
		return n
	}
	return min(n, int(math.Ceil(r.After.Ratio*float64(n)-1e-9)))
}

// validateRollback finds rollbacks that cannot be meant or made.
func (s *Scenario) validateRollback(p *field.Path) field.ErrorList {
	r := s.Upgrade.Rollback
	if r == nil || s.Upgrade.Strategy == StrategyCommand { // for the second see validateCommand
		return nil
	}
	var errs field.ErrorList
	if (r.After != nil) == r.OnFailure {
		errs = append(errs, field.Invalid(p, "", "give exactly one of after, such as 50%, and onFailure: true"))
	}
	if a := r.After; a != nil {
		errs = append(errs, a.validate(p.Child("after"), 1)...)
		if a.invalid == "" && (a.Off || a.Ratio <= 0) {
			errs = append(errs, field.Invalid(p.Child("after"), a.String(), "a share of the workers above 0%, at most 100%"))
		}
	}
	if len(s.Versions.Via) > 0 {
		errs = append(errs, field.Invalid(p, "", "a rollback is rehearsed for one hop: give two versions"))
	}
	if s.Upgrade.ExtraWorkers > 0 {
		errs = append(errs, field.Invalid(p, "", "a rollback is rehearsed without extraWorkers: leave one of them out"))
	}
	return errs
}
