// Package internet is a proxy behind which everything that kops reaches for is
// simulated: a client that has it as HTTPS_PROXY, and its certificate as
// SSL_CERT_FILE, needs no other redirection. The API of the cluster is reached
// through its balancer's name; all else ends here, with a certificate made for
// the name that was asked for.
package internet

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Internet is the proxy.
type Internet struct {
	// Cloud answers for amazonaws.com.
	Cloud http.Handler
	// IsBalancer tells whether a host is a balancer's, Backend where its
	// connections to a port go at the moment; "" where nothing listens.
	IsBalancer func(host string) bool
	Backend    func(host string, port int) string
	// Channels is a directory with kops' channels.
	Channels string
	Log      *slog.Logger

	key    *ecdsa.PrivateKey
	root   *x509.Certificate
	mu     sync.Mutex
	leaves map[string]*tls.Certificate
}

// Certificate makes the authority and returns its certificate.
func (n *Internet) Certificate() ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "awssim"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(240 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	if n.root, err = x509.ParseCertificate(der); err != nil {
		return nil, err
	}
	n.key, n.leaves = key, map[string]*tls.Certificate{}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), nil
}

func (n *Internet) leaf(host string) (*tls.Certificate, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if c := n.leaves[host]; c != nil {
		return c, nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(int64(len(n.leaves) + 2)), Subject: pkix.Name{CommonName: "a site of awssim"}, DNSNames: []string{host},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(240 * time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, n.root, key.Public(), n.key)
	if err != nil {
		return nil, err
	}
	c := &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	n.leaves[host] = c
	return c, nil
}

// Serve accepts connections to the proxy until the listener is closed.
func (n *Internet) Serve(l net.Listener) error {
	inside := &inner{conns: make(chan net.Conn), addr: l.Addr()}
	sites := &http.Server{Handler: http.HandlerFunc(n.site), ReadHeaderTimeout: time.Minute, ErrorLog: slog.NewLogLogger(n.Log.Handler(), slog.LevelDebug)}
	go func() { _ = sites.Serve(inside) }()
	proxy := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect {
			http.Error(w, "only CONNECT", http.StatusMethodNotAllowed)
			return
		}
		n.connect(w, r, inside)
	})}
	return proxy.Serve(l)
}

func (n *Internet) connect(w http.ResponseWriter, r *http.Request, inside *inner) {
	host, portText, err := net.SplitHostPort(r.Host)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	port, _ := strconv.Atoi(portText)
	conn, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		n.Log.Error("proxy", "error", err)
		return
	}
	_, _ = io.WriteString(conn, "HTTP/1.1 200 Connection established\r\n\r\n")
	if !n.IsBalancer(host) {
		inside.conns <- tls.Server(conn, &tls.Config{GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) { return n.leaf(h.ServerName) }, MinVersion: tls.VersionTLS12})
		return
	}
	// A network balancer without a healthy target accepts and closes.
	defer conn.Close()
	to := n.Backend(host, port)
	if to == "" {
		return
	}
	back, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(context.WithoutCancel(r.Context()), "tcp", to)
	if err != nil {
		return
	}
	defer back.Close()
	done := make(chan struct{}, 2)
	pipe := func(to, from net.Conn) {
		_, _ = io.Copy(to, from)
		done <- struct{}{}
	}
	go pipe(back, conn)
	go pipe(conn, back)
	<-done
}

// inner is a listener of connections that came through the proxy.
type inner struct {
	conns chan net.Conn
	addr  net.Addr
}

func (i *inner) Accept() (net.Conn, error) { return <-i.conns, nil }
func (i *inner) Close() error              { return nil }
func (i *inner) Addr() net.Addr            { return i.addr }

// site answers for a host.
func (n *Internet) site(w http.ResponseWriter, r *http.Request) {
	host := strings.Split(r.Host, ":")[0]
	switch {
	case strings.HasSuffix(host, ".amazonaws.com"):
		n.Cloud.ServeHTTP(w, r)
	case host == "raw.githubusercontent.com" && strings.HasPrefix(r.URL.Path, "/kubernetes/kops/master/channels/"):
		b, err := os.ReadFile(filepath.Join(n.Channels, path.Base(r.URL.Path)))
		if err != nil {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(b)
	case strings.HasSuffix(r.URL.Path, ".sha256") || strings.HasSuffix(r.URL.Path, ".sha256sum"):
		// Nothing downloads the file itself, so any digest does that stays the same.
		fmt.Fprintf(w, "%x  %s\n", sha256.Sum256([]byte(host+r.URL.Path)), path.Base(strings.TrimSuffix(r.URL.Path, path.Ext(r.URL.Path))))
	case r.URL.Path == "/v2/":
		w.WriteHeader(http.StatusOK)
	case strings.HasPrefix(r.URL.Path, "/v2/") && strings.Contains(r.URL.Path, "/manifests/"):
		w.Header().Set("Content-Type", "application/vnd.oci.image.index.v1+json")
		w.Header().Set("Docker-Content-Digest", fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(host+r.URL.Path))))
		w.Header().Set("Content-Length", "100")
		w.WriteHeader(http.StatusOK)
	default:
		n.Log.Error("gap", "what", "https://"+r.Host+r.URL.Path)
		http.NotFound(w, r)
	}
}
