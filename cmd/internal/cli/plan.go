package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kube-rehearse/rehearse/harness"
	"github.com/kube-rehearse/rehearse/harness/english"
	"github.com/kube-rehearse/rehearse/scenarios"
)

func newPlan(s Streams) *cobra.Command {
	var scenario scenarioFlags
	var output string
	cmd := &cobra.Command{
		Use:   "plan",
		Short: "Print a rehearsal's steps and how long it takes; create nothing",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := oneOf("-o", output, "text", "json"); err != nil {
				return err
			}
			p, _, err := scenario.plan(cmd.Context())
			if err != nil {
				return err
			}
			v := viewPlan(p)
			if output == "json" {
				return writeJSON(s.Out, v)
			}
			v.text(s.Out)
			return nil
		},
	}
	scenario.bind(cmd)
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	return cmd
}

// planView is what plan prints, as text or as JSON.
type planView struct {
	Scenario    *scenarios.Scenario `json:"scenario"`
	NothingToDo bool                `json:"nothingToDo,omitempty"`
	Steps       []planStep          `json:"steps"`
	Nodes       int                 `json:"nodes"`
	// Seconds of the whole run as forecast, and the least its upgrade can take.
	ForecastSeconds     float64 `json:"forecastSeconds"`
	UpgradeFloorSeconds float64 `json:"upgradeFloorSeconds"`
}

type planStep struct {
	Number          int     `json:"number"`
	Section         string  `json:"section"`
	Description     string  `json:"description"`
	ExpectedSeconds float64 `json:"expectedSeconds"`
}

func viewPlan(p *harness.RunPlan) planView {
	v := planView{Scenario: p.Scenario.Public(), NothingToDo: p.NothingToDo, Nodes: p.Nodes, Steps: []planStep{},
		ForecastSeconds: p.Expected().Seconds(), UpgradeFloorSeconds: p.Floor.Seconds()}
	for _, e := range p.Entries {
		v.Steps = append(v.Steps, planStep{e.Number, e.Section, e.Description, e.Expected.Seconds()})
	}
	return v
}

func (v planView) text(w io.Writer) {
	sc := v.Scenario
	if v.NothingToDo {
		fmt.Fprintf(w, "Scenario %s: from and to are both %s: nothing to do.\n", sc.Name, sc.Versions.To)
		return
	}
	fmt.Fprintf(w, "Scenario %s: %s to %s on %s, %s\n", sc.Name, sc.Versions.From, strings.Join(sc.Versions.Hops(), " to "), sc.Cluster.Driver, sc.Upgrade.Strategy)
	section := ""
	for _, s := range v.Steps {
		if s.Section != section {
			section = s.Section
			fmt.Fprintf(w, "\n%s\n", section)
		}
		expected := ""
		if s.ExpectedSeconds >= 1 {
			expected = "  ~" + roughly(s.ExpectedSeconds)
		}
		fmt.Fprintf(w, "  %2d. %s%s\n", s.Number, s.Description, expected)
	}
	if v.Nodes == 0 {
		fmt.Fprintf(w, "\nForecast: about %s, and as long as the command takes.\n", roughly(v.ForecastSeconds))
		return
	}
	fmt.Fprintf(w, "\nForecast: about %s; of it, the upgrade waits at least %s between its %d nodes.\n",
		roughly(v.ForecastSeconds), roughly(v.UpgradeFloorSeconds), v.Nodes)
	if sc.Upgrade.AutoInterval() {
		fmt.Fprintln(w, "The interval is searched for: this is one trial of several, each a whole rehearsal.")
	}
	if n := sc.Upgrade.ForecastNodes; n > 0 {
		each := 0.0
		for _, s := range v.Steps {
			if s.Section == harness.SectionUpgrade {
				each += s.ExpectedSeconds / float64(v.Nodes)
			}
		}
		fmt.Fprintf(w, "Production, %d nodes: about %s by the driver's estimates, at least %s of it between nodes; a run forecasts it from what it measures.\n",
			n, roughly(each*float64(n)), roughly(sc.Upgrade.NodeInterval.Seconds()*float64(rollOf(sc).Rounds(n))))
	}
}

// roughly prints seconds as a person says them.
func roughly(seconds float64) string {
	return english.Roughly(time.Duration(seconds * float64(time.Second)))
}

func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return failed(fmt.Errorf("write the result: %w", err))
	}
	return nil
}
