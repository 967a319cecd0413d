package balancer

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestWithoutKeepsABackendFromNewAndKeptConnections(t *testing.T) {
	f := newFarm(t, "a", "b")
	b := start(t, f.config())
	await(t, "both are healthy", func() bool { return len(b.Healthy()) == 2 })
	tr := &http.Transport{MaxConnsPerHost: 1}
	defer tr.CloseIdleConnections()
	kept := func() string {
		resp, err := (&http.Client{Transport: tr}).Get("http://" + b.Addr())
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(body)
	}
	out := kept()
	other := strings.Trim("ab", out)
	err := b.Without(t.Context(), out, func() error {
		for range 4 {
			if got := kept(); got != other {
				t.Errorf("the kept connection leads to %q, which was taken out", got)
			}
			if got, err := ask(b); err != nil || got != other {
				t.Errorf("a new connection got %q, %v; want %q", got, err, other)
			}
		}
		if got := b.Healthy(); len(got) != 1 || got[0] != other {
			t.Errorf("healthy: %v, want only %s", got, other)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := b.Healthy(); len(got) != 2 {
		t.Errorf("healthy when Without has returned: %v, want both", got)
	}
}

func TestWithoutSaysWhatWentWrong(t *testing.T) {
	f := newFarm(t, "a", "b")
	b := start(t, f.config())
	await(t, "both are healthy", func() bool { return len(b.Healthy()) == 2 })
	broken := errors.New("broken")
	if err := b.Without(t.Context(), "a", func() error { return broken }); !errors.Is(err, broken) {
		t.Errorf("got %v, want what the work returned", err)
	}
	await(t, "a is back after work that failed", func() bool { return len(b.Healthy()) == 2 })

	err := b.Without(t.Context(), "c", func() error { t.Error("work was carried out"); return nil })
	if want := `balancer test: no backend "c"; it has a, b`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}

	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	err = b.Without(ctx, "a", func() error { f.backends["a"].healthy.Store(false); return nil })
	if want := "balancer test: backend a has not passed its checks again: context deadline exceeded"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
