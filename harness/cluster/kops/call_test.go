package kops

import (
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/timeline"
)

func TestEveryCallHasATimeout(t *testing.T) {
	b := newBed(t, func(o *Options) { o.Timeouts.Query = 50 * time.Millisecond })
	b.put("version.hang", "")
	_, err := b.d.Preflight(b.ctx(), b.spec, "v1.35.4")
	if err == nil || !strings.Contains(err.Error(), "kops did not end within 50ms and was killed") {
		t.Errorf("got %v", err)
	}
}

// TestNoSecretIsTold plants credentials where kops finds them, and looks for
// them in everything that the driver tells and writes.
func TestNoSecretIsTold(t *testing.T) {
	const key, token = "planted-secret-key-0001", "planted-session-token-0002"
	t.Setenv("AWS_SECRET_ACCESS_KEY", key)
	t.Setenv("AWS_SESSION_TOKEN", token)
	b := newBed(t, nil, node("cp", "v1.35.4", true))
	b.golden("rolling-update-cluster", "terminate-denied-cloudonly", "1")
	var told strings.Builder
	o := options
	o.Progress = func(e timeline.Event) {
		told.WriteString(e.Kind + e.Subject + strings.Join(slices.Collect(maps.Values(e.Detail)), " "))
	}
	ctx := cluster.WithLog(t.Context(), slog.New(slog.NewTextHandler(&told, &slog.HandlerOptions{Level: slog.LevelDebug})), &told)
	findings, err := b.d.Preflight(ctx, b.spec, "v1.35.4")
	fmt.Fprintln(&told, findings, err, b.d.RollWorkers(ctx, b.c, "v1.35.4", o), b.d.Delete(ctx, b.spec), b.calls())
	if !strings.Contains(told.String(), "UnauthorizedOperation") {
		t.Errorf("kops was not heard:\n%s", told.String())
	}
	for _, secret := range []string{key, token} {
		if strings.Contains(told.String(), secret) {
			t.Errorf("%q was told:\n%s", secret, told.String())
		}
	}
}
