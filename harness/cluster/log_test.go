package cluster

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
)

func TestContextCarriesLoggerAndOutput(t *testing.T) {
	var logged, printed bytes.Buffer
	log := slog.New(slog.NewTextHandler(&logged, nil))
	ctx := WithLog(t.Context(), log, &printed)
	if Logger(ctx) != log {
		t.Error("another logger came back")
	}
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() { fmt.Fprintf(Output(ctx), "line %d\n", i) })
	}
	wg.Wait()
	if got := strings.Count(printed.String(), "line "); got != 50 {
		t.Errorf("%d lines came through, want 50", got)
	}
}

func TestContextWithoutLog(t *testing.T) {
	if Logger(t.Context()) != slog.Default() || Output(t.Context()) != io.Discard {
		t.Error("want slog.Default and io.Discard")
	}
	ctx := WithLog(t.Context(), nil, nil)
	if Logger(ctx) != slog.Default() || Output(ctx) != io.Discard {
		t.Error("nil values: want slog.Default and io.Discard")
	}
}
