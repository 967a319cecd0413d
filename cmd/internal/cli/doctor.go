package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/kube-rehearse/rehearse/harness/docker"
	"github.com/kube-rehearse/rehearse/harness/drivers"
	"github.com/kube-rehearse/rehearse/harness/nodeimage"
)

// What a rehearsal of one control plane and three workers takes, with some
// reserve, and what the images and the cache of their build do.
const (
	memoryForKind  = 6 << 30
	diskForKind    = 10 << 30
	inotifyForKind = 108
)

func newDoctor(s Streams) *cobra.Command {
	var output string
	var f scenarioFlags
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Say what this machine lacks for a driver, and what to do about it",
		Long: `doctor looks at what a driver needs of this machine and, of its cloud, whether
it can be reached at all. The driver is kind, unless --driver names another or
-f a scenario, which lets it look at more: versions, the state store, the
cluster. It changes nothing. What a scenario needs of the account preflight -f
tells.

Exit codes: 0 nothing that is needed is missing, 3 something is, 64 wrong use.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := oneOf("-o", output, "text", "json"); err != nil {
				return err
			}
			driver, sc, err := f.diagnosed(cmd)
			if err != nil {
				return err
			}
			checks := checksFor(cmd.Context(), driver, sc)
			if err := writeChecks(s.Out, output, checks); err != nil {
				return err
			}
			for _, check := range checks {
				if check.Needed && !check.OK {
					return failed(fmt.Errorf("this machine cannot carry out a rehearsal on %s yet; what is needed is marked MISSING", driver))
				}
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	f.bind(cmd)
	cmd.Flags().Lookup("file").Usage, cmd.Flags().Lookup("file").DefValue = "look at what the scenario of this file needs", ""
	cmd.Flags().Lookup("driver").Usage = "driver to look at (default: the scenario's, or kind)"
	return cmd
}

// checksOnKind are those of a rehearsal in containers on this machine.
func checksOnKind(ctx context.Context) []docker.Check {
	var checks []docker.Check
	cache, err := nodeimage.CacheDir()
	if err != nil {
		checks = append(checks, missing("image cache", err, "set REHEARSE_CACHE to a directory of yours, or HOME"))
	}
	checks = append(checks, docker.HostChecks(ctx, docker.Checks{
		Client: &docker.Client{}, PullableImage: nodeimage.PullableProbe, CacheDir: cache,
		DiskNeeded: diskForKind, MemoryNeeded: memoryForKind, InotifyNeeded: inotifyForKind,
	})...)
	checks = append(checks, nodeimage.ToolChecks()...)
	return append(checks, leftovers(ctx)...)
}

// leftovers are what runs that were killed have left on this machine. A Docker
// that does not answer is another check's business.
func leftovers(ctx context.Context) []docker.Check {
	d, err := drivers.Kind()
	if err != nil {
		return nil
	}
	left, err := d.Leftovers(ctx)
	if err != nil {
		return nil
	}
	var out []docker.Check
	for _, l := range left {
		out = append(out, docker.Check{
			Name:   "leftover " + l.Kind + " " + l.Name,
			Detail: fmt.Sprintf("of run %s, which goes on or was killed", l.RunID),
			Remedy: fmt.Sprintf("if it was killed: %s, or %s", resumeCommand("RUNDIR"), l.Delete),
		})
	}
	return out
}

func writeChecks(w io.Writer, output string, checks []docker.Check) error {
	if output == "json" {
		return writeJSON(w, map[string]any{"checks": checks})
	}
	for _, check := range checks {
		mark := "ok"
		switch {
		case !check.OK && check.Needed:
			mark = "MISSING"
		case !check.OK:
			mark = "warning"
		}
		line := fmt.Sprintf("%-8s %s: %s\n", mark, check.Name, check.Detail)
		if check.Remedy != "" {
			line += fmt.Sprintf("%-8s -> %s\n", "", check.Remedy)
		}
		if _, err := io.WriteString(w, line); err != nil {
			return err
		}
	}
	return nil
}
