package scenarios

import (
	"fmt"
	"slices"
	"time"

	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apimachinery/pkg/util/version"
)

// Accepted values, in the order in which errors list them.
var (
	Drivers    = []string{DriverSim, DriverKind, DriverKops, DriverEKS, DriverExisting}
	Networks   = []string{NetworkFlannel, NetworkDefault}
	Lanes      = []string{LaneNew, LaneReused, LaneHTTP2, LaneCachedDNS, LaneStream}
	Strategies = []string{StrategyInPlace, StrategyReplace, StrategyPoolMigration, StrategyCommand}
	// Rolls are the strategies that rehearse carries out itself.
	Rolls    = []string{StrategyInPlace, StrategyReplace, StrategyPoolMigration}
	OnStalls = []string{OnStallFail, OnStallDelete, OnStallForce}
)

// maxName keeps "rehearse-NAME-XXXXXX" a valid host name with a node suffix.
const maxName = 30

// Validate returns every mistake of the file, in the order of its fields.
func (f *File) Validate() field.ErrorList {
	var errs field.ErrorList
	switch f.APIVersion {
	case APIVersion:
	case "":
		errs = append(errs, field.Required(field.NewPath("apiVersion"), "write apiVersion: "+APIVersion))
	default:
		errs = append(errs, field.NotSupported(field.NewPath("apiVersion"), f.APIVersion, []string{APIVersion}))
	}
	root := field.NewPath("scenarios")
	if len(f.Scenarios) == 0 {
		errs = append(errs, field.Required(root, "name at least one scenario"))
	}
	seen := map[string]bool{}
	for i := range f.Scenarios {
		s := &f.Scenarios[i]
		errs = append(errs, s.validate(root.Index(i))...)
		if s.Name != "" && seen[s.Name] {
			errs = append(errs, field.Duplicate(root.Index(i).Child("name"), s.Name))
		}
		seen[s.Name] = true
	}
	return errs
}

func (s *Scenario) validate(p *field.Path) field.ErrorList {
	var errs field.ErrorList
	switch {
	case s.Name == "":
		errs = append(errs, field.Required(p.Child("name"), "a scenario needs a name"))
	case len(s.Name) > maxName:
		errs = append(errs, field.Invalid(p.Child("name"), s.Name, fmt.Sprintf("at most %d characters", maxName)))
	case len(utilvalidation.IsDNS1123Label(s.Name)) > 0:
		errs = append(errs, field.Invalid(p.Child("name"), s.Name, "lower-case letters, digits and '-' only, beginning and ending with a letter or digit"))
	}
	errs = append(errs, s.Cluster.validate(p.Child("cluster"))...)
	errs = append(errs, s.Versions.validate(p.Child("versions"))...)
	errs = append(errs, s.Canary.validate(p.Child("canary"))...)
	errs = append(errs, s.Load.validate(p.Child("load"))...)
	errs = append(errs, s.validateAgents(p.Child("load"))...)
	errs = append(errs, s.Upgrade.validate(p.Child("upgrade"))...)
	if !s.Cluster.RollsItself() { // for that see validateRolled
		errs = append(errs, s.Upgrade.validateBatch(p.Child("upgrade"), s.Cluster.Workers)...)
		errs = append(errs, s.validateRollback(p.Child("upgrade").Child("rollback"))...)
	}
	errs = append(errs, s.Checks.validate(p.Child("checks"))...)
	errs = append(errs, s.Thresholds.validate(p.Child("thresholds"))...)
	errs = append(errs, s.validateExisting(p)...)
	errs = append(errs, s.validateRolled(p)...)
	errs = append(errs, validateWorkloads(p.Child("workloads"), s.Workloads)...)
	if s.Mirror != nil {
		errs = append(errs, s.Mirror.validate(p.Child("mirror"))...)
	}
	i := slices.Index(s.Load.Lanes, LaneStream)
	if limit := s.Thresholds.LongestOutage; i >= 0 && limit.invalid == "" && limit.Duration < LeastStreamOutage {
		errs = append(errs, field.Invalid(p.Child("load").Child("lanes").Index(i), LaneStream,
			fmt.Sprintf("its %d lines a second show no outage shorter than %s, and %s allows %s: allow more, or leave the lane out", StreamRate, LeastStreamOutage, p.Child("thresholds").Child("longestOutage"), limit)))
	}
	return errs
}

func (c *Cluster) validate(p *field.Path) field.ErrorList {
	var errs field.ErrorList
	errs = append(errs, oneOf(p.Child("driver"), c.Driver, Drivers)...)
	if c.ControlPlanes != 1 && c.ControlPlanes != 3 {
		errs = append(errs, field.Invalid(p.Child("controlPlanes"), c.ControlPlanes, "1 or 3: etcd keeps a quorum only with an odd number"))
	}
	errs = append(errs, within(p.Child("workers"), c.Workers, 1, 100)...)
	errs = append(errs, oneOf(p.Child("network"), c.Network, Networks)...)
	errs = append(errs, c.validateAWS(p)...)
	return errs
}

func (v *Versions) validate(p *field.Path) field.ErrorList {
	var errs field.ErrorList
	var last *version.Version
	check := func(p *field.Path, s string) {
		next, err := version.ParseSemantic(s)
		switch {
		case s == "":
			errs = append(errs, field.Required(p, "a full version such as v1.35.4"))
		case err != nil || s[0] != 'v':
			errs = append(errs, field.Invalid(p, s, "a full version such as v1.35.4"))
		case last == nil:
		case next.LessThan(last):
			errs = append(errs, field.Invalid(p, s, fmt.Sprintf("a downgrade from v%s: Kubernetes cannot lower a control plane's version", last)))
		case len(v.Via) > 0 && !last.LessThan(next):
			errs = append(errs, field.Invalid(p, s, "the hop before it goes to this version already: leave one out"))
		case next.Major() != last.Major() || next.Minor() > last.Minor()+1:
			errs = append(errs, field.Invalid(p, s, fmt.Sprintf("more than one minor version above v%s: give every hop, as in versions: [v%[1]s, v%d.%d.x, ..., %s]", last, last.Major(), last.Minor()+1, s)))
		}
		last = next
	}
	check(p.Child("from"), v.From)
	for i, s := range v.Via {
		check(p.Child("via").Index(i), s)
	}
	check(p.Child("to"), v.To)
	return errs
}

func (c *Canary) validate(p *field.Path) field.ErrorList {
	var errs field.ErrorList
	errs = append(errs, within(p.Child("replicas"), c.Replicas, 1, 1000)...)
	errs = append(errs, within(p.Child("bodyBytes"), c.BodyBytes, 1, 10<<20)...)
	if b := c.PodDisruptionBudget; b != nil {
		errs = append(errs, b.validate(p.Child("podDisruptionBudget"))...)
	}
	errs = append(errs, c.Latency.validate(p.Child("latency"), 0, time.Minute)...)
	errs = append(errs, c.ShutdownDelay.validate(p.Child("shutdownDelay"), 0, time.Hour)...)
	errs = append(errs, c.GracePeriod.validate(p.Child("gracePeriod"), 0, time.Hour)...)
	return errs
}

func (l *Load) validate(p *field.Path) field.ErrorList {
	var errs field.ErrorList
	if l.Rate < 1 || l.Rate > 100_000 {
		errs = append(errs, field.Invalid(p.Child("rate"), l.Rate, "1 to 100000 requests a second on each lane"))
	}
	if len(l.Lanes) == 0 {
		errs = append(errs, field.Required(p.Child("lanes"), fmt.Sprintf("name at least one of: %s", list(Lanes))))
	}
	for i, lane := range l.Lanes {
		errs = append(errs, oneOf(p.Child("lanes").Index(i), lane, Lanes)...)
		if slices.Index(l.Lanes, lane) < i {
			errs = append(errs, field.Duplicate(p.Child("lanes").Index(i), lane))
		}
	}
	errs = append(errs, l.Timeout.validate(p.Child("timeout"), 10*time.Millisecond, 5*time.Minute)...)
	errs = append(errs, l.Warmup.validate(p.Child("warmup"), 0, time.Hour)...)
	errs = append(errs, l.Baseline.validate(p.Child("baseline"), 5*time.Second, 24*time.Hour)...)
	errs = append(errs, l.Settle.validate(p.Child("settle"), 0, 24*time.Hour)...)
	return errs
}

func (u *Upgrade) validate(p *field.Path) field.ErrorList {
	var errs field.ErrorList
	const day = 24 * time.Hour
	errs = append(errs, oneOf(p.Child("strategy"), u.Strategy, Strategies)...)
	errs = append(errs, u.Interval.validate(p.Child("interval"))...)
	errs = append(errs, within(p.Child("forecastNodes"), u.ForecastNodes, 0, 100_000)...)
	errs = append(errs, u.ControlPlaneInterval.validate(p.Child("controlPlaneInterval"), 0, day)...)
	errs = append(errs, u.NodeInterval.validate(p.Child("nodeInterval"), 0, day)...)
	errs = append(errs, u.DrainTimeout.validate(p.Child("drainTimeout"), time.Second, day)...)
	errs = append(errs, u.PostDrainDelay.validate(p.Child("postDrainDelay"), 0, time.Hour)...)
	errs = append(errs, oneOf(p.Child("onStall"), u.OnStall, OnStalls)...)
	errs = append(errs, u.StallTimeout.validate(p.Child("stallTimeout"), time.Second, day)...)
	if u.OnStall != OnStallFail && u.StallTimeout.Duration >= u.DrainTimeout.Duration && u.StallTimeout.invalid == "" && u.DrainTimeout.invalid == "" {
		errs = append(errs, field.Invalid(p.Child("stallTimeout"), u.StallTimeout.String(), fmt.Sprintf("less than %s, %s: the drain would be over before %s is done", p.Child("drainTimeout"), u.DrainTimeout, u.OnStall)))
	}
	errs = append(errs, u.ValidationTimeout.validate(p.Child("validationTimeout"), time.Second, day)...)
	errs = append(errs, within(p.Child("validations"), u.Validations, 1, 100)...)
	errs = append(errs, u.ValidationInterval.validate(p.Child("validationInterval"), 10*time.Millisecond, time.Hour)...)
	errs = append(errs, u.ControlPlaneTimeout.validate(p.Child("controlPlaneTimeout"), time.Second, day)...)
	errs = append(errs, u.NodeTimeout.validate(p.Child("nodeTimeout"), time.Second, day)...)
	return errs
}

// validateBatch finds numbers of workers that the strategy cannot mean; workers is
// how many the cluster has.
func (u *Upgrade) validateBatch(p *field.Path, workers int) field.ErrorList {
	if u.Strategy == StrategyCommand {
		return nil // see validateCommand
	}
	var errs field.ErrorList
	reject := func(name string, got int, why string) {
		errs = append(errs, field.Invalid(p.Child(name), got, why))
	}
	least := 1
	if u.Strategy == StrategyReplace && u.MaxSurge > 0 {
		least = 0
	}
	switch {
	case u.Strategy == StrategyPoolMigration && u.MaxUnavailable != 1:
		reject("maxUnavailable", u.MaxUnavailable, "pool-migration drains one old worker at a time: leave it out, or use the strategy replace")
	case u.MaxUnavailable == 0 && u.Strategy == StrategyReplace && least == 1:
		reject("maxUnavailable", 0, "without maxSurge either no worker could ever be replaced: give maxSurge: 1, or allow 1 unavailable")
	case u.MaxUnavailable < least || u.MaxUnavailable > max(workers, 1):
		reject("maxUnavailable", u.MaxUnavailable, fmt.Sprintf("%d to %d, the number of workers", least, workers))
	}
	switch {
	case u.MaxSurge != 0 && u.Strategy == StrategyInPlace:
		reject("maxSurge", u.MaxSurge, "in-place keeps its workers and replaces none: use extraWorkers for capacity during the roll")
	case u.MaxSurge != 0 && u.Strategy == StrategyPoolMigration:
		reject("maxSurge", u.MaxSurge, "pool-migration joins its whole new pool first: leave it out, or use the strategy replace")
	case u.MaxSurge < 0 || u.MaxSurge > max(workers, 1):
		reject("maxSurge", u.MaxSurge, fmt.Sprintf("0 to %d, the number of workers", workers))
	}
	switch {
	case u.ExtraWorkers != 0 && u.Strategy == StrategyPoolMigration:
		reject("extraWorkers", u.ExtraWorkers, "pool-migration has twice its workers during the roll already: leave it out")
	case u.ExtraWorkers < 0 || u.ExtraWorkers > 100:
		reject("extraWorkers", u.ExtraWorkers, "0 to 100")
	}
	return errs
}

func (c *Checks) validate(p *field.Path) field.ErrorList {
	var errs field.ErrorList
	cp := p.Child("systemComponents")
	for i, name := range c.SystemComponents {
		if len(utilvalidation.IsDNS1123Subdomain(name)) > 0 {
			errs = append(errs, field.Invalid(cp.Index(i), name, "the name of a Deployment, DaemonSet or static pod of a system namespace, such as coredns"))
		} else if slices.Index(c.SystemComponents, name) < i {
			errs = append(errs, field.Duplicate(cp.Index(i), name))
		}
	}
	return errs
}

func (t *Thresholds) validate(p *field.Path) field.ErrorList {
	var errs field.ErrorList
	errs = append(errs, t.SuccessRate.validate(p.Child("successRate"), 1)...)
	errs = append(errs, t.ErrorIncrease.validate(p.Child("errorIncrease"), 1)...)
	errs = append(errs, t.LongestOutage.validate(p.Child("longestOutage"), 0, 24*time.Hour)...)
	errs = append(errs, t.P50Increase.validate(p.Child("p50Increase"), 100)...)
	errs = append(errs, t.P99Increase.validate(p.Child("p99Increase"), 100)...)
	errs = append(errs, t.LatencyFloor.validate(p.Child("latencyFloor"), 0, time.Minute)...)
	errs = append(errs, t.APIAvailability.validate(p.Child("apiAvailability"), 1)...)
	return errs
}

func (d Duration) validate(p *field.Path, lo, hi time.Duration) field.ErrorList {
	if d.invalid != "" {
		return field.ErrorList{field.Invalid(p, raw(d.invalid), "a duration such as 90s, 15m or 1h30m")}
	}
	if d.Duration < lo || d.Duration > hi {
		return field.ErrorList{field.Invalid(p, d.String(), fmt.Sprintf("%s to %s", lo, hi))}
	}
	return nil
}

func (p Percent) validate(path *field.Path, most float64) field.ErrorList {
	if p.bare > 0 {
		return field.ErrorList{field.Invalid(path, raw(p.invalid), fmt.Sprintf("above 1 the unit must be there: %s, or %s if that is meant", Pct(p.bare), Pct(p.bare*100)))}
	}
	if p.invalid != "" {
		return field.ErrorList{field.Invalid(path, raw(p.invalid), `a share such as "99.9%" or 0.999, or "off" to report without judging`)}
	}
	if p.Ratio > most {
		return field.ErrorList{field.Invalid(path, p.String(), fmt.Sprintf("at most %s", Percent{Ratio: most}))}
	}
	return nil
}

func oneOf(p *field.Path, got string, accepted []string) field.ErrorList {
	if slices.Contains(accepted, got) {
		return nil
	}
	return field.ErrorList{field.NotSupported(p, got, accepted)}
}

func within(p *field.Path, got, lo, hi int) field.ErrorList {
	if got >= lo && got <= hi {
		return nil
	}
	return field.ErrorList{field.Invalid(p, got, fmt.Sprintf("%d to %d", lo, hi))}
}
