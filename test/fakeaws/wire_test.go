package fakeaws

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sort"
	"strings"
	"testing"
	"time"
)

// snapshots is the directory of the SDK's EKS module, which carries what each
// operation looks like on the wire.
func snapshots(t *testing.T) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/aws/aws-sdk-go-v2/service/eks")
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

var placeholder = regexp.MustCompile(`__[A-Za-z]+__`)

func TestRoutesAreTheSDKs(t *testing.T) {
	dir := snapshots(t)
	for _, r := range Routes {
		b, err := os.ReadFile(filepath.Join(dir, "request_snapshot", r.Operation+".request.snap"))
		if err != nil {
			t.Errorf("%s: %v", r.Operation, err)
			continue
		}
		line, _, _ := strings.Cut(string(b), "\n")
		line, _, _ = strings.Cut(line, "?")
		if got, want := r.Method+" "+r.Path, placeholder.ReplaceAllString(strings.TrimSpace(line), "{}"); got != want {
			t.Errorf("%s: the fake has %s, the SDK %s", r.Operation, got, want)
		}
	}
}

// keys are the paths of all keys of a JSON value.
func keys(v any, at string, into map[string]bool) {
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			into[at+"."+k] = true
			keys(x, at+"."+k, into)
		}
	case []any:
		for _, x := range v {
			keys(x, at, into)
		}
	}
}

// TestAnswersHaveTheSDKsKeys asks every reading operation of EKS and compares
// the keys of the answers with the snapshots': a misspelt key would be read as
// an absent value, and the test that relies on it would pass.
func TestAnswersHaveTheSDKsKeys(t *testing.T) {
	dir := snapshots(t)
	a := New()
	a.EKS.Clusters["c"] = &Cluster{
		Name: "c", Version: "1.34", Endpoint: "https://e", Subnets: []string{"s"}, VPC: "v", since: time.Now(), Role: "r", ServiceCIDR: "s", KMSKey: "k",
		AddonConfig: map[string]string{"coredns": "{}"},
		Groups:      map[string]*Group{"g": {Name: "g", Version: "1.34", MaxUnavailable: 1, MaxPercent: 1, Strategy: "DEFAULT", LaunchTemplate: "lt", Issues: []UpdateError{{Code: "AccessDenied", Message: "m", Resources: []string{"r"}}}}},
		Addons:      map[string]string{"coredns": "v1"},
		Insights:    []Insight{{ID: "i", Name: "n", Status: "ERROR", Version: "1.35", Refreshed: time.Now(), Recommendation: "r", Resources: []string{"/x"}}},
	}
	a.EKS.FailUpdate = map[string]UpdateError{"cluster": {Code: "Unknown", Message: "m", Resources: []string{"r"}}}
	a.EKS.AddonDefaults["coredns/1.35"] = "v2"
	ask := func(operation, path, body string) {
		for _, r := range Routes {
			if r.Operation != operation {
				continue
			}
			req, err := http.NewRequestWithContext(t.Context(), r.Method, "https://fake.invalid"+path, bytes.NewBufferString(body))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=X/20260101/eu-west-1/eks/aws4_request")
			resp, err := a.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			var got, want any
			err = json.NewDecoder(resp.Body).Decode(&got)
			_ = resp.Body.Close()
			if err != nil || resp.StatusCode != http.StatusOK {
				t.Fatalf("%s: %d, %v: %v", operation, resp.StatusCode, got, err)
			}
			snap, err := os.ReadFile(filepath.Join(dir, "response_snapshot", operation+".response.snap"))
			if err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(snap[bytes.IndexByte(snap, '{'):], &want); err != nil {
				t.Fatalf("%s: %v", operation, err)
			}
			have, may := map[string]bool{}, map[string]bool{}
			keys(got, "", have)
			keys(want, "", may)
			var wrong []string
			for k := range have {
				if !may[k] && !strings.Contains(k, ".tags.") {
					wrong = append(wrong, k)
				}
			}
			sort.Strings(wrong)
			if len(wrong) > 0 || len(have) == 0 {
				t.Errorf("%s answers with keys that the SDK does not know: %v", operation, wrong)
			}
		}
	}
	ask("UpdateClusterVersion", "/clusters/c/updates", `{"version":"1.35"}`)
	for operation, path := range map[string]string{
		"DescribeCluster": "/clusters/c", "ListClusters": "/clusters", "ListNodegroups": "/clusters/c/node-groups", "DescribeNodegroup": "/clusters/c/node-groups/g",
		"ListAddons": "/clusters/c/addons", "DescribeAddon": "/clusters/c/addons/coredns", "DescribeAddonVersions": "/addons/supported-versions?addonName=coredns&kubernetesVersion=1.35",
		"ListInsights": "/clusters/c/insights", "DescribeInsight": "/clusters/c/insights/i", "DescribeUpdate": "/clusters/c/updates/u-1", "ListUpdates": "/clusters/c/updates",
	} {
		ask(operation, path, "")
	}
}
