package output

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-rehearse/rehearse/harness/timeline"
	"github.com/kube-rehearse/rehearse/test/golden"
)

// cases are the real runs of kops 1.35.0 whose output is in testdata.
var cases = []string{"rolling-update", "drain-blocked-by-pdb", "node-did-not-join", "terminate-denied-cloudonly", "interactive-stopped", "every-group-blocked"}

// ofTheScript are lines of the golden logs that kops did not print: the script
// that captured them wrote the time and the exit code.
var ofTheScript = regexp.MustCompile(`^(\d\d:\d\d:\d\d(\.\d+)?|rc=\d+)$`)

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// lines returns the streams' lines one after another: the captures do not tell
// how the two were interleaved, and the table comes first.
func lines(t *testing.T, name string) []string {
	t.Helper()
	var all []string
	for _, stream := range []string{".stdout", ".stderr"} {
		for l := range strings.SplitSeq(strings.TrimSuffix(read(t, name+stream), "\n"), "\n") {
			if !ofTheScript.MatchString(l) {
				all = append(all, l)
			}
		}
	}
	return all
}

func render(e timeline.Event) string {
	keys := make([]string, 0, len(e.Detail))
	for k := range e.Detail {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	s := e.Source + " " + e.Kind + " " + e.Subject
	for _, k := range keys {
		s += fmt.Sprintf(" %s=%q", k, e.Detail[k])
	}
	return s
}

// TestEveryLineIsKnown holds the tracker to the whole of the golden logs: each
// line belongs to a phase, or is ignored for a reason that the table gives.
func TestEveryLineIsKnown(t *testing.T) {
	used := map[string]bool{}
	for _, name := range cases {
		t.Run(name, func(t *testing.T) {
			var tr Tracker
			var b strings.Builder
			perPhase, ignoredLines := map[Phase]int{}, 0
			for n, line := range lines(t, name) {
				m := tr.Line(line)
				switch {
				case m.Phase == "" && m.Ignored == "":
					t.Errorf("line %d is neither of a phase nor ignored: %s", n+1, line)
				case m.Phase != "" && m.Ignored != "":
					t.Errorf("line %d is of phase %s and ignored: %s", n+1, m.Phase, line)
				case m.Ignored != "":
					ignoredLines++
					used[m.Ignored] = true
				}
				perPhase[m.Phase]++
				for _, e := range m.Events {
					fmt.Fprintln(&b, render(e))
				}
			}
			fmt.Fprintln(&b)
			for _, p := range []Phase{Plan, Validating, Taint, Surge, Drain, Deregister, Terminate, Interval, Prompt, Failed, Done} {
				if perPhase[p] > 0 {
					fmt.Fprintf(&b, "%d lines of phase %s\n", perPhase[p], p)
				}
			}
			fmt.Fprintf(&b, "%d lines ignored\n", ignoredLines)
			for _, f := range tr.Failures() {
				fmt.Fprintf(&b, "failure: %s\n", f)
			}
			for _, l := range tr.Left() {
				fmt.Fprintf(&b, "left: %s %s of group %s, count %d\n", l.Kind, l.Name, l.Group, l.Count)
			}
			fmt.Fprintf(&b, "completed: %v\n", tr.Completed())
			golden.Equal(t, name+".events", b.String())
		})
	}
	if len(used) < 8 {
		t.Errorf("only %d of the reasons to ignore a line were met in the golden logs: %v", len(used), used)
	}
}

func TestALineOfAnotherFormIsKept(t *testing.T) {
	var tr Tracker
	if m := tr.Line(`I1121 15:45:03.053370   29654 new.go:1] Something kops never said.`); m.Phase != "" || m.Ignored != "" || m.Events != nil {
		t.Errorf("got %+v", m)
	}
	// An error of another form is a failure all the same.
	m := tr.Line(`E1121 15:45:03.053370   29654 new.go:1] no quorum`)
	if m.Phase != Failed || len(m.Events) != 1 || render(m.Events[0]) != `driver failure driver/kops error="no quorum"` {
		t.Errorf("got %+v", m)
	}
	if diff := cmp.Diff([]string{"no quorum"}, tr.Failures()); diff != "" {
		t.Error(diff)
	}
}

// Standard error comes between the rows of the table that is on standard output.
func TestTableAmongOtherLines(t *testing.T) {
	var tr Tracker
	for _, l := range []string{
		"NAME STATUS NEEDUPDATE READY MIN TARGET MAX NODES",
		"nodes-a NeedsUpdate 1 0 1 1 1 1",
		"SDK 2026/11/22 05:09:14 WARN Response has no supported checksum. Not validating response payload.",
		"W1122 09:48:44.901652    7765 logger.go:34] AWS request: failed to discard remaining HTTP response body, this may affect connection reuse",
		"nodes-b Ready 0 1 1 1 1 1",
	} {
		if m := tr.Line(l); m.Phase == "" && m.Ignored == "" {
			t.Errorf("not known: %s", l)
		}
	}
	if g := tr.Groups(); len(g) != 2 || g[1].Name != "nodes-b" {
		t.Errorf("groups %+v", g)
	}
}

// Several instances of a group in work at once: what names none is attributed to
// none, and nothing is lost.
func TestInstancesSideBySide(t *testing.T) {
	var tr Tracker
	var got []string
	for _, l := range []string{
		`Tainting 3 nodes in "nodes" instancegroup.`,
		`Draining the node: "i-1".`,
		`Draining the node: "i-2".`,
		`error when evicting pods/"web" -n "shop" (will retry after 5s): no`,
		`Waiting for 5s for pods to stabilize after draining.`,
		`Stopping instance "i-2", node "i-2", in group "nodes.t.example.com" (this may take a while).`,
		`waiting for 15s after terminating instance`,
		`failed to drain`,
		`failed to roll InstanceGroup "nodes": failed to drain node "i-1": global timeout reached: 15m0s`,
		`Error: failed to drain node "i-1": global timeout reached: 15m0s`,
	} {
		for _, e := range tr.Line(l).Events {
			got = append(got, render(e))
		}
	}
	want := []string{
		`driver taint group/nodes nodes="3"`,
		`driver upgrade-start node/i-1 group="nodes" instance="i-1"`,
		`driver cordon node/i-1 group="nodes" instance="i-1"`,
		`driver drain-start node/i-1 group="nodes" instance="i-1"`,
		`driver upgrade-start node/i-2 group="nodes" instance="i-2"`,
		`driver cordon node/i-2 group="nodes" instance="i-2"`,
		`driver drain-start node/i-2 group="nodes" instance="i-2"`,
		`driver evict-refused pod/shop/web reason="no"`,
		`driver wait driver/kops after="draining" for="5s"`,
		`driver drain-end node/i-2 group="nodes" instance="i-2"`,
		`driver instance-terminate node/i-2 group="nodes" instance="i-2"`,
		`driver wait driver/kops after="terminating an instance" for="15s"`,
		`driver drain-end node/i-1 error="failed to drain node \"i-1\": global timeout reached: 15m0s" group="nodes" instance="i-1"`,
		`driver upgrade-end node/i-1 error="failed to drain node \"i-1\": global timeout reached: 15m0s" group="nodes" instance="i-1"`,
		`driver roll-end group/nodes error="failed to drain node \"i-1\": global timeout reached: 15m0s"`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	wantLeft := []Left{{Kind: "cordoned node", Name: "i-1", Group: "nodes"}, {Kind: "tainted nodes", Name: "nodes", Group: "nodes", Count: 2}}
	if diff := cmp.Diff(wantLeft, tr.Left()); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
}

func FuzzTracker(f *testing.F) {
	for _, name := range cases {
		for _, stream := range []string{".stdout", ".stderr"} {
			b, err := os.ReadFile(filepath.Join("testdata", name+stream))
			if err != nil {
				f.Fatal(err)
			}
			f.Add(string(b))
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		var tr Tracker
		for line := range strings.SplitSeq(text, "\n") {
			for _, e := range tr.Line(line).Events {
				if e.Source != timeline.SourceDriver || e.Kind == "" || e.Subject == "" {
					t.Fatalf("half an event %+v from %q", e, line)
				}
			}
		}
		for _, l := range tr.Left() {
			if l.Kind == "" || l.Count < 0 {
				t.Fatalf("half a leftover %+v", l)
			}
		}
	})
}
