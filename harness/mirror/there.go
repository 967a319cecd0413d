package mirror

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// clusterThere is a mirror that exists already: it is held against production
// fact by fact.
type clusterThere struct {
	mirrored
	built *Facts
}

func (c clusterThere) show(aspect string, p *Fact) (float64, string) {
	b := c.built.Get(p.Name)
	switch aspect {
	case aspectAddons:
		return c.addons()
	case aspectWorkloads:
		return c.workloads()
	case aspectPlanes:
		if p.Certainty == Unknown && b.Certainty == Unknown && c.sameProvider() {
			// Out of sight in both, and run by the same provider.
			*p = Fact{Name: p.Name, Certainty: Inferred, Evidence: p.Evidence}
			return 1, ""
		}
	}
	if b.Certainty == Unknown {
		return 0, fmt.Sprintf("%s in production, unknown in the mirror (%s)", p.Value, b.Evidence)
	}
	missing := fmt.Sprintf("%s in production, %s in the mirror", p.Value, b.Value)
	switch aspect {
	case aspectKubernetes:
		return alike(p.Value, b.Value), missing
	case aspectNetwork:
		pm, bm := c.f.Get(FactNetworkMode).Value, c.built.Get(FactNetworkMode).Value
		missing = fmt.Sprintf("%s in production, %s in the mirror", joined(p.Value, pm), joined(b.Value, bm))
		if p.Value == b.Value && pm != bm {
			return 0.5, missing
		}
	case aspectPlanes, aspectWorkers:
		return share(number(b), number(*p)), missing
	case aspectTypes, aspectSizes, aspectZones, aspectSystem, aspectRuntime:
		here, all := 0, counted(p.Value)
		for _, name := range all {
			if slices.Contains(counted(b.Value), name) {
				here++
			}
		}
		return part(here, len(all)), missing
	case aspectBalancers:
		return min(1, part(number(b), number(*p))), missing
	case aspectStorage, aspectWebhooks:
		return among(p, strings.Split(b.Value, ", "))
	}
	return zeroUnless(p.Value == b.Value), missing
}

// alike holds two versions against each other: the same build, the same minor
// version, or another.
func alike(production, mirror string) float64 {
	if production == mirror {
		return 1
	}
	pMajor, pMinor, ok1 := minorOf(production)
	bMajor, bMinor, ok2 := minorOf(mirror)
	if ok1 && ok2 && pMajor == bMajor && pMinor == bMinor {
		return 0.8
	}
	return 0
}

func (c clusterThere) sameProvider() bool {
	p := c.f.Get(FactPlatform).Value
	return slices.Contains(managed, p) && p == c.built.Get(FactPlatform).Value
}

// addons counts one that is there in another version half.
func (c clusterThere) addons() (float64, string) {
	all := c.f.addons()
	have := 0.0
	var missing []string
	for _, a := range all {
		name := strings.TrimPrefix(a.Name, AddonPrefix)
		i := slices.IndexFunc(c.built.Facts, func(x Fact) bool { return x.Name == a.Name })
		switch {
		case i < 0:
			missing = append(missing, strings.TrimSpace(name+" "+a.Value))
		case c.built.Facts[i].Value != a.Value:
			have += 0.5
			missing = append(missing, strings.TrimSpace(fmt.Sprintf("%s %s (%s in the mirror)", name, a.Value, orUnknown(c.built.Facts[i].Value))))
		default:
			have++
		}
	}
	return have / float64(len(all)), "not in the mirror: " + strings.Join(missing, ", ")
}

func orUnknown(s string) string {
	if s == "" {
		return "unknown"
	}
	return s
}

// workloads counts those that the mirror has under the same name, with as many
// pods and the same budget.
func (c clusterThere) workloads() (float64, string) {
	have := 0
	for _, w := range c.f.Workloads {
		if slices.ContainsFunc(c.built.Workloads, func(x Workload) bool {
			return x.Namespace == w.Namespace && x.Name == w.Name && guard(x.Replicas, x.MaxUnavailable, x.MinAvailable) == guard(w.Replicas, w.MaxUnavailable, w.MinAvailable)
		}) {
			have++
		}
	}
	return part(have, len(c.f.Workloads)), fmt.Sprintf("%d of %d are in the mirror with as many pods under the same budget", have, len(c.f.Workloads))
}

var tallied = regexp.MustCompile(`(.+?) ×(\d+)(?:, |$)`)

// counted are the things of a tally, without their numbers.
func counted(tally string) []string {
	var all []string
	for _, m := range tallied.FindAllStringSubmatch(tally, -1) {
		all = append(all, m[1])
	}
	return all
}

// Counts are the numbers of a fact that counts things, such as "a ×2, b ×1".
func (f Fact) Counts() map[string]int {
	all := map[string]int{}
	for _, m := range tallied.FindAllStringSubmatch(f.Value, -1) {
		all[m[1]] = number(Fact{Value: m[2]})
	}
	return all
}

// Tally is the value of a fact that counts things, the most frequent first.
func Tally(counts map[string]int) string { return tally(counts).String() }
