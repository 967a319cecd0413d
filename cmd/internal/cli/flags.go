package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// oneOf refuses a flag's value that is not among the accepted ones.
func oneOf(flag, got string, accepted ...string) error {
	if slices.Contains(accepted, got) {
		return nil
	}
	return usage(fmt.Errorf("%s %q is unknown; accepted: %s", flag, got, strings.Join(accepted, ", ")))
}

// alone refuses the others beside a flag that was given.
func alone(cmd *cobra.Command, flag string, others ...string) error {
	for _, o := range others {
		if cmd.Flags().Changed(o) {
			return usage(fmt.Errorf("--%s goes without --%s: the run has it from when it was begun", flag, o))
		}
	}
	return nil
}

// required names every flag among them that is missing.
func required(flags ...requiredFlag) error {
	var missing []string
	for _, f := range flags {
		if f.missing {
			missing = append(missing, f.name)
		}
	}
	switch n := len(missing); n {
	case 0:
		return nil
	case 1:
		return usage(fmt.Errorf("%s is required", missing[0]))
	default:
		return usage(fmt.Errorf("%s and %s are required", strings.Join(missing[:n-1], ", "), missing[n-1]))
	}
}

type requiredFlag struct {
	name    string
	missing bool
}
