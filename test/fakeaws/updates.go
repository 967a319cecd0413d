package fakeaws

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// window is how long after an upgrade a cluster may go back.
const window = 7 * 24 * time.Hour

// underway is the update of a cluster's part that is in progress.
func (e *EKS) underway(cl *Cluster, what string) *update {
	for _, u := range e.updates {
		if u.cluster == cl && u.what == what && u.status == "InProgress" {
			return u
		}
	}
	return nil
}

// start begins an update and answers with it, unless another of the same part is
// under way.
func (c *call) start(cl *Cluster, what, kind, version string, apply func()) {
	e := &c.a.EKS
	if u := e.underway(cl, what); u != nil {
		c.fail(http.StatusConflict, "ResourceInUseException", "Update "+u.id+" of "+what+" is in progress")
		return
	}
	n := len(e.updates) + 1
	u := &update{id: "u-" + strconv.Itoa(n), number: n, cluster: cl, what: what, kind: kind, version: version, begun: time.Now(), status: "InProgress", apply: apply}
	e.updates[u.id] = u
	c.json(http.StatusOK, object{"update": u.wire()})
}

func minorOf(version string) int {
	_, m, _ := strings.Cut(version, ".")
	n, _ := strconv.Atoi(m)
	return n
}

// clusterVersion upgrades a control plane by one minor version, or takes it back
// by one under the conditions of
// https://docs.aws.amazon.com/eks/latest/userguide/rollback-cluster.html.
func (c *call) clusterVersion(cl *Cluster, in object) {
	to, _ := in["version"].(string)
	force, _ := in["force"].(bool)
	refuse := func(code, format string, args ...any) {
		c.fail(http.StatusBadRequest, code, fmt.Sprintf(format, args...))
	}
	switch minorOf(to) - minorOf(cl.Version) {
	case 1:
		for _, g := range cl.Groups {
			if g.Version != cl.Version {
				refuse("InvalidParameterException", "Nodegroups %s must be updated to match cluster version %s before updating cluster version", g.Name, cl.Version)
				return
			}
		}
		from := cl.Version
		c.start(cl, "cluster", "VersionUpdate", to, func() { cl.Version, cl.Before, cl.Upgraded = to, from, time.Now() })
	case -1:
		switch {
		case cl.Before != to:
			refuse("InvalidParameterException", "Cluster %s was not upgraded to %s in place and cannot be rolled back", cl.Name, cl.Version)
			return
		case after(cl.Upgraded, window):
			refuse("InvalidParameterException", "Cluster %s was upgraded more than 7 days ago and cannot be rolled back", cl.Name)
			return
		}
		if !force {
			for _, g := range cl.Groups {
				if minorOf(g.Version) > minorOf(to) {
					refuse("InvalidStateException", "Kubelet version skew: node group %s is at %s", g.Name, g.Version)
					return
				}
			}
			for _, i := range cl.Insights {
				if i.Category == "ROLLBACK_READINESS" && i.Status == "ERROR" {
					refuse("InvalidStateException", "Amazon EKS detected rollback readiness issues")
					return
				}
			}
		}
		c.start(cl, "cluster", "VersionRollback", to, func() { cl.Version, cl.Before = to, "" })
	default:
		refuse("InvalidParameterException", "Unsupported Kubernetes minor version update from %s to %s", cl.Version, to)
	}
}

// groupVersion takes a group to the cluster's version, or to the one before it, as
// a rollback asks for.
func (c *call) groupVersion(cl *Cluster, g *Group, in object) {
	to, _ := in["version"].(string)
	if to == "" {
		to = cl.Version
	}
	if to != cl.Version && (to != cl.Before || minorOf(to) > minorOf(cl.Version)) {
		c.fail(http.StatusBadRequest, "InvalidParameterException", "Requested Nodegroup version "+to+" is not the cluster's, "+cl.Version)
		return
	}
	g.Forced, _ = in["force"].(bool)
	c.start(cl, "nodegroup/"+g.Name, "VersionUpdate", to, func() { g.Version = to })
}

// listUpdates lists those of the cluster itself, of a group or of an add-on, the
// newest first.
func (c *call) listUpdates(cl *Cluster) {
	q := c.r.URL.Query()
	what := "cluster"
	if g := q.Get("nodegroupName"); g != "" {
		what = "nodegroup/" + g
	}
	if a := q.Get("addonName"); a != "" {
		what = "addon/" + a
	}
	var all []*update
	for _, u := range c.a.EKS.updates {
		if u.cluster == cl && u.what == what {
			all = append(all, u)
		}
	}
	slices.SortFunc(all, func(a, b *update) int { return b.number - a.number })
	from, to, next := c.page(len(all), q.Get("nextToken"))
	ids := []string{}
	for _, u := range all[from:to] {
		ids = append(ids, u.id)
	}
	out := object{"updateIds": ids}
	if next != "" {
		out["nextToken"] = next
	}
	c.json(http.StatusOK, out)
}
