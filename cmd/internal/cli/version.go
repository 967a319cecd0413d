package cli

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/kube-rehearse/rehearse/harness"
)

// version is set by the linker in a release build; else the module's own is used.
var version = ""

func toolVersion() string {
	if version != "" {
		return version
	}
	return harness.Version()
}

func newVersion(s Streams) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version of rehearse",
		Args:  noArgs,
		RunE: func(*cobra.Command, []string) error {
			if err := oneOf("-o", output, "text", "json"); err != nil {
				return err
			}
			if output == "json" {
				return writeJSON(s.Out, map[string]string{"version": toolVersion(), "go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH})
			}
			fmt.Fprintf(s.Out, "rehearse %s (%s, %s/%s)\n", toolVersion(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return nil
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	return cmd
}
