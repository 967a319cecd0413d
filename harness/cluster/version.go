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

// String returns the version with its leading v.
func (v Version) String() string { return string(v) }
