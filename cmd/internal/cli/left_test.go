package cli

import (
	"bytes"
	"testing"

	"github.com/kube-rehearse/rehearse/harness"
	"github.com/kube-rehearse/rehearse/harness/cleanup"
	"github.com/kube-rehearse/rehearse/harness/record"
)

// TestWhatCouldNotBeRemovedIsTold interrupts a run whose tear-down failed.
func TestWhatCouldNotBeRemovedIsTold(t *testing.T) {
	res := &harness.Result{
		Dir: "runs/x", Record: &record.Record{Run: record.Run{Outcome: record.OutcomeInterrupted}},
		Left: []cleanup.Entry{{What: "load agents in context load", How: "kubectl delete namespace rehearse-agents-4f2a91"}},
	}
	var err bytes.Buffer
	tellKept(Streams{Err: &err}, res)
	if got, want := err.String(), "LEFT BEHIND: load agents in context load could not be removed. Delete it with: kubectl delete namespace rehearse-agents-4f2a91\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	end := notCarriedOut(res)
	if want := "interrupted; load agents in context load could not be removed: delete it with the command above. The record so far is in runs/x"; end == nil || end.Error() != want {
		t.Errorf("got %v, want %s", end, want)
	}
	res.Left = nil
	if end, want := notCarriedOut(res), "interrupted; what was created has been removed, the record so far is in runs/x"; end == nil || end.Error() != want {
		t.Errorf("got %v, want %s", end, want)
	}
}
