package nodeimage

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// entries renders a tar, one line an entry.
func entries(t *testing.T, r io.Reader) []string {
	t.Helper()
	var lines []string
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return lines
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		line := fmt.Sprintf("%c %04o %s", h.Typeflag, h.Mode, h.Name)
		if h.Linkname != "" {
			line += " -> " + h.Linkname
		}
		if len(content) > 0 {
			line += " = " + string(content)
		}
		if h.ModTime.Unix() != 0 {
			t.Errorf("%s has a time: %s", h.Name, h.ModTime)
		}
		lines = append(lines, line)
	}
}

func TestLayer(t *testing.T) {
	var b bytes.Buffer
	l := newLayer(&b)
	l.file("/usr/bin/kubeadm", 0o755, []byte("all"))
	l.hardlink("usr/bin/kubelet", "usr/bin/kubeadm")
	l.symlink("usr/bin/x", "kubeadm")
	l.dir("tmp", 0o1777)
	l.dir("tmp", 0o755)
	if err := l.close(); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"5 0755 usr", "5 0755 usr/bin", "0 0755 usr/bin/kubeadm = all", "1 0755 usr/bin/kubelet -> usr/bin/kubeadm",
		"2 0777 usr/bin/x -> kubeadm", "5 1777 tmp",
	}
	if diff := cmp.Diff(want, entries(t, &b)); diff != "" {
		t.Error(diff)
	}
}

func TestLayerOfATreeLeavesOutWhatANodeDoesNotNeed(t *testing.T) {
	root := tree(t, map[string]string{
		"bin": "-> usr/bin",
		"usr/lib/systemd/system/multi-user.target.wants/getty.target":                "",
		"usr/lib/systemd/system/sockets.target.wants/systemd-udevd-control.socket":   "",
		"usr/lib/systemd/system/sockets.target.wants/dbus.socket":                    "s",
		"usr/lib/systemd/system/sysinit.target.wants/systemd-tmpfiles-setup.service": "",
		"usr/lib/systemd/system/sysinit.target.wants/systemd-journald.service":       "j",
		"etc/systemd/system/timers.target.wants/apt-daily.timer":                     "",
		"etc/resolv.conf":          "",
		"usr/share/doc/bash/x":     "",
		"var/cache/apt/archives/x": "",
		"usr/sbin/haproxy":         "",
		"usr/sbin/nft":             "n",
	})
	if err := os.Link(filepath.Join(root, "usr/sbin/nft"), filepath.Join(root, "usr/sbin/nft2")); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	l := newLayer(&b)
	l.tree(root, droppedFromNode)
	if err := l.close(); err != nil {
		t.Fatal(err)
	}
	var files []string
	for _, line := range entries(t, &b) {
		if !strings.HasPrefix(line, "5 ") {
			files = append(files, line)
		}
	}
	want := []string{
		"2 0777 bin -> usr/bin",
		"0 0755 usr/lib/systemd/system/sockets.target.wants/dbus.socket = s",
		"0 0755 usr/lib/systemd/system/sysinit.target.wants/systemd-journald.service = j",
		"0 0755 usr/sbin/nft = n",
		"1 0755 usr/sbin/nft2 -> usr/sbin/nft",
	}
	if diff := cmp.Diff(want, files); diff != "" {
		t.Error(diff)
	}
}

func TestLayerReportsTheFirstError(t *testing.T) {
	l := newLayer(io.Discard)
	l.copyFile("a", 0o755, "/does/not/exist")
	l.file("b", 0o644, nil)
	if err := l.close(); err == nil || err.Error() != "write an image layer: open /does/not/exist: no such file or directory" {
		t.Error(err)
	}
}

func TestArchiveCanBeReadBack(t *testing.T) {
	dir := t.TempDir()
	fill := func(l *layer) { l.file("canary", 0o755, []byte("program")) }
	first, err := writeLayer(filepath.Join(dir, "1.tar"), fill)
	if err != nil {
		t.Fatal(err)
	}
	second, err := writeLayer(filepath.Join(dir, "2.tar"), fill)
	if err != nil {
		t.Fatal(err)
	}
	a, _ := first.Digest()
	b, _ := second.Digest()
	if a != b {
		t.Error("equal contents make different layers")
	}
	builder := &Builder{recipe: current()}
	img, err := builder.image(v1.Config{Entrypoint: []string{"/canary"}, Labels: map[string]string{"k": "v"}}, first)
	if err != nil {
		t.Fatal(err)
	}
	archive := filepath.Join(dir, "archive.tar")
	f, err := os.Create(archive)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(writeArchive(f, map[string]v1.Image{"rehearse/canary:1": img}), f.Close()); err != nil {
		t.Fatal(err)
	}
	tag, err := name.NewTag("rehearse/canary:1")
	if err != nil {
		t.Fatal(err)
	}
	back, err := tarball.ImageFromPath(archive, &tag)
	if err != nil {
		t.Fatal(err)
	}
	config, err := back.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if config.OS != "linux" || config.Config.Entrypoint[0] != "/canary" || config.Config.Labels["k"] != "v" ||
		config.Config.Env[0] != searchPath || config.RootFS.DiffIDs[0] != a {
		t.Errorf("%+v", config)
	}
}
