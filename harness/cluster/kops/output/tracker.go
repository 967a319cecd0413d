package output

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/kube-rehearse/rehearse/harness/timeline"
)

// Phase is the part of a rolling update that a line belongs to.
type Phase string

// Phases, in the order in which an instance goes through them.
const (
	Plan       Phase = "plan"       // the table of what needs updating
	Validating Phase = "validating" // is the cluster healthy, and did the new machine join
	Taint      Phase = "taint"
	Surge      Phase = "surge" // an instance is detached, its group starts another
	Drain      Phase = "drain"
	Deregister Phase = "deregister"
	Terminate  Phase = "terminate"
	Interval   Phase = "interval" // the pause after an instance
	Prompt     Phase = "prompt"   // of --interactive, which rehearse never uses
	Failed     Phase = "failed"
	Done       Phase = "done" // printed after a failure too: only the exit code tells
)

// Match says what one line is. Phase and Ignored are both empty where the line
// is of no known form.
type Match struct {
	Phase   Phase
	Ignored string // why the line tells nothing, where it is known and does not
	Events  []timeline.Event
}

// Left is something that a rolling update has touched and not brought to its end.
type Left struct {
	Kind  string // "detached instance", "cordoned node", "tainted nodes"
	Name  string // of the instance or node; of the group for tainted nodes
	Group string
	// Count of nodes that carry kops' taint, where their names are not told.
	Count int
}

// instance is one machine in work.
type instance struct {
	id, node, group              string
	detached, cordoned, draining bool
	stopping, ended, givenUp     bool
}

// Tracker follows one run of kops rolling-update. Its zero value is ready. It is
// not safe for concurrent use: feed both of kops' streams through one lock.
type Tracker struct {
	groups    []Group
	columns   []string
	inTable   int // cells of the table's header, once it has come
	work      []*instance
	tainted   map[string]int
	order     []string // of tainted
	group     string   // last one named
	failures  []string
	completed bool
}

var klogLine = regexp.MustCompile(`^([IWEF])\d{4} \d\d:\d\d:\d\d\.\d+\s+\d+ [^\s\]]+:\d+\] (.*)$`)

// Line takes the next line of either stream, without its newline. The events it
// returns carry no offset: the line says what is beginning now, or what ended.
func (t *Tracker) Line(line string) Match {
	line = strings.TrimRight(line, "\r\n")
	if m, ok := t.table(line); ok {
		return m
	}
	severity, text := byte(0), line
	if m := klogLine.FindStringSubmatch(line); m != nil {
		severity, text = m[1][0], m[2]
	}
	for _, r := range rules {
		if m := r.pattern.FindStringSubmatch(text); m != nil {
			return Match{Phase: r.phase, Events: sourced(r.apply(t, m))}
		}
	}
	for _, i := range ignored {
		if i.pattern.MatchString(text) {
			return Match{Ignored: i.why}
		}
	}
	if severity == 'E' || severity == 'F' {
		return Match{Phase: Failed, Events: sourced(t.failure(text))}
	}
	return Match{}
}

func sourced(events []timeline.Event) []timeline.Event {
	for i := range events {
		events[i].Source = timeline.SourceDriver
	}
	return events
}

func (t *Tracker) table(line string) (Match, bool) {
	cells := strings.Fields(line)
	if isTableHeader(line) {
		t.inTable, t.groups = len(cells), nil
		t.header(cells)
		return Match{Phase: Plan}, true
	}
	// Lines of the other stream may come between the rows.
	if t.inTable == 0 || len(cells) != t.inTable || (cells[1] != "Ready" && cells[1] != "NeedsUpdate") {
		return Match{}, false
	}
	if g, err := row(t.columns, cells); err == nil {
		t.groups = append(t.groups, g)
	}
	return Match{Phase: Plan}, true
}

// Groups are the rows of the last table that was printed.
func (t *Tracker) Groups() []Group { return slices.Clone(t.groups) }

// Failures are the errors that kops told, each once, in their order.
func (t *Tracker) Failures() []string { return slices.Clone(t.failures) }

// Completed tells whether kops said that it had completed. It says so after a
// failure too: the exit code is what counts.
func (t *Tracker) Completed() bool { return t.completed }

// Left lists what would be left if kops ended now: detached instances that still
// run (they carry the tag kops.k8s.io/detached-from-asg), cordoned nodes, and
// groups with tainted nodes.
func (t *Tracker) Left() []Left {
	var all []Left
	for _, i := range t.work {
		if i.detached && !i.ended {
			all = append(all, Left{Kind: "detached instance", Name: i.id, Group: i.group})
		}
		if i.cordoned && !i.ended {
			all = append(all, Left{Kind: "cordoned node", Name: i.node, Group: i.group})
		}
	}
	for _, g := range t.order {
		if n := t.tainted[g]; n > 0 {
			all = append(all, Left{Kind: "tainted nodes", Name: g, Group: g, Count: n})
		}
	}
	return all
}

// sole returns the one instance for which f holds; nil where there are none or
// several, since then a line that names none cannot be attributed.
func (t *Tracker) sole(f func(*instance) bool) *instance {
	var found *instance
	for _, i := range t.work {
		if f(i) {
			if found != nil {
				return nil
			}
			found = i
		}
	}
	return found
}

// of returns the instance in work with this id or node name, which is made
// where it is new. For AWS both are the same, except with old in-tree names.
func (t *Tracker) of(id, node string) *instance {
	for _, i := range t.work {
		if (id != "" && i.id == id) || (node != "" && i.node == node) {
			if i.id == "" {
				i.id = id
			}
			if i.node == "" {
				i.node = node
			}
			return i
		}
	}
	i := &instance{id: id, node: node, group: t.group}
	t.work = append(t.work, i)
	return i
}

// subject names the instance's node, or the instance where it never joined.
func (i *instance) subject() string {
	if i.node != "" {
		return "node/" + i.node
	}
	return "instance/" + i.id
}

func (i *instance) detail(more ...string) map[string]string {
	d := map[string]string{}
	if i.id != "" {
		d["instance"] = i.id
	}
	if i.group != "" {
		d["group"] = i.group
	}
	for n := 0; n+1 < len(more); n += 2 {
		if more[n+1] != "" {
			d[more[n]] = more[n+1]
		}
	}
	return d
}

// groupName takes the cluster's name off the cloud's name of a group:
// nodes-a.t.example.com and control-plane-a.masters.t.example.com.
func groupName(cloud string) string {
	name, _, _ := strings.Cut(cloud, ".")
	return name
}

func number(s string) int {
	n, _ := strconv.Atoi(s)
	return n
}
