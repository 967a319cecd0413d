package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kube-rehearse/rehearse/harness"
	"github.com/kube-rehearse/rehearse/harness/gate"
	"github.com/kube-rehearse/rehearse/harness/monthly"
	"github.com/kube-rehearse/rehearse/harness/notify"
	"github.com/kube-rehearse/rehearse/scenarios"
)

// notifyEnv holds the webhook's URL, so that it need not stand on a command line,
// where every user of the machine can read it.
const notifyEnv = "REHEARSE_NOTIFY_URL"

// notifyFlags say whom to tell how a command ended; run, monthly and gate share
// them.
type notifyFlags struct {
	url, format, link string
}

func (f *notifyFlags) bind(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.url, "notify", "", "webhook to tell the outcome; better given as $"+notifyEnv+", for it is a secret")
	cmd.Flags().StringVar(&f.format, "notify-format", notify.FormatSlack, "what is posted: "+strings.Join(notify.Formats, ", "))
	cmd.Flags().StringVar(&f.link, "notify-link", "", "URL to add, such as the build's page")
}

// open returns nil where nobody is to be told.
func (f *notifyFlags) open() (*notify.Webhook, error) {
	address, from := f.url, "--notify"
	if address == "" {
		address, from = os.Getenv(notifyEnv), "$"+notifyEnv
	}
	if err := oneOf("--notify-format", f.format, notify.Formats...); err != nil || address == "" {
		return nil, err
	}
	w, err := notify.New(address, f.format)
	if err != nil {
		return nil, usage(fmt.Errorf("%s: %w", from, err))
	}
	return w, nil
}

// tell posts m, which ended with the error end. That it cannot is a warning: it
// changes no exit code. It is told after an interrupt, too.
func (f *notifyFlags) tell(ctx context.Context, w *notify.Webhook, m notify.Message, end error) {
	if w == nil {
		return
	}
	m.Link = f.link
	m.Exit, m.Outcome, m.Summary = outcomeOf(end, m)
	if err := w.Send(context.WithoutCancel(ctx), m); err != nil {
		slog.Warn("the outcome could not be told; it stands nevertheless", "error", err)
	}
}

// outcomeOf fills in what a message lacks from how its command ended.
func outcomeOf(end error, m notify.Message) (exit int, outcome, summary string) {
	outcome, summary = m.Outcome, m.Summary
	var e *exitError
	switch {
	case end == nil:
		return ExitGo, outcome, summary
	case errors.As(end, &e):
		exit = e.code
	default:
		exit = ExitUsage
	}
	switch exit {
	case ExitInterrupted:
		outcome = "INTERRUPTED"
	case ExitFailed, ExitUsage:
		outcome = "FAILED"
	}
	if e != nil && e.err != nil {
		summary = e.err.Error()
	}
	return exit, outcome, summary
}

func messageOfRun(s *scenarios.Scenario, res *harness.Result) notify.Message {
	m := notify.Message{Event: "run", Scenario: s.Name, From: s.Versions.From, To: s.Versions.To}
	if res != nil && res.Record != nil {
		m.Dir, m.Outcome, m.Summary, m.Simulated = res.Dir, string(res.Verdict.Outcome), res.Verdict.Summary, res.Record.Run.Simulated
	}
	return m
}

func messageOfGate(dir string, d *gate.Decision) notify.Message {
	m := notify.Message{Event: "gate", Dir: dir}
	if d == nil {
		return m
	}
	m.Scenario, m.From, m.To, m.Outcome = d.Scenario, d.From, d.To, "OPEN"
	if !d.Open {
		m.Outcome = "CLOSED"
	}
	var why []string
	for _, r := range d.Refusals {
		why = append(why, r.Why)
	}
	m.Summary = strings.Join(why, " ")
	return m
}

func messageOfMonthly(r *monthly.Result) notify.Message {
	m := notify.Message{Event: "monthly"}
	if r == nil {
		return m
	}
	m.From, m.To = r.New.From.String(), r.Target.String()
	if r.NothingToDo {
		m.Outcome, m.Summary = nothingToDo, r.New.Text()
		return m
	}
	if r.Rehearsal != nil {
		m.Dir, m.Outcome, m.Summary = r.Rehearsal.Dir, string(r.Rehearsal.Verdict), r.Rehearsal.Summary
	}
	if r.Gate != nil && !r.Gate.Open {
		m.Summary = "The gate is closed: production was not upgraded. " + messageOfGate("", r.Gate).Summary
	}
	if r.Upgrade != nil {
		var b strings.Builder
		upgradeText(&b, r.Upgrade, r.Target)
		m.Summary = strings.TrimSpace(b.String())
		if r.Upgrade.Looked && !r.Upgrade.Landed {
			m.Outcome = "NO-GO"
		} else if r.Upgrade.Measured != nil {
			m.Outcome = string(r.Upgrade.Measured.Verdict)
		}
	}
	return m
}
