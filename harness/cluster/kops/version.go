package kops

import (
	"bytes"
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/kube-rehearse/rehearse/harness/cluster"
)

// kopsVersion is the version of the command, such as 1.35.0.
type kopsVersion struct {
	text  string
	minor int
}

var versionForm = regexp.MustCompile(`^v?1\.(\d+)\.\d+\S*$`)

func parseKopsVersion(text string) (kopsVersion, error) {
	text = strings.TrimSpace(text)
	m := versionForm.FindStringSubmatch(text)
	if m == nil {
		return kopsVersion{}, fmt.Errorf("kops version --short printed %q: want the form 1.35.0", text)
	}
	minor, err := strconv.Atoi(m[1])
	if err != nil {
		return kopsVersion{}, fmt.Errorf("kops version %q: %w", text, err)
	}
	return kopsVersion{strings.TrimPrefix(text, "v"), minor}, nil
}

// oldestKops has the flags that are used: --control-plane-interval and the role
// control-plane came with 1.26, --dns with 1.26.
const oldestKops = 27

// supported is how many minor versions of Kubernetes below its own a kops takes:
// 1.35 takes 1.29 (OldestSupportedKubernetesVersion in upup/pkg/fi/cloudup).
const supported = 6

// staged tells whether update holds workers back: see controlPlaneStages.
func (v kopsVersion) staged() bool { return v.minor >= 31 }

// fits says what is wrong with using this kops between two versions; "" where
// nothing is.
func (v kopsVersion) fits(from, to cluster.Version) (cause, remedy string) {
	newest := max(from.Minor(), to.Minor())
	oldest := min(from.Minor(), to.Minor())
	const install = "install kops 1.%d (https://github.com/kubernetes/kops/releases) and name it in cluster.kops.path"
	switch {
	case v.minor < oldestKops:
		return fmt.Sprintf("kops %s is too old for this driver, which uses flags of 1.%d", v.text, oldestKops), fmt.Sprintf(install, max(newest, oldestKops))
	case v.minor < newest:
		return fmt.Sprintf("kops %s is too old for Kubernetes %s: it supports none newer than 1.%d", v.text, newer(from, to), v.minor), fmt.Sprintf(install, newest)
	case v.minor-supported > oldest:
		return fmt.Sprintf("kops %s is too new for Kubernetes %s: it supports none older than 1.%d", v.text, older(from, to), v.minor-supported), fmt.Sprintf(install, newest)
	}
	return "", ""
}

func newer(a, b cluster.Version) cluster.Version {
	if a.Less(b) {
		return b
	}
	return a
}

func older(a, b cluster.Version) cluster.Version {
	if a.Less(b) {
		return a
	}
	return b
}

// version asks the command for its version.
func (d *Driver) version(ctx context.Context) (kopsVersion, error) {
	var out bytes.Buffer
	if err := d.run(ctx, d.o.Timeouts.Query, call{args: []string{d.o.Path, "version", "--short"}, stdout: &out}); err != nil {
		return kopsVersion{}, err
	}
	return parseKopsVersion(out.String())
}
