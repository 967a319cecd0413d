package step

import (
	"context"
	"errors"
	"time"

	"github.com/kube-rehearse/rehearse/harness/canary/deploy"
	"github.com/kube-rehearse/rehearse/harness/cleanup"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/probes/dns"
	"github.com/kube-rehearse/rehearse/probes/system"
)

// DNSAgents puts an agent onto every node that watches DNS from there until
// StopLoad. What cannot be watched is a finding and ends no run: nothing is judged
// by it.
type DNSAgents struct{}

// agentsWithin is how long the agents may take to run.
const agentsWithin = time.Minute

// Describe implements Step.
func (DNSAgents) Describe() string { return "Start a DNS probe on every node" }

// Restore implements Restorer: the agents are asked again, and made again where
// somebody has removed them.
func (s DNSAgents) Restore(ctx context.Context, env *Env) error {
	if !env.State.Measuring {
		return nil
	}
	return s.Run(ctx, env)
}

// Run implements Step.
func (DNSAgents) Run(ctx context.Context, env *Env) error {
	log := env.Log // the environment's changes with each step
	poller := dns.New(dns.Config{
		Client: env.client(), Namespace: deploy.DNSNamespace, Selector: deploy.Selector(deploy.DNSName),
		Events: env.Timeline, Sink: &probeFiles{dir: env.Dir, see: env.Observer.Sample}, Declare: env.Dir.AddProbe, Log: log,
	})
	env.stopDNS = env.Cleanup.Add(cleanup.Entry{What: "DNS agents", Undo: func(ctx context.Context) error {
		poller.Stop(ctx)
		for _, f := range poller.Findings() {
			env.find(f)
		}
		if err := deploy.RemoveDNSAgents(ctx, env.client()); err != nil {
			log.Debug("left to the cluster's end", "error", err)
		}
		return nil
	}})
	agents := deploy.DNSAgents{Image: env.CanaryImage, Names: []string{system.LookupName + "."}, Every: dns.Every, Timeout: dns.Timeout}
	err := retryAPI(ctx, env, "deploy the DNS agents", func() error { return deploy.ApplyDNSAgents(ctx, env.client(), agents) })
	if err == nil {
		err = deploy.WaitDNSAgents(ctx, env.client(), agentsWithin)
	}
	if cause := context.Cause(ctx); cause != nil {
		return errors.Join(err, cause)
	}
	if err != nil {
		env.find(record.Finding{
			ID: "dns-unwatched", Severity: record.SeverityWarn, Object: "daemonset/" + deploy.DNSNamespace + "/" + deploy.DNSName,
			Cause:  err.Error(),
			Remedy: "look at its pods (kubectl describe pods -n " + deploy.DNSNamespace + "); the run goes on, without the DNS of the nodes that have none",
		})
	}
	// It goes on after this step.
	poller.Start(context.WithoutCancel(ctx))
	return nil
}
