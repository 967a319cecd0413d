package kind

import (
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/pause"
)

// Servers of a balancer that do not exist when it starts. haproxy has a fixed
// set of servers, of which these wait in maintenance for an address.
const (
	slotPrefix = "slot"
	slots      = 64
)

// balancerBackend is the name of the backend in balancerConfig.
const balancerBackend = "servers"

// runtimeTimeout bounds one exchange with a balancer's runtime API.
const runtimeTimeout = 10 * time.Second

// drainPoll is how often a server that drains is asked for its requests.
const drainPoll = 200 * time.Millisecond

// frontdoor is a balancer that Expose made.
type frontdoor struct {
	name     string
	nodePort int
	runtime  haproxy
}

// frontdoors finds the balancers that Expose made for the run.
func (d *Driver) frontdoors(ctx context.Context, s cluster.Spec) ([]frontdoor, error) {
	found, err := d.docker.Containers(ctx, cluster.LabelRun+"="+s.RunID)
	if err != nil {
		return nil, err
	}
	var out []frontdoor
	for _, c := range found {
		if c.Labels[labelNodePort] == "" {
			continue
		}
		port, err := strconv.Atoi(c.Labels[labelNodePort])
		if err != nil {
			return nil, fmt.Errorf("balancer %s: label %s: %w", c.Name, labelNodePort, err)
		}
		admin := c.Ports[fmt.Sprintf("%d/tcp", balancerAdminPort)]
		if c.State != running || len(admin) == 0 {
			return nil, fmt.Errorf("balancer %s is %q and cannot be told of nodes that come and go: see docker logs %s", c.Name, c.State, c.Name)
		}
		out = append(out, frontdoor{name: c.Name, nodePort: port, runtime: haproxy{admin[0]}})
	}
	return out, nil
}

// letIn makes every balancer that Expose made send to the node at the address,
// from the moment at which its health checks have passed.
func (d *Driver) letIn(ctx context.Context, s cluster.Spec, address string) error {
	return d.atEach(ctx, s, func(door frontdoor) error { return door.letIn(ctx, address) })
}

// letOut makes no balancer send to the node at the address any more, and
// returns when none does.
func (d *Driver) letOut(ctx context.Context, s cluster.Spec, address string) error {
	return d.atEach(ctx, s, func(door frontdoor) error { return door.letOut(ctx, address, d.balancer.Drain) })
}

// atEach does something at every balancer that Expose made, one after the other,
// while nothing else changes any.
func (d *Driver) atEach(ctx context.Context, s cluster.Spec, do func(frontdoor) error) error {
	d.balancing.Lock()
	defer d.balancing.Unlock()
	doors, err := d.frontdoors(ctx, s)
	if err != nil {
		return err
	}
	for _, door := range doors {
		if err := do(door); err != nil {
			return fmt.Errorf("balancer %s: %w", door.name, err)
		}
	}
	return nil
}

func (f frontdoor) letIn(ctx context.Context, address string) error {
	members, err := f.runtime.members(ctx)
	if err != nil {
		return err
	}
	at := net.JoinHostPort(address, strconv.Itoa(f.nodePort))
	free := ""
	for _, m := range members {
		if m.Address == at && !m.out() {
			return nil
		}
		if free == "" && m.out() && strings.HasPrefix(m.Name, slotPrefix) {
			free = m.Name
		}
	}
	if free == "" {
		return fmt.Errorf("no room for server %s: %d servers were added already", at, slots)
	}
	set := "set server " + balancerBackend + "/" + free
	// A server that leaves maintenance counts as healthy until a check fails. It
	// has no weight in that moment, so that nothing is sent to it.
	return f.runtime.change(ctx,
		set+" addr "+address+" port "+strconv.Itoa(f.nodePort),
		set+" weight 0", set+" state ready", set+" health down", set+" weight 1")
}

func (f frontdoor) letOut(ctx context.Context, address string, patience time.Duration) error {
	members, err := f.runtime.members(ctx)
	if err != nil {
		return err
	}
	at := net.JoinHostPort(address, strconv.Itoa(f.nodePort))
	for _, m := range members {
		if m.Address != at || m.out() {
			continue
		}
		set := "set server " + balancerBackend + "/" + m.Name
		if err := f.runtime.change(ctx, set+" state drain"); err != nil {
			return err
		}
		left, err := f.awaitEmpty(ctx, m.Name, patience)
		if err != nil {
			return err
		}
		end := []string{set + " state maint"}
		if left > 0 {
			cluster.Logger(ctx).Warn("cutting requests that did not end while their server was drained",
				"balancer", f.name, "server", at, "requests", left, "after", patience.String())
			end = append(end, "shutdown sessions server "+balancerBackend+"/"+m.Name)
		}
		if err := f.runtime.change(ctx, end...); err != nil {
			return err
		}
	}
	return nil
}

// awaitEmpty waits until the server has no request under way, and returns how
// many it has when patience has run out.
func (f frontdoor) awaitEmpty(ctx context.Context, name string, patience time.Duration) (left int, err error) {
	deadline := time.Now().Add(patience)
	for {
		members, err := f.runtime.members(ctx)
		if err != nil {
			return 0, err
		}
		i := slices.IndexFunc(members, func(m member) bool { return m.Name == name })
		if i < 0 {
			return 0, fmt.Errorf("server %s is gone from its list", name)
		}
		left := members[i].Requests
		if left == 0 || time.Now().After(deadline) {
			return left, nil
		}
		if err := pause.For(ctx, drainPoll); err != nil {
			return 0, err
		}
	}
}

// member is one server of a balancer.
type member struct {
	Name, Address string // Address is host:port
	Status        string // UP, DOWN, DOWN 1/2, DRAIN, MAINT, ...
	Requests      int    // under way
}

// out tells that the server is in maintenance: nothing is sent to it, nor is it
// checked.
func (m member) out() bool { return strings.HasPrefix(m.Status, "MAINT") }

// haproxy is the runtime API of a haproxy, at host:port (HAProxy Management
// Guide 2.6, section 9.3, "Unix Socket commands").
type haproxy struct{ address string }

// ask sends commands in one line, which haproxy carries out in order, and
// returns what it answers.
func (h haproxy) ask(ctx context.Context, commands ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, runtimeTimeout)
	defer cancel()
	line := strings.Join(commands, "; ")
	fmt.Fprintf(cluster.Output(ctx), "haproxy %s$ %s\n", h.address, line)
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", h.address)
	if err != nil {
		return "", fmt.Errorf("reach its runtime API: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	defer func() { _ = conn.Close() }()
	if _, err := io.WriteString(conn, line+"\n"); err != nil {
		return "", fmt.Errorf("ask its runtime API %q: %w", line, err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil {
		return "", fmt.Errorf("ask its runtime API %q: %w", line, err)
	}
	return string(answer), nil
}

// harmless are the beginnings of answers to commands that succeeded; most
// answer with an empty line.
var harmless = []string{"IP changed from ", "port changed from ", "no need to change "}

// change carries out commands and fails when one of them did.
func (h haproxy) change(ctx context.Context, commands ...string) error {
	answer, err := h.ask(ctx, commands...)
	if err != nil {
		return err
	}
	return refusal(answer, commands)
}

// refusal is the error that haproxy's answer to changes stands for.
func refusal(answer string, commands []string) error {
	for line := range strings.Lines(answer) {
		line = strings.TrimSpace(line)
		if line != "" && !slices.ContainsFunc(harmless, func(b string) bool { return strings.HasPrefix(line, b) }) {
			return fmt.Errorf("its runtime API answered %q to %q", line, strings.Join(commands, "; "))
		}
	}
	return nil
}

// members lists the servers.
func (h haproxy) members(ctx context.Context) ([]member, error) {
	// "4" is for servers alone, "-1" for all of them.
	answer, err := h.ask(ctx, "show stat "+balancerBackend+" 4 -1")
	if err != nil {
		return nil, err
	}
	return parseMembers(answer)
}

// parseMembers reads what haproxy answers to "show stat".
func parseMembers(answer string) ([]member, error) {
	rows := csv.NewReader(strings.NewReader(strings.TrimPrefix(strings.TrimSpace(answer), "# ")))
	rows.FieldsPerRecord = -1
	all, err := rows.ReadAll()
	if err != nil {
		return nil, fmt.Errorf("read its list of servers: %w", err)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("read its list of servers: it is empty")
	}
	var columns [4]int
	for i, name := range []string{"svname", "addr", "status", "scur"} {
		if columns[i] = slices.Index(all[0], name); columns[i] < 0 {
			return nil, fmt.Errorf("read its list of servers: no column %q in %q", name, all[0])
		}
	}
	var out []member
	for _, row := range all[1:] {
		if len(row) <= slices.Max(columns[:]) {
			return nil, fmt.Errorf("read its list of servers: a line of %d columns: %q", len(row), row)
		}
		requests, err := strconv.Atoi(row[columns[3]])
		if err != nil {
			return nil, fmt.Errorf("read its list of servers: requests of %s: %w", row[columns[0]], err)
		}
		out = append(out, member{Name: row[columns[0]], Address: row[columns[1]], Status: row[columns[2]], Requests: requests})
	}
	return out, nil
}
