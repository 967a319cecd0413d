package sim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/version"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/kube-rehearse/rehearse/harness/cluster"
)

// apiServer is one control plane's listener on loopback: real HTTP for the
// probes that look at the API from outside. It answers GET of health, version
// and single objects; everything else goes through the fake clientsets.
type apiServer struct {
	node    string
	version func() cluster.Version
	etcdUp  func() bool
	// awaitEtcd blocks until the etcd member beside the server is up.
	awaitEtcd func(ctx context.Context) error
	get       func(gvr schema.GroupVersionResource, namespace, name string) (runtime.Object, error)
	addr      string // set by the first start, and the same for ever

	mu     sync.Mutex
	server *http.Server
	done   chan struct{}
}

// start listens, on the same address as before if there was one.
func (s *apiServer) start(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.server != nil {
		return nil
	}
	addr := s.addr
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("simulated API server of %s: listen on %s: %w", s.node, addr, err)
	}
	if s.addr == "" {
		s.addr = l.Addr().String()
	}
	srv := &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second}
	done := make(chan struct{})
	s.server, s.done = srv, done
	go func() {
		defer close(done)
		// Serve always returns an error, and after Close the one that says so.
		_ = srv.Serve(l)
	}()
	return nil
}

// stop ends the process: its connections break.
func (s *apiServer) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.server == nil {
		return
	}
	_ = s.server.Close()
	<-s.done
	s.server = nil
}

// ServeHTTP implements http.Handler.
func (s *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/livez", "/healthz", "/readyz":
		if !s.etcdUp() {
			http.Error(w, "[+]ping ok\n[-]etcd failed: reason withheld\n"+strings.TrimPrefix(r.URL.Path, "/")+" check failed", http.StatusInternalServerError)
			return
		}
		_, _ = w.Write([]byte("ok"))
		return
	case "/version":
		writeJSON(w, http.StatusOK, versionInfo(s.version()))
		return
	}
	// The server's etcd client tries again for as long as the request lives.
	if s.awaitEtcd(r.Context()) != nil {
		writeStatus(w, errEtcd)
		return
	}
	gvr, ns, name, ok := parsePath(r.URL.Path)
	if !ok || r.Method != http.MethodGet {
		writeStatus(w, apierrors.NewGenericServerResponse(http.StatusNotFound, r.Method, schema.GroupResource{}, "", "the simulated API server answers GET of single objects only", 0, true))
		return
	}
	obj, err := s.get(gvr, ns, name)
	if err != nil {
		writeStatus(w, err)
		return
	}
	obj = obj.DeepCopyObject()
	if gvks, _, err := scheme.Scheme.ObjectKinds(obj); err == nil {
		obj.GetObjectKind().SetGroupVersionKind(gvks[0])
	}
	writeJSON(w, http.StatusOK, obj)
}

// errEtcd is what an API server answers while its etcd member is away for longer
// than the request.
var errEtcd = apierrors.NewInternalError(errors.New("etcdserver: request timed out"))

// parsePath reads the API path of one object.
func parsePath(path string) (gvr schema.GroupVersionResource, ns, name string, ok bool) {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	switch {
	case len(parts) > 2 && parts[0] == "api":
		gvr.Version, parts = parts[1], parts[2:]
	case len(parts) > 3 && parts[0] == "apis":
		gvr.Group, gvr.Version, parts = parts[1], parts[2], parts[3:]
	default:
		return gvr, "", "", false
	}
	if len(parts) == 4 && parts[0] == "namespaces" {
		ns, parts = parts[1], parts[2:]
	}
	if len(parts) != 2 {
		return gvr, "", "", false
	}
	gvr.Resource = parts[0]
	return gvr, ns, parts[1], true
}

func writeJSON(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(v)
}

func writeStatus(w http.ResponseWriter, err error) {
	status := metav1.Status{Status: metav1.StatusFailure, Code: http.StatusInternalServerError, Message: err.Error()}
	var s apierrors.APIStatus
	if errors.As(err, &s) {
		status = s.Status()
	}
	status.Kind, status.APIVersion = "Status", "v1"
	writeJSON(w, int(status.Code), status)
}

func versionInfo(v cluster.Version) *version.Info {
	return &version.Info{Major: "1", Minor: fmt.Sprint(v.Minor()), GitVersion: v.String(), GitTreeState: "simulated", Platform: "linux/amd64"}
}
