package record

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// ScenarioDigest returns the hexadecimal SHA-256 of scenario in compact form,
// or "" where there is no scenario.
func ScenarioDigest(scenario json.RawMessage) (string, error) {
	if len(scenario) == 0 || string(scenario) == "null" {
		return "", nil
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, scenario); err != nil {
		return "", err
	}
	sum := sha256.Sum256(compact.Bytes())
	return hex.EncodeToString(sum[:]), nil
}

// check reports what makes the run unusable as evidence.
func (r *Run) check() error {
	if r.Format != FormatVersion {
		return fmt.Errorf("format version %d; this version of rehearse reads version %d", r.Format, FormatVersion)
	}
	sum, err := ScenarioDigest(r.Scenario)
	if err != nil {
		return fmt.Errorf("scenario: %w", err)
	}
	if sum != r.ScenarioSHA256 {
		return fmt.Errorf("the scenario's SHA-256 is %q, but scenarioSHA256 says %q: one of them was changed", sum, r.ScenarioSHA256)
	}
	seen := map[string]bool{}
	for _, l := range r.Lanes {
		if err := l.check(); err != nil {
			return err
		}
		if seen[l.Name] {
			return fmt.Errorf("lane %s is listed twice", l.Name)
		}
		seen[l.Name] = true
	}
	clear(seen)
	for _, p := range r.Probes {
		if err := checkName("probe", p.Name); err != nil {
			return err
		}
		if seen[p.Name] {
			return fmt.Errorf("probe %s is listed twice", p.Name)
		}
		seen[p.Name] = true
	}
	return nil
}

func (l *Lane) check() error {
	if err := checkName("lane", l.Name); err != nil {
		return err
	}
	if !(l.Rate > 0) || l.TimeoutNS < 0 {
		return fmt.Errorf("lane %s: rate %v and timeout %d ns; both must be positive", l.Name, l.Rate, l.TimeoutNS)
	}
	return nil
}

func (r *Request) check() error {
	if _, ok := ParseClass(r.Class); !ok {
		return fmt.Errorf("unknown outcome class %q", r.Class)
	}
	return nil
}

func (s *ProbeSample) check() error {
	if s.D < 0 {
		return fmt.Errorf("a sample that took %d ns", s.D)
	}
	return nil
}

func checkEvent(e *timeline.Event) error {
	if e.Source == "" || e.Kind == "" {
		return fmt.Errorf("an event without source or kind")
	}
	return nil
}
