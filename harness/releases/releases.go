// Package releases knows which Kubernetes versions there are: it reads them from
// a list, from a text such as dl.k8s.io/release/stable-1.35.txt, or from a kops
// channel, and says which of them are new to a cluster.
package releases

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/version"
	"sigs.k8s.io/yaml"

	"github.com/kube-rehearse/rehearse/harness/cluster"
)

// channel is what of a kops channel is read; the format is that of
// https://kops.sigs.k8s.io/operations/cluster_upgrades_and_migrations and the
// files channels/stable and channels/alpha of kops' repository.
type channel struct {
	Spec struct {
		KubernetesVersions []struct {
			Range              string `json:"range"`
			RecommendedVersion string `json:"recommendedVersion"`
		} `json:"kubernetesVersions"`
	} `json:"spec"`
}

var isChannel = regexp.MustCompile(`(?m)^\s+kubernetesVersions:`)

// Formats says, for errors and help texts, what Parse reads.
const Formats = "one version a line such as v1.35.4, or a kops channel (YAML with spec.kubernetesVersions)"

// Parse reads stable versions from b, oldest first and each once; source names b
// in errors. Of a list it takes every line but empty ones and comments (#); of a
// kops channel every recommendedVersion. Pre-releases are left out. A document
// with anything else, or with nothing, is an error.
func Parse(source string, b []byte) ([]cluster.Version, error) {
	b = bytes.TrimPrefix(b, []byte("\ufeff"))
	var out []cluster.Version
	var err error
	if isChannel.Match(b) {
		out, err = parseChannel(b)
	} else {
		out, err = parseList(b)
	}
	if err == nil && len(out) == 0 {
		err = errors.New("no stable version in it")
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w; want %s", source, err, Formats)
	}
	slices.SortFunc(out, compare)
	return slices.Compact(out), nil
}

func parseChannel(b []byte) ([]cluster.Version, error) {
	var c channel
	if err := yaml.Unmarshal(b, &c); err != nil {
		return nil, fmt.Errorf("a kops channel that cannot be read: %w", err)
	}
	var out []cluster.Version
	for i, v := range c.Spec.KubernetesVersions {
		if v.RecommendedVersion == "" {
			continue
		}
		got, stable, err := parse(v.RecommendedVersion)
		if err != nil {
			return nil, fmt.Errorf("spec.kubernetesVersions[%d].recommendedVersion: %w", i, err)
		}
		if stable {
			out = append(out, got)
		}
	}
	return out, nil
}

func parseList(b []byte) ([]cluster.Version, error) {
	var out []cluster.Version
	scan := bufio.NewScanner(bytes.NewReader(b))
	for n := 1; scan.Scan(); n++ {
		line, _, _ := strings.Cut(scan.Text(), "#")
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		got, stable, err := parse(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		if stable {
			out = append(out, got)
		}
	}
	if err := scan.Err(); err != nil {
		return nil, err
	}
	return out, nil
}

// parse reads one version; stable is false for a pre-release.
func parse(s string) (v cluster.Version, stable bool, err error) {
	if len(s) > 64 {
		s = s[:64] + "..."
	}
	p, err := version.ParseSemantic(s)
	if err != nil {
		return "", false, fmt.Errorf("%q is no version", s)
	}
	return cluster.Version("v" + p.String()), p.PreRelease() == "", nil
}

func compare(a, b cluster.Version) int {
	switch {
	case a.Less(b):
		return -1
	case b.Less(a):
		return 1
	}
	return 0
}

var preRelease = regexp.MustCompile(`^(alpha|beta|rc)(\.|$)`)

// Upstream returns the Kubernetes version that an API server's version stands
// for: without what vendors append, as in v1.34.4-eks-3025e55, v1.34.4-gke.100
// and v1.34.4+k3s1. A pre-release stays one.
func Upstream(gitVersion string) (cluster.Version, error) {
	p, err := version.ParseSemantic(gitVersion)
	if err != nil {
		return "", fmt.Errorf("version %q: want the form v1.35.4: %w", gitVersion, err)
	}
	v := fmt.Sprintf("v%d.%d.%d", p.Major(), p.Minor(), p.Patch())
	if preRelease.MatchString(p.PreRelease()) {
		v += "-" + p.PreRelease()
	}
	return cluster.Version(v), nil
}
