package machine

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/yaml"
)

// Plane is a real control plane on this machine: etcd, kube-apiserver,
// kube-controller-manager and kube-scheduler. One stands for all control planes
// of the cluster; whether it can be reached is the balancer's matter.
type Plane struct {
	Kube, Etcd string // executables; kube is every component, told by its name
	Dir        string // for certificates, data and logs
	Log        *slog.Logger

	mu      sync.Mutex
	api     kubernetes.Interface
	address string
}

// Address of the API server; "" before it runs.
func (p *Plane) Address() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.address
}

func (p *Plane) client() kubernetes.Interface {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.api
}

// Wait returns a client of the API server once it runs: workers boot beside the
// control planes.
func (p *Plane) Wait(ctx context.Context) (kubernetes.Interface, error) {
	for {
		if c := p.client(); c != nil {
			return c, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// keyset is a key of kops' state store with its certificate.
type keyset struct {
	Spec struct {
		PrimaryID string `json:"primaryID"`
		Keys      []struct {
			ID              string `json:"id"`
			PublicMaterial  []byte `json:"publicMaterial"`
			PrivateMaterial []byte `json:"privateMaterial"`
		} `json:"keys"`
	} `json:"spec"`
}

func readKey(cluster, name string, object func(string) ([]byte, error)) (cert, key []byte, err error) {
	text, err := object(cluster + "/pki/private/" + name + "/keyset.yaml")
	if err != nil {
		return nil, nil, err
	}
	var k keyset
	if err := yaml.Unmarshal(text, &k); err != nil {
		return nil, nil, fmt.Errorf("keyset %s: %w", name, err)
	}
	for _, one := range k.Spec.Keys {
		if one.ID == k.Spec.PrimaryID || len(k.Spec.Keys) == 1 {
			return one.PublicMaterial, one.PrivateMaterial, nil
		}
	}
	return nil, nil, fmt.Errorf("keyset %s has no primary key", name)
}

// Ensure starts everything at its first call, with the cluster's authority, and
// returns a client. It returns once the API server is ready.
func (p *Plane) Ensure(ctx context.Context, cluster string, object func(string) ([]byte, error)) (kubernetes.Interface, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.api != nil {
		return p.api, nil
	}
	ca, caKey, err := readKey(cluster, "kubernetes-ca", object)
	if err != nil {
		return nil, err
	}
	_, account, err := readKey(cluster, "service-account", object)
	if err != nil {
		return nil, err
	}
	authority, err := newAuthority(ca, caKey)
	if err != nil {
		return nil, fmt.Errorf("kubernetes-ca: %w", err)
	}
	server, serverKey, err := authority.issue("kube-apiserver", "", []string{"api.internal." + cluster, "api." + cluster, "kubernetes", "kubernetes.default.svc"}, []net.IP{net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, err
	}
	admin, adminKey, err := authority.issue("awssim", "system:masters", nil, nil)
	if err != nil {
		return nil, err
	}
	for name, b := range map[string][]byte{"ca.crt": ca, "sa.key": account, "server.crt": server, "server.key": serverKey} {
		if err := os.WriteFile(filepath.Join(p.Dir, name), b, 0o600); err != nil {
			return nil, err
		}
	}
	ports, err := free(4)
	if err != nil {
		return nil, err
	}
	address := fmt.Sprintf("127.0.0.1:%d", ports[2])
	config := &rest.Config{Host: "https://" + address, QPS: 100, Burst: 200, TLSClientConfig: rest.TLSClientConfig{CAData: ca, CertData: admin, KeyData: adminKey}}
	kubeconfig := filepath.Join(p.Dir, "kubeconfig")
	if err := writeKubeconfig(kubeconfig, config); err != nil {
		return nil, err
	}
	etcd := fmt.Sprintf("http://127.0.0.1:%d", ports[0])
	peer := fmt.Sprintf("http://127.0.0.1:%d", ports[1])
	in := func(name string) string { return filepath.Join(p.Dir, name) }
	start := func(path string, args ...string) error { return p.start(ctx, path, args...) }
	if err := errors.Join(
		start(p.Etcd, "etcd", "--data-dir="+in("etcd"), "--listen-client-urls="+etcd, "--advertise-client-urls="+etcd, "--listen-peer-urls="+peer,
			"--initial-advertise-peer-urls="+peer, "--initial-cluster=default="+peer, "--unsafe-no-fsync", "--log-level=warn"),
		start(p.Kube, "kube-apiserver", "--etcd-servers="+etcd, "--bind-address=127.0.0.1", fmt.Sprintf("--secure-port=%d", ports[2]),
			"--tls-cert-file="+in("server.crt"), "--tls-private-key-file="+in("server.key"), "--client-ca-file="+in("ca.crt"),
			"--service-account-issuer=https://api.internal."+cluster, "--service-account-key-file="+in("sa.key"), "--service-account-signing-key-file="+in("sa.key"),
			"--authorization-mode=Node,RBAC", "--allow-privileged", "--service-cluster-ip-range=100.64.0.0/13", "--endpoint-reconciler-type=none",
			// Nodes are ready when they join, and no controller makes service accounts.
			"--disable-admission-plugins=TaintNodesByCondition,ServiceAccount"),
	); err != nil {
		return nil, err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	if err := ready(ctx, client); err != nil {
		return nil, err
	}
	if err := errors.Join(
		start(p.Kube, "kube-controller-manager", "--kubeconfig="+kubeconfig, "--leader-elect=false", "--secure-port=0",
			"--controllers=deployment-controller,replicaset-controller,disruption-controller,garbage-collector-controller,namespace-controller"),
		start(p.Kube, "kube-scheduler", "--kubeconfig="+kubeconfig, "--leader-elect=false", "--secure-port=0"),
	); err != nil {
		return nil, err
	}
	p.api, p.address = client, address
	p.Log.Info("the API server runs", "address", address)
	return client, nil
}

// start starts a component, which ends with this process.
func (p *Plane) start(ctx context.Context, path string, args ...string) error {
	log, err := os.Create(filepath.Join(p.Dir, args[0]+".log"))
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, path)
	cmd.Args, cmd.Stdout, cmd.Stderr, cmd.Dir = args, log, log, p.Dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + p.Dir}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("%s: %w", args[0], err)
	}
	go func() {
		err := cmd.Wait()
		_ = log.Close()
		if ctx.Err() == nil {
			p.Log.Error("a component ended", "component", args[0], "error", err)
		}
	}()
	return nil
}

func ready(ctx context.Context, client kubernetes.Interface) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	for {
		_, err := client.CoreV1().Namespaces().Get(ctx, metav1.NamespaceSystem, metav1.GetOptions{})
		if err == nil {
			if _, err = client.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx); err == nil {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the API server is not ready: %w", err)
		case <-time.After(300 * time.Millisecond):
		}
	}
}

func free(n int) ([]int, error) {
	var ports []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

func writeKubeconfig(path string, c *rest.Config) error {
	k := clientcmdapi.NewConfig()
	k.Clusters["x"] = &clientcmdapi.Cluster{Server: c.Host, CertificateAuthorityData: c.CAData}
	k.AuthInfos["x"] = &clientcmdapi.AuthInfo{ClientCertificateData: c.CertData, ClientKeyData: c.KeyData}
	k.Contexts["x"] = &clientcmdapi.Context{Cluster: "x", AuthInfo: "x"}
	k.CurrentContext = "x"
	return clientcmd.WriteToFile(*k, path)
}

type authority struct {
	cert *x509.Certificate
	key  any
}

func newAuthority(cert, key []byte) (*authority, error) {
	c, _ := pem.Decode(cert)
	k, _ := pem.Decode(key)
	if c == nil || k == nil {
		return nil, errors.New("no PEM")
	}
	parsed, err := x509.ParseCertificate(c.Bytes)
	if err != nil {
		return nil, err
	}
	var private any
	if strings.HasPrefix(k.Type, "RSA") {
		private, err = x509.ParsePKCS1PrivateKey(k.Bytes)
	} else {
		private, err = x509.ParsePKCS8PrivateKey(k.Bytes)
	}
	return &authority{parsed, private}, err
}

func (a *authority) issue(name, group string, hosts []string, ips []net.IP) (cert, key []byte, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name}, DNSNames: hosts, IPAddresses: ips, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(240 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if group != "" {
		template.Subject.Organization = []string{group}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, private.Public(), a.key)
	if err != nil {
		return nil, nil, err
	}
	b, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: b}), nil
}
