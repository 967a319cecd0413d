package kops

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCreateFromFlags(t *testing.T) {
	b := newBed(t, func(o *Options) { o.NodeSize, o.AdminAccess, o.DNS = "m6i.large", []string{"203.0.113.0/24"}, "none" })
	ok, err := os.ReadFile("output/testdata/validate-ok.json")
	if err != nil {
		t.Fatal(err)
	}
	b.put("validate-cluster.stdout", string(ok))
	c, err := b.d.Create(b.ctx(), b.spec)
	if err != nil || c != b.c {
		t.Fatalf("%v, %v", c, err)
	}
	want := []string{
		"create cluster --cloud aws --kubernetes-version 1.34.4 --zones us-east-1a,us-east-1b,us-east-1c --control-plane-count 3 --node-count 3 --node-size m6i.large --networking cilium --dns none " +
			"--admin-access 203.0.113.0/24 --authorization RBAC --cloud-labels io.rehearse.run=ab12cd",
		"update cluster --create-kube-config=false", "update cluster --create-kube-config=false --yes",
		"export kubeconfig --admin=72h --kubeconfig DIR/kubeconfig",
		"validate cluster --wait 20m0s --count 2 --kubeconfig DIR/kubeconfig -o json",
	}
	if diff := cmp.Diff(want, b.calls()); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	info, err := os.Stat(b.d.dir)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the directory of the credentials: %v, %v", info, err)
	}
}

func TestCreateNamesWhatKeepsAClusterFromBeingHealthy(t *testing.T) {
	b := newBed(t, nil)
	bad, err := os.ReadFile("output/testdata/validate-wait-concatenated.json")
	if err != nil {
		t.Fatal(err)
	}
	b.put("validate-cluster.stdout", string(bad))
	b.put("validate-cluster.rc", "1")
	const want = `cluster t.example.com did not become healthy: Node i-0001a4d6347bf1606: control-plane node "i-0001a4d6347bf1606" is missing kube-scheduler pod (instance group control-plane-us-east-1c): `
	if _, err := b.d.Create(b.ctx(), b.spec); err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}
