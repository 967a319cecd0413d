package cli

import (
	"context"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kube-rehearse/rehearse/harness"
	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/reports"
)

// rehearsalFlags are how a plan is carried out; run and monthly share them.
type rehearsalFlags struct {
	out               string
	keep, proveBefore bool
	watching          spectatorFlags
	spectators        spectators // once they are opened
}

func (f *rehearsalFlags) bind(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.out, "out", "runs", "directory in which the run directory is made")
	cmd.Flags().BoolVar(&f.proveBefore, "prove", false, "prove first that the gate finds planted faults (see rehearse prove); the record keeps the result")
	f.watching.bind(cmd)
	cmd.Flags().BoolVar(&f.keep, "keep-cluster", false, "leave the cluster when done, and say how to delete it")
}

// open makes ready who looks on, before anything is created.
func (f *rehearsalFlags) open(ctx context.Context, s Streams, output string) (err error) {
	f.spectators, err = f.watching.open(ctx, s)
	if output == formatJSONL {
		f.spectators.lines = newJSONL(s.Out, time.Now)
	}
	return err
}

// options are those of a run with a driver of this name, but for the driver itself
// and its proof.
func (f *rehearsalFlags) options(ctx context.Context, s Streams, driver string) harness.Options {
	in := interruptsOf(ctx)
	return harness.Options{
		Out: f.out, Tool: toolVersion(), Command: commandLine(), KeepCluster: f.keep, Host: harness.ThisHost(), Log: slog.Default(),
		Progress: newProgress(s.Err), Cleanup: &in.cleanup, Report: reports.Write,
		Begun: func(dir string) { tellBegun(s, in, dir, driver) },
	}
}

// carryOut runs the plan. Without a result nothing was recorded, and the error
// is how the command ends; with one, it is why the record is not whole.
func (f *rehearsalFlags) carryOut(ctx context.Context, s Streams, p *harness.RunPlan, driver cluster.Driver) (*harness.Result, error) {
	o := f.options(ctx, s, p.Scenario.Cluster.Driver)
	o.Driver = driver
	if f.proveBefore {
		var err error
		if o.Proof, err = proveBefore(ctx, s, p.Scenario.Cluster.Driver); err != nil {
			return nil, err
		}
	}
	f.spectators.join(s, &o, p)
	defer raisePriority()()
	res, err := harness.Run(ctx, p, o)
	if res == nil {
		return nil, failed(err)
	}
	return res, err
}

// commandLine is what was typed, for the record, without what may be secret.
func commandLine() string {
	return strings.Join(publicArgs(append([]string{filepath.Base(os.Args[0])}, os.Args[1:]...)), " ")
}

// publicArgs leaves out of every URL its user, password and query, the webhook's
// altogether, and the arguments of another program, which come after "--".
func publicArgs(args []string) []string {
	out := make([]string, 0, len(args))
	for i, a := range args {
		switch {
		case a == "--":
			return append(out, a, "...")
		case strings.HasPrefix(a, "--notify="):
			out = append(out, "--notify=...")
			continue
		case i > 0 && args[i-1] == "--notify":
			out = append(out, "...")
			continue
		}
		flag, value := "", a
		if name, v, ok := strings.Cut(a, "="); ok && strings.HasPrefix(a, "-") {
			flag, value = name+"=", v
		}
		if u, err := url.Parse(value); err == nil && u.Scheme != "" && u.Host != "" && (u.User != nil || u.RawQuery != "") {
			u.User, u.RawQuery = nil, ""
			value = u.String() + "?..."
		}
		out = append(out, flag+value)
	}
	return out
}
