package mirror

import (
	"fmt"
	"net/http"
)

// ReadOnly lets only GET and HEAD through to next. Everything else is refused
// before it leaves the process, so that no mistake in this program can change
// the cluster that is read.
func ReadOnly(next http.RoundTripper) http.RoundTripper { return readOnly{next} }

type readOnly struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (t readOnly) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Method != http.MethodGet && req.Method != http.MethodHead {
		if req.Body != nil {
			_ = req.Body.Close()
		}
		return nil, fmt.Errorf("%s %s was refused: the cluster that is mirrored is only read", req.Method, req.URL.Path)
	}
	return t.next.RoundTrip(req)
}
