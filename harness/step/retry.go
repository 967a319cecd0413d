package step

import (
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	utilnet "k8s.io/apimachinery/pkg/util/net"

	"github.com/kube-rehearse/rehearse/harness/pause"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// While an API server is replaced its clients see connections refused or
// reset, and for a moment after it is back even Forbidden, until its caches of
// roles are filled. Such answers are recorded and asked again.
const (
	retryFor   = 2 * time.Minute
	retryEvery = time.Second
)

func retryAPI(ctx context.Context, env *Env, what string, call func() error) error {
	deadline := time.Now().Add(retryFor)
	for {
		err := call()
		if err == nil || !passing(err) || time.Now().After(deadline) {
			return err
		}
		env.Log.Warn("the API answered with a passing error; trying again", "call", what, "error", err)
		env.event(timeline.KindRetry, "api", map[string]string{"call": what, "error": err.Error()})
		if pause.For(ctx, retryEvery) != nil {
			return err
		}
	}
}

func passing(err error) bool {
	return utilnet.IsConnectionRefused(err) || utilnet.IsConnectionReset(err) || utilnet.IsProbableEOF(err) || utilnet.IsTimeout(err) ||
		apierrors.IsForbidden(err) || apierrors.IsServerTimeout(err) || apierrors.IsServiceUnavailable(err) ||
		apierrors.IsTooManyRequests(err) || apierrors.IsInternalError(err) || apierrors.IsTimeout(err) || apierrors.IsConflict(err)
}
