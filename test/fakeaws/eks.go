package fakeaws

import (
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"sort"
	"strings"
	"time"
)

// EKS is the state of that service.
type EKS struct {
	Clusters map[string]*Cluster
	// UpdateTakes is how long each update is in progress, and Makes how long a
	// cluster or group takes to be made or deleted.
	UpdateTakes, Makes time.Duration
	// FailUpdate gives the error of the update of "cluster", "addon/NAME" or
	// "nodegroup/NAME"; an empty code is success.
	FailUpdate map[string]UpdateError
	// NodesBack is how long, of a rollback of a cluster in auto mode, its nodes go
	// back before its control plane does: as long can it be cancelled.
	NodesBack time.Duration
	// Done is called, with the account locked, when an update has succeeded.
	Done func(what, version string)
	// AddonDefaults, which are all that is listed, are the default versions of add-ons, by "NAME/1.35".
	AddonDefaults map[string]string

	updates map[string]*update
}

// UpdateError is why an update fails.
type UpdateError struct {
	Code, Message string
	Resources     []string
}

// Cluster is an EKS cluster.
type Cluster struct {
	Name, Version, Status, Endpoint, VPC string
	Role, ServiceCIDR, KMSKey            string
	Private                              bool // its API is not public
	Subnets                              []string
	Tags                                 map[string]string
	Groups                               map[string]*Group
	Addons                               map[string]string // versions
	AddonConfig                          map[string]string // what was configured of them
	Insights                             []Insight
	Auto                                 bool // auto mode
	// Before is the version that the cluster was upgraded from in place, at Upgraded:
	// it can go back to no other, and only for seven days.
	Before   string
	Upgraded time.Time
	since    time.Time
	next     string // status after since
}

// Group is a managed node group.
type Group struct {
	Name, Version, Status, AMIType string
	Desired                        int
	MaxUnavailable, MaxPercent     int
	Strategy, LaunchTemplate       string
	Role, Release, Capacity        string
	Types, Subnets                 []string
	Min, Max                       int // 0 is two more than desired
	Issues                         []UpdateError
	Forced                         bool
	ScalingGroup                   string
	since                          time.Time
	next                           string
}

// Insight is one of upgrade readiness, unless its category says otherwise.
type Insight struct {
	ID, Name, Status, Reason, Version, Recommendation string
	Category                                          string
	Refreshed                                         time.Time
	Resources                                         []string
}

type update struct {
	id, what, kind, version string
	number                  int
	cluster                 *Cluster
	begun                   time.Time
	status                  string
	err                     UpdateError
	apply                   func()
}

type object = map[string]any

func (c *call) json(status int, v any) {
	c.w.Header().Set("Content-Type", "application/json")
	c.w.WriteHeader(status)
	_ = json.NewEncoder(c.w).Encode(v)
}

// Route is one operation of EKS on the wire.
type Route struct{ Operation, Method, Path string }

// Routes are the operations of EKS that the fake answers, with {} for names.
var Routes = []Route{
	{"CreateCluster", "POST", "/clusters"},
	{"DescribeCluster", "GET", "/clusters/{}"},
	{"DeleteCluster", "DELETE", "/clusters/{}"},
	{"ListClusters", "GET", "/clusters"},
	{"UpdateClusterVersion", "POST", "/clusters/{}/updates"},
	{"ListUpdates", "GET", "/clusters/{}/updates"},
	{"DescribeUpdate", "GET", "/clusters/{}/updates/{}"},
	{"CancelUpdate", "POST", "/clusters/{}/updates/{}/cancel-update"},
	{"CreateNodegroup", "POST", "/clusters/{}/node-groups"},
	{"ListNodegroups", "GET", "/clusters/{}/node-groups"},
	{"DescribeNodegroup", "GET", "/clusters/{}/node-groups/{}"},
	{"DeleteNodegroup", "DELETE", "/clusters/{}/node-groups/{}"},
	{"UpdateNodegroupConfig", "POST", "/clusters/{}/node-groups/{}/update-config"},
	{"UpdateNodegroupVersion", "POST", "/clusters/{}/node-groups/{}/update-version"},
	{"ListAddons", "GET", "/clusters/{}/addons"},
	{"CreateAddon", "POST", "/clusters/{}/addons"},
	{"DescribeAddon", "GET", "/clusters/{}/addons/{}"},
	{"UpdateAddon", "POST", "/clusters/{}/addons/{}/update"},
	{"DescribeAddonVersions", "GET", "/addons/supported-versions"},
	{"ListInsights", "POST", "/clusters/{}/insights"},
	{"DescribeInsight", "GET", "/clusters/{}/insights/{}"},
}

func (r Route) match(method, path string) ([]string, bool) {
	if r.Method != method {
		return nil, false
	}
	form := "^" + strings.ReplaceAll(regexp.QuoteMeta(r.Path), `\{\}`, "([^/]+)") + "$"
	m := regexp.MustCompile(form).FindStringSubmatch(path)
	if m == nil {
		return nil, false
	}
	return m[1:], true
}

func (c *call) eks() {
	for _, r := range Routes {
		names, ok := r.match(c.r.Method, c.r.URL.Path)
		if !ok {
			continue
		}
		if !c.begin(r.Operation) {
			return
		}
		var in object
		if len(c.body) > 0 {
			if err := json.Unmarshal(c.body, &in); err != nil {
				c.fail(http.StatusBadRequest, "SerializationException", err.Error())
				return
			}
		}
		c.a.EKS.tick()
		c.eksOperation(r.Operation, append(names, "", "")[:2], in)
		return
	}
	c.fail(http.StatusNotFound, "UnknownOperationException", unknown(c.r.Method+" "+c.r.URL.Path))
}

// tick lets time have its effect.
func (e *EKS) tick() {
	for _, u := range e.updates {
		if u.status != "InProgress" || !after(u.begun, e.UpdateTakes) {
			continue
		}
		if f := e.FailUpdate[u.what]; f.Code != "" {
			u.status, u.err = "Failed", f
			continue
		}
		u.status = "Successful"
		u.apply()
		if e.Done != nil {
			e.Done(u.what, u.version)
		}
	}
	for name, cl := range e.Clusters {
		if cl.next != "" && after(cl.since, e.Makes) {
			cl.Status, cl.next = cl.next, ""
			if cl.Status == "GONE" {
				delete(e.Clusters, name)
			}
		}
		for gn, g := range cl.Groups {
			if g.next != "" && after(g.since, e.Makes) {
				g.Status, g.next = g.next, ""
				if g.Status == "GONE" {
					delete(cl.Groups, gn)
				}
			}
		}
	}
}

func (c *call) eksOperation(op string, names []string, in object) {
	e := &c.a.EKS
	if op == "CreateCluster" || op == "ListClusters" || op == "DescribeAddonVersions" {
		c.eksGlobal(op, in)
		return
	}
	cl := e.Clusters[names[0]]
	if cl == nil {
		c.fail(http.StatusNotFound, "ResourceNotFoundException", "No cluster found for name: "+names[0]+".")
		return
	}
	switch op {
	case "DescribeCluster":
		w := cl.wire()
		// While nodes of auto mode go back the cluster remains ACTIVE.
		if u := e.underway(cl, "cluster"); u != nil && (u.kind != "VersionRollback" || !cl.Auto || after(u.begun, e.NodesBack)) {
			w["status"] = "UPDATING"
		}
		c.json(http.StatusOK, object{"cluster": w})
	case "DeleteCluster":
		if len(cl.Groups) > 0 {
			c.fail(http.StatusConflict, "ResourceInUseException", "Cluster has nodegroups attached")
			return
		}
		cl.Status, cl.next, cl.since = "DELETING", "GONE", time.Now()
		c.json(http.StatusOK, object{"cluster": cl.wire()})
	case "UpdateClusterVersion":
		c.clusterVersion(cl, in)
	case "ListUpdates":
		c.listUpdates(cl)
	case "DescribeUpdate", "CancelUpdate":
		u := e.updates[names[1]]
		if u == nil {
			c.fail(http.StatusNotFound, "ResourceNotFoundException", "No update found for id "+names[1])
			return
		}
		if op == "CancelUpdate" {
			if u.status != "InProgress" || u.kind != "VersionRollback" || !cl.Auto || after(u.begun, e.NodesBack) {
				c.fail(http.StatusBadRequest, "InvalidRequestException", "Update "+u.id+" of type "+u.kind+" cannot be cancelled")
				return
			}
			u.status = "Cancelled"
		}
		c.json(http.StatusOK, object{"update": u.wire()})
	case "ListInsights":
		c.insights(cl, in)
	case "DescribeInsight":
		for _, i := range cl.Insights {
			if i.ID == names[1] {
				w := i.wire()
				w["recommendation"] = i.Recommendation
				var res []object
				for _, uri := range i.Resources {
					res = append(res, object{"kubernetesResourceUri": uri, "insightStatus": object{"status": i.Status}})
				}
				w["resources"] = res
				c.json(http.StatusOK, object{"insight": w})
				return
			}
		}
		c.fail(http.StatusNotFound, "ResourceNotFoundException", "No insight "+names[1])
	case "ListAddons":
		var all []string
		for n := range cl.Addons {
			all = append(all, n)
		}
		c.eksList("addons", all)
	case "CreateAddon":
		name, _ := in["addonName"].(string)
		cl.Addons[name], _ = in["addonVersion"].(string)
		c.json(http.StatusOK, object{"addon": object{"addonName": name, "addonVersion": cl.Addons[name], "status": "CREATING"}})
	case "DescribeAddon", "UpdateAddon":
		c.addon(op, cl, names[1], in)
	default:
		c.groupOperation(op, cl, names[1], in)
	}
}

func (u *update) wire() object {
	w := object{"id": u.id, "status": u.status, "type": u.kind, "createdAt": u.begun.Unix(), "params": []object{{"type": "Version", "value": u.version}}}
	if u.err.Code != "" {
		w["errors"] = []object{{"errorCode": u.err.Code, "errorMessage": u.err.Message, "resourceIds": u.err.Resources}}
	}
	return w
}

func (cl *Cluster) wire() object {
	w := object{
		"name": cl.Name, "version": cl.Version, "status": orActive(cl.Status), "endpoint": cl.Endpoint, "tags": cl.Tags, "createdAt": cl.since.Unix(), "platformVersion": "eks.9", "roleArn": cl.Role,
		"certificateAuthority": object{"data": "LS0tLS1CRUdJTg=="}, "accessConfig": object{"authenticationMode": "API"}, "upgradePolicy": object{"supportType": "STANDARD"},
		"resourcesVpcConfig": object{"subnetIds": cl.Subnets, "vpcId": cl.VPC, "endpointPublicAccess": !cl.Private, "endpointPrivateAccess": true, "publicAccessCidrs": []string{"0.0.0.0/0"}},
	}
	if cl.ServiceCIDR != "" {
		w["kubernetesNetworkConfig"] = object{"serviceIpv4Cidr": cl.ServiceCIDR, "ipFamily": "ipv4"}
	}
	if cl.Auto {
		w["computeConfig"] = object{"enabled": true}
	}
	if cl.KMSKey != "" {
		w["encryptionConfig"] = []object{{"provider": object{"keyArn": cl.KMSKey}, "resources": []string{"secrets"}}}
	}
	return w
}

func (i Insight) wire() object {
	return object{
		"id": i.ID, "name": i.Name, "category": i.category(), "kubernetesVersion": i.Version,
		"insightStatus": object{"status": i.Status, "reason": i.Reason}, "lastRefreshTime": i.Refreshed.Unix(),
	}
}

func (i Insight) category() string {
	if i.Category == "" {
		return "UPGRADE_READINESS"
	}
	return i.Category
}

func orActive(status string) string {
	if status == "" {
		return "ACTIVE"
	}
	return status
}

func (c *call) insights(cl *Cluster, in object) {
	token, _ := in["nextToken"].(string)
	filter, _ := in["filter"].(object)
	versions, _ := filter["kubernetesVersions"].([]any)
	categories, _ := filter["categories"].([]any)
	var match []object
	for _, i := range cl.Insights {
		if (len(versions) == 0 || slices.Contains(versions, any(i.Version))) && (len(categories) == 0 || slices.Contains(categories, any(i.category()))) {
			match = append(match, i.wire())
		}
	}
	from, to, next := c.page(len(match), token)
	out := object{"insights": match[from:to]}
	if next != "" {
		out["nextToken"] = next
	}
	c.json(http.StatusOK, out)
}

func (c *call) eksList(key string, all []string) {
	sort.Strings(all)
	from, to, next := c.page(len(all), c.r.URL.Query().Get("nextToken"))
	out := object{key: append([]string{}, all[from:to]...)}
	if next != "" {
		out["nextToken"] = next
	}
	c.json(http.StatusOK, out)
}

func (c *call) eksGlobal(op string, in object) {
	e := &c.a.EKS
	switch op {
	case "ListClusters":
		var all []string
		for n := range e.Clusters {
			all = append(all, n)
		}
		c.eksList("clusters", all)
	case "CreateCluster":
		name, _ := in["name"].(string)
		if e.Clusters[name] != nil {
			c.fail(http.StatusConflict, "ResourceInUseException", "Cluster already exists with name: "+name)
			return
		}
		version, _ := in["version"].(string)
		cl := &Cluster{Name: name, Version: version, Status: "CREATING", next: "ACTIVE", since: time.Now(), Endpoint: "https://eks.invalid", Tags: texts(in["tags"]), Groups: map[string]*Group{}, Addons: map[string]string{}}
		e.Clusters[name] = cl
		c.json(http.StatusOK, object{"cluster": cl.wire()})
	case "DescribeAddonVersions":
		q := c.r.URL.Query()
		def := e.AddonDefaults[q.Get("addonName")+"/"+q.Get("kubernetesVersion")]
		if def == "" {
			c.json(http.StatusOK, object{"addons": []object{}})
			return
		}
		c.json(http.StatusOK, object{"addons": []object{{"addonName": q.Get("addonName"), "addonVersions": []object{
			{"addonVersion": def, "compatibilities": []object{{"clusterVersion": q.Get("kubernetesVersion"), "defaultVersion": true}}},
		}}}})
	}
}

func texts(v any) map[string]string {
	m, _ := v.(object)
	out := map[string]string{}
	for k, x := range m {
		out[k], _ = x.(string)
	}
	return out
}

func (c *call) addon(op string, cl *Cluster, name string, in object) {
	v, ok := cl.Addons[name]
	switch {
	case !ok:
		c.fail(http.StatusNotFound, "ResourceNotFoundException", "No addon: "+name)
	case op == "DescribeAddon":
		status := "ACTIVE"
		if c.a.EKS.underway(cl, "addon/"+name) != nil {
			status = "UPDATING"
		}
		w := object{"addonName": name, "addonVersion": v, "status": status}
		if cl.AddonConfig[name] != "" {
			w["configurationValues"] = cl.AddonConfig[name]
		}
		c.json(http.StatusOK, object{"addon": w})
	default:
		to, _ := in["addonVersion"].(string)
		c.start(cl, "addon/"+name, "AddonUpdate", to, func() { cl.Addons[name] = to })
	}
}
