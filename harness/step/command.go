package step

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/command"
	"github.com/kube-rehearse/rehearse/harness/pause"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/harness/secret"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// Connect uses a cluster that is there already.
type Connect struct {
	Kubeconfig, Context string
	Version             cluster.Version
	Timeout             time.Duration
}

// Describe implements Step.
func (s Connect) Describe() string {
	d := "Use the cluster of kubeconfig " + s.Kubeconfig
	if s.Context != "" {
		d += ", context " + s.Context
	}
	return fmt.Sprintf("%s, at %s, and make a namespace in it", d, s.Version)
}

// Run implements Step.
func (s Connect) Run(ctx context.Context, env *Env) error {
	registerCluster(env, s.made(env), 0)
	return Create{Version: s.Version, Timeout: s.Timeout}.create(ctx, env)
}

func (s Connect) made(env *Env) string {
	return "namespaces of run " + env.Spec.RunID + " in the cluster of kubeconfig " + s.Kubeconfig
}

// Restore implements Restorer: nothing but the removal is gone on with, since
// nobody knows whether a command of the user's can be run a second time, and the
// control lane's twin ended with its process.
func (s Connect) Restore(_ context.Context, env *Env) error {
	registerCluster(env, s.made(env), 0)
	if env.Undoing {
		return nil
	}
	return ErrCommandOnce
}

// ErrCommandOnce is why a run with a command of the user's is not gone on with,
// unless nothing is left to do but to remove what it made.
var ErrCommandOnce = errors.New("a run on an existing cluster cannot be gone on with: its command may have done part of the upgrade, and is not run twice; bring the cluster to one version with your own tool, remove what the run left there, set versions to what the cluster runs, and rehearse anew")

// Redo implements Redoer: the run's namespace goes before it is made again.
func (s Connect) Redo(ctx context.Context, env *Env) error {
	if err := env.Driver.Delete(ctx, env.Spec); err != nil {
		return fmt.Errorf("delete the %s: %w", s.made(env), err)
	}
	return s.Run(ctx, env)
}

// Command upgrades the cluster by a command of the user's, and waits until what
// it has set off has landed: the API server and every kubelet at the version,
// every node Ready and schedulable. What happens on the way is seen by the watch
// alone.
type Command struct {
	Args     []string
	From, To cluster.Version
	// Kubeconfig and Context are told to the command.
	Kubeconfig, Context string
	Begins              bool          // the upgrade begins with it
	Timeout             time.Duration // of the command and of the wait, together
}

const (
	// commandGrace is what a command gets to end in order after SIGTERM.
	commandGrace = 30 * time.Second
	landedEvery  = 2 * time.Second
	// askTimeout bounds the questions about what a command left half-done.
	askTimeout = 30 * time.Second
)

// Describe implements Step.
func (s Command) Describe() string {
	return fmt.Sprintf("Upgrade to %s by the command %s, and wait until every node is there (at most %s)", s.To, command.Quote(s.Args), s.Timeout)
}

// Run implements Step.
func (s Command) Run(ctx context.Context, env *Env) error {
	if s.Begins {
		if err := env.phase(timeline.PhaseUpgrade); err != nil {
			return err
		}
	}
	env.event(timeline.KindUpgradeStart, "cluster", map[string]string{"to": s.To.String(), "what": command.Quote(s.Args)})
	err := bounded(ctx, s.Timeout, func(ctx context.Context) error {
		if err := s.command(ctx, env); err != nil {
			return err
		}
		return s.landed(ctx, env)
	})
	detail := map[string]string{"to": s.To.String()}
	if err != nil {
		detail["error"] = err.Error()
		s.halfDone(ctx, env)
	}
	env.event(timeline.KindUpgradeEnd, "cluster", detail)
	return err
}

func (s Command) command(ctx context.Context, env *Env) error {
	secrets := s.secrets(env)
	out := secret.NewTextWriter(cluster.Output(ctx), secrets)
	fmt.Fprintf(out, "+ %s\n", command.Quote(s.Args))
	err := command.Run(ctx, command.Cmd{
		Args: s.Args, Stdout: out, Stderr: out, Grace: commandGrace, Secrets: secrets,
		Env: append(environ(), "REHEARSE_FROM="+s.From.String(), "REHEARSE_TO="+s.To.String(),
			"REHEARSE_KUBECONFIG="+s.Kubeconfig, "REHEARSE_CONTEXT="+s.Context),
	})
	err = errors.Join(err, out.Flush())
	if err != nil {
		return fmt.Errorf("upgrade.command: %w", err)
	}
	return nil
}

// environ is rehearse's own environment without the webhook that is rehearse's to
// call, whose address is a secret.
func environ() []string {
	return slices.DeleteFunc(os.Environ(), func(e string) bool { return strings.HasPrefix(e, "REHEARSE_NOTIFY_URL=") })
}

// secrets are what the command is given and may print: those of its arguments
// and of its environment, and the cluster's credentials.
func (s Command) secrets(env *Env) []string {
	args := s.Args
	if text, err := os.ReadFile(s.Kubeconfig); err == nil {
		args = append(slices.Clone(args), string(text)) // its tokens and keys have telling names
	}
	all := secret.Values(args, os.Environ())
	if env.Cluster == nil || env.Cluster.Config == nil {
		return all
	}
	c := env.Cluster.Config
	return append(all, secret.Known(c.BearerToken, c.Password, string(c.KeyData), base64.StdEncoding.EncodeToString(c.KeyData))...)
}

// landed waits until the upgrade that the command did or set off is done: that a
// command ended without an error is no proof of anything.
func (s Command) landed(ctx context.Context, env *Env) error {
	for {
		missing, err := s.missing(ctx, env)
		if err != nil {
			missing = []string{"the cluster answers: " + err.Error()}
		}
		if len(missing) == 0 {
			return nil
		}
		env.Log.Debug("not there yet", "to", s.To, "missing", missing)
		if pause.For(ctx, landedEvery) != nil {
			return fmt.Errorf("the command ended without an error, and the cluster is not at %s: %s: %w", s.To, strings.Join(missing, "; "), context.Cause(ctx))
		}
	}
}

// missing says what is not at the version, or not fit for work.
func (s Command) missing(ctx context.Context, env *Env) ([]string, error) {
	v, err := env.client().Discovery().ServerVersion()
	if err != nil {
		return nil, err
	}
	var out []string
	if !s.To.SameRelease(v.GitVersion) {
		out = append(out, "the API server runs "+v.GitVersion)
	}
	list, err := env.client().CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	if len(list.Items) == 0 {
		out = append(out, "there are no nodes")
	}
	for i := range list.Items {
		if what := s.wrong(&list.Items[i]); what != "" {
			out = append(out, "node "+list.Items[i].Name+" "+what)
		}
	}
	return out, nil
}

func (s Command) wrong(n *corev1.Node) string {
	switch {
	case !s.To.SameRelease(n.Status.NodeInfo.KubeletVersion):
		return "runs " + n.Status.NodeInfo.KubeletVersion
	case !ready(n):
		return "is not Ready: " + notReadyReason(n)
	case n.Spec.Unschedulable:
		return "is cordoned"
	}
	return ""
}

// halfDone keeps what the upgrade left: it goes on asking after an interrupt,
// since that is when it matters most.
func (s Command) halfDone(ctx context.Context, env *Env) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), askTimeout)
	defer cancel()
	missing, err := s.missing(ctx, env)
	if err != nil {
		missing = []string{"what is left could not be asked: " + err.Error()}
	}
	if len(missing) == 0 {
		return
	}
	env.find(record.Finding{
		ID: "left-behind", Severity: record.SeverityWarn, Object: "cluster",
		Cause:  fmt.Sprintf("the upgrade to %s ended before it was done: %s", s.To, strings.Join(missing, "; ")),
		Remedy: "finish it with your own tool, or go back with it; rehearse does not undo what your command did",
	})
}
