package apiserver

import (
	"context"
	"io"
	"log"
	"net/http/httptrace"
)

// httptraceConnectStart tells the trace in ctx what net.Dialer tells it when it
// starts to connect, for dialers that stand in for it.
func httptraceConnectStart(ctx context.Context) {
	if trace := httptrace.ContextClientTrace(ctx); trace != nil && trace.ConnectStart != nil {
		trace.ConnectStart("tcp", "10.0.0.1:6443")
	}
}

func discardLog() *log.Logger { return log.New(io.Discard, "", 0) }
