package nodeimage

import (
	"bytes"
	"errors"
	"log/slog"
	"regexp"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestLogProgress(t *testing.T) {
	var b bytes.Buffer
	p := LogProgress(slog.New(slog.NewTextHandler(&b, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}})))
	p.Stage("compile etcd", 2*time.Minute)(nil)
	p.Stage("compile flannel", 0)(errors.New("a page of compiler output"))
	p.Note("one stands in for another")
	got := regexp.MustCompile(`elapsed=\S+`).ReplaceAllString(b.String(), "elapsed=X")
	want := `level=INFO msg="compile etcd" expected=2m0s
level=INFO msg="compile etcd: done" elapsed=X
level=INFO msg="compile flannel"
level=WARN msg="compile flannel: stopped" elapsed=X
level=WARN msg="one stands in for another"
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
