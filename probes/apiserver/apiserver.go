// Package apiserver probes the Kubernetes API the way its clients use it: on a
// new connection, and on one that is kept, through the common address and at
// each API server by itself.
package apiserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/rest"

	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/probes"
)

// What a run uses unless it says otherwise: four observations a second, as
// clusterloader2's API availability measurement does at a coarser grain.
const (
	Interval = 250 * time.Millisecond
	Timeout  = 5 * time.Second
)

// Common is the name of the address that all API servers share.
const Common = "api"

// maxBody bounds what is read of one answer; the largest, /readyz?verbose of a
// failing server, is a few KiB.
const maxBody = 64 << 10

// Server is one way to reach the API.
type Server struct {
	// Name is Common, or the name of the node that runs this API server.
	Name   string
	Config *rest.Config
}

// Probe reads /readyz and then an object that every cluster has, the Namespace
// "default": a server can call itself ready and yet be unable to read from etcd,
// or still refuse for want of its authorization caches. Both must be answered
// 200 for the observation to be fine; each failure names the request.
//
// A probe on reused connections behaves as client-go does, which speaks HTTP/2
// and notices a dead connection only by its health check, after up to 45 s.
// That is what kubelets and controllers go through, so it is what is measured.
type Probe struct {
	name      string
	base      *url.URL
	transport func() (*http.Transport, error)
	wrap      func(http.RoundTripper) (http.RoundTripper, error)

	kept       *http.Transport // nil for a probe that opens a connection each time
	keptClient *http.Client
}

// New returns two probes for each server, on new and on reused connections,
// named api-new and api-reused for Common, and api-NODE-new and api-NODE-reused
// for the server of a node.
func New(servers []Server) ([]*Probe, error) {
	var out []*Probe
	for _, s := range servers {
		if s.Config == nil {
			return nil, fmt.Errorf("API server %q: no client configuration to reach it with", s.Name)
		}
		prefix := "api-" + s.Name
		if s.Name == Common {
			prefix = Common
		}
		fresh, err := newProbe(prefix+"-new", s.Config)
		if err != nil {
			return nil, err
		}
		reused, err := newProbe(prefix+"-reused", s.Config)
		if err != nil {
			return nil, err
		}
		if err := reused.keep(); err != nil {
			return nil, err
		}
		out = append(out, fresh, reused)
	}
	return out, nil
}

func newProbe(name string, config *rest.Config) (*Probe, error) {
	config = rest.CopyConfig(config)
	base, _, err := rest.DefaultServerUrlFor(config)
	if err != nil {
		return nil, fmt.Errorf("probe %s: address %q of the API server: %w", name, config.Host, err)
	}
	return &Probe{
		name: name,
		base: base,
		transport: func() (*http.Transport, error) {
			tlsConfig, err := rest.TLSConfigFor(config)
			if err != nil {
				return nil, err
			}
			return utilnet.SetTransportDefaults(&http.Transport{
				TLSClientConfig:     tlsConfig,
				Proxy:               config.Proxy,
				DialContext:         config.Dial,
				TLSHandshakeTimeout: Timeout,
			}), nil
		},
		wrap: func(rt http.RoundTripper) (http.RoundTripper, error) { return rest.HTTPWrappersForConfig(config, rt) },
	}, nil
}

func (p *Probe) keep() (err error) {
	p.kept, p.keptClient, err = p.client()
	return err
}

// client returns a client with connections of its own, and their transport.
func (p *Probe) client() (*http.Transport, *http.Client, error) {
	t, err := p.transport()
	if err != nil {
		return nil, nil, fmt.Errorf("probe %s: TLS configuration: %w", p.name, err)
	}
	rt, err := p.wrap(t)
	if err != nil {
		return nil, nil, fmt.Errorf("probe %s: credentials: %w", p.name, err)
	}
	return t, &http.Client{
		Transport:     rt,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

// Name implements probes.Probe.
func (p *Probe) Name() string { return p.name }

// Check implements probes.Probe.
func (p *Probe) Check(ctx context.Context) error {
	client := p.keptClient
	if client == nil {
		transport, fresh, err := p.client()
		if err != nil {
			return err
		}
		defer transport.CloseIdleConnections()
		client = fresh
	}
	if _, err := p.get(ctx, client, "/readyz"); err != nil {
		return err
	}
	const object = "/api/v1/namespaces/default"
	body, err := p.get(ctx, client, object)
	if err != nil {
		return err
	}
	var namespace struct {
		Kind     string `json:"kind"`
		Metadata struct {
			Name string `json:"name"`
		} `json:"metadata"`
	}
	if err := json.Unmarshal(body, &namespace); err != nil {
		return probes.Fail(record.WrongBody, "GET %s answered 200 with a body that is not JSON: %w", object, err)
	}
	if namespace.Kind != "Namespace" || namespace.Metadata.Name != "default" {
		return probes.Fail(record.WrongBody, "GET %s answered 200 with kind %q name %q, want the Namespace default", object, namespace.Kind, namespace.Metadata.Name)
	}
	return nil
}

// Close closes the kept connection. The probe can be used again afterwards.
func (p *Probe) Close() error {
	if p.kept != nil {
		p.kept.CloseIdleConnections()
	}
	return nil
}

// progress is how far a request came, to tell where a timeout struck.
type progress struct{ dialing atomic.Bool }

func (g *progress) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		ConnectStart: func(string, string) { g.dialing.Store(true) },
		ConnectDone:  func(string, string, error) { g.dialing.Store(false) },
	}
}

// timeoutClass returns the class of a request that ran out of time. A server
// that accepts connections and then hangs, in the handshake or after it, has
// connected and not answered.
func (g *progress) timeoutClass() record.Class {
	if g.dialing.Load() {
		return record.TimeoutConnect
	}
	return record.TimeoutResponse
}

// get returns the body of an answer with status 200, and otherwise an error
// that says what was asked and what came.
func (p *Probe) get(ctx context.Context, client *http.Client, path string) ([]byte, error) {
	var g progress
	target := p.base.JoinPath(path).String()
	req, err := http.NewRequestWithContext(httptrace.WithClientTrace(ctx, g.trace()), http.MethodGet, target, nil)
	if err != nil {
		return nil, fmt.Errorf("GET %s: %w", path, err)
	}
	req.Header.Set("Accept", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return nil, classed(path, err, &g)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	if err != nil {
		return nil, classed(path, fmt.Errorf("reading the answer: %w", err), &g)
	}
	if resp.StatusCode == http.StatusOK {
		return body, nil
	}
	class := record.HTTP4xx
	if resp.StatusCode >= 500 {
		class = record.HTTP5xx
	}
	return nil, probes.Fail(class, "GET %s answered %s%s", path, resp.Status, reason(body))
}

func classed(path string, err error, g *progress) error {
	class := probes.Classify(err)
	if class == record.TimeoutResponse {
		class = g.timeoutClass()
	}
	if cause := (*url.Error)(nil); errors.As(err, &cause) {
		err = cause.Err // without the address, which the probe's name stands for
	}
	return probes.Fail(class, "GET %s: %w", path, err)
}

// reason extracts from an answer other than 200 what a person wants to read:
// the failing checks of /readyz, or the message of a Status.
func reason(body []byte) string {
	var status struct {
		Message string `json:"message"`
	}
	if json.Unmarshal(body, &status) == nil && status.Message != "" {
		return ": " + status.Message
	}
	var failing []string
	for line := range strings.Lines(string(body)) {
		if rest, ok := strings.CutPrefix(line, "[-]"); ok {
			name, _, _ := strings.Cut(rest, " ")
			failing = append(failing, strings.TrimSpace(name))
		}
	}
	if len(failing) > 0 {
		return ": failing " + strings.Join(failing, ", ")
	}
	first, _, _ := strings.Cut(strings.TrimSpace(string(body)), "\n")
	if first == "" {
		return ""
	}
	return ": " + first
}
