package cli

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/kube-rehearse/rehearse/harness/judge/synth"
	"github.com/kube-rehearse/rehearse/harness/record"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"rehearse": func() { os.Exit(Main(os.Args[1:], Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr})) },
		"synthmonthly": func() {
			os.Exit(synthMonthly(os.Args[1:], Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
		},
	})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata/script", UpdateScripts: os.Getenv("UPDATE_SCRIPTS") != "", RequireUniqueNames: true,
		Setup: func(env *testscript.Env) error {
			// An address that somebody else listens on.
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				return err
			}
			env.Defer(func() { _ = l.Close() })
			env.Setenv("TAKEN", l.Addr().String())
			return errors.Join(kubeconfigs(env.WorkDir, refusingAPI(t)), upgradable(t, env.WorkDir))
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits, "synthrun": synthRun, "hook": hook}})
}

// exits checks the exit code of a command: exits CODE COMMAND [ARG ...].
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND [ARG ...]")
	}
	err := ts.Exec(args[1], args[2:]...)
	code := "0"
	if err != nil {
		var exit interface{ ExitCode() int }
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		code = strconv.Itoa(exit.ExitCode())
	}
	if code != args[0] {
		ts.Fatalf("exit code %s, want %s", code, args[0])
	}
}

// synthRun writes the record of a rehearsal that never took place, GO unless a
// fault is planted: synthrun DIR [real] [outage] [unsealed] [killed] [ID=...] [day=N].
// Its versions are v1.34.4 and v1.35.4; it ended N days ago, 1 by default.
func synthRun(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: synthrun DIR [real] [outage] [unsealed] [killed] [ID=...] [day=N]")
	}
	o := synth.Options{Lanes: []string{"new"}, Baseline: 40 * time.Second, Upgrade: 45 * time.Second, Settle: 5 * time.Second, Warmup: time.Second}
	if slices.Contains(args, "outage") {
		o.Faults = []synth.Fault{{Lane: "new", Start: 10 * time.Second, Length: 5 * time.Second}}
	}
	r := synth.Record(o)
	r.Run.Simulated = !slices.Contains(args, "real")
	day := 1
	for _, a := range args[1:] {
		key, value, _ := strings.Cut(a, "=")
		switch key {
		case "ID":
			r.Run.ID = value
		case "day":
			n, err := strconv.Atoi(value)
			ts.Check(err)
			day = n
		}
	}
	r.Run.Ended = time.Now().UTC().Truncate(time.Millisecond).AddDate(0, 0, -day)
	if slices.Contains(args, "killed") {
		r.Run.Outcome, r.Run.Ended = record.OutcomeRunning, time.Time{}
	}
	dir := ts.MkAbs(args[0])
	ts.Check(synth.Write(dir, r))
	if slices.Contains(args, "unsealed") {
		ts.Check(os.Remove(filepath.Join(dir, "SHA256SUMS")))
	}
}
