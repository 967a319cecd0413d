package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/cluster/kops"
	"github.com/kube-rehearse/rehearse/harness/mirror"
	"github.com/kube-rehearse/rehearse/harness/mirror/fromeks"
	"github.com/kube-rehearse/rehearse/harness/mirror/fromkops"
	"github.com/kube-rehearse/rehearse/probes/aws"
	"github.com/kube-rehearse/rehearse/scenarios"
)

// mirrorSources are the flags of rehearse mirror for what the Kubernetes API does
// not tell, and for what the drivers of clouds need.
type mirrorSources struct {
	kopsState, kopsName, kopsManifest, kopsPath, stateStore string
	eks, region, profile                                    string
	mirrorKubeconfig, mirrorContext                         string
	command                                                 []string

	fromKops *fromkops.Source
	fromEKS  *fromeks.Source
}

func (f *mirrorSources) flags(fl *pflag.FlagSet) {
	fl.StringVar(&f.kopsState, "kops-state", "", "state store of production's kops, s3://BUCKET: read its definition of the cluster")
	fl.StringVar(&f.kopsName, "kops-name", "", "the cluster's name in --kops-state (default: the only one there)")
	fl.StringVar(&f.kopsManifest, "kops-manifest", "", "file that kops get all -o yaml wrote, instead of --kops-state")
	fl.StringVar(&f.kopsPath, "kops", "", "the kops command (default: kops on PATH)")
	fl.StringVar(&f.stateStore, "state-store", "", "state store of the mirror, with the driver kops (default: --kops-state)")
	fl.StringVar(&f.eks, "eks", "", "name of production in EKS: ask AWS about it")
	fl.StringVar(&f.region, "region", "", "AWS region of --eks (default: the environment's)")
	fl.StringVar(&f.profile, "profile", "", "profile of ~/.aws/config for --eks (default: the environment's)")
	fl.StringVar(&f.mirrorKubeconfig, "mirror-kubeconfig", "", "kubeconfig of the cluster that is the mirror, with the driver existing")
	fl.StringVar(&f.mirrorContext, "mirror-context", "", "context of --mirror-kubeconfig (default: its current one)")
	fl.StringArrayVar(&f.command, "upgrade-command", []string{"./upgrade.sh"}, "program that upgrades the mirror, and each argument in a flag of its own, with the driver existing")
}

// usualDriver is the driver of a mirror where none is named.
func (f *mirrorFlags) usualDriver() string {
	switch {
	case f.hasKops():
		return scenarios.DriverKops
	case f.eks != "":
		return scenarios.DriverEKS
	case f.mirrorKubeconfig != "":
		return scenarios.DriverExisting
	}
	return scenarios.DriverKind
}

func (f *mirrorSources) hasKops() bool { return f.kopsState != "" || f.kopsManifest != "" }

// check finds sources that contradict each other.
func (f *mirrorSources) check() []error {
	var errs []error
	reject := func(when bool, format string, args ...any) {
		if when {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	reject(f.kopsState != "" && !strings.HasPrefix(f.kopsState, "s3://"), "--kops-state %q: want a bucket as s3://BUCKET", f.kopsState)
	reject(f.kopsState != "" && f.kopsManifest != "", "give one of --kops-state and --kops-manifest")
	reject(f.kopsName != "" && f.kopsState == "", "--kops-name names a cluster of --kops-state: give that too")
	reject(f.hasKops() && f.eks != "", "a cluster is made by kops or by EKS: give one of --kops-state and --eks")
	reject((f.region != "" || f.profile != "") && f.eks == "", "--region and --profile are for --eks: give that too")
	return errs
}

// checkDriver finds what the driver needs and the flags do not give.
func (f *mirrorFlags) checkDriver() []error {
	var errs []error
	driver := f.want.Driver
	need := func(flag string, missing bool, why string) {
		if missing {
			errs = append(errs, fmt.Errorf("--driver %s needs %s: %s", driver, flag, why))
		}
	}
	switch driver {
	case scenarios.DriverKops:
		need("--kops-state or --kops-manifest", !f.hasKops(), "the mirror is made of production's definition")
		need("--state-store", f.kopsManifest != "" && f.stateStore == "", "where the mirror is registered, as s3://BUCKET")
		need("--out", f.out == "", "the manifest is written beside the scenario")
	case scenarios.DriverEKS:
		need("--eks", f.eks == "", "the name of production in EKS, of which the mirror is made")
	case scenarios.DriverExisting:
		need("--mirror-kubeconfig", f.mirrorKubeconfig == "", "the cluster that is the mirror is held against production")
	}
	switch driver {
	case scenarios.DriverKops, scenarios.DriverEKS, scenarios.DriverExisting:
		need("--canary-image", f.want.Image == "", "an image of cmd/canary that the mirror's nodes can pull")
	default:
		if f.want.Image != "" {
			errs = append(errs, fmt.Errorf("--canary-image is for nodes that pull it: --driver %s brings it itself", driver))
		}
	}
	if f.mirrorKubeconfig != "" && driver != scenarios.DriverExisting {
		errs = append(errs, fmt.Errorf("--mirror-kubeconfig is for a mirror that is there already: --driver %s makes one", driver))
	}
	return errs
}

// open reads the sources that the flags name.
func (f *mirrorSources) open(ctx context.Context) ([]mirror.Source, error) {
	switch {
	case f.kopsManifest != "":
		text, err := os.ReadFile(f.kopsManifest)
		if err != nil {
			return nil, usage(fmt.Errorf("--kops-manifest: %w", err))
		}
		if f.fromKops, err = fromkops.New(text, "", f.kopsManifest); err != nil {
			return nil, usage(fmt.Errorf("--kops-manifest: %w", err))
		}
		return []mirror.Source{f.fromKops}, nil
	case f.kopsState != "":
		name, text, err := kops.New(kops.Options{Path: f.kopsPath, StateStore: f.kopsState, Name: f.kopsName}).Get(ctx)
		if err != nil {
			return nil, failed(err)
		}
		if f.fromKops, err = fromkops.New(text, f.kopsState, fmt.Sprintf("kops get all of %s in %s", name, f.kopsState)); err != nil {
			return nil, failed(err)
		}
		return []mirror.Source{f.fromKops}, nil
	case f.eks != "":
		clients, err := aws.Connect(ctx, aws.Options{Region: f.region, Profile: f.profile, ReadOnly: true})
		if err != nil {
			return nil, failed(err)
		}
		if f.fromEKS, err = fromeks.Read(ctx, clients.EKS, clients.EC2, clients.Region, f.eks); err != nil {
			return nil, failed(err)
		}
		return []mirror.Source{f.fromEKS}, nil
	}
	return nil, nil
}

// sameCluster refuses a kubeconfig and a source that mean two clusters: their
// facts would be mixed.
func (f *mirrorSources) sameCluster(facts *mirror.Facts) error {
	var groups []string
	what := "EKS cluster " + f.eks
	switch {
	case f.fromKops != nil:
		groups, what = f.fromKops.Groups(), f.fromKops.Name()
	case f.fromEKS != nil:
		groups = f.fromEKS.Groups()
	}
	if len(groups) == 0 {
		return nil
	}
	for g := range facts.Get(mirror.FactGroups).Counts() {
		if slices.Contains(groups, g) {
			return nil
		}
	}
	return usage(fmt.Errorf("no node of the cluster that --kubeconfig names is in a group of %s (%s): these are two clusters; correct one of the two", what, strings.Join(groups, ", ")))
}

// complete hands on what the driver needs, once production was read.
func (f *mirrorFlags) complete(ctx context.Context) error {
	switch f.want.Driver {
	case scenarios.DriverKops:
		store := f.stateStore
		if store == "" {
			store = f.kopsState
		}
		f.want.Kops = &scenarios.Kops{Path: f.kopsPath, StateStore: store, Manifest: filepath.Join(filepath.Dir(f.out), f.want.Name+".kops.yaml")}
	case scenarios.DriverEKS:
		f.want.EKS = f.fromEKS.Block(f.profile)
	case scenarios.DriverExisting:
		built, err := readFacts(ctx, "--mirror-kubeconfig", f.mirrorKubeconfig, f.mirrorContext, nil)
		if err != nil {
			return err
		}
		f.want.Existing = &mirror.Existing{Kubeconfig: f.mirrorKubeconfig, Context: f.mirrorContext, Command: f.command, Facts: built}
	}
	return nil
}

// manifest is the mirror's, nil where the driver needs none.
func (f *mirrorFlags) manifest(m *mirror.Mirrored) ([]byte, error) {
	if f.want.Driver != scenarios.DriverKops {
		return nil, nil
	}
	if f.fromKops == nil {
		return nil, errors.New("no definition of kops was read")
	}
	s := &m.Scenario
	return f.fromKops.Manifest(s.Name+".k8s.local", f.want.Kops.StateStore, cluster.Version(s.Versions.From), s.Cluster.Workers, m.Facts.Get(mirror.FactGroups).Counts())
}
