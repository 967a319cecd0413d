package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
)

// wrongUse is what cobra itself refuses, with the help that belongs to it.
func wrongUse(cmd *cobra.Command, err error) error {
	return usage(fmt.Errorf("%w\nSee '%s --help'", err, cmd.CommandPath()))
}

// noArgs refuses arguments; of a command that has others beneath it, it takes
// them for misspelt ones.
func noArgs(cmd *cobra.Command, args []string) error {
	switch {
	case len(args) == 0:
		return nil
	case !cmd.HasAvailableSubCommands():
		return fmt.Errorf("unexpected argument %q: %s takes flags alone", args[0], cmd.Name())
	}
	var names []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	if cmd.SuggestionsMinimumDistance = 2; len(cmd.SuggestionsFor(args[0])) > 0 {
		names = cmd.SuggestionsFor(args[0])
		return fmt.Errorf("there is no command %q; did you mean %s?", args[0], strings.Join(names, " or "))
	}
	return fmt.Errorf("there is no command %q; there are: %s", args[0], strings.Join(names, ", "))
}

// refuseUnknown makes the commands that cobra adds refuse what they do not know,
// instead of printing a help that was not asked for and ending with 0.
func refuseUnknown(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		switch c.Name() {
		case "help":
			c.Args = func(_ *cobra.Command, args []string) error {
				about, rest, err := root.Find(args)
				if err != nil {
					return err
				}
				return noArgs(about, rest)
			}
		case "completion":
			c.Args, c.RunE = noArgs, func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
		}
	}
}

// oneRunDir takes the run directory that a command is about.
func oneRunDir(cmd *cobra.Command, args []string) error {
	switch len(args) {
	case 0:
		return errors.New("which run directory? Name one, as run printed it")
	case 1:
		return notRunDirs(args[0])
	}
	return fmt.Errorf("one run directory at a time: %d were given", len(args))
}

// oneDir takes the directory that holds run directories.
func oneDir(_ *cobra.Command, args []string) error {
	switch len(args) {
	case 0:
		return errors.New("which directory? Name the one that holds the run directories, such as runs")
	case 1:
		return nil
	}
	return fmt.Errorf("one directory at a time: %d were given", len(args))
}

// notRunDirs refuses what cannot be a run directory, and above all the directory
// that holds them, which is what a person tries first.
func notRunDirs(dir string) error {
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("%s does not exist", dir)
	case err != nil || !info.IsDir():
		return nil // whatever it is, reading it says why not
	}
	if _, err := os.Stat(filepath.Join(dir, "run.json")); err == nil {
		return nil
	}
	runs, err := filepath.Glob(filepath.Join(dir, "*", "run.json"))
	if err != nil || len(runs) == 0 {
		return nil
	}
	newest, at := "", int64(0)
	for _, r := range runs {
		if info, err := os.Stat(r); err == nil && info.ModTime().UnixNano() >= at {
			newest, at = filepath.Dir(r), info.ModTime().UnixNano()
		}
	}
	return fmt.Errorf("%s is no run directory but holds %d; name one of them: the newest is %s", dir, len(runs), newest)
}
