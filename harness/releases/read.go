package releases

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/pause"
)

// Bounds of reading one source.
const (
	maxBytes   = 1 << 20
	perAttempt = 30 * time.Second
	attempts   = 3
	backoff    = 2 * time.Second
)

// MinorPlaceholder stands in a source for a minor version such as 1.35: the
// source is then read once for the cluster's own and once for the next, of which
// there need not be one.
const MinorPlaceholder = "{minor}"

// Reader reads versions from sources: files, and http and https URLs.
type Reader struct {
	Client *http.Client // nil for http.DefaultClient
	// Backoff is waited for before the second attempt, and doubled after it; 0
	// means 2 s.
	Backoff time.Duration
}

// Read returns the stable versions of all sources, as Parse does. Each is read
// within a minute and a half and up to 1 MiB; what a network or server does for
// a moment is tried again, three times in all. What it names in errors is without
// the user, password and query of a URL.
func (r Reader) Read(ctx context.Context, sources []string, from cluster.Version) ([]cluster.Version, error) {
	if len(sources) == 0 {
		return nil, errors.New("no source of versions was given")
	}
	var all []cluster.Version
	for _, s := range sources {
		if !strings.Contains(s, MinorPlaceholder) {
			got, err := r.one(ctx, s)
			if err != nil {
				return nil, err
			}
			all = append(all, got...)
			continue
		}
		for i := range 2 {
			minor := fmt.Sprintf("1.%d", from.Minor()+i)
			got, err := r.one(ctx, strings.ReplaceAll(s, MinorPlaceholder, minor))
			if i == 1 && errors.Is(err, fs.ErrNotExist) {
				continue // not released yet
			}
			if err != nil {
				return nil, err
			}
			all = append(all, got...)
		}
	}
	return all, nil
}

func (r Reader) one(ctx context.Context, source string) ([]cluster.Version, error) {
	if !strings.HasPrefix(source, "http://") && !strings.HasPrefix(source, "https://") {
		b, err := readFile(source)
		if err != nil {
			return nil, fmt.Errorf("versions: %w; name a file or a URL that has %s", err, Formats)
		}
		return Parse(source, b)
	}
	u, err := url.Parse(source)
	if err != nil {
		return nil, errors.New("versions: a URL that cannot be read")
	}
	name := public(u)
	b, err := r.get(ctx, u)
	if err != nil {
		return nil, fmt.Errorf("versions: %s: %w", name, err)
	}
	return Parse(name, b)
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return bounded(f)
}

var errTooLong = fmt.Errorf("more than %d bytes: that is no list of versions", maxBytes)

func bounded(r io.Reader) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxBytes+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxBytes {
		return nil, errTooLong
	}
	return b, nil
}

// public is the URL without what may be secret.
func public(u *url.URL) string {
	c := *u
	c.User, c.RawQuery, c.Fragment = nil, "", ""
	return c.String()
}

func (r Reader) get(ctx context.Context, u *url.URL) ([]byte, error) {
	wait := r.Backoff
	if wait == 0 {
		wait = backoff
	}
	for n := 1; ; n++ {
		b, again, err := r.attempt(ctx, u)
		if err == nil || !again || n == attempts {
			return b, err
		}
		if err := pause.For(ctx, wait); err != nil {
			return nil, err
		}
		wait *= 2
	}
}

// attempt asks once; again is true where another attempt may do better.
func (r Reader) attempt(parent context.Context, u *url.URL) (b []byte, again bool, err error) {
	ctx, cancel := context.WithTimeoutCause(parent, perAttempt, fmt.Errorf("no whole answer within %s", perAttempt))
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, false, errors.New("a URL that cannot be asked")
	}
	client := r.Client
	if client == nil {
		client = http.DefaultClient
	}
	const reach = "; can this machine reach it, and does it need a proxy (HTTPS_PROXY)?"
	res, err := client.Do(req)
	if err != nil {
		return nil, parent.Err() == nil, fmt.Errorf("%w%s", plain(ctx, err), reach)
	}
	defer res.Body.Close()
	switch {
	case res.StatusCode == http.StatusNotFound:
		return nil, false, fmt.Errorf("the server answers %s: %w", res.Status, fs.ErrNotExist)
	case res.StatusCode == http.StatusTooManyRequests || res.StatusCode >= 500:
		return nil, true, fmt.Errorf("the server answers %s, %d times in a row; try later, or give the versions in a file", res.Status, attempts)
	case res.StatusCode != http.StatusOK:
		return nil, false, fmt.Errorf("the server answers %s; is the URL right?", res.Status)
	}
	if b, err = bounded(res.Body); err != nil {
		return nil, parent.Err() == nil && !errors.Is(err, errTooLong), plain(ctx, err)
	}
	return b, false, nil
}

// plain takes the URL, which may hold a secret, out of an error of net/http.
func plain(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var ue *url.Error
	if errors.As(err, &ue) {
		return ue.Err
	}
	return err
}
