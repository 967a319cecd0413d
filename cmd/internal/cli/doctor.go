package cli

import (
	"context"
	"errors"
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
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Say what this machine has and lacks for rehearsals on kind, and what to do about it",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := oneOf("-o", output, "text", "json"); err != nil {
				return err
			}
			cache, err := nodeimage.CacheDir()
			if err != nil {
				return failed(err)
			}
			checks := append(docker.HostChecks(cmd.Context(), docker.Checks{
				Client: &docker.Client{}, PullableImage: nodeimage.PullableProbe, CacheDir: cache,
				DiskNeeded: diskForKind, MemoryNeeded: memoryForKind, InotifyNeeded: inotifyForKind,
			}), nodeimage.ToolChecks()...)
			checks = append(checks, leftovers(cmd.Context())...)
			if err := writeChecks(s.Out, output, checks); err != nil {
				return err
			}
			for _, check := range checks {
				if check.Needed && !check.OK {
					return failed(errors.New("this machine cannot carry out a rehearsal on kind yet; what is needed is marked MISSING"))
				}
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	return cmd
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
