package cli

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
)

// TestServePrintsItsAddressAndEnds starts the command, asks the address it prints,
// and ends it as an interrupt would.
func TestServePrintsItsAddressAndEnds(t *testing.T) {
	ctx, interrupt := context.WithCancelCause(t.Context())
	out, in := io.Pipe()
	var told bytes.Buffer
	root := newRoot(Streams{Out: in, Err: &told})
	dir := t.TempDir()
	root.SetArgs([]string{"serve", dir, "--addr", "127.0.0.1:0"})
	ended := make(chan error, 1)
	go func() { ended <- root.ExecuteContext(ctx) }()
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	address := strings.TrimSpace(line)
	if !strings.HasPrefix(address, "http://127.0.0.1:") || !strings.HasSuffix(address, "/") {
		t.Errorf("it prints %q", line)
	}
	r, err := http.Get(address) //nolint:noctx // of this machine
	if err != nil {
		t.Fatal(err)
	}
	page, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode != http.StatusOK || !bytes.Contains(page, []byte("There is no run yet.")) {
		t.Errorf("status %d, %v: %s", r.StatusCode, err, page)
	}
	_ = r.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	interrupt(errInterrupted)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if want := "Serving the runs of " + dir + " (0 at present). Ctrl-C ends it.\n"; told.String() != want {
		t.Errorf("it says %q, want %q", told.String(), want)
	}
}
