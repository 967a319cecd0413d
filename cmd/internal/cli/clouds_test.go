package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/test/fakeaws"
)

// account is one of AWS behind AWS_ENDPOINT_URL, a kops that is a script, and a
// directory to work in.
type account struct {
	t   *testing.T
	a   *fakeaws.AWS
	dir string
}

func newAccount(t *testing.T) *account {
	t.Helper()
	b := &account{t: t, a: fakeaws.New(), dir: t.TempDir()}
	zones := []string{"eu-west-1a", "eu-west-1b"}
	b.a.EC2 = fakeaws.EC2{
		Subnets: []fakeaws.Subnet{{ID: "subnet-a", VPC: "vpc-1", Zone: "eu-west-1a", State: "available", Free: 100}, {ID: "subnet-b", VPC: "vpc-1", Zone: "eu-west-1b", State: "available", Free: 100}},
		Types:   []fakeaws.InstanceType{{Name: "t3.medium", VCPUs: 2, Architectures: []string{"x86_64"}, Zones: zones}},
	}
	b.a.S3["kops-state"] = &fakeaws.Bucket{Versioned: true, BlocksPublic: true}
	b.a.Quotas["ec2/L-1216C47A"], b.a.Quotas["vpc/L-F678F1CE"] = 64, 5
	b.a.EKS.Clusters["staging"] = &fakeaws.Cluster{Name: "staging", Version: "1.34", Subnets: []string{"subnet-a", "subnet-b"}, Endpoint: "http://127.0.0.1:1", Groups: map[string]*fakeaws.Group{"apps": {Name: "apps", Version: "1.34", Desired: 3}}}
	server := httptest.NewServer(b.a)
	t.Cleanup(server.Close)
	for k, v := range map[string]string{
		"AWS_ENDPOINT_URL": server.URL, "AWS_ACCESS_KEY_ID": fakeaws.AccessKey, "AWS_SECRET_ACCESS_KEY": fakeaws.SecretKey, "AWS_SESSION_TOKEN": fakeaws.SessionToken,
		"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": filepath.Join(b.dir, "none"), "AWS_SHARED_CREDENTIALS_FILE": filepath.Join(b.dir, "none"),
		"AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "", "AWS_PROFILE": "", "AWS_MAX_ATTEMPTS": "1", "FAKE": b.dir,
	} {
		t.Setenv(k, v)
	}
	return b
}

// file writes a scenario whose fields are given in flow style.
func (b *account) file(fields string) string {
	b.t.Helper()
	script, err := filepath.Abs("testdata/kops")
	if err != nil {
		b.t.Fatal(err)
	}
	text := "apiVersion: rehearse/v1alpha1\nscenarios:\n- {name: aws, versions: {from: v1.34.4, to: v1.35.4}, " + strings.ReplaceAll(fields, "KOPS", script) + "}\n"
	return b.put("s.yaml", text)
}

func (b *account) put(name, text string) string {
	b.t.Helper()
	path := filepath.Join(b.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		b.t.Fatal(err)
	}
	return path
}

// rehearse runs a command line and returns how it ended.
func (b *account) rehearse(args ...string) (code int, stdout, stderr string) {
	var out, err bytes.Buffer
	code = Main(args, Streams{In: strings.NewReader(""), Out: &out, Err: &err})
	return code, out.String(), err.String()
}

// run rehearses the scenario and returns why it was not carried out.
func (b *account) run(fields string) (code int, why string) {
	code, _, stderr := b.rehearse("run", "-f", b.file(fields), "--out", filepath.Join(b.dir, "runs"))
	_, why, found := strings.Cut("\n"+stderr, "\nrehearse: ")
	if !found {
		b.t.Fatalf("exit %d without a word:\n%s", code, stderr)
	}
	why = regexp.MustCompile(`\nThe record is in \S+`).ReplaceAllString(strings.TrimSuffix(why, "\n"), "")
	script, _ := filepath.Abs("testdata/kops")
	return code, strings.ReplaceAll(strings.ReplaceAll(why, b.dir, "DIR"), script, "KOPS")
}

// made asks whether anything was changed, in AWS or by kops.
func (b *account) made() []string {
	var out []string
	for _, c := range b.a.Calls() {
		_, op, _ := strings.Cut(c, ":")
		if !slices.ContainsFunc([]string{"Describe", "Get", "Head", "List", "Simulate"}, func(p string) bool { return strings.HasPrefix(op, p) }) {
			out = append(out, c)
		}
	}
	calls, _ := os.ReadFile(filepath.Join(b.dir, "calls"))
	for c := range strings.Lines(string(calls)) {
		if c = strings.TrimSpace(c); c != "version --short" && c != "get clusters" {
			out = append(out, "kops "+c)
		}
	}
	return out
}

const (
	onKops = "cluster: {driver: kops, kops: {path: KOPS, stateStore: s3://kops-state, name: mirror.k8s.local, zones: [eu-west-1a]}}, canary: {image: i}"
	onEKS  = "cluster: {driver: eks, eks: {existing: staging}}, canary: {image: i}"

	stopped = "the rehearsal could not be carried out: step 1, Check this machine and the cloud's account, and look for leftovers of earlier runs: "
	looking = stopped + "check this machine and the cloud's account: "
	whose   = looking + "ask AWS whose credentials these are (sts:GetCallerIdentity): "
)

// TestBadInputEndsBeforeAnythingIsMade is the table of what is wrong with an
// account, a machine or a scenario: how the command ends, and what it says.
func TestBadInputEndsBeforeAnythingIsMade(t *testing.T) {
	fault := func(operation, code string) func(*account) {
		return func(b *account) {
			b.a.Fail(operation, fakeaws.Fault{Status: 403, Code: code, Message: "no", Times: -1})
		}
	}
	without := func(names ...string) func(*account) {
		return func(b *account) {
			for _, n := range names {
				b.t.Setenv(n, "")
			}
		}
	}
	credentials := without("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
	const (
		none      = "no AWS credentials were found; set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give this machine a role"
		expired   = "the credentials have expired; renew them (aws sso login, or a new session token) and start again: a rehearsal needs them for its whole length"
		rejected  = "AWS does not accept the credentials; check the access key and the account it belongs to, and this machine's clock"
		throttled = "AWS throttles the account; wait and start again, or ask for a higher request rate; other automation in the account counts too"
		disabled  = "this region is not enabled for the account; check the region's name, or enable it in the account's settings"
		forbidden = "the credentials have no permission for it: no; grant the action named to the role, or use another one"
	)
	for _, tc := range []struct {
		name, fields string
		spoil        func(*account)
		code         int
		want         string
	}{
		{"kops, no credentials", onKops, credentials, ExitFailed, whose + none},
		{"kops, expired", onKops, fault("sts:GetCallerIdentity", "ExpiredToken"), ExitFailed, whose + expired},
		{"kops, rejected", onKops, fault("sts:GetCallerIdentity", "InvalidClientTokenId"), ExitFailed, whose + rejected},
		{"kops, throttled", onKops, fault("sts:GetCallerIdentity", "Throttling"), ExitFailed, whose + throttled},
		{"kops, a region that is not enabled", onKops, fault("sts:GetCallerIdentity", "OptInRequired"), ExitFailed, whose + disabled},
		{"kops, a zone of another region", strings.Replace(onKops, "zones: [eu-west-1a]", "zones: [eu-west-1z], nodeSize: t3.medium", 1), nil, ExitFailed,
			stopped + "instance-type/t3.medium: it is not offered in zone eu-west-1z; it is in eu-west-1a, eu-west-1b; use another type there, or leave the zone out"},
		{"kops, no bucket", onKops, func(b *account) { delete(b.a.S3, "kops-state") }, ExitFailed,
			stopped + "bucket/kops-state: it does not exist; create it, turn on versioning, or correct cluster.kops.stateStore"},
		{"kops, no permission", onKops, func(b *account) { b.a.Denied = []string{"iam:PassRole"} }, ExitFailed,
			stopped + "arn:aws:iam::000000000000:user/rehearse: it may not do: iam:PassRole; grant these actions: the roll would stop at the first of them"},
		{"kops, too old", onKops, func(b *account) { b.put("version", "1.34.1\n") }, ExitFailed,
			stopped + "kops: kops 1.34.1 is too old for Kubernetes v1.35.4: it supports none newer than 1.34; install kops 1.35 (https://github.com/kubernetes/kops/releases) and name it in cluster.kops.path"},
		{"kops, not there", strings.Replace(onKops, "KOPS", "/nowhere/kops", 1), nil, ExitFailed,
			stopped + "kops: kops was not found at /nowhere/kops; install it (https://kops.sigs.k8s.io/getting_started/install/) or name it in cluster.kops.path"},
		{"kops, a cluster of the name", onKops, func(b *account) { b.put("run", "ffffff") }, ExitFailed,
			stopped + "cluster/mirror.k8s.local: the state store holds a cluster of this name already; give cluster.kops.name another name, or delete that cluster if it is not used: KOPS delete cluster --name mirror.k8s.local --state s3://kops-state --yes"},
		{"kops, kops itself is refused", onKops, func(b *account) { b.put("refused", "Error: api error ExpiredToken: expired\n") }, ExitFailed,
			stopped + "s3://kops-state: the AWS credentials have expired; renew them (aws sso login, or a new session token); a rehearsal needs them for its whole length"},
		{"kops, no manifest", strings.Replace(onKops, "zones: [eu-west-1a]", "manifest: /nowhere/all.yaml", 1), nil, ExitUsage,
			"DIR/s.yaml: scenario aws: cluster.kops.manifest: open /nowhere/all.yaml: no such file or directory"},
		{"kops, no image", strings.Replace(onKops, ", canary: {image: i}", "", 1), nil, ExitUsage,
			"DIR/s.yaml: scenarios[0].canary.image: missing: an image of cmd/canary that the cluster's nodes can pull: they cannot take one from this machine"},
		{"kops, another strategy", onKops + ", upgrade: {strategy: in-place}", nil, ExitUsage,
			`DIR/s.yaml: scenarios[0].upgrade.strategy: "in-place" is not accepted: the driver kops lets kops replace the machines in its own way: leave it out, or give replace`},
		{"eks, no credentials", onEKS, credentials, ExitFailed, whose + none},
		{"eks, expired", onEKS, fault("sts:GetCallerIdentity", "ExpiredToken"), ExitFailed, whose + expired},
		{"eks, throttled", onEKS, fault("eks:DescribeCluster", "ThrottlingException"), ExitFailed, looking + "eks:DescribeCluster staging: " + throttled},
		{"eks, no permission", onEKS, fault("eks:ListNodegroups", "AccessDeniedException"), ExitFailed, looking + "eks:ListNodegroups staging: " + forbidden},
		{"eks, another region", onEKS, func(b *account) { delete(b.a.EKS.Clusters, "staging") }, ExitFailed,
			stopped + "cluster/staging: region eu-west-1 has no EKS cluster of this name; check name, region and account"},
		{"eks, no region", onEKS, without("AWS_REGION"), ExitUsage, "DIR/s.yaml: scenario aws: cluster.eks: no AWS region: give the scenario's region, or set AWS_REGION"},
		{"eks, no such profile", strings.Replace(onEKS, "existing: staging", "existing: staging, profile: nobody", 1), nil, ExitUsage,
			"DIR/s.yaml: scenario aws: cluster.eks: read the AWS configuration: failed to get shared config profile, nobody; look at AWS_PROFILE and ~/.aws/config"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newAccount(t)
			if tc.spoil != nil {
				tc.spoil(b)
			}
			code, why := b.run(tc.fields)
			if code != tc.code || why != tc.want {
				t.Errorf("exit %d, want %d\ngot  %s\nwant %s", code, tc.code, why, tc.want)
			}
			if made := b.made(); made != nil {
				t.Errorf("it did: %q", made)
			}
			if _, err := os.Stat(filepath.Join(b.dir, "runs")); (err == nil) != (tc.code == ExitFailed) {
				t.Errorf("a record exists: %v", err == nil)
			}
		})
	}
}

// TestAFailureHalfwayListsWhatCostsMoney lets kops fail to make the cluster, and
// then to delete it.
func TestAFailureHalfwayListsWhatCostsMoney(t *testing.T) {
	b := newAccount(t)
	preview, err := os.ReadFile("../../../harness/cluster/kops/output/testdata/delete-preview.stdout")
	if err != nil {
		t.Fatal(err)
	}
	b.put("preview", string(preview))
	code, _, stderr := b.rehearse("run", "-f", b.file(onKops), "--out", filepath.Join(b.dir, "runs"))
	script, _ := filepath.Abs("testdata/kops")
	command := script + " delete cluster --name mirror.k8s.local --state s3://kops-state --yes"
	if code != ExitFailed || !strings.Contains(stderr, "create cluster mirror.k8s.local: "+script+" update cluster") || !strings.Contains(stderr, "vpc vpc-1 ("+command+")") {
		t.Errorf("exit %d:\n%s", code, stderr)
	}
	dirs, err := filepath.Glob(filepath.Join(b.dir, "runs", "*"))
	if err != nil || len(dirs) != 1 {
		t.Fatalf("%q, %v", dirs, err)
	}
	rec, err := record.Load(dirs[0])
	if err != nil {
		t.Fatal(err)
	}
	left := 0
	for _, f := range rec.Run.Findings {
		if f.ID != "left-behind" {
			continue
		}
		left++
		if f.Remedy != command {
			t.Errorf("%s is removed by %q", f.Object, f.Remedy)
		}
	}
	if left != 36 {
		t.Errorf("%d resources are listed, want the 36 of kops' preview", left)
	}
	// The report for people has each of them, too.
	text, err := os.ReadFile(filepath.Join(dirs[0], "report.txt"))
	if err != nil || !strings.Contains(string(text), "vpc/vpc-1") {
		t.Errorf("report.txt lacks the VPC (%v):\n%s", err, text)
	}
	secrets(t, b.dir)
}

// secrets looks for the planted credentials in every file below dir.
func secrets(t *testing.T, dir string) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		files++
		for _, s := range []string{fakeaws.AccessKey, fakeaws.SecretKey, fakeaws.SessionToken} {
			if bytes.Contains(text, []byte(s)) {
				return fmt.Errorf("%s holds %q", path, s)
			}
		}
		return nil
	})
	if err != nil || files < 8 {
		t.Errorf("%d files, %v", files, err)
	}
}

func TestPreflightOfAScenarioInAWS(t *testing.T) {
	b := newAccount(t)
	b.a.Denied = []string{"ec2:CreateVpc"}
	delete(b.a.Quotas, "vpc/L-F678F1CE")
	code, stdout, stderr := b.rehearse("preflight", "-f", b.file(onKops), "-o", "json")
	var report struct {
		Checks []struct{ Findings []record.Finding }
	}
	if err := json.Unmarshal([]byte(stdout), &report); err != nil {
		t.Fatalf("%v\n%s%s", err, stdout, stderr)
	}
	var got []string
	for _, c := range report.Checks {
		for _, f := range c.Findings {
			got = append(got, f.Severity+" "+f.ID+" "+f.Object)
		}
	}
	want := []string{"warn quota-unknown quota/vpc/L-F678F1CE", "block permissions arn:aws:iam::000000000000:user/rehearse"}
	if diff := cmp.Diff(want, got); code != ExitNoGo || diff != "" {
		t.Errorf("exit %d, findings (-want +got):\n%s", code, diff)
	}
	if made := b.made(); made != nil {
		t.Errorf("it did: %q", made)
	}
}

// TestPlanInAWS asks nobody anything.
func TestPlanInAWS(t *testing.T) {
	b := newAccount(t)
	for fields, want := range map[string]string{
		onKops: "Scenario aws: v1.34.4 to v1.35.4 on kops, replace\n", onEKS: "Scenario aws: v1.34.4 to v1.35.4 on eks, replace\n",
	} {
		code, stdout, stderr := b.rehearse("plan", "-f", b.file(fields))
		if code != ExitGo || !strings.HasPrefix(stdout, want) {
			t.Errorf("exit %d\n%s%s", code, stdout, stderr)
		}
		// The same scenario on the embedded cluster.
		code, stdout, stderr = b.rehearse("plan", "-f", b.file(fields), "--driver", "sim")
		if code != ExitGo || !strings.HasPrefix(stdout, "Scenario aws: v1.34.4 to v1.35.4 on sim, replace\n") || strings.Contains(stdout, "Let the driver") {
			t.Errorf("exit %d\n%s%s", code, stdout, stderr)
		}
	}
	small := b.file("cluster: {workers: 1}")
	for driver, want := range map[string]string{
		"kops": "rehearse: --driver: the driver kops needs cluster.kops, and scenario aws has none: give it there (docs/scenarios.md), or leave the driver as the scenario has it\n",
		"eks":  "rehearse: --driver: the driver eks needs cluster.eks, and scenario aws has none: give it there (docs/scenarios.md), or leave the driver as the scenario has it\n",
	} {
		if code, _, stderr := b.rehearse("plan", "-f", small, "--driver", driver); code != ExitUsage || stderr != want {
			t.Errorf("exit %d: %s", code, stderr)
		}
	}
	if calls := b.a.Calls(); len(calls) > 0 {
		t.Errorf("AWS was asked: %q", calls)
	}
	if _, err := os.Stat(filepath.Join(b.dir, "calls")); err == nil {
		t.Error("kops was called")
	}
}
