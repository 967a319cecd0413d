package fakeaws

import (
	"net/http"
	"time"
)

func number(v any) int {
	f, _ := v.(float64)
	return int(f)
}

func (g *Group) wire(cluster string) object {
	ami := g.AMIType
	if ami == "" {
		ami = "AL2023_x86_64_STANDARD"
	}
	config := object{}
	if g.MaxUnavailable > 0 {
		config["maxUnavailable"] = g.MaxUnavailable
	}
	if g.MaxPercent > 0 {
		config["maxUnavailablePercentage"] = g.MaxPercent
	}
	if g.Strategy != "" {
		config["updateStrategy"] = g.Strategy
	}
	most := g.Max
	if most == 0 {
		most = g.Desired + 2
	}
	w := object{
		"nodeRole": g.Role, "instanceTypes": g.Types, "subnets": g.Subnets, "releaseVersion": g.Release, "capacityType": g.Capacity,
		"nodegroupName": g.Name, "clusterName": cluster, "version": g.Version, "status": orActive(g.Status), "amiType": ami, "updateConfig": config,
		"scalingConfig": object{"desiredSize": g.Desired, "minSize": g.Min, "maxSize": most},
	}
	if g.LaunchTemplate != "" {
		w["launchTemplate"] = object{"id": g.LaunchTemplate, "version": "1"}
	}
	if g.ScalingGroup != "" {
		w["resources"] = object{"autoScalingGroups": []object{{"name": g.ScalingGroup}}}
	}
	var issues []object
	for _, i := range g.Issues {
		issues = append(issues, object{"code": i.Code, "message": i.Message, "resourceIds": i.Resources})
	}
	w["health"] = object{"issues": issues}
	return w
}

func (c *call) groupOperation(op string, cl *Cluster, name string, in object) {
	if op == "ListNodegroups" {
		var all []string
		for n := range cl.Groups {
			all = append(all, n)
		}
		c.eksList("nodegroups", all)
		return
	}
	if op == "CreateNodegroup" {
		name, _ = in["nodegroupName"].(string)
		scaling, _ := in["scalingConfig"].(object)
		g := &Group{Name: name, Version: cl.Version, Status: "CREATING", next: "ACTIVE", since: time.Now(), Desired: number(scaling["desiredSize"])}
		g.AMIType, _ = in["amiType"].(string)
		cl.Groups[name] = g
		c.json(http.StatusOK, object{"nodegroup": g.wire(cl.Name)})
		return
	}
	g := cl.Groups[name]
	if g == nil {
		c.fail(http.StatusNotFound, "ResourceNotFoundException", "No node group found for name: "+name+".")
		return
	}
	switch op {
	case "DescribeNodegroup":
		w := g.wire(cl.Name)
		if c.a.EKS.underway(cl, "nodegroup/"+name) != nil {
			w["status"] = "UPDATING"
		}
		c.json(http.StatusOK, object{"nodegroup": w})
	case "DeleteNodegroup":
		g.Status, g.next, g.since = "DELETING", "GONE", time.Now()
		c.json(http.StatusOK, object{"nodegroup": g.wire(cl.Name)})
	case "UpdateNodegroupConfig":
		config, _ := in["updateConfig"].(object)
		g.MaxUnavailable, g.MaxPercent = number(config["maxUnavailable"]), number(config["maxUnavailablePercentage"])
		g.Strategy, _ = config["updateStrategy"].(string)
		c.start(cl, "nodegroup/"+name, "ConfigUpdate", "", func() {})
	case "UpdateNodegroupVersion":
		c.groupVersion(cl, g, in)
	default:
		c.fail(http.StatusNotFound, "UnknownOperationException", unknown(op))
	}
}
