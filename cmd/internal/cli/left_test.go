package cli

import (
	"bytes"
	"strings"
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

// TestOnlyWhatCanBeGoneOnWithIsToldSo tells of each driver what a kill, or a second
// Ctrl-C, leaves to do.
func TestOnlyWhatCanBeGoneOnWithIsToldSo(t *testing.T) {
	const resume = "rehearse run --resume runs/x"
	for driver, want := range map[string]string{
		"sim": "its embedded cluster ends with it: rehearse anew", "kind": "go on with: " + resume, "kops": "go on with: " + resume, "eks": "go on with: " + resume,
		"existing": "its command is not run a second time; what it made is removed as this says: " + resume,
	} {
		var err bytes.Buffer
		in := &interrupts{}
		tellBegun(Streams{Err: &err}, in, "runs/x", driver)
		if got := err.String(); got != "Record: runs/x (if this process is killed, "+want+")\n" {
			t.Errorf("%s: %s", driver, got)
		}
		if told := in.runDir() != ""; told != strings.HasPrefix(want, "go on") {
			t.Errorf("%s: after a second interrupt a resume is offered: %v", driver, told)
		}
	}
	res := &harness.Result{
		Dir: "runs/x", Record: &record.Record{Run: record.Run{Outcome: record.OutcomeInterrupted, Driver: "existing"}},
		Kept: []cleanup.Entry{{What: "namespaces", How: "kubectl delete"}},
	}
	if end, want := notCarriedOut(res), "interrupted; the cluster was kept, the record so far is in runs/x. Its command is not run a second time; what it made is removed as this says: "+resume; end == nil || end.Error() != want {
		t.Errorf("got %v, want %s", end, want)
	}
}
