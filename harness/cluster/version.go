package cluster

import (
	"fmt"

	"k8s.io/apimachinery/pkg/util/version"
)

// Version is a full Kubernetes version such as "v1.35.4". The zero value is
// "no version".
type Version string

// ParseVersion reads "v1.35.4" or "1.35.4", with or without a pre-release.
func ParseVersion(s string) (Version, error) {
	v, err := version.ParseSemantic(s)
	if err != nil {
		return "", fmt.Errorf("version %q: want the form v1.35.4: %w", s, err)
	}
	return Version("v" + v.String()), nil
}

func (v Version) parsed() *version.Version { return version.MustParseSemantic(string(v)) }

// Minor returns the minor number, 35 for v1.35.4.
func (v Version) Minor() int { return int(v.parsed().Minor()) }

// Less reports whether v is older than w.
func (v Version) Less(w Version) bool { return v.parsed().LessThan(w.parsed()) }

// SameRelease reports whether w, as an API server or a kubelet reports it, is
// this release, whatever a vendor put behind it: v1.35.4 and v1.35.4-gke.1 are.
func (v Version) SameRelease(w string) bool {
	a, err := version.ParseGeneric(string(v))
	if err != nil {
		return false
	}
	b, err := version.ParseGeneric(w)
	return err == nil && a.Major() == b.Major() && a.Minor() == b.Minor() && a.Patch() == b.Patch()
}

// String returns the version with its leading v.
func (v Version) String() string { return string(v) }
