package kops

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/record"
)

// Preflight implements cluster.Preflighter: what the scenario says, the version
// of kops against both versions of Kubernetes, the account, and that the state
// store can be read and holds no such cluster yet. Nothing is created.
func (d *Driver) Preflight(ctx context.Context, s cluster.Spec, to cluster.Version) ([]record.Finding, error) {
	findings := d.options()
	block := func(id, object, cause, remedy string) {
		findings = append(findings, record.Finding{ID: id, Severity: record.SeverityBlock, Object: object, Cause: cause, Remedy: remedy})
	}
	_, found, err := d.Tool(ctx, s.Version, to)
	findings = append(findings, found...)
	if err != nil || slices.ContainsFunc(found, func(f record.Finding) bool { return f.ID == "kops-missing" }) {
		return findings, err
	}
	if !strings.HasPrefix(d.o.StateStore, "s3://") {
		return findings, nil
	}
	if d.o.Clients != nil {
		found, err := d.account(ctx, s)
		findings = append(findings, found...)
		if err != nil || slices.ContainsFunc(found, noState) {
			return findings, err
		}
	}
	name := d.name(s)
	var why *explained
	_, err = d.own(ctx, name, s.RunID)
	switch {
	case isNotFound(err) || errors.Is(err, errNoCluster):
	case err == nil || errors.Is(err, errNotOurs):
		block("cluster-exists", "cluster/"+name, "the state store holds a cluster of this name already", "give cluster.kops.name another name, or delete that cluster if it is not used: "+d.DeleteCommand(s))
	case errors.As(err, &why):
		block("state-store", d.o.StateStore, why.cause, why.remedy)
	default:
		return findings, err
	}
	return findings, nil
}

// Tool tells the version of the kops command, and what is wrong with using it
// between two versions of Kubernetes; with empty ones, with using it at all.
func (d *Driver) Tool(ctx context.Context, from, to cluster.Version) (version string, found []record.Finding, err error) {
	block := func(id, cause, remedy string) []record.Finding {
		return []record.Finding{{ID: id, Severity: record.SeverityBlock, Object: "kops", Cause: cause, Remedy: remedy}}
	}
	v, err := d.version(ctx)
	var why *explained
	switch {
	case errors.As(err, &why):
		return "", block("kops-missing", why.cause, why.remedy), nil
	case err != nil:
		return "", nil, fmt.Errorf("ask kops for its version: %w", err)
	}
	if from == "" || to == "" {
		own := cluster.Version(fmt.Sprintf("v1.%d.0", v.minor))
		from, to = own, own
	}
	if cause, remedy := v.fits(from, to); cause != "" {
		return v.text, block("kops-version", cause, remedy), nil
	}
	return v.text, nil, nil
}

// noState tells that kops need not be asked for a cluster: there is no bucket.
func noState(f record.Finding) bool { return f.ID == "bucket-missing" || f.ID == "bucket-region" }

// options finds what is missing or wrong in the scenario itself.
func (d *Driver) options() []record.Finding {
	var findings []record.Finding
	block := func(field, cause, remedy string) {
		findings = append(findings, record.Finding{ID: "kops-options", Severity: record.SeverityBlock, Object: field, Cause: cause, Remedy: remedy})
	}
	bad := func(field, cause, remedy string) { block("cluster.kops."+field, cause, remedy) }
	if !strings.HasPrefix(d.o.StateStore, "s3://") {
		bad("stateStore", fmt.Sprintf("%q is no state store", d.o.StateStore), "give a bucket as s3://BUCKET, versioned and not public")
	}
	if d.o.Manifest == "" && len(d.o.Zones) == 0 {
		bad("zones", "no availability zone is given, and no manifest", "name the zones, such as [eu-west-1a, eu-west-1b, eu-west-1c]")
	}
	if d.o.CanaryImage == "" {
		block("canary.image", "nodes in AWS cannot take the canary's image from this machine", "push it to a registry that the nodes can pull from and name it")
	}
	for _, file := range []struct{ field, path string }{{"manifest", d.o.Manifest}, {"sshPublicKey", d.o.SSHPublicKey}} {
		if file.path == "" {
			continue
		}
		if _, err := os.Stat(file.path); err != nil {
			bad(file.field, err.Error(), "correct the path, or leave it out")
		}
	}
	return findings
}
