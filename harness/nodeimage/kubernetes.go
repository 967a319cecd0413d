package nodeimage

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	texttemplate "text/template"

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/command"
)

// kubeComponents are the commands of k8s.io/kubernetes that make a cluster.
var kubeComponents = []string{
	"kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "kubelet", "kubeadm", "kubectl",
}

// nodeCommands are those of them that run on the node itself.
var nodeCommands = []string{"kubeadm", "kubectl", "kubelet"}

// kubeExecutable is the name of the executable that is all of them.
const kubeExecutable = "kube"

// buildKubernetes compiles every component into one executable, dir/kube.
//
// It takes the main packages of the wanted version as they are, save for the
// name of the package and of its main function: how a component starts changes
// from version to version, and this way no version needs code of its own.
func (t toolchain) buildKubernetes(ctx context.Context, v cluster.Version, dir string) error {
	m, err := t.download(ctx, "k8s.io/kubernetes", v.String())
	if err != nil {
		return err
	}
	replaces, err := stagingReplaces(m, v)
	if err != nil {
		return err
	}
	files, err := multicall(m.Dir)
	if err != nil {
		return err
	}
	work := filepath.Join(dir, "module")
	if err := t.build(ctx, work, program{
		module: m, replaces: replaces, files: files, packages: []string{"."},
		ldflags: versionFlags(v), names: map[string]string{throwAway: kubeExecutable},
	}, dir); err != nil {
		return err
	}
	return os.RemoveAll(work)
}

var stagingRequire = regexp.MustCompile(`(?m)^\s*(k8s\.io/[a-z0-9-]+) v0\.0\.0(\s|$)`)

// stagingReplaces reads off Kubernetes' own go.mod which modules live in its
// repository; it requires them as v0.0.0. vX.Y.Z publishes them as v0.Y.Z.
func stagingReplaces(m module, v cluster.Version) ([]string, error) {
	goMod, err := os.ReadFile(m.GoMod)
	if err != nil {
		return nil, fmt.Errorf("read the go.mod of Kubernetes: %w", err)
	}
	_, rest, _ := strings.Cut(v.String(), ".")
	var replaces []string
	for _, match := range stagingRequire.FindAllStringSubmatch(string(goMod), -1) {
		replaces = append(replaces, match[1]+" => "+match[1]+" v0."+rest)
	}
	if len(replaces) == 0 {
		return nil, fmt.Errorf("the go.mod of Kubernetes %s requires no staging module; this recipe no longer fits", v)
	}
	slices.Sort(replaces)
	return slices.Compact(replaces), nil
}

var (
	packageMain = regexp.MustCompile(`(?m)^package main\b.*$`)
	funcMain    = regexp.MustCompile(`(?m)^func main\(\)`)
)

// multicall returns the sources of the throw-away module: a package for each
// component, and the main package that chooses among them.
func multicall(kubernetesDir string) (map[string]string, error) {
	type component struct{ Name, Package, Import string }
	files := map[string]string{}
	var components []component
	for _, name := range kubeComponents {
		pkg := strings.ReplaceAll(name, "-", "")
		sources, err := filepath.Glob(filepath.Join(kubernetesDir, "cmd", name, "*.go"))
		if err != nil {
			return nil, fmt.Errorf("list the sources of %s: %w", name, err)
		}
		mains := 0
		for _, source := range sources {
			if strings.HasSuffix(source, "_test.go") {
				continue
			}
			b, err := os.ReadFile(source)
			if err != nil {
				return nil, fmt.Errorf("read the sources of %s: %w", name, err)
			}
			text := packageMain.ReplaceAllString(string(b), "package "+pkg)
			mains += len(funcMain.FindAllString(text, -1))
			files[filepath.Join("cmd", pkg, filepath.Base(source))] = funcMain.ReplaceAllString(text, "func Main()")
		}
		if mains != 1 {
			return nil, fmt.Errorf("cmd/%s of Kubernetes has %d main functions, want 1; this recipe no longer fits", name, mains)
		}
		components = append(components, component{Name: name, Package: pkg, Import: throwAway + "/cmd/" + pkg})
	}
	tmpl, err := texttemplate.New("multicall").Parse(template("multicall.go.tmpl"))
	if err != nil {
		return nil, fmt.Errorf("parse the multi-call template: %w", err)
	}
	var main strings.Builder
	if err := tmpl.Execute(&main, components); err != nil {
		return nil, fmt.Errorf("render the multi-call template: %w", err)
	}
	files["main.go"] = main.String()
	return files, nil
}

// versionFlags stamps the version as Kubernetes' own build does
// (hack/lib/version.sh): a component that reports v0.0.0-master would be
// refused by kubeadm's skew checks. The date is fixed so that the same recipe
// makes the same bytes.
func versionFlags(v cluster.Version) string {
	major, rest, _ := strings.Cut(strings.TrimPrefix(v.String(), "v"), ".")
	minor, _, _ := strings.Cut(rest, ".")
	var flags strings.Builder
	for _, pkg := range []string{"k8s.io/component-base/version", "k8s.io/client-go/pkg/version"} {
		for _, kv := range [][2]string{
			{"gitVersion", v.String()}, {"gitMajor", major}, {"gitMinor", minor},
			{"gitTreeState", "clean"}, {"buildDate", "2000-01-01T00:00:00Z"},
		} {
			fmt.Fprintf(&flags, " -X %s.%s=%s", pkg, kv[0], kv[1])
		}
	}
	return flags.String()
}

// wanted is what kubeadm of one version asks for: image references by the last
// element of their name, for example "etcd" and "kube-proxy".
type wanted map[string]string

// imageList asks the kubeadm in kubeDir for the images of its version.
func imageList(ctx context.Context, kubeDir string, v cluster.Version) (wanted, error) {
	work, err := os.MkdirTemp("", "rehearse-kubeadm-")
	if err != nil {
		return nil, fmt.Errorf("make a directory to run kubeadm from: %w", err)
	}
	defer func() { _ = os.RemoveAll(work) }()
	kubeadm := filepath.Join(work, "kubeadm")
	if err := os.Symlink(filepath.Join(kubeDir, kubeExecutable), kubeadm); err != nil {
		return nil, fmt.Errorf("make a link to run kubeadm by: %w", err)
	}
	out, err := command.Output(ctx, command.Cmd{Args: []string{kubeadm, "config", "images", "list", "--kubernetes-version", v.String()}})
	if err != nil {
		return nil, fmt.Errorf("ask kubeadm %s for its images: %w", v, err)
	}
	return parseImageList(out)
}

func parseImageList(out string) (wanted, error) {
	images := wanted{}
	for _, ref := range strings.Fields(out) {
		name, _, err := splitRef(ref)
		if err != nil {
			return nil, fmt.Errorf("read the output of kubeadm config images list: %w", err)
		}
		images[name] = ref
	}
	for _, name := range []string{"kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "coredns", "etcd", "pause"} {
		if images[name] == "" {
			return nil, fmt.Errorf("kubeadm config images list names no %s image, it printed: %s", name, strings.Join(strings.Fields(out), " "))
		}
	}
	return images, nil
}

// splitRef splits "registry/path/etcd:3.6.5-0" into "etcd" and "3.6.5-0".
func splitRef(ref string) (name, tag string, err error) {
	colon := strings.LastIndex(ref, ":")
	if slash := strings.LastIndex(ref, "/"); colon < 0 || colon < slash || colon == len(ref)-1 {
		return "", "", fmt.Errorf("image %q has no tag", ref)
	}
	return ref[strings.LastIndex(ref[:colon], "/")+1 : colon], ref[colon+1:], nil
}
