package kops

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/kube-rehearse/rehearse/harness/cluster"
)

// args are a call of kops on one cluster.
func (d *Driver) args(name string, verb ...string) []string {
	return append(append([]string{d.o.Path}, verb...), "--name", name, "--state", d.o.StateStore)
}

// createArgs registers the cluster in the state store; nothing is made in the
// cloud before update.
func (d *Driver) createArgs(name string, s cluster.Spec) []string {
	a := d.args(name, "create", "cluster")
	network := d.o.Networking
	if network == "" {
		network = s.Network
	}
	if network == "" || network == "default" {
		network = "cilium"
	}
	add := func(flag, value string) {
		if value != "" {
			a = append(a, flag, value)
		}
	}
	add("--cloud", "aws")
	add("--kubernetes-version", strings.TrimPrefix(s.Version.String(), "v"))
	add("--channel", d.o.Channel)
	add("--zones", strings.Join(d.o.Zones, ","))
	add("--control-plane-count", strconv.Itoa(s.ControlPlanes))
	add("--node-count", strconv.Itoa(s.Workers))
	add("--control-plane-size", d.o.ControlPlaneSize)
	add("--node-size", d.o.NodeSize)
	add("--image", d.o.Image)
	add("--networking", network)
	add("--network-cidr", d.o.NetworkCIDRs)
	add("--topology", d.o.Topology)
	add("--dns", d.o.DNS)
	add("--admin-access", strings.Join(d.o.AdminAccess, ","))
	add("--ssh-public-key", d.o.SSHPublicKey)
	add("--authorization", "RBAC")
	add("--cloud-labels", cluster.LabelRun+"="+s.RunID)
	return a
}

// roles of the first half of an upgrade.
const controlPlaneRoles = "control-plane,apiserver"

func (d *Driver) editArgs(name string, to cluster.Version) []string {
	return d.args(name, "edit", "cluster", "--set", "spec.kubernetesVersion="+strings.TrimPrefix(to.String(), "v"))
}

// updateArgs makes the cloud what the state store says; without yes it shows
// what that would be.
func (d *Driver) updateArgs(name string, yes bool, more ...string) []string {
	a := append(d.args(name, "update", "cluster", "--create-kube-config=false"), more...)
	if yes {
		a = append(a, "--yes")
	}
	return a
}

func (d *Driver) rollArgs(name, roles string, o cluster.RollOptions) []string {
	a := d.args(name, "rolling-update", "cluster")
	if roles != "" {
		a = append(a, "--instance-group-roles="+roles)
	}
	for _, f := range []struct {
		flag  string
		value fmt.Stringer
		zero  bool
	}{
		{"--control-plane-interval", o.ControlPlaneInterval, o.ControlPlaneInterval == 0},
		{"--node-interval", o.NodeInterval, o.NodeInterval == 0},
		{"--drain-timeout", o.DrainTimeout, o.DrainTimeout == 0},
		{"--post-drain-delay", o.PostDrainDelay, o.PostDrainDelay == 0},
		{"--validation-timeout", o.ValidationTimeout, o.ValidationTimeout == 0},
	} {
		// An interval of zero is a choice: left out, kops would wait 15 seconds.
		if !f.zero || strings.HasSuffix(f.flag, "-interval") {
			a = append(a, f.flag+"="+f.value.String())
		}
	}
	if o.Validations > 0 {
		a = append(a, "--validate-count="+strconv.Itoa(o.Validations))
	}
	return append(a, "--fail-on-drain-error="+strconv.FormatBool(!d.o.IgnoreDrainErrors), "--yes")
}

// validateArgs waits for a new cluster. Its JSON is one document an attempt.
func (d *Driver) validateArgs(name, kubeconfig string) []string {
	return d.args(name, "validate", "cluster", "--wait", d.o.Timeouts.Validate.String(), "--count", "2", "--kubeconfig", kubeconfig, "-o", "json")
}

func (d *Driver) exportArgs(name, kubeconfig string) []string {
	return d.args(name, "export", "kubeconfig", "--admin="+adminLifetime, "--kubeconfig", kubeconfig)
}

// adminLifetime of the credentials: longer than any rehearsal.
const adminLifetime = "72h"

func (d *Driver) deleteArgs(name string, yes bool) []string {
	a := d.args(name, "delete", "cluster")
	if yes {
		a = append(a, "--yes")
	}
	return a
}

// stage is one call of an upgrade.
type stage struct {
	what string
	args []string
	roll bool // its output is a rolling update's
}

// controlPlaneStages are the calls that take the control plane to a version.
// Since 1.31 an update that names no roles holds workers' kubelets at the oldest
// control plane that runs, so there are two updates and two rolls; before, one
// update is for all.
func (d *Driver) controlPlaneStages(v kopsVersion, name string, to cluster.Version, o cluster.RollOptions) []stage {
	update := d.updateArgs(name, true)
	if v.staged() {
		update = d.updateArgs(name, true, "--instance-group-roles="+controlPlaneRoles)
	}
	return []stage{
		{what: "set the version", args: d.editArgs(name, to)},
		{what: "preview the control plane's update", args: without(update, "--yes")},
		{what: "update the control plane", args: update},
		{what: "roll the control plane", args: d.rollArgs(name, controlPlaneRoles, o), roll: true},
	}
}

// workerStages are the calls that take everything else to it.
func (d *Driver) workerStages(v kopsVersion, name string, o cluster.RollOptions) []stage {
	roll := stage{what: "roll the workers", args: d.rollArgs(name, "", o), roll: true}
	if !v.staged() {
		return []stage{roll}
	}
	return []stage{
		{what: "update the workers", args: d.updateArgs(name, true)},
		roll,
		{what: "remove what is no longer used", args: d.updateArgs(name, true, "--prune")},
	}
}

func without(args []string, drop string) []string {
	var out []string
	for _, a := range args {
		if a != drop {
			out = append(out, a)
		}
	}
	return out
}
