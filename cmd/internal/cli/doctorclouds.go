package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/spf13/cobra"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/cluster/kops"
	"github.com/kube-rehearse/rehearse/harness/docker"
	"github.com/kube-rehearse/rehearse/harness/record"
	aws "github.com/kube-rehearse/rehearse/probes/aws"
	"github.com/kube-rehearse/rehearse/scenarios"
)

// diagnosed is the driver that doctor looks at, and the scenario where one is
// given.
func (f *scenarioFlags) diagnosed(cmd *cobra.Command) (string, *scenarios.Scenario, error) {
	if f.driver != "" {
		if err := oneOf("--driver", f.driver, scenarios.Drivers...); err != nil {
			return "", nil, err
		}
	}
	if cmd.Flags().Changed("file") || cmd.Flags().Changed("scenario") {
		s, err := f.pick()
		if err != nil {
			return "", nil, err
		}
		return s.Cluster.Driver, s, nil
	}
	if f.driver != "" {
		return f.driver, nil, nil
	}
	return scenarios.DriverKind, nil, nil
}

// checksFor are what a driver needs; the scenario may be nil.
func checksFor(ctx context.Context, driver string, s *scenarios.Scenario) []docker.Check {
	if s == nil {
		s = &scenarios.Scenario{}
	}
	switch driver {
	case scenarios.DriverSim:
		return []docker.Check{{Name: "sim", OK: true, Detail: "the embedded cluster needs nothing"}}
	case scenarios.DriverKops:
		return checksOnKops(ctx, s)
	case scenarios.DriverEKS:
		return checksOnEKS(ctx, s)
	case scenarios.DriverExisting:
		return checksOnExisting(ctx, s)
	}
	return checksOnKind(ctx)
}

// notTold is a check for which no scenario says what to look at.
func notTold(name, field string) docker.Check {
	return docker.Check{Name: name, Detail: "not looked at: no scenario tells which", Remedy: "give one with " + field + ": rehearse doctor -f scenarios.yaml"}
}

// missing is a needed check that failed: an explained error's cause and remedy, or
// any other's text with a remedy.
func missing(name string, err error, remedy string) docker.Check {
	c := docker.Check{Name: name, Needed: true, Detail: err.Error(), Remedy: remedy}
	var why *aws.Error
	if errors.As(err, &why) {
		c.Detail, c.Remedy = why.Cause, why.Remedy
	}
	return c
}

// checked makes a check of findings, of which one that blocks is needed.
func checked(name, well string, found []record.Finding) docker.Check {
	c := docker.Check{Name: name, OK: len(found) == 0, Detail: well}
	var causes, remedies []string
	for _, f := range found {
		c.Needed = c.Needed || f.Severity == record.SeverityBlock
		causes, remedies = append(causes, f.Cause), append(remedies, f.Remedy)
	}
	if !c.OK {
		c.Detail, c.Remedy = strings.Join(causes, "; "), strings.Join(remedies, "; ")
	}
	return c
}

func checksOnKops(ctx context.Context, s *scenarios.Scenario) []docker.Check {
	k := s.Cluster.Kops
	if k == nil {
		k = &scenarios.Kops{}
	}
	all := []docker.Check{kopsCommand(ctx, k, s)}
	region, err := kops.Region(k.Zones, k.Manifest)
	if err != nil {
		all = append(all, missing("manifest", err, "correct cluster.kops.manifest, or write it with kops get all -o yaml"))
	}
	clients, more := askAWS(ctx, aws.Options{Region: region})
	all = append(all, more...)
	switch {
	case k.StateStore == "":
		return append(all, notTold("state store", "cluster.kops.stateStore"))
	case clients == nil:
		return all
	}
	bucket, _, _ := strings.Cut(strings.TrimPrefix(k.StateStore, "s3://"), "/")
	found, err := aws.Bucket(ctx, aws.Anywhere(ctx, clients.S3, bucket), bucket)
	if err != nil {
		return append(all, missing("state store", err, "let the credentials read "+k.StateStore))
	}
	return append(all, checked("state store", k.StateStore+" can be read, keeps versions and is not public", found))
}

func kopsCommand(ctx context.Context, k *scenarios.Kops, s *scenarios.Scenario) docker.Check {
	from, to := cluster.Version(s.Versions.From), cluster.Version(s.Versions.To)
	version, found, err := kops.New(kops.Options{Path: k.Path, StateStore: k.StateStore}).Tool(ctx, from, to)
	if err != nil {
		return missing("kops", err, "run it by hand: kops version")
	}
	well := "version " + version
	if to != "" {
		well += fmt.Sprintf(", which takes Kubernetes %s and %s", from, to)
	}
	c := checked("kops", well, found)
	c.Needed = true
	return c
}

func checksOnEKS(ctx context.Context, s *scenarios.Scenario) []docker.Check {
	e := s.Cluster.EKS
	if e == nil {
		e = &scenarios.EKS{}
	}
	clients, all := askAWS(ctx, aws.Options{Region: e.Region, Profile: e.Profile})
	switch {
	case e.Existing == "" && len(e.Subnets) == 0:
		return append(all, notTold("cluster", "cluster.eks.existing, or subnets and roles"))
	case clients == nil || e.Existing == "":
		return all
	}
	out, err := clients.EKS.DescribeCluster(ctx, &eks.DescribeClusterInput{Name: &e.Existing})
	switch {
	case aws.Code(err) == "ResourceNotFoundException":
		return append(all, docker.Check{Name: "cluster " + e.Existing, Needed: true, Detail: "region " + clients.Region + " has no EKS cluster of this name", Remedy: "check name, region and account"})
	case err != nil:
		return append(all, missing("cluster "+e.Existing, aws.Explain("eks:DescribeCluster "+e.Existing, err), ""))
	}
	return append(all, docker.Check{Name: "cluster " + e.Existing, OK: true, Needed: true, Detail: fmt.Sprintf("%s, Kubernetes %s", out.Cluster.Status, *out.Cluster.Version)})
}

// askAWS checks that AWS can be asked at all. Of the credentials nothing is told
// but whose they are. Without clients nothing else of AWS can be looked at.
func askAWS(ctx context.Context, o aws.Options) (*aws.Clients, []docker.Check) {
	clients, err := aws.Connect(ctx, o)
	if err != nil {
		return nil, []docker.Check{missing("AWS configuration", err, "set AWS_REGION, or a region in the profile or the scenario")}
	}
	region := docker.Check{Name: "AWS region", OK: true, Needed: true, Detail: clients.Region}
	ctx, cancel := context.WithTimeoutCause(ctx, time.Minute, errors.New("no answer within a minute"))
	defer cancel()
	who, err := aws.WhoAmI(ctx, clients.STS)
	if err != nil {
		return nil, []docker.Check{region, missing("AWS credentials", err, "check this machine's network and the credentials")}
	}
	return clients, []docker.Check{region, {Name: "AWS credentials", OK: true, Needed: true, Detail: "accepted, of " + who.ARN}}
}

func checksOnExisting(ctx context.Context, s *scenarios.Scenario) []docker.Check {
	c := s.Cluster
	if c.Kubeconfig == "" {
		return []docker.Check{notTold("kubeconfig", "cluster.kubeconfig")}
	}
	const name = "kubeconfig"
	cfg, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(&clientcmd.ClientConfigLoadingRules{ExplicitPath: c.Kubeconfig}, &clientcmd.ConfigOverrides{CurrentContext: c.Context}).ClientConfig()
	if err != nil {
		return []docker.Check{missing(name, err, "correct cluster.kubeconfig and cluster.context, or write it anew with the tool that made the cluster")}
	}
	all := []docker.Check{{Name: name, OK: true, Needed: true, Detail: c.Kubeconfig + " can be read"}}
	cfg.Timeout = 15 * time.Second
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return append(all, missing("cluster", err, "correct the kubeconfig"))
	}
	v, err := client.Discovery().ServerVersion()
	if err != nil {
		return append(all, missing("cluster", err, "check the address in the kubeconfig, this machine's way to it, and the credentials"))
	}
	check := docker.Check{Name: "cluster", OK: true, Needed: true, Detail: "answers, and runs " + v.GitVersion}
	if from := cluster.Version(s.Versions.From); from != "" && !from.SameRelease(v.GitVersion) {
		check.OK, check.Detail, check.Remedy = false, fmt.Sprintf("it runs %s, and the scenario starts from %s", v.GitVersion, from), "set versions.from to what the cluster runs, or name another cluster"
	}
	return append(all, check)
}
