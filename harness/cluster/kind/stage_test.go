package kind

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestStageSendsOnlyWhatIsMissingAndWhatTheRoleNeeds(t *testing.T) {
	const kubeadmImages = "W1121 could not fetch a version\nregistry.k8s.io/kube-apiserver:v1.35.4\nregistry.k8s.io/kube-controller-manager:v1.35.4\n" +
		"registry.k8s.io/kube-scheduler:v1.35.4\nregistry.k8s.io/kube-proxy:v1.35.4\nregistry.k8s.io/coredns/coredns:v1.13.1\n" +
		"registry.k8s.io/pause:3.10.1\nregistry.k8s.io/etcd:3.6.6-0\n"
	f := newFakeDocker(t, append(threeNodes(),
		answer{match: `*"images list --kubernetes-version"*`, stdout: kubeadmImages},
		answer{match: `*"images list --quiet"`, stdout: "registry.k8s.io/pause:3.10.1\nregistry.k8s.io/kube-proxy:v1.34.4\n"},
		answer{match: `*"version --output short"`, stdout: "v1.35.4\n"},
		answer{match: `"cp "*`, stdout: tarOf(t, "x")})...)
	if err := newDriver(f, nil).Stage(t.Context(), theCluster(), target); err != nil {
		t.Fatal(err)
	}
	const export = `ctr --namespace=k8s.io images export /rehearse/images-`
	wantExports := []string{
		export + "1.tar registry.k8s.io/kube-apiserver:v1.35.4 registry.k8s.io/kube-controller-manager:v1.35.4 registry.k8s.io/kube-scheduler:v1.35.4 " +
			"registry.k8s.io/kube-proxy:v1.35.4 registry.k8s.io/coredns/coredns:v1.13.1 registry.k8s.io/etcd:3.6.6-0",
		export + "2.tar registry.k8s.io/kube-proxy:v1.35.4 registry.k8s.io/coredns/coredns:v1.13.1",
	}
	var exports []string
	for _, c := range commands(f, testName+"-stage") {
		if strings.HasPrefix(c, export) {
			exports = append(exports, c)
		}
	}
	if diff := cmp.Diff(wantExports, exports); diff != "" {
		t.Errorf("exports (-want +got):\n%s", diff)
	}
	const from = "cp " + testName + "-stage:/rehearse/"
	wantSent := []string{
		from + "images-1.tar -", from + "commands.tar -",
		from + "images-2.tar -", from + "commands.tar -",
		from + "images-2.tar -", from + "commands.tar -",
	}
	if diff := cmp.Diff(wantSent, f.with(from)); diff != "" {
		t.Errorf("sent (-want +got):\n%s", diff)
	}
	var into []string
	for _, c := range f.with("exec --interactive") {
		into = append(into, strings.Fields(c)[2]+" "+strings.Fields(c)[3])
	}
	wantInto := []string{
		testName + "-control-plane ctr", testName + "-control-plane sh",
		testName + "-worker ctr", testName + "-worker sh", testName + "-worker2 ctr", testName + "-worker2 sh",
	}
	if diff := cmp.Diff(wantInto, into); diff != "" {
		t.Errorf("into (-want +got):\n%s", diff)
	}
	if got := len(f.with("cp --archive")); got != 2 {
		t.Errorf("the commands of before were kept on %d nodes, want the 2 workers", got)
	}
	calls := f.calls()
	if first, want := f.with("run --detach")[0], "run --detach --name "+testName+"-stage --label io.rehearse.run=4f2a91 --label io.rehearse.role=stage "+
		"--network none --entrypoint containerd rehearse/node:v1.35.4"; first != want {
		t.Errorf("\n got %s\nwant %s", first, want)
	}
	if last, want := calls[len(calls)-1], "rm --force --volumes "+testName+"-stage"; last != want {
		t.Errorf("the last call is %q, want %q", last, want)
	}
}

func TestStageFailsWhenTheImageIsOfAnotherVersion(t *testing.T) {
	f := newFakeDocker(t, append(threeNodes(),
		answer{match: `*"images list --kubernetes-version"*`, stdout: "registry.k8s.io/pause:3.10.1\n"},
		answer{match: `"cp "*`, stdout: tarOf(t, "x")},
		answer{match: `*"version --output short"`, stdout: "v1.35.3\n"})...)
	err := newDriver(f, nil).Stage(t.Context(), theCluster(), target)
	want := "stage v1.35.4: commands for node " + testName + "-control-plane: the staged kubeadm says that it is \"v1.35.3\", want v1.35.4: is the node image mislabelled?"
	if err == nil || err.Error() != want {
		t.Errorf("\n got %v\nwant %s", err, want)
	}
	if got := f.with("rm --force --volumes " + testName + "-stage"); len(got) != 1 {
		t.Error("the stage container was left behind")
	}
}

// TestAnArchiveThatIsCutShortIsWrittenAgain has ctr leave out the end once, and always.
func TestAnArchiveThatIsCutShortIsWrittenAgain(t *testing.T) {
	const cut = `*"tar --list --file"*`
	for _, x := range []struct {
		turn, exports int
		err           string
	}{
		{1, 2, ""},
		{0, 3, "export registry.k8s.io/kube-proxy:v1.35.4: ctr wrote an archive that is cut short, 3 times; see whether Docker's disk is full: "},
	} {
		f := newFakeDocker(t, answer{match: cut, stdout: "tar: Unexpected EOF in archive\n", exit: 2, turn: x.turn}, answer{match: `"cp "*`, stdout: tarOf(t, "x")})
		archives := map[string]string{}
		err := newDriver(f, nil).stageImages(t.Context(), "stage", "node", []string{"registry.k8s.io/kube-proxy:v1.35.4"}, archives)
		if got := len(f.with("images export")); got != x.exports {
			t.Errorf("%d exports, want %d", got, x.exports)
		}
		if x.err == "" && (err != nil || len(archives) != 1) || x.err != "" && (err == nil || !strings.HasPrefix(err.Error(), x.err) || len(archives) != 0) {
			t.Errorf("error %v, archives %v; want %q", err, archives, x.err)
		}
	}
}

// TestWholeArchive runs the check on archives that real tar wrote, whole and cut.
func TestWholeArchive(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"blob", "index.json", "oci-layout"} {
		if err := os.WriteFile(filepath.Join(dir, name), bytes.Repeat([]byte("x"), 1841), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	archive := filepath.Join(dir, "images.tar")
	if out, err := exec.CommandContext(t.Context(), "tar", "--create", "--directory", dir, "--file", archive, "blob", "index.json", "oci-layout").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	whole, err := os.ReadFile(archive)
	if err != nil {
		t.Fatal(err)
	}
	const member = 512 + 2048 // header, and 1841 bytes in blocks of 512
	for size, want := range map[int]bool{len(whole): true, 2*member + 512: false, member + 512: false, 2 * member: false, 0: false} {
		if err := os.WriteFile(archive, whole[:size], 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.CommandContext(t.Context(), "sh", "-c", wholeArchive, "sh", archive).CombinedOutput()
		if (err == nil) != want {
			t.Errorf("%d bytes: %v %s", size, err, out)
		}
	}
}
