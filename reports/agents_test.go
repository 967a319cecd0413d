package reports

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"

	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/timeline"
	"github.com/kube-rehearse/rehearse/test/chromium"
)

// agentsRecord is the quickstart under the load of three agents, of which one was
// lost, after a first process whose agent was cut off.
func agentsRecord() *record.Record {
	r := loaded(goRecord())
	r.Run.Driver = "kops"
	r.Run.Interruptions = []record.Interruption{{AtNS: 38 * second, ResumedNS: 39 * second, Anew: true}}
	event := func(t int64, kind, name string, detail ...string) {
		d := map[string]string{}
		for i := 0; i < len(detail); i += 2 {
			d[detail[i]] = detail[i+1]
		}
		r.Events = append(r.Events, timeline.Event{T: t * second, Source: timeline.SourceLoad, Kind: kind, Subject: "agent/" + name, Detail: d})
	}
	for i, x := range []struct{ name, node string }{
		{"load-agents-0-zz9x1", "ip-10-0-1-7.eu-central-1.compute.internal"},
		{"load-agents-0-k7f2p", "ip-10-0-1-7.eu-central-1.compute.internal"},
		{"load-agents-1-w8d4q", "ip-10-0-2-19.eu-central-1.compute.internal"},
		{"load-agents-2-b5h6m", "ip-10-0-3-30.eu-central-1.compute.internal"},
		{"load-agents-3-never", ""},
	} {
		r.Run.Agents = append(r.Run.Agents, record.Agent{Name: x.name, Node: x.node})
		seconds := []int{8, 510, 510, 260, 0}[i]
		for k := range r.Lanes {
			p := record.Part{Seconds: seconds}
			if seconds > 0 {
				p.Sum.Second = 40
				p.Sum.Counts[record.OK], p.Sum.Counts[record.Unsent] = uint64(seconds)*33, uint64(i/3)*7
			}
			r.Lanes[k].Parts = append(r.Lanes[k].Parts, p)
		}
	}
	event(30, timeline.KindAgentStart, "load-agents-0-zz9x1", "bound", "1.2ms")
	for _, name := range []string{"load-agents-0-k7f2p", "load-agents-1-w8d4q", "load-agents-2-b5h6m"} {
		event(40, timeline.KindAgentStart, name, "bound", "1.1ms")
	}
	event(300, timeline.KindAgentLost, "load-agents-2-b5h6m", "reason", "its pod was deleted.", "told", "4m59s")
	event(552, timeline.KindAgentEnd, "load-agents-0-k7f2p", "offset", "-812.4µs", "bound", "900µs")
	event(552, timeline.KindAgentEnd, "load-agents-1-w8d4q", "error", "status 503: no route")
	slices.SortStableFunc(r.Events, func(a, b timeline.Event) int { return int((a.T - b.T) / int64(time.Millisecond)) })
	return r
}

func agentsVerdict() judge.Verdict {
	v := inconclusiveVerdict()
	v.Summary = "The measurement supports no verdict. Load agent load-agents-2-b5h6m on node ip-10-0-3-30.eu-central-1.compute.internal was lost at 300.0 s: its pod was deleted. What it sent from then on is not known; an outage could not have been seen by it."
	return v
}

func TestAgentsInTheView(t *testing.T) {
	v := NewView(agentsRecord(), agentsVerdict())
	var got []string
	for _, a := range v.Agents {
		got = append(got, a.Name+" | "+a.Clock+" | "+a.statement())
	}
	want := []string{
		"load-agents-0-zz9x1 | set to ± 1.2 ms | until the interruption, on node ip-10-0-1-7.eu-central-1.compute.internal",
		"load-agents-0-k7f2p | -0.812 ms ± 0.9 ms | told everything, on node ip-10-0-1-7.eu-central-1.compute.internal",
		"load-agents-1-w8d4q | not read | told everything, on node ip-10-0-2-19.eu-central-1.compute.internal: its clock could not be read at the end, status 503: no route",
		"load-agents-2-b5h6m | set to ± 1.1 ms | lost at +05:00.0, on node ip-10-0-3-30.eu-central-1.compute.internal: its pod was deleted; it has told what it sent until +04:59.0",
		"load-agents-3-never |  | never started",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if got := v.agentsTitle(); got != "5 load agents, 1 lost" {
		t.Error(got)
	}
	if s := v.Agents[3].sum(); s != (AgentLane{Windows: 260, Due: 3 * (260*33 + 7), Sent: 3 * 260 * 33, Unsent: 21}) {
		t.Errorf("%+v", s)
	}
	if v.Agents[3].Bad != true || v.Agents[1].Bad || v.Agents[0].Bad {
		t.Error("what is marked")
	}
	if plain := NewView(goRecord(), goVerdict()); plain.Agents != nil || plain.senders() != "this machine" {
		t.Errorf("a run without agents: %v, %s", plain.Agents, plain.senders())
	}
}

// TestAgentsOnThePage looks at the table in light, dark and on a phone.
func TestAgentsOnThePage(t *testing.T) {
	ctx := chromium.Start(t)
	for _, x := range []struct {
		colors string
		width  int64
	}{{"light", 1280}, {"dark", 1280}, {"light", 390}} {
		b := open(ctx, t, named(t, "agents"), x.width, 844, chromium.Call(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: x.colors}},
		}))
		b.Picture(fmt.Sprintf("report-agents-table-%d-%s", x.width, x.colors), "#lanes")
		if got := b.text("table.agents caption"); got != "5 load agents, 1 lost" {
			t.Error(got)
		}
		got := chromium.Eval[[]string](b.Tab, `[...document.querySelectorAll("table.agents tbody")].map((e) => e.rows.length + " " + e.rows[0].cells[1].textContent)`)
		want := []string{
			"3 until the interruption", "3 told everything", "3 told everythingits clock could not be read at the end, status 503: no route",
			"3 lost at +05:00.0its pod was deleted; it has told what it sent until +04:59.0", "1 never started",
		}
		if !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		if wide := chromium.Eval[int](b.Tab, `document.documentElement.scrollWidth`); int64(wide) > x.width {
			t.Errorf("the page of %d pixels scrolls sideways over %d", x.width, wide)
		}
		b.checkAccess()
		b.Quiet()
	}
}
