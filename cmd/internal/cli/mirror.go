package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/kube-rehearse/rehearse/harness/mirror"
	"github.com/kube-rehearse/rehearse/scenarios"
)

type mirrorFlags struct {
	kubeconfig, context string
	want                mirror.Want
	out, facts, output  string
	diff                bool
	file, scenario      string
	timeout             time.Duration
	mirrorSources
}

func newMirror(s Streams) *cobra.Command {
	var f mirrorFlags
	cmd := &cobra.Command{
		Use:   "mirror",
		Short: "Write the scenario that mirrors production, which is only read",
		Long: `mirror reads a cluster and prints a scenario file that rehearses its upgrade,
with a comment on each value that says whether it was observed, inferred or is
unknown, a fidelity and a list of what the mirror cannot cover. --facts keeps
what was read.

It only sends GET requests, reads no Secret, and needs no more rights than the
ClusterRole view and reading nodes; what it may not read is unknown.

Of a cluster of kops it also reads the definition (--kops-state, by kops get
alone), and writes the manifest of the mirror beside the scenario; of one of
EKS (--eks) it also asks AWS, by calls that describe and list. The driver is
then that one unless --driver says otherwise. With --mirror-kubeconfig the
mirror is a cluster that is there already.

With --diff it holds a cluster that was built against the facts instead: what
is the same, what the mirror cannot cover, and what differs though it could be
the same. It then exits with 1 where something differs.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !cmd.Flags().Changed("driver") {
				f.want.Driver = f.usualDriver()
			}
			if err := f.check(); err != nil {
				return usage(err)
			}
			ctx, cancel := context.WithTimeoutCause(cmd.Context(), f.timeout, fmt.Errorf("not done after --timeout %s", f.timeout))
			defer cancel()
			if f.diff {
				return f.compare(ctx, s.Out)
			}
			return f.write(ctx, s)
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&f.kubeconfig, "kubeconfig", "", "kubeconfig of production, or of the mirror with --diff (default: as kubectl finds it)")
	fl.StringVar(&f.context, "context", "", "context of the kubeconfig (default: its current one)")
	fl.StringVar(&f.want.Driver, "driver", scenarios.DriverKind, "driver that builds the mirror: "+strings.Join(mirror.Drivers, ", "))
	fl.StringVar(&f.want.Name, "name", "production", "name of the scenario")
	fl.StringVar(&f.want.To, "to", "", "version to upgrade to (default: a guess, the next minor version)")
	fl.IntVar(&f.want.Workers, "workers", 0, "number of workers (default: production's, at most 10, or 100 with sim)")
	fl.StringVarP(&f.output, "output", "o", "yaml", "yaml or json; with --diff, text or json")
	fl.StringVar(&f.out, "out", "", "file to write the scenario to, instead of standard output")
	fl.StringVar(&f.facts, "facts", "", "file to write what was read to; with --diff, to read production's from")
	fl.BoolVar(&f.diff, "diff", false, "compare the mirror that was built with production's facts")
	fl.StringVarP(&f.file, "file", "f", "scenarios.yaml", "scenario file of the mirror, with --diff")
	fl.StringVar(&f.scenario, "scenario", "", "name of the scenario, with --diff (default: the file's first)")
	fl.DurationVar(&f.timeout, "timeout", 2*time.Minute, "of all reading together")
	fl.StringVar(&f.want.Image, "canary-image", "", "where the mirror's nodes pull the canary from, with the drivers kops, eks and existing")
	f.flags(fl)
	return cmd
}

// check says everything that is wrong with the flags at once.
func (f *mirrorFlags) check() error {
	var errs []error
	if f.diff {
		if f.output == "yaml" { // the default
			f.output = "text"
		}
		errs = append(errs, oneOf("-o", f.output, "text", "json"))
		if f.facts == "" {
			errs = append(errs, errors.New("--diff needs --facts: the file that rehearse mirror --facts wrote of production"))
		}
		return errors.Join(append(errs, f.mirrorSources.check()...)...)
	}
	errs = append(errs, oneOf("-o", f.output, "yaml", "json"), oneOf("--driver", f.want.Driver, mirror.Drivers...))
	if f.want.Workers < 0 || f.want.Workers > 100 {
		errs = append(errs, fmt.Errorf("--workers %d: want 1 to 100, or 0 for production's", f.want.Workers))
	}
	errs = append(errs, f.mirrorSources.check()...)
	errs = append(errs, f.checkDriver()...)
	return errors.Join(errs...)
}

// write reads production and writes its scenario. Nothing is written where the
// scenario would be refused.
func (f *mirrorFlags) write(ctx context.Context, s Streams) error {
	facts, err := f.read(ctx)
	if err != nil {
		return err
	}
	if err := f.complete(ctx); err != nil {
		return err
	}
	file, digest, err := facts.Encode()
	if err != nil {
		return failed(err)
	}
	m, err := mirror.Make(facts, digest, f.want)
	if err != nil {
		return usage(err)
	}
	manifest, err := f.manifest(m)
	if err != nil {
		return usage(err)
	}
	text := m.YAML()
	parsed, err := scenarios.Parse("the scenario made of the cluster", text)
	if err != nil {
		return usage(err)
	}
	if f.facts != "" {
		// Who reads it learns production's shape: it is not for everybody.
		if err := os.WriteFile(f.facts, file, 0o600); err != nil {
			return failed(fmt.Errorf("--facts: %w", err))
		}
	}
	if manifest != nil {
		if err := os.WriteFile(f.want.Kops.Manifest, manifest, 0o600); err != nil {
			return failed(fmt.Errorf("the mirror's manifest: %w", err))
		}
		fmt.Fprintf(s.Err, "The manifest of the mirror is %s.\n", f.want.Kops.Manifest)
	}
	w := s.Out
	if f.out != "" {
		out, err := os.OpenFile(f.out, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
		if err != nil {
			return failed(fmt.Errorf("--out: %w", err))
		}
		defer func() { _ = out.Close() }()
		w = out
	}
	if f.output == "json" {
		err = writeJSON(w, parsed)
	} else {
		_, err = w.Write(text)
	}
	if err != nil {
		return failed(fmt.Errorf("write the scenario: %w", err))
	}
	fmt.Fprintf(s.Err, "Fidelity %.0f%% on %s; not covered: %d, listed in the scenario under mirror.uncovered.\n", 100*m.Fidelity.Score, f.want.Driver, len(m.Fidelity.Uncovered()))
	return nil
}

// compare holds a mirror that was built against production's facts.
func (f *mirrorFlags) compare(ctx context.Context, w io.Writer) error {
	file, err := scenarios.LoadFile(f.file)
	if err != nil {
		return usage(err)
	}
	sc, err := file.Pick(f.scenario)
	if err != nil {
		return usage(err)
	}
	raw, err := os.ReadFile(f.facts)
	if err != nil {
		return usage(fmt.Errorf("--facts: %w", err))
	}
	production, err := mirror.Decode(raw)
	if err != nil {
		return usage(fmt.Errorf("--facts %s: %w", f.facts, err))
	}
	if got := mirror.Digest(raw); sc.Mirror != nil && sc.Mirror.Facts != got {
		return usage(fmt.Errorf("--facts %s: its digest is %s, and scenario %s was made of %s: name the facts file that was written with the scenario", f.facts, got, sc.Name, sc.Mirror.Facts))
	}
	built, err := f.read(ctx)
	if err != nil {
		return err
	}
	rows := mirror.Compare(production, built, sc)
	if f.output == "json" {
		err = writeJSON(w, rows)
	} else {
		err = differenceTable(w, rows)
	}
	if err != nil {
		return err
	}
	if slices.ContainsFunc(rows, func(d mirror.Difference) bool { return d.Result == mirror.Differs }) {
		return &exitError{code: ExitNoGo}
	}
	return nil
}

func differenceTable(w io.Writer, rows []mirror.Difference) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "RESULT\tFACT\tPRODUCTION\tMIRROR\tWHY")
	counts := map[string]int{}
	for _, d := range rows {
		counts[d.Result]++
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", d.Result, d.Fact, orDash(d.Production), orDash(d.Mirror), orDash(d.Why))
	}
	if err := t.Flush(); err != nil {
		return failed(fmt.Errorf("write the result: %w", err))
	}
	_, err := fmt.Fprintf(w, "\n%d the same, %d not covered, %d not known, %d differ.\n", counts[mirror.Same], counts[mirror.NotCovered], counts[mirror.NotKnown], counts[mirror.Differs])
	return err
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// read reads the facts of the cluster that the flags name, by GET alone.
func (f *mirrorFlags) read(ctx context.Context) (*mirror.Facts, error) {
	sources, err := f.open(ctx)
	if err != nil {
		return nil, err
	}
	facts, err := readFacts(ctx, "--kubeconfig", f.kubeconfig, f.context, sources)
	if err != nil {
		return nil, err
	}
	return facts, f.sameCluster(facts)
}

// readFacts reads one cluster, and then its sources.
func readFacts(ctx context.Context, flag, kubeconfig, kubecontext string, sources []mirror.Source) (*mirror.Facts, error) {
	cfg, err := kubeConfig(flag, kubeconfig, kubecontext)
	if err != nil {
		return nil, usage(err)
	}
	cfg.Timeout = 30 * time.Second // of one request: asking for the version takes no context
	cfg.Wrap(mirror.ReadOnly)
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return nil, usage(fmt.Errorf("%s: %w", flag, err))
	}
	facts, err := mirror.Read(ctx, mirror.Options{Client: client, Now: time.Now, Sources: sources, Get: func(ctx context.Context, path string) ([]byte, error) {
		return client.Discovery().RESTClient().Get().AbsPath(path).DoRaw(ctx)
	}})
	if err != nil {
		return nil, failed(err)
	}
	return facts, nil
}

// kubeConfig reads a kubeconfig as kubectl does: the file, else $KUBECONFIG, else
// ~/.kube/config.
func kubeConfig(flag, path, name string) (*rest.Config, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = path
	cfg, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: name}).ClientConfig()
	switch {
	case path == "" && clientcmd.IsEmptyConfig(err):
		return nil, errors.New("no kubeconfig is found where kubectl looks for one ($KUBECONFIG, ~/.kube/config): give it with " + flag)
	case err != nil:
		return nil, fmt.Errorf("%s %s: %w", flag, path, err)
	}
	return cfg, nil
}
