package sim

import (
	"context"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// network is the simulated pod network: it knows at which loopback address the
// process behind a pod's address really listens, and what a packet meets on
// its way there.
type network struct {
	clock clock
	// broken tells whether the overlay of a node is down.
	broken func(node string) bool

	mu    sync.Mutex
	hosts map[string]*host // by pod address
}

// host is a pod's sandbox: it has an address for as long as it exists, whether
// or not anything listens.
type host struct {
	node  string
	ports map[int]string // port to loopback address
}

// unreachableAfter is how long the kernel tries to resolve the address of a
// host that is not there before it answers "no route to host": three ARP
// requests, one second apart (neigh/default/mcast_solicit).
const unreachableAfter = 3 * time.Second

func newNetwork(c clock, broken func(node string) bool) *network {
	return &network{clock: c, broken: broken, hosts: map[string]*host{}}
}

func (n *network) addHost(ip, node string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.hosts[ip] = &host{node: node, ports: map[int]string{}}
}

func (n *network) removeHost(ip string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.hosts, ip)
}

// listen makes a port of a pod lead to a loopback address.
func (n *network) listen(ip string, port int, address string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if h := n.hosts[ip]; h != nil {
		h.ports[port] = address
	}
}

// dial connects from a node to a pod's port, or fails as the real network does:
// refused where nothing listens, unreachable where no such pod exists, and not
// at all where the overlay between the nodes is down.
func (n *network) dial(ctx context.Context, from, ip string, port int) (net.Conn, error) {
	n.mu.Lock()
	h := n.hosts[ip]
	var address, node string
	if h != nil {
		address, node = h.ports[port], h.node
	}
	n.mu.Unlock()

	fail := func(errno syscall.Errno) error {
		return &net.OpError{Op: "dial", Net: "tcp", Addr: &net.TCPAddr{IP: net.ParseIP(ip), Port: port}, Err: os.NewSyscallError("connect", errno)}
	}
	switch {
	case node != "" && node != from && (n.broken(from) || n.broken(node)):
		<-ctx.Done()
		return nil, fail(syscall.ETIMEDOUT)
	case h == nil:
		if err := n.clock.sleep(ctx, unreachableAfter); err != nil {
			return nil, fail(syscall.ETIMEDOUT)
		}
		return nil, fail(syscall.EHOSTUNREACH)
	case address == "":
		return nil, fail(syscall.ECONNREFUSED)
	}
	var d net.Dialer
	return d.DialContext(ctx, "tcp", address)
}
