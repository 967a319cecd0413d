package load

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/kube-rehearse/rehearse/harness/canary"
	"github.com/kube-rehearse/rehearse/harness/record"
)

// serveCanary serves a canary at an address, and returns the address.
func serveCanary(t *testing.T, pod, addr string) string {
	t.Helper()
	c, err := canary.New(canary.Config{Pod: pod, Node: "here", BodyBytes: 1024})
	if err != nil {
		t.Fatal(err)
	}
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- c.Serve(l) }()
	t.Cleanup(func() {
		_ = c.Close()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

// TestTheCanaryServesEveryLane sends every kind of lane to a real canary.
func TestTheCanaryServesEveryLane(t *testing.T) {
	target := "http://" + serveCanary(t, "canary-1", "127.0.0.1:0") + "/"
	var lanes []Lane
	for _, k := range Kinds() {
		l := Lane{Name: string(k), Kind: k, Target: target, Rate: 40, Timeout: 20 * time.Second, Canary: true}
		if err := Probe(t.Context(), l); err != nil {
			t.Error(err)
		}
		lanes = append(lanes, l)
	}
	r := startLanes(t, lanes...)
	r.sleepUntil(1500 * time.Millisecond)
	if err := r.Stop(); err != nil {
		t.Fatal(err)
	}
	for _, l := range lanes {
		sum := r.lanes[l.Name].counts(t)
		if sum[record.OK] == 0 || sum[record.OK]+sum[record.Unsent] != total(sum) {
			t.Errorf("lane %s: outcomes %v, %+v", l.Name, sum, r.lanes[l.Name].requests)
		}
	}
}

// nameServer answers every question with one address, which may change.
type nameServer struct {
	mu   sync.Mutex
	addr [4]byte
}

func (n *nameServer) set(last byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.addr = [4]byte{127, 0, 0, last}
}

// answer returns the answer to a query (RFC 1035, section 4), with a TTL of 0.
func (n *nameServer) answer(query []byte) []byte {
	n.mu.Lock()
	defer n.mu.Unlock()
	end := 12
	for end < len(query) && query[end] != 0 {
		end += int(query[end]) + 1
	}
	end += 5 // the root label, type and class
	if end > len(query) {
		return nil
	}
	isA := binary.BigEndian.Uint16(query[end-4:]) == 1
	out := append([]byte{query[0], query[1], 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0}, query[12:end]...)
	if isA {
		out[7] = 1
		out = append(out, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4)
		out = append(out, n.addr[:]...)
	}
	return out
}

// TestCachedDNSKeepsItsAddress moves a name from one canary to another: a client
// that resolves for each connection follows at once, one that never resolves
// again stays, and loses its requests when the old one is gone.
func TestCachedDNSKeepsItsAddress(t *testing.T) {
	var ns nameServer
	ns.set(1)
	pc, err := (&net.ListenConfig{}).ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		buf := make([]byte, 512)
		for {
			size, from, err := pc.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = pc.WriteTo(ns.answer(buf[:size]), from)
		}
	}()
	real := net.DefaultResolver
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp", pc.LocalAddr().String())
	}}
	t.Cleanup(func() {
		net.DefaultResolver = real
		_ = pc.Close()
		<-asked
	})

	old := &http.Server{Handler: service("hello"), ReadHeaderTimeout: time.Second}
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	stopped := make(chan error, 1)
	go func() { stopped <- old.Serve(l) }()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	serveCanary(t, "another", "127.0.0.2:"+port)

	target := fmt.Sprintf("http://canary.test:%s/", port)
	lanes := []Lane{
		{Name: "new", Kind: New, Target: target, Rate: 40, Timeout: 20 * time.Second, Canary: true},
		{Name: "cached-dns", Kind: CachedDNS, Target: target, Rate: 40, Timeout: 20 * time.Second, Canary: true},
	}
	r := startLanes(t, lanes...)
	r.sleepUntil(time.Second)
	ns.set(2)
	r.sleepUntil(1500 * time.Millisecond)
	_ = old.Close()
	<-stopped
	r.sleepUntil(2500 * time.Millisecond)
	if err := r.Stop(); err != nil {
		t.Fatal(err)
	}
	followed, stayed := r.lanes["new"].counts(t), r.lanes["cached-dns"].counts(t)
	if followed[record.OK]+followed[record.Unsent] != total(followed) {
		t.Errorf("lane new: outcomes %v, %+v", followed, r.lanes["new"].requests)
	}
	if stayed[record.OK] == 0 || stayed[record.Refused] == 0 {
		t.Errorf("lane cached-dns: outcomes %v; it should have lost its requests", stayed)
	}
	for _, q := range r.lanes["cached-dns"].requests {
		if q.Class == record.OK.String() {
			continue
		}
		if host, _, _ := net.SplitHostPort(q.Remote); host != "" && host != "127.0.0.1" {
			t.Errorf("lane cached-dns went to %s", q.Remote)
		}
	}
}
