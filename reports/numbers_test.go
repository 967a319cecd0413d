package reports

import "testing"

// What must be served at least, and what may be found at most.
func TestLimitSaysWhichSideIsGood(t *testing.T) {
	share, growth := 0.995, 0.5
	for id, want := range map[string]string{
		"api": "≥ 99.5%", "api/control-plane": "≥ 99.5%", "api-writer": "≥ 99.5%", "success/new": "≥ 99.5%",
		"errors/new": "≤ +99.5%",
	} {
		c := Criterion{ID: id, Unit: "ratio", Threshold: &share}
		if got := c.limit(); got != want {
			t.Errorf("%s: got %s, want %s", id, got, want)
		}
	}
	p99 := Criterion{ID: "p99/new", Unit: "ratio", Threshold: &growth}
	if got, want := p99.limit(), "≤ +50%"; got != want {
		t.Errorf("p99/new: got %s, want %s", got, want)
	}
}
