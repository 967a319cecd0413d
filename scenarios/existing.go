package scenarios

import (
	"fmt"
	"net/url"
	"time"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

// DefaultCommandTimeout is how long one run of the user's command may take, with
// what it sets off: a managed cluster of some dozens of nodes takes hours.
const DefaultCommandTimeout = 4 * time.Hour

// validateExisting checks what only a cluster that is there already has, and
// what it cannot have.
func (s *Scenario) validateExisting(p *field.Path) field.ErrorList {
	var errs field.ErrorList
	existing := s.Cluster.Driver == DriverExisting
	only := func(p *field.Path, given bool, value any) {
		if given && !existing {
			errs = append(errs, field.Invalid(p, value, "only for the driver "+DriverExisting))
		}
	}
	cluster, canary, upgrade := p.Child("cluster"), p.Child("canary"), p.Child("upgrade")
	only(cluster.Child("kubeconfig"), s.Cluster.Kubeconfig != "", s.Cluster.Kubeconfig)
	only(cluster.Child("context"), s.Cluster.Context != "", s.Cluster.Context)
	cloud := func(p *field.Path, given bool, value any) {
		if given && !existing && !s.Cluster.RollsItself() {
			errs = append(errs, field.Invalid(p, value, "only for the drivers "+list([]string{DriverKops, DriverEKS, DriverExisting})))
		}
	}
	cloud(canary.Child("image"), s.Canary.Image != "", s.Canary.Image)
	only(canary.Child("url"), s.Canary.URL != "", s.Canary.URL)
	cloud(canary.Child("serviceAnnotations"), len(s.Canary.ServiceAnnotations) > 0, "a mapping")
	command := s.Upgrade.Strategy == StrategyCommand
	switch {
	case command && !existing:
		errs = append(errs, field.Invalid(upgrade.Child("strategy"), s.Upgrade.Strategy, "only for the driver "+DriverExisting))
	case !command && len(s.Upgrade.Command) > 0:
		errs = append(errs, field.Invalid(upgrade.Child("command"), s.Upgrade.Command[0], "only for the strategy "+StrategyCommand))
	}
	if !command && s.Upgrade.CommandTimeout != nil {
		errs = append(errs, field.Invalid(upgrade.Child("commandTimeout"), s.Upgrade.CommandTimeout.String(), "only for the strategy "+StrategyCommand))
	}
	if !existing {
		return errs
	}
	if s.Cluster.Kubeconfig == "" {
		errs = append(errs, field.Required(cluster.Child("kubeconfig"), "the file that names the cluster: nothing is guessed from the environment"))
	}
	if s.Canary.Image == "" {
		errs = append(errs, field.Required(canary.Child("image"), "an image of cmd/canary that the cluster's nodes can pull"))
	}
	if u, err := url.Parse(s.Canary.URL); s.Canary.URL != "" && (err != nil || u.Scheme != "http" || u.Host == "" || u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.User != nil) {
		errs = append(errs, field.Invalid(canary.Child("url"), s.Canary.URL, "http://HOST or http://HOST:PORT"))
	}
	if s.Canary.URL != "" && len(s.Canary.ServiceAnnotations) > 0 {
		errs = append(errs, field.Invalid(canary.Child("serviceAnnotations"), "a mapping", "they are for a Service of type LoadBalancer, and url says that there is another way in"))
	}
	if !command {
		errs = append(errs, field.Invalid(upgrade.Child("strategy"), s.Upgrade.Strategy, fmt.Sprintf("an existing cluster is upgraded by a command of yours: %s", StrategyCommand)))
	}
	if command && (len(s.Upgrade.Command) == 0 || s.Upgrade.Command[0] == "") {
		errs = append(errs, field.Required(upgrade.Child("command"), "the program that upgrades the cluster, and its arguments"))
	}
	if command {
		errs = append(errs, s.Upgrade.validateCommand(upgrade)...)
	}
	if d := s.Upgrade.CommandTimeout; d != nil {
		errs = append(errs, d.validate(upgrade.Child("commandTimeout"), time.Second, 7*24*time.Hour)...)
	}
	if len(s.Workloads) > 0 {
		errs = append(errs, field.Invalid(p.Child("workloads"), len(s.Workloads), "an existing cluster has its own: only rehearse's own namespace is touched there"))
	}
	return errs
}

// validateCommand finds what is asked of a roll that rehearse does not carry out:
// it would seem to have an effect.
func (u *Upgrade) validateCommand(p *field.Path) field.ErrorList {
	var errs field.ErrorList
	reject := func(name string, given bool, value any, why string) {
		if given {
			errs = append(errs, field.Invalid(p.Child(name), value, why))
		}
	}
	const tool = "the strategy " + StrategyCommand + " leaves the nodes to your command: leave it out, and set it in your own tool"
	reject("maxUnavailable", u.MaxUnavailable != 1, u.MaxUnavailable, tool)
	reject("maxSurge", u.MaxSurge != 0, u.MaxSurge, tool)
	reject("extraWorkers", u.ExtraWorkers != 0, u.ExtraWorkers, tool)
	reject("interval", u.AutoInterval(), AutoInterval, "a search upgrades again and again, and a cluster that is there already is not made anew: leave it out, and set the interval in your own tool")
	reject("forecastNodes", u.ForecastNodes != 0, u.ForecastNodes, "how long each node takes is your command's: leave it out")
	reject("rollback", u.Rollback != nil, "", "rehearse cannot turn a command of yours round: leave it out, or rehearse the way back with a strategy of rehearse's own, "+list(Rolls))
	return errs
}
