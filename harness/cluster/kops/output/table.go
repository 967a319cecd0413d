package output

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Group is one row of the table that "kops rolling-update cluster" prints.
type Group struct {
	Name   string
	Status string // Ready or NeedsUpdate
	// Numbers of machines; -1 where the table has no such column: TARGET came with
	// kops 1.22 and NODES is left out with --cloudonly.
	NeedUpdate, Ready, Min, Target, Max, Nodes int
}

// columns that a group must have, and those that it may have.
var columns = map[string]struct {
	required bool
	field    func(*Group) *int
}{
	"NEEDUPDATE": {true, func(g *Group) *int { return &g.NeedUpdate }},
	"READY":      {true, func(g *Group) *int { return &g.Ready }},
	"MIN":        {true, func(g *Group) *int { return &g.Min }},
	"TARGET":     {false, func(g *Group) *int { return &g.Target }},
	"MAX":        {true, func(g *Group) *int { return &g.Max }},
	"NODES":      {false, func(g *Group) *int { return &g.Nodes }},
}

// isTableHeader tells whether the line begins the table of groups.
func isTableHeader(line string) bool {
	f := strings.Fields(line)
	return len(f) > 2 && f[0] == "NAME" && f[1] == "STATUS"
}

// ParseTable reads the table of groups that begins at the first header in text;
// it ends at the first line that has not as many cells. Columns are told by the
// header's names, in whatever order; unknown ones are passed over.
func ParseTable(text string) ([]Group, error) {
	var header []string
	var groups []Group
	for n, line := range strings.Split(text, "\n") {
		cells := strings.Fields(line)
		if header == nil {
			if isTableHeader(line) {
				header = cells
				for name, c := range columns {
					if c.required && !contains(header, name) {
						return nil, fmt.Errorf("line %d: the table of kops rolling-update has no column %s, only %s", n+1, name, strings.Join(header, ", "))
					}
				}
			}
			continue
		}
		if len(cells) != len(header) {
			break
		}
		g, err := row(header, cells)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n+1, err)
		}
		groups = append(groups, g)
	}
	if header == nil {
		return nil, errors.New("no table of instance groups: want a line that begins with NAME and STATUS")
	}
	return groups, nil
}

func row(header, cells []string) (Group, error) {
	g := Group{Target: -1, Nodes: -1}
	for i, name := range header {
		switch name {
		case "NAME":
			g.Name = cells[i]
		case "STATUS":
			g.Status = cells[i]
		default:
			c, ok := columns[name]
			if !ok {
				continue
			}
			v, err := strconv.Atoi(cells[i])
			if err != nil || v < 0 {
				return g, fmt.Errorf("group %s: column %s has %q instead of a number", g.Name, name, cells[i])
			}
			*c.field(&g) = v
		}
	}
	return g, nil
}

func contains(all []string, s string) bool {
	for _, x := range all {
		if x == s {
			return true
		}
	}
	return false
}

// Resource is something that belongs to a cluster and exists in the cloud.
type Resource struct{ Type, Name, ID string }

// ParseResources reads the list that "kops delete cluster" prints without --yes:
// what deleting would remove, and what costs money until then. No resources are
// no error.
func ParseResources(text string) []Resource {
	var all []Resource
	listed := false
	for line := range strings.SplitSeq(text, "\n") {
		cells := tabbed(line)
		switch {
		case len(cells) == 3 && cells[0] == "TYPE" && cells[1] == "NAME" && cells[2] == "ID":
			listed = true
		case !listed:
		case len(cells) != 3:
			return all
		default:
			all = append(all, Resource{cells[0], cells[1], cells[2]})
		}
	}
	return all
}

// tabbed splits a line at its runs of tabs: names may contain spaces.
func tabbed(line string) []string {
	var cells []string
	for c := range strings.SplitSeq(line, "\t") {
		if c = strings.TrimSpace(c); c != "" {
			cells = append(cells, c)
		}
	}
	return cells
}
