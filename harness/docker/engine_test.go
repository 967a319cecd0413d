package docker_test

import (
	"archive/tar"
	"bytes"
	"context"
	"os"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-rehearse/rehearse/harness/docker"
)

// engineOrSkip returns a client whose engine answers. Without one the test is
// skipped, but never in CI, where a skipped test would look like a passed one.
func engineOrSkip(t *testing.T) *docker.Client {
	t.Helper()
	c := &docker.Client{}
	if _, err := c.Info(t.Context()); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("CI=true and no Docker; run make docker first: %v", err)
		}
		t.Skipf("SKIPPED, NOTHING WAS TESTED: no Docker engine answers (make docker): %v", err)
	}
	return c
}

// The fake client of the other tests says what we believe about Docker; this
// one asks Docker.
func TestRealEngine(t *testing.T) {
	c := engineOrSkip(t)
	ctx := t.Context()
	info, err := c.Info(ctx)
	if err != nil || info.ServerVersion == "" || info.NCPU < 1 || info.MemTotal < 1 || info.CgroupVersion != "1" && info.CgroupVersion != "2" {
		t.Fatalf("%+v, %v", info, err)
	}
	if ok, refusal, err := c.Privileged(ctx); !ok || err != nil {
		t.Fatalf("privileged containers: %s, %v", refusal, err)
	}

	unique := strconv.Itoa(os.Getpid())
	ref, label, name := "rehearse/test-image:"+unique, "io.rehearse.test="+unique, "rehearse-test-"+unique
	t.Cleanup(func() {
		ctx := context.WithoutCancel(ctx) // the test's own has ended by now
		for _, err := range []error{removed(c.RemoveContainers(ctx, label)), removed(c.RemoveNetworks(ctx, label)), c.RemoveImage(ctx, ref)} {
			if err != nil {
				t.Error(err)
			}
		}
	})

	if _, found, err := c.Image(ctx, ref); found || err != nil {
		t.Fatal(found, err)
	}
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	if err := w.WriteHeader(&tar.Header{Name: "empty", Mode: 0o644}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.Import(ctx, &layer, ref, "LABEL k=v", `CMD ["/empty"]`); err != nil {
		t.Fatal(err)
	}
	img, found, err := c.Image(ctx, ref)
	if err != nil || !found || img.Labels["k"] != "v" || len(img.Tags) != 1 || img.Tags[0] != ref {
		t.Fatalf("%+v, %v, %v", img, found, err)
	}
	images, err := c.Images(ctx, "reference="+ref)
	if err != nil || len(images) != 1 || images[0].ID != img.ID {
		t.Fatalf("%+v, %v", images, err)
	}

	if _, err := c.CreateNetwork(ctx, name, label); err != nil {
		t.Fatal(err)
	}
	if _, err := c.CreateNetwork(ctx, name, label); err == nil {
		t.Error("two networks of one name")
	}
	if _, err := c.Output(ctx, "create", "--name", name, "--label", label, "--network", name, ref); err != nil {
		t.Fatal(err)
	}
	containers, err := c.Containers(ctx, label)
	if err != nil || len(containers) != 1 || containers[0].Name != name || containers[0].State != "created" || containers[0].Image != ref {
		t.Fatalf("%+v, %v", containers, err)
	}
	if _, found, err := c.Container(ctx, name+"-missing"); found || err != nil {
		t.Error(found, err)
	}
	gone, err := c.RemoveContainers(ctx, label)
	if diff := cmp.Diff([]string{name}, gone); diff != "" || err != nil {
		t.Error(diff, err)
	}
	if err := c.RemoveContainer(ctx, name); err != nil {
		t.Errorf("removing what is gone: %v", err)
	}
	gone, err = c.RemoveNetworks(ctx, label)
	if diff := cmp.Diff([]string{name}, gone); diff != "" || err != nil {
		t.Error(diff, err)
	}
	if err := c.RemoveNetwork(ctx, name); err != nil {
		t.Errorf("removing what is gone: %v", err)
	}
	if err := c.RemoveImage(ctx, ref); err != nil {
		t.Error(err)
	}
	if err := c.RemoveImage(ctx, ref); err != nil {
		t.Errorf("removing what is gone: %v", err)
	}
}

func removed(_ []string, err error) error { return err }
