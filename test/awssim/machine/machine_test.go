package machine

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
)

const config = "ClusterName: t.k8s.local\nKubernetesVersion: 1.34.4\n"

func userData(hash string, compress bool) string {
	env := "ClusterName: t.k8s.local\nInstanceGroupName: nodes-a\nInstanceGroupRole: Node\nNodeupConfigHash: " + hash
	script := "#!/bin/bash\ncat > conf/kube_env.yaml << '__EOF_KUBE_ENV'\n" + env + "\n__EOF_KUBE_ENV\n"
	if compress {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		z.Write([]byte(env))
		z.Close()
		script = `echo "` + base64.StdEncoding.EncodeToString(b.Bytes()) + `" | base64 -d | gzip -d > conf/kube_env.yaml`
	}
	return base64.StdEncoding.EncodeToString([]byte(script))
}

func TestRead(t *testing.T) {
	sum := sha256.Sum256([]byte(config))
	hash := base64.StdEncoding.EncodeToString(sum[:])
	object := func(key string) ([]byte, error) {
		if key != "t.k8s.local/igconfig/node/nodes-a/nodeupconfig.yaml" {
			return nil, errors.New("read " + key)
		}
		return []byte(config), nil
	}
	for _, compress := range []bool{false, true} {
		b, err := read(userData(hash, compress), "state", object)
		if want := (boot{cluster: "t.k8s.local", group: "nodes-a", role: "node", version: "v1.34.4"}); err != nil || b != want {
			t.Errorf("compressed %v: %+v, %v", compress, b, err)
		}
	}
	if _, err := read(userData("b3RoZXI=", false), "state", object); err == nil || !strings.Contains(err.Error(), "has not the hash that the user data wants") {
		t.Errorf("another configuration: %v", err)
	}
	if _, err := read(base64.StdEncoding.EncodeToString([]byte("#!/bin/sh")), "state", object); err == nil || err.Error() != "user data: no kube_env.yaml in 9 bytes" {
		t.Errorf("no configuration: %v", err)
	}
}
