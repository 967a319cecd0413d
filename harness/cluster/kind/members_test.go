package kind

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// fakeHaproxy is the runtime API of a haproxy with these servers. It does what
// haproxy 2.6 did when it was asked the same.
type fakeHaproxy struct {
	t        *testing.T
	listener net.Listener
	answer   string // to every change, when not empty

	mu      sync.Mutex
	servers []*member
	changes []string
	busy    map[string][]int // requests of a server, one for each time it is listed while it drains
}

func newFakeHaproxy(t *testing.T, servers ...*member) *fakeHaproxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &fakeHaproxy{t: t, listener: l, servers: servers, busy: map[string][]int{}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			f.serve(conn)
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return f
}

func (f *fakeHaproxy) port() string {
	_, port, _ := net.SplitHostPort(f.listener.Addr().String())
	return port
}

func (f *fakeHaproxy) serve(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		f.t.Errorf("haproxy was sent %q: %v", line, err)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for command := range strings.SplitSeq(strings.TrimSpace(line), "; ") {
		fmt.Fprintln(conn, f.command(command))
	}
}

func (f *fakeHaproxy) command(command string) string {
	if command == "show stat servers 4 -1" {
		out := "# pxname,svname,qcur,scur,status,addr,\n"
		for _, s := range f.servers {
			requests := s.Requests
			if left := f.busy[s.Name]; s.Status == "DRAIN" && len(left) > 0 {
				requests, f.busy[s.Name] = left[0], left[1:]
			}
			out += fmt.Sprintf("servers,%s,0,%d,%s,%s,\n", s.Name, requests, s.Status, s.Address)
		}
		return out
	}
	f.changes = append(f.changes, command)
	if f.answer != "" {
		return f.answer + "\n"
	}
	words := strings.Fields(command)
	if words[0] != "set" {
		return ""
	}
	for _, s := range f.servers {
		if words[2] != "servers/"+s.Name {
			continue
		}
		switch words[3] {
		case "addr":
			s.Address = words[4] + ":" + words[6]
			return "IP changed from '127.0.0.1' to '" + words[4] + "', port changed from '1' to '" + words[6] + "' by 'stats socket command'\n"
		case "state":
			s.Status = map[string]string{"ready": "UP", "drain": "DRAIN", "maint": "MAINT"}[words[4]]
		case "health":
			s.Status = "DOWN"
		}
		return ""
	}
	return "No such server."
}

func (f *fakeHaproxy) state() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []string
	for _, s := range f.servers {
		out = append(out, s.Name+" "+s.Address+" "+s.Status)
	}
	return out
}

// theBalancer answers the question for the run's containers with a balancer
// that Expose made and one that it did not.
func theBalancer(f *fakeHaproxy) []answer {
	return []answer{
		{match: `"ps "*"--filter label=io.rehearse.run=4f2a91"*`, stdout: "x\ny\n"},
		{match: `"container inspect x y"`, stdout: inspected(
			fmt.Sprintf(`{"Name":"/%s-balancer","State":{"Status":"running"},"Config":{"Labels":{"io.rehearse.node-port":"30080"}},
				"NetworkSettings":{"Ports":{"9999/tcp":[{"HostIp":"127.0.0.1","HostPort":%q}]}}}`, testName, f.port()),
			fmt.Sprintf(`{"Name":"/%s-twin-balancer","State":{"Status":"running"}}`, testName))},
	}
}

func TestNodesComeAndGoAtTheBalancer(t *testing.T) {
	h := newFakeHaproxy(t, &member{Name: "worker", Address: "172.20.0.3:30080", Status: "UP"},
		&member{Name: "slot1", Address: "127.0.0.1:1", Status: "MAINT"}, &member{Name: "slot2", Address: "127.0.0.1:1", Status: "MAINT"})
	d := newDriver(newFakeDocker(t, theBalancer(h)...), nil)
	for range 2 { // the second time there is nothing to do
		if err := d.letIn(t.Context(), spec(), "172.20.0.7"); err != nil {
			t.Fatal(err)
		}
	}
	h.busy["worker"] = []int{2, 1, 0}
	for range 2 {
		if err := d.letOut(t.Context(), spec(), "172.20.0.3"); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{
		"set server servers/slot1 addr 172.20.0.7 port 30080", "set server servers/slot1 weight 0", "set server servers/slot1 state ready",
		"set server servers/slot1 health down", "set server servers/slot1 weight 1",
		"set server servers/worker state drain", "set server servers/worker state maint",
	}
	if diff := cmp.Diff(want, h.changes); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
	if len(h.busy["worker"]) != 0 {
		t.Errorf("did not wait for the requests under way: %v were not asked for", h.busy["worker"])
	}
	// Docker gives addresses again. The server that had this one stays out.
	if err := d.letIn(t.Context(), spec(), "172.20.0.3"); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"worker 172.20.0.3:30080 MAINT", "slot1 172.20.0.7:30080 DOWN", "slot2 172.20.0.3:30080 DOWN"}, h.state()); diff != "" {
		t.Errorf("servers (-want +got):\n%s", diff)
	}
	err := d.letIn(t.Context(), spec(), "172.20.0.9")
	if want := "balancer " + testName + "-balancer: no room for server 172.20.0.9:30080: 64 servers were added already"; err == nil || err.Error() != want {
		t.Errorf("\n got %v\nwant %s", err, want)
	}
}

func TestRequestsThatDoNotEndAreCut(t *testing.T) {
	h := newFakeHaproxy(t, &member{Name: "worker", Address: "172.20.0.3:30080", Status: "UP", Requests: 3})
	d := newDriver(newFakeDocker(t, theBalancer(h)...), nil)
	d.balancer.Drain = 20 * time.Millisecond
	if err := d.letOut(t.Context(), spec(), "172.20.0.3"); err != nil {
		t.Fatal(err)
	}
	want := []string{"set server servers/worker state drain", "set server servers/worker state maint", "shutdown sessions server servers/worker"}
	if diff := cmp.Diff(want, h.changes); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
}

func TestBalancerThatRefusesIsAnError(t *testing.T) {
	h := newFakeHaproxy(t, &member{Name: "worker", Address: "172.20.0.3:30080", Status: "UP"})
	h.answer = "Permission denied"
	d := newDriver(newFakeDocker(t, theBalancer(h)...), nil)
	err := d.letOut(t.Context(), spec(), "172.20.0.3")
	want := "balancer " + testName + `-balancer: its runtime API answered "Permission denied" to "set server servers/worker state drain"`
	if err == nil || err.Error() != want {
		t.Errorf("\n got %v\nwant %s", err, want)
	}
}
