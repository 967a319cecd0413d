package reports

import (
	"fmt"
	"strings"
	"time"
)

// Fact is one line about the run and its surroundings.
type Fact struct{ Name, Value string }

// Facts lists what a reader needs to know about the run: who, where, when.
func (v View) Facts() []Fact {
	r := v.Run
	var out []Fact
	add := func(name, value string) {
		if value != "" {
			out = append(out, Fact{name, value})
		}
	}
	add("run", r.ID)
	add("started", r.Started.Format(time.RFC3339))
	if r.Duration > 0 {
		add("took", span(r.Duration))
	}
	for _, i := range r.Interruptions {
		what := "the upgrade was not measured in between"
		if i.Anew {
			what = "everything was measured again"
		}
		add("interrupted", fmt.Sprintf("at %s, gone on with after %s: %s", offset(i.Start), span(i.End-i.Start), what))
	}
	driver := r.Driver
	if v.Simulated {
		driver += " (simulated)"
	}
	add("driver", driver)
	add("network", r.Network)
	if r.Before != "" || r.After != "" {
		add("API server", arrow(r.Before, r.After))
	}
	add("host", r.Host)
	if r.Pressure != nil {
		add("CPU pressure", percent(*r.Pressure)+" of the measured time some task waited for a CPU")
	}
	add("tool", r.Tool)
	add("command", r.Command)
	add("scenario", strings.TrimSpace(r.Name+" "+digest(r.ScenarioSHA256)))
	return out
}

func digest(sha string) string {
	if sha == "" {
		return ""
	}
	return "sha256:" + sha
}
