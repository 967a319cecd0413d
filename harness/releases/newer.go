package releases

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/kube-rehearse/rehearse/harness/cluster"
)

// Policies of which new version to take.
const (
	TakeNewest = "newest" // of the next minor version where there is one, else the patch
	TakePatch  = "patch"  // of the same minor version only
	TakeMinor  = "minor"  // of the next minor version only
)

// Policies lists the policies, the default first.
var Policies = []string{TakeNewest, TakePatch, TakeMinor}

// Newer is what is new to a cluster. An empty version is none.
type Newer struct {
	From  cluster.Version `json:"from"`
	Patch cluster.Version `json:"patch,omitempty"` // newest of the same minor version
	Minor cluster.Version `json:"minor,omitempty"` // newest of the next minor version
}

// Than returns which of all are new to a cluster of version from. Newer versions
// that cannot be reached, because none of the minor version next to from's is
// among all, are an error: they must not pass for "nothing new".
func Than(all []cluster.Version, from cluster.Version) (Newer, error) {
	n := Newer{From: from}
	beyond := false
	for _, v := range slices.SortedFunc(slices.Values(all), compare) {
		switch {
		case !from.Less(v):
		case v.Minor() == from.Minor():
			n.Patch = v
		case v.Minor() == from.Minor()+1:
			n.Minor = v
		default:
			beyond = true
		}
	}
	if beyond && n.Minor == "" {
		return n, fmt.Errorf("versions of minor 1.%d and above are listed and none of 1.%d, but %s can be upgraded by one minor version at a time: list those of 1.%d as well",
			from.Minor()+2, from.Minor()+1, from, from.Minor()+1)
	}
	return n, nil
}

// Target returns the version to go to by the policy; ok is false where nothing
// is new.
func (n Newer) Target(policy string) (to cluster.Version, ok bool, err error) {
	switch policy {
	case TakeNewest:
		if to = n.Minor; to == "" {
			to = n.Patch
		}
	case TakePatch:
		to = n.Patch
	case TakeMinor:
		to = n.Minor
	default:
		return "", false, errors.New("unknown policy " + policy + "; accepted: " + strings.Join(Policies, ", "))
	}
	return to, to != "", nil
}

// Text says in one sentence what is new, for a person.
func (n Newer) Text() string {
	minor, next := fmt.Sprintf("1.%d", n.From.Minor()), fmt.Sprintf("1.%d", n.From.Minor()+1)
	patch := "There is no newer patch of " + minor
	if n.Patch != "" {
		patch = fmt.Sprintf("The newest patch of %s is %s", minor, n.Patch)
	}
	following := "no version of " + next
	if n.Minor != "" {
		following = fmt.Sprintf("the newest version of %s is %s", next, n.Minor)
	}
	return fmt.Sprintf("Production runs %s. %s, and %s.", n.From, patch, following)
}
