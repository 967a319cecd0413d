package nodeimage

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"runtime"
	"slices"

	"github.com/kube-rehearse/rehearse/harness/cluster"
)

// Labels on every image that this package built.
const (
	LabelRecipe     = "io.rehearse.recipe"     // key of the recipe
	LabelKubernetes = "io.rehearse.kubernetes" // for example v1.34.4
	LabelKind       = "io.rehearse.image"      // node, node-base or balancer
	LabelWarnings   = "io.rehearse.warnings"   // one a line; absent when there are none
)

// Oldest and newest minor version that the recipe is made for.
const (
	OldestMinor = 29
	NewestMinor = 36
)

// KindVersion is the version of kind whose base files the images are made of.
// It must be the one this module requires; a test holds that.
const KindVersion = "v0.31.0"

// recipe is everything that decides what a build makes, apart from the
// Kubernetes version. A change here, or in a template, changes the keys of the
// stages that depend on it, and of no others.
type recipe struct {
	// Revision is raised when code changes what a stage makes without
	// changing any field.
	Revision     int
	Architecture string // Go's name

	Kind       string
	Suite      string // of Debian
	Packages   []string
	Containerd string
	// CNI holds the reference plug-ins. The flannel plug-in was part of the
	// same module until version 0.9, and its own repository has no Go module
	// that can be required.
	CNI, FlannelCNI string
	Flannel         string
}

// current is the recipe of this version of the tool.
func current() recipe {
	return recipe{
		Revision:     1,
		Architecture: runtime.GOARCH,
		Kind:         KindVersion,
		Suite:        "bookworm",
		Packages: []string{
			"bash", "ca-certificates", "conntrack", "curl", "dbus", "ebtables", "ethtool", "haproxy", "hostname",
			"iproute2", "iptables", "jq", "kmod", "libseccomp2", "mount", "nftables", "pigz", "procps", "runc",
			"socat", "systemd", "systemd-sysv", "util-linux",
		},
		Containerd: "v2.3.7",
		CNI:        "v1.9.1",
		FlannelCNI: "v0.9.1",
		Flannel:    "v0.26.7",
	}
}

//go:embed templates
var templates embed.FS

// Keys of the stages. Each hashes only what decides that stage's result, so
// that a new CoreDNS main, say, does not compile Kubernetes again.

func (r recipe) baseKey() string {
	return key("base", r.Revision, r.Architecture, r.Suite, r.Packages)
}

func (r recipe) kubernetesKey(v cluster.Version) string {
	return key("kubernetes", r.Revision, r.Architecture, v.String(), template("multicall.go.tmpl"))
}

func (r recipe) componentKey(name, version string, sources ...string) string {
	return key("component", r.Revision, r.Architecture, name, version, sources)
}

// nodeBaseKey covers what all node images share: Debian, kind's files,
// containerd and the CNI plug-ins.
func (r recipe) nodeBaseKey() string {
	return key("node-base", r.baseKey(), r.Kind, r.Containerd, r.CNI, r.FlannelCNI)
}

// nodeKey does not name the versions of etcd, CoreDNS and pause, because they
// follow from the Kubernetes version.
func (r recipe) nodeKey(v cluster.Version) string {
	return key("node", r.nodeBaseKey(), r.kubernetesKey(v), r.Flannel, allTemplates())
}

func (r recipe) balancerKey() string {
	return key("balancer", r.baseKey(), r.Kind, balancerEntrypoint)
}

// key hashes parts into 16 hexadecimal digits, enough to tell recipes apart.
func key(parts ...any) string {
	b, err := json.Marshal(parts)
	if err != nil {
		panic(fmt.Sprintf("nodeimage: a recipe part that JSON cannot hold: %v", err))
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}

// template returns one embedded template. They are part of the program, so one
// that is missing is a mistake of the programmer.
func template(name string) string {
	b, err := templates.ReadFile("templates/" + name)
	if err != nil {
		panic("nodeimage: " + err.Error())
	}
	return string(b)
}

func allTemplates() []string {
	names, err := fs.Glob(templates, "templates/*")
	if err != nil {
		panic("nodeimage: " + err.Error())
	}
	slices.Sort(names)
	contents := make([]string, 0, 2*len(names))
	for _, n := range names {
		b, err := templates.ReadFile(n)
		if err != nil {
			panic("nodeimage: " + err.Error())
		}
		contents = append(contents, n, string(b))
	}
	return contents
}
