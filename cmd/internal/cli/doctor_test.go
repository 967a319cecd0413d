package cli

import (
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kube-rehearse/rehearse/test/fakeaws"
)

// TestDoctorLooksAtWhatTheDriverNeeds is the table of what doctor says without
// and with a scenario: its exit code, and its whole output.
func TestDoctorLooksAtWhatTheDriverNeeds(t *testing.T) {
	script, err := filepath.Abs("testdata/kops")
	if err != nil {
		t.Fatal(err)
	}
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"major":"1","minor":"34","gitVersion":"v1.34.4"}`))
	}))
	t.Cleanup(api.Close)
	const (
		region = "ok       AWS region: eu-west-1\n"
		who    = "ok       AWS credentials: accepted, of arn:aws:iam::000000000000:user/rehearse\n"
		store  = "ok       state store: s3://kops-state can be read, keeps versions and is not public\n"
		fits   = "ok       kops: version 1.35.0, which takes Kubernetes v1.34.4 and v1.35.4\n"
	)
	onExisting := func(kubeconfig string) string {
		return "cluster: {driver: existing, kubeconfig: " + kubeconfig + "}, canary: {image: i}, upgrade: {strategy: command, command: [x]}"
	}
	missing := func(driver string) string {
		return "rehearse: this machine cannot carry out a rehearsal on " + driver + " yet; what is needed is marked MISSING\n"
	}
	for _, tc := range []struct {
		name, fields string
		args         []string
		spoil        func(*account)
		code         int
		out, err     string
	}{
		{"kops", onKops, nil, nil, ExitGo, fits + region + who + store, ""},
		{"kops, no credentials", onKops, nil, func(b *account) {
			for _, n := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"} {
				b.t.Setenv(n, "")
			}
		}, ExitFailed, fits + region + "MISSING  AWS credentials: no AWS credentials were found\n         -> set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give this machine a role\n", missing("kops")},
		{"kops, expired", onKops, nil, func(b *account) {
			b.a.Fail("sts:GetCallerIdentity", fakeaws.Fault{Status: 403, Code: "ExpiredToken", Times: -1})
		}, ExitFailed, fits + region + "MISSING  AWS credentials: the credentials have expired\n         -> renew them (aws sso login, or a new session token) and start again: a rehearsal needs them for its whole length\n", missing("kops")},
		{"kops, too old, no bucket", onKops, nil, func(b *account) { b.put("version", "1.34.1\n"); delete(b.a.S3, "kops-state") }, ExitFailed,
			"MISSING  kops: kops 1.34.1 is too old for Kubernetes v1.35.4: it supports none newer than 1.34\n         -> install kops 1.35 (https://github.com/kubernetes/kops/releases) and name it in cluster.kops.path\n" + region + who +
				"MISSING  state store: it does not exist\n         -> create it, turn on versioning, or correct cluster.kops.stateStore\n", missing("kops")},
		{"kops, an open bucket warns", onKops, nil, func(b *account) { b.a.S3["kops-state"].Versioned = false }, ExitGo, fits + region + who +
			"warning  state store: it keeps no versions, so a state that was overwritten is lost\n         -> aws s3api put-bucket-versioning --bucket kops-state --versioning-configuration Status=Enabled\n", ""},
		{"eks", onEKS, nil, nil, ExitGo, region + who + "ok       cluster staging: ACTIVE, Kubernetes 1.34\n", ""},
		{"eks, not there", onEKS, nil, func(b *account) { delete(b.a.EKS.Clusters, "staging") }, ExitFailed, region + who + "MISSING  cluster staging: region eu-west-1 has no EKS cluster of this name\n         -> check name, region and account\n", missing("eks")},
		{"eks, no region", onEKS, nil, func(b *account) { b.t.Setenv("AWS_REGION", "") }, ExitFailed,
			"MISSING  AWS configuration: no AWS region: give the scenario's region, or set AWS_REGION\n         -> set AWS_REGION, or a region in the profile or the scenario\n", missing("eks")},
		{"eks without a scenario", "", []string{"--driver", "eks"}, nil, ExitGo, region + who + "warning  cluster: not looked at: no scenario tells which\n         -> give one with cluster.eks.existing, or subnets and roles: rehearse doctor -f scenarios.yaml\n", ""},
		{"existing", onExisting("DIR/config"), nil, func(b *account) { kubeconfigAt(b, api.URL) }, ExitGo, "ok       kubeconfig: DIR/config can be read\nok       cluster: answers, and runs v1.34.4\n", ""},
		{"existing without a scenario", "", []string{"--driver", "existing"}, nil, ExitGo, "warning  kubeconfig: not looked at: no scenario tells which\n         -> give one with cluster.kubeconfig: rehearse doctor -f scenarios.yaml\n", ""},
		{"existing without its file", onExisting("DIR/none.yaml"), nil, nil, ExitFailed,
			"MISSING  kubeconfig: stat DIR/none.yaml: no such file or directory\n         -> correct cluster.kubeconfig and cluster.context, or write it anew with the tool that made the cluster\n", missing("existing")},
		{"sim", onKops, []string{"--driver", "sim"}, nil, ExitGo, "ok       sim: the embedded cluster needs nothing\n", ""},
		{"an unknown driver", "", []string{"--driver", "gke"}, nil, ExitUsage, "", "rehearse: --driver \"gke\" is unknown; accepted: sim, kind, kops, eks, existing\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newAccount(t)
			if tc.spoil != nil {
				tc.spoil(b)
			}
			args := append([]string{"doctor"}, tc.args...)
			if tc.fields != "" {
				args = append(args, "-f", b.file(strings.ReplaceAll(tc.fields, "DIR", b.dir)))
			}
			code, stdout, stderr := b.rehearse(args...)
			tidy := func(s string) string { return strings.ReplaceAll(strings.ReplaceAll(s, b.dir, "DIR"), script, "KOPS") }
			if code != tc.code || tidy(stdout) != tc.out || tidy(stderr) != tc.err {
				t.Errorf("exit %d, want %d\ngot  %s%s\nwant %s%s", code, tc.code, tidy(stdout), tidy(stderr), tc.out, tc.err)
			}
			if made := b.made(); made != nil {
				t.Errorf("it did: %q", made)
			}
			for _, secret := range []string{fakeaws.AccessKey, fakeaws.SecretKey, fakeaws.SessionToken} {
				if strings.Contains(stdout+stderr, secret) {
					t.Error("it told a secret")
				}
			}
		})
	}
}

func kubeconfigAt(b *account, url string) {
	b.put("config", "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{name: c, context: {cluster: c, user: u}}]\nclusters: [{name: c, cluster: {server: '"+url+"'}}]\nusers: [{name: u, user: {}}]\n")
}
