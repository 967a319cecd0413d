package record

// Snapshot is the state of the cluster at one instant: cluster/before.json and
// cluster/after.json.
type Snapshot struct {
	T             int64       `json:"t"` // ns since the run's start
	ServerVersion string      `json:"serverVersion"`
	Network       string      `json:"network"` // recognised network plug-in, or "unknown"
	Nodes         []Node      `json:"nodes"`
	Components    []Component `json:"components"`
	APIServices   []Named     `json:"apiServices"`
	// DNSLookup is the result of a lookup made from inside the cluster.
	DNSLookup Named `json:"dnsLookup"`
	// Lingering names failed, pending or crash-looping pods of system namespaces.
	Lingering []PodState `json:"lingering,omitempty"`
	Canary    []PodState `json:"canary,omitempty"`
}

// Node is one node as its API object and its kubelet describe it.
type Node struct {
	Name             string `json:"name"`
	ControlPlane     bool   `json:"controlPlane"`
	KubeletVersion   string `json:"kubeletVersion"`
	KubeProxyVersion string `json:"kubeProxyVersion,omitempty"`
	Runtime          string `json:"runtime,omitempty"`
	OSImage          string `json:"osImage,omitempty"`
	Kernel           string `json:"kernel,omitempty"`
	Ready            bool   `json:"ready"`
	Unschedulable    bool   `json:"unschedulable"`
	BootID           string `json:"bootID,omitempty"`
}

// Component is one system component, with one instance per pod.
type Component struct {
	// Name as the scenario's checks spell it: "coredns", "kube-proxy", "etcd", ...
	Name string `json:"name"`
	// Kind of the owning object: Deployment, DaemonSet, Static.
	Kind    string `json:"kind"`
	Desired int    `json:"desired"`
	Ready   int    `json:"ready"`
	// Present is false where nothing of that name was found.
	Present   bool       `json:"present"`
	Instances []PodState `json:"instances,omitempty"`
	// Members is set for etcd: the member list's names, with health.
	Members []Named `json:"members,omitempty"`
	// Problem says in one sentence what is wrong; empty when healthy.
	Problem string `json:"problem,omitempty"`
}

// PodState is one pod.
type PodState struct {
	Pod      string `json:"pod"` // NAMESPACE/NAME
	Node     string `json:"node,omitempty"`
	Image    string `json:"image,omitempty"`
	Version  string `json:"version,omitempty"` // image tag
	Phase    string `json:"phase,omitempty"`
	Ready    bool   `json:"ready"`
	Restarts int32  `json:"restarts"`
	Reason   string `json:"reason,omitempty"`
}

// Named is a thing that is fine or not, and why.
type Named struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail,omitempty"`
}
