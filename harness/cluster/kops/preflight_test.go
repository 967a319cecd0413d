package kops

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-rehearse/rehearse/harness/record"
)

func TestPreflight(t *testing.T) {
	finding := func(id, object, cause, remedy string) record.Finding {
		return record.Finding{ID: id, Severity: record.SeverityBlock, Object: object, Cause: cause, Remedy: remedy}
	}
	none := func(b *bed) {
		b.put("get-clusters.stdout", "")
		b.put("get-clusters.stderr", `Error: cluster not found "t.example.com"`)
		b.put("get-clusters.rc", "1")
	}
	fails := func(text string) func(*bed) {
		return func(b *bed) {
			none(b)
			b.put("get-clusters.stderr", "Error: "+text)
		}
	}
	for name, tc := range map[string]struct {
		change  func(*Options)
		prepare func(*bed)
		want    []record.Finding
	}{
		"all is well": {nil, none, nil},
		"no kops": {func(o *Options) { o.Path = "/nowhere/kops" }, none, []record.Finding{
			finding("kops-missing", "kops", "kops was not found at /nowhere/kops", "install it (https://kops.sigs.k8s.io/getting_started/install/) or name it in cluster.kops.path"),
		}},
		"kops too old for the target": {nil, func(b *bed) { none(b); b.put("version.stdout", "1.34.1\n") }, []record.Finding{
			finding("kops-version", "kops", "kops 1.34.1 is too old for Kubernetes v1.35.4: it supports none newer than 1.34", "install kops 1.35 (https://github.com/kubernetes/kops/releases) and name it in cluster.kops.path"),
		}},
		"kops too new for the source": {nil, func(b *bed) { none(b); b.put("version.stdout", "1.41.0-alpha.1\n") }, []record.Finding{
			finding("kops-version", "kops", "kops 1.41.0-alpha.1 is too new for Kubernetes v1.34.4: it supports none older than 1.35", "install kops 1.35 (https://github.com/kubernetes/kops/releases) and name it in cluster.kops.path"),
		}},
		"cluster exists": {nil, func(*bed) {}, []record.Finding{
			finding("cluster-exists", "cluster/t.example.com", "the state store holds a cluster of this name already", "give cluster.kops.name another name, or delete that cluster if it is not used: SCRIPT delete cluster --yes"),
		}},
		"missing bucket": {nil, fails("operation error S3: ListObjectsV2, https response error StatusCode: 404, NoSuchBucket: "), []record.Finding{
			finding("state-store", "s3://kops-state", "the bucket of the state store does not exist", "create it (aws s3api create-bucket), turn on versioning, or correct cluster.kops.stateStore"),
		}},
		"no credentials": {nil, fails("get identity: get credentials: failed to refresh cached credentials, no EC2 IMDS role found"), []record.Finding{
			finding("state-store", "s3://kops-state", "no AWS credentials were found", "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give this machine a role"),
		}},
		"expired": {nil, fails("api error ExpiredToken: The provided token has expired."), []record.Finding{
			finding("state-store", "s3://kops-state", "the AWS credentials have expired", "renew them (aws sso login, or a new session token); a rehearsal needs them for its whole length"),
		}},
		"wrong region": {nil, fails("api error PermanentRedirect: The bucket you are attempting to access must be addressed using the specified endpoint"), []record.Finding{
			finding("state-store", "s3://kops-state", "the bucket of the state store is in another region", "set S3_REGION or AWS_REGION to the region in which it was made"),
		}},
		"throttled": {nil, fails("api error SlowDown: Please reduce your request rate"), []record.Finding{
			finding("state-store", "s3://kops-state", "AWS throttles the account", "wait and start again, or ask for a higher request rate"),
		}},
		"nothing given": {func(o *Options) {
			o.StateStore, o.Zones, o.CanaryImage, o.SSHPublicKey = "kops-state", nil, "", "/nowhere/id.pub"
		}, none, []record.Finding{
			finding("kops-options", "cluster.kops.stateStore", `"kops-state" is no state store`, "give a bucket as s3://BUCKET, versioned and not public"),
			finding("kops-options", "cluster.kops.zones", "no availability zone is given, and no manifest", "name the zones, such as [eu-west-1a, eu-west-1b, eu-west-1c]"),
			finding("kops-options", "canary.image", "nodes in AWS cannot take the canary's image from this machine", "push it to a registry that the nodes can pull from and name it"),
			finding("kops-options", "cluster.kops.sshPublicKey", "stat /nowhere/id.pub: no such file or directory", "correct the path, or leave it out"),
		}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t, tc.change)
			tc.prepare(b)
			got, err := b.d.Preflight(b.ctx(), b.spec, "v1.35.4")
			if err != nil {
				t.Fatal(err)
			}
			for i := range got {
				got[i].Remedy = strings.ReplaceAll(strings.ReplaceAll(got[i].Remedy, b.d.o.Path, "SCRIPT"), " --name t.example.com --state s3://kops-state", "")
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
		})
	}
}
