package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kube-rehearse/rehearse/harness"
	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/gate"
	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/mirror"
	"github.com/kube-rehearse/rehearse/harness/monthly"
	"github.com/kube-rehearse/rehearse/harness/releases"
	"github.com/kube-rehearse/rehearse/reports"
	"github.com/kube-rehearse/rehearse/scenarios"
)

type monthlyFlags struct {
	scenario  scenarioFlags
	rehearsal rehearsalFlags
	gate      gateFlags
	traffic   trafficFlags
	notify    notifyFlags

	kubeconfig, context, from string
	versions                  []string
	take, then, again, output string
	thenArgs                  []string
	landing                   time.Duration
	dryRun, fewerNodes        bool
	// mirrored is true where the scenario is made of production itself.
	mirrored bool

	// carryOut is how a plan is carried out; tests have records made up instead.
	carryOut func(context.Context, *rehearsalFlags, Streams, *harness.RunPlan, cluster.Driver) (*harness.Result, error)
}

func newMonthly(s Streams) *cobra.Command {
	f := &monthlyFlags{carryOut: func(ctx context.Context, r *rehearsalFlags, s Streams, p *harness.RunPlan, d cluster.Driver) (*harness.Result, error) {
		return r.carryOut(ctx, s, p, d)
	}}
	return f.command(s)
}

func (f *monthlyFlags) command(s Streams) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "monthly [flags] [-- ARG...]",
		Short: "Rehearse the upgrade to a new version, if there is one",
		Long: `monthly is for a scheduler. It reads production's version and which versions
there are. Without a new one it says so, ends with 0 and creates nothing.
Otherwise it rehearses the upgrade from production's version to the new one,
as run does, with the scenario of -f or one that mirrors production, and ends
as run does.

With --then it consults the gate after the rehearsal, and only if it is open
runs that program, with the arguments after "--", to upgrade production. The
program finds REHEARSE_FROM, REHEARSE_TO and REHEARSE_RUN_DIR in its
environment. Then production is tested again: every node must run the new
version, be Ready and take pods, and there must be as many as before; with
--target the traffic recorded across the upgrade is compared with a baseline
recorded before it. Where that makes another version new to it, the upgrade to
that is rehearsed as well (--again); its verdict is told, and is not the exit
code's.

Exit codes: 0 GO or nothing to do, 1 NO-GO, or the gate is closed, or
production is not whole at the new version; 2 INCONCLUSIVE; 3 something could
not be carried out, the program of --then included; 64 wrong use; 130
interrupted.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			f.thenArgs = args
			f.mirrored = f.kubeconfig != "" && !cmd.Flags().Changed("file")
			if err := f.check(cmd.ArgsLenAtDash()); err != nil {
				return err
			}
			webhook, err := f.notify.open()
			if err != nil {
				return err
			}
			res, end := f.run(cmd.Context(), s)
			f.notify.tell(cmd.Context(), webhook, messageOfMonthly(res), end)
			return end
		},
	}
	f.bind(cmd)
	return cmd
}

func (f *monthlyFlags) bind(cmd *cobra.Command) {
	fl := cmd.Flags()
	f.scenario.bind(cmd)
	fl.Lookup("file").Usage = "scenario file; the scenario's versions are replaced. Without it, and with --kubeconfig, the scenario mirrors production, as rehearse mirror does"
	fl.StringVar(&f.kubeconfig, "kubeconfig", "", "kubeconfig of production, which is only read")
	fl.StringVar(&f.context, "context", "", "context of the kubeconfig (default: its current one)")
	fl.StringVar(&f.from, "from", "", "production's version, instead of --kubeconfig")
	fl.StringArrayVar(&f.versions, "versions", nil, "file or URL that lists versions: "+releases.Formats+"; {minor} in it stands for production's and the next minor version, such as 1.35; may be repeated")
	fl.StringVar(&f.take, "take", releases.TakeNewest, "which new version: newest (of the next minor version where there is one), patch, minor")
	fl.BoolVar(&f.dryRun, "dry-run", false, "say what would be rehearsed, and create nothing")
	f.rehearsal.bind(cmd)
	fl.StringVar(&f.then, "then", "", "program that upgrades production, run only if the gate is open; its arguments come after --")
	fl.DurationVar(&f.landing, "landing", 15*time.Minute, "how long after --then production may take to be whole at the new version")
	fl.BoolVar(&f.fewerNodes, "fewer-nodes", false, "production may have fewer nodes after --then than before, as with an autoscaler")
	fl.StringVar(&f.again, "again", monthly.AgainNext, "what to rehearse after --then: "+strings.Join(monthly.AgainValues, ", ")+" (next: the next upgrade of production, where there is one)")
	f.gate.bind(cmd)
	f.traffic.bind(cmd)
	f.notify.bind(cmd)
	fl.StringVarP(&f.output, "output", "o", "text", "text or json")
}

// check finds wrong use, before anything is read.
func (f *monthlyFlags) check(dash int) error {
	if err := oneOf("-o", f.output, "text", "json"); err != nil {
		return err
	}
	if err := oneOf("--take", f.take, releases.Policies...); err != nil {
		return err
	}
	if err := oneOf("--again", f.again, monthly.AgainValues...); err != nil {
		return err
	}
	switch {
	case len(f.thenArgs) > 0 && dash != 0:
		return usage(fmt.Errorf("unknown argument %q; the arguments of --then come after --", f.thenArgs[0]))
	case len(f.thenArgs) > 0 && f.then == "":
		return usage(errors.New("arguments after -- go with --then: name the program that upgrades production"))
	case (f.kubeconfig == "") == (f.from == ""):
		return usage(errors.New("give one of --kubeconfig and --from: which version does production run?"))
	case len(f.versions) == 0:
		return usage(errors.New("--versions is required: a file or URL with " + releases.Formats))
	case f.then != "" && f.kubeconfig == "" && f.traffic.target == "":
		return usage(errors.New("--then needs --kubeconfig or --target: production must be tested after its upgrade"))
	case f.then == "" && f.traffic.target != "":
		return usage(errors.New("--target goes with --then: it measures production's upgrade"))
	case f.mirrored && f.scenario.name != "":
		return usage(errors.New("--scenario goes with -f"))
	case f.then != "" && f.rehearsal.keep:
		return usage(errors.New("--keep-cluster does not go with --then"))
	}
	if f.from != "" {
		v, err := cluster.ParseVersion(f.from)
		if err != nil {
			return usage(fmt.Errorf("--from: %w", err))
		}
		f.from = v.String()
	}
	return nil
}

func (f *monthlyFlags) run(ctx context.Context, s Streams) (*monthly.Result, error) {
	if err := f.gate.resolve(); err != nil {
		return nil, err
	}
	// The scenario is read before anything else: a mistake in it must not wait for
	// the month in which there is a new version.
	var base *scenarios.Scenario
	var err error
	if !f.mirrored {
		if base, err = f.scenario.pick(); err != nil {
			return nil, err
		}
	}
	if !f.dryRun {
		if err := f.rehearsal.open(ctx, s, f.output); err != nil {
			return nil, err
		}
		defer f.rehearsal.spectators.close(ctx, s)
	}
	j := &monthly.Job{
		Policy: f.take, Looked: f.kubeconfig != "", Landing: f.landing, Every: 10 * time.Second, Again: f.again, Settle: f.traffic.settle, FewerNodes: f.fewerNodes,
		Tell: func(text string) { fmt.Fprintf(s.Err, "%s %s\n", time.Now().Format("15:04:05"), text) },
		Versions: func(ctx context.Context, from cluster.Version) ([]cluster.Version, error) {
			return releases.Reader{}.Read(ctx, f.versions, from)
		},
	}
	if j.Production, err = f.production(); err != nil {
		return nil, err
	}
	var mirrored cluster.Version // the target that base was made for
	var end error                // how the rehearsal ends the command, where it is more than its verdict
	j.Rehearse = func(ctx context.Context, from, to cluster.Version) (*monthly.Rehearsal, error) {
		if f.mirrored && mirrored != to {
			if base, end = f.mirror(ctx, s, to); end != nil {
				return nil, end
			}
			mirrored = to
		}
		var r *monthly.Rehearsal
		r, end = f.rehearse(ctx, s, *base, from, to)
		return r, end
	}
	if f.then != "" {
		f.arm(j, s)
	}
	var res *monthly.Result
	if f.dryRun {
		res, err = j.Look(ctx)
	} else {
		res, err = j.Run(ctx)
	}
	if res != nil {
		if err := f.tell(s.Out, res); err != nil {
			return res, err
		}
	}
	if err != nil && end == nil {
		end = failed(err)
		if ctx.Err() != nil {
			end = &exitError{ExitInterrupted, err}
		}
	}
	if end != nil {
		return res, end
	}
	return res, monthlyExit(res)
}

// mirror makes the scenario of production.
func (f *monthlyFlags) mirror(ctx context.Context, s Streams, to cluster.Version) (*scenarios.Scenario, error) {
	m := mirrorFlags{kubeconfig: f.kubeconfig, context: f.context, timeout: 2 * time.Minute}
	m.want.Name, m.want.Driver, m.want.To = "production", f.scenario.driver, to.String()
	if m.want.Driver == "" {
		m.want.Driver = scenarios.DriverKind
	}
	ctx, cancel := context.WithTimeoutCause(ctx, m.timeout, fmt.Errorf("not done after %s", m.timeout))
	defer cancel()
	facts, err := m.read(ctx)
	if err != nil {
		return nil, err
	}
	_, digest, err := facts.Encode()
	if err != nil {
		return nil, failed(err)
	}
	made, err := mirror.Make(facts, digest, m.want)
	if err != nil {
		return nil, usage(err)
	}
	file, err := scenarios.Parse("the scenario made of production", made.YAML())
	if err != nil {
		return nil, usage(fmt.Errorf("%w\nWrite it with rehearse mirror, mend it, and give it with -f", err))
	}
	fmt.Fprintf(s.Err, "%s The mirror of production has a fidelity of %.0f%% on %s; not covered: %d.\n", time.Now().Format("15:04:05"), 100*made.Fidelity.Score, m.want.Driver, len(made.Fidelity.Uncovered()))
	return &file.Scenarios[0], nil
}

// arm sets what is done to production where the gate opens.
func (f *monthlyFlags) arm(j *monthly.Job, s Streams) {
	j.Gate = func(ctx context.Context, dir string, from, to cluster.Version) (*gate.Decision, error) {
		g := f.gate
		g.want.From, g.want.To = from.String(), to.String()
		return g.decide(ctx, dir)
	}
	program := monthly.Program{Args: append([]string{f.then}, f.thenArgs...), Output: s.Err}
	j.Upgrade = program.Run
	if f.traffic.target != "" {
		j.Traffic = f.traffic.open(f.rehearsal.out, f.kubeconfig)
	}
}

// rehearse carries the scenario out between other versions.
func (f *monthlyFlags) rehearse(ctx context.Context, s Streams, sc scenarios.Scenario, from, to cluster.Version) (*monthly.Rehearsal, error) {
	sc.Versions = scenarios.Versions{From: from.String(), To: to.String()}
	file := scenarios.File{APIVersion: scenarios.APIVersion, Scenarios: []scenarios.Scenario{sc}}
	if errs := file.Validate(); len(errs) > 0 {
		return nil, usage(fmt.Errorf("%s: scenario %s cannot go from %s to %s: %w", f.scenario.file, sc.Name, from, to, errs.ToAggregate()))
	}
	p, driver, err := f.scenario.planOf(ctx, &sc)
	if err != nil {
		return nil, err
	}
	res, err := f.carryOut(ctx, &f.rehearsal, s, p, driver)
	if res == nil {
		return nil, err
	}
	tellKept(s, res)
	if err != nil {
		return nil, failed(err)
	}
	if f.output == "text" {
		if err := render(s, res.Dir, "text", res.Record, res.Verdict); err != nil {
			return nil, err
		}
	}
	return &monthly.Rehearsal{Dir: res.Dir, Verdict: res.Verdict.Outcome, Summary: res.Verdict.Summary}, notCarriedOut(res)
}

func tellKept(s Streams, res *harness.Result) {
	for _, k := range res.Kept {
		fmt.Fprintf(s.Err, "Kept: %s. Delete it with: %s\n", k.What, k.How)
	}
	for _, l := range res.Left {
		fmt.Fprintf(s.Err, "LEFT BEHIND: %s could not be removed. Delete it with: %s\n", l.What, l.How)
	}
}

// tell prints what the job found and did; the report stands above it already.
func (f *monthlyFlags) tell(w io.Writer, r *monthly.Result) error {
	if f.output == "json" {
		return writeJSON(w, r)
	}
	var b strings.Builder
	switch {
	case r.NothingToDo:
		fmt.Fprintf(&b, "%s Nothing to do.\n", r.New.Text())
	case f.dryRun:
		fmt.Fprintf(&b, "%s Would rehearse %s to %s with the scenario %s.\n", r.New.Text(), r.New.From, r.Target, f.scenarioName())
	}
	if r.Gate != nil {
		if err := writeGate(&b, r.Gate); err != nil {
			return err
		}
	}
	if u := r.Upgrade; u != nil {
		upgradeText(&b, u, r.Target)
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return failed(fmt.Errorf("write the result: %w", err))
	}
	return nil
}

func (f *monthlyFlags) scenarioName() string {
	switch {
	case f.mirrored:
		return "that mirrors production"
	case f.scenario.name != "":
		return f.scenario.name
	}
	return "of " + f.scenario.file
}

func upgradeText(b *strings.Builder, u *monthly.Upgraded, to cluster.Version) {
	if u.Command == monthly.Passed {
		b.WriteString("Production's upgrade command ended with 0.\n")
	} else {
		fmt.Fprintf(b, "Production's upgrade command did not pass: %s\n", reports.Line(u.Command))
	}
	switch {
	case u.Landed:
		fmt.Fprintf(b, "Production is whole at %s: API server and every node, all Ready.\n", to)
	case u.Looked:
		fmt.Fprintf(b, "Production is not whole at %s: %s.\n", to, reports.Line(u.Missing))
	}
	if m := u.Measured; m != nil {
		fmt.Fprintf(b, "Traffic to production across its upgrade: %s. %s\n  rehearse compare --baseline %s --upgrade %s\n", m.Verdict, reports.Line(m.Summary), m.Baseline, m.Upgrade)
	}
	if u.Next != nil {
		fmt.Fprintf(b, "%s\n", u.Next.Text())
	}
	if a := u.Again; a != nil {
		fmt.Fprintf(b, "Rehearsed again: %s. %s\n  rehearse report %s\n", a.Verdict, reports.Line(a.Summary), a.Dir)
	}
}

// monthlyExit is the exit code of a job in which everything could be carried out.
func monthlyExit(r *monthly.Result) error {
	switch {
	case r.NothingToDo || r.Rehearsal == nil:
		return nil
	case r.Gate != nil && !r.Gate.Open:
		return gateExit(r.Gate)
	case r.Upgrade == nil:
		return verdictExit(judge.Verdict{Outcome: r.Rehearsal.Verdict})
	case r.Upgrade.Looked && !r.Upgrade.Landed:
		return &exitError{code: ExitNoGo}
	case r.Upgrade.Measured != nil:
		return verdictExit(judge.Verdict{Outcome: r.Upgrade.Measured.Verdict})
	}
	return nil
}
