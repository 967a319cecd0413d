package output

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseValidations(t *testing.T) {
	one, err := ParseValidations(strings.NewReader(read(t, "validate-ok.json")))
	if err != nil || len(one) != 1 || !one[0].Passed() || one[0].BlockedBy() != "" {
		t.Fatalf("a healthy cluster: %+v, %v", one, err)
	}
	want := Node{Name: "i-000f0301057c345b3", Zone: "us-east-1b", Role: "control-plane", Hostname: "i-000f0301057c345b3", Status: "True"}
	if len(one[0].Nodes) != 6 || one[0].Nodes[0] != want {
		t.Errorf("nodes: %+v", one[0].Nodes)
	}
	failing, err := ParseValidations(strings.NewReader(read(t, "validate-failing.json")))
	if err != nil || len(failing) != 1 || failing[0].Passed() {
		t.Fatalf("an unhealthy cluster: %+v, %v", failing, err)
	}
	const blocked = `Node i-0001a4d6347bf1606: control-plane node "i-0001a4d6347bf1606" is missing kube-scheduler pod (instance group control-plane-us-east-1c)`
	if got := failing[0].BlockedBy(); got != blocked {
		t.Errorf("got  %s\nwant %s", got, blocked)
	}
	several, err := ParseValidations(strings.NewReader(read(t, "validate-wait-concatenated.json")))
	if err != nil || len(several) != 3 {
		t.Fatalf("%d documents, %v", len(several), err)
	}
	for _, v := range several {
		if v.Passed() || v.BlockedBy() != blocked {
			t.Errorf("got %s", v.BlockedBy())
		}
	}
	if v := (Validation{}); v.Passed() || v.BlockedBy() != "kops saw no node" {
		t.Errorf("no nodes: passed %v, %s", v.Passed(), v.BlockedBy())
	}
}

func TestParseValidationsSaysWhatIsWrong(t *testing.T) {
	for in, want := range map[string]string{
		"":                  "kops validate printed no JSON document: it ended before it could look, so read its standard error",
		`{"nodes":[]}{"no`:  "kops validate, document 2 at byte 12: unexpected EOF",
		"Error: no cluster": "kops validate, document 1 at byte 0: invalid character 'E' looking for beginning of value",
		"null":              "kops validate, document 1 at byte 0: null instead of an object",
	} {
		if _, err := ParseValidations(strings.NewReader(in)); err == nil || err.Error() != want {
			t.Errorf("%q:\ngot  %v\nwant %s", in, err, want)
		}
	}
}

func TestParseTable(t *testing.T) {
	group := func(name string, nodes int) Group {
		return Group{Name: name, Status: "NeedsUpdate", NeedUpdate: 1, Min: 1, Target: 1, Max: 1, Nodes: nodes}
	}
	for name, want := range map[string][]Group{
		"rolling-update.stdout": {
			group("control-plane-us-east-1a", 1), group("control-plane-us-east-1b", 1), group("control-plane-us-east-1c", 1),
			group("nodes-us-east-1a", 1), group("nodes-us-east-1b", 1), group("nodes-us-east-1c", 1),
		},
		"drain-blocked-by-pdb.stdout":       {group("nodes-us-east-1a", 1)},
		"terminate-denied-cloudonly.stdout": {group("nodes-us-east-1c", -1)},
	} {
		got, err := ParseTable(read(t, name))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	// Older kops has no TARGET; a column to come is passed over.
	got, err := ParseTable("NAME STATUS NEEDUPDATE READY MIN MAX ZONES NODES\nnodes Ready 0 3 3 5 abc 3\n\nNo rolling-update required.\n")
	if diff := cmp.Diff([]Group{{Name: "nodes", Status: "Ready", Ready: 3, Min: 3, Target: -1, Max: 5, Nodes: 3}}, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	for in, want := range map[string]string{
		"":                    "no table of instance groups: want a line that begins with NAME and STATUS",
		"NAME STATUS READY\n": "",
		"NAME STATUS NEEDUPDATE READY MIN MAX\nnodes Ready x 1 1 1": `line 2: group nodes: column NEEDUPDATE has "x" instead of a number`,
	} {
		_, err := ParseTable(in)
		switch {
		case want == "" && (err == nil || !strings.HasPrefix(err.Error(), "line 1: the table of kops rolling-update has no column ")):
			t.Errorf("%q: %v", in, err)
		case want != "" && (err == nil || err.Error() != want):
			t.Errorf("%q:\ngot  %v\nwant %s", in, err, want)
		}
	}
}

func TestParseResources(t *testing.T) {
	got := ParseResources(read(t, "delete-preview.stdout"))
	if len(got) != 36 {
		t.Errorf("%d resources", len(got))
	}
	count := map[string]int{}
	for _, r := range got {
		count[r.Type]++
	}
	want := map[string]int{
		"autoscaling-config": 6, "autoscaling-group": 6, "dhcp-options": 1, "iam-instance-profile": 2, "iam-role": 2, "internet-gateway": 1,
		"keypair": 1, "load-balancer": 1, "route-table": 1, "security-group": 3, "subnet": 3, "target-group": 2, "volume": 6, "vpc": 1,
	}
	if diff := cmp.Diff(want, count); diff != "" {
		t.Error(diff)
	}
	if last := got[len(got)-1]; last != (Resource{"vpc", "t.example.com", "vpc-1"}) {
		t.Errorf("last: %+v", last)
	}
	if got := ParseResources("No cloud resources to delete\n"); got != nil {
		t.Errorf("nothing there: %+v", got)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"NAME STATUS NEEDUPDATE READY MIN TARGET MAX NODES\na Ready 0 1 1 1 1 1\n", "TYPE\t\tNAME\tID\nvpc\tt\tvpc-1\n", `{"nodes":[{}]}{"failures":[{"instanceGroup":{}}]}`, "null"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if groups, err := ParseTable(text); err == nil {
			for _, g := range groups {
				if g.NeedUpdate < 0 || g.Target < -1 {
					t.Fatalf("%+v", g)
				}
			}
		}
		for _, r := range ParseResources(text) {
			if r.Type == "" || r.Name == "" || r.ID == "" {
				t.Fatalf("%+v", r)
			}
		}
		all, _ := ParseValidations(strings.NewReader(text))
		for _, v := range all {
			if v.Passed() != (v.BlockedBy() == "" && len(v.Failures) == 0) {
				t.Fatalf("passed %v, blocked by %q", v.Passed(), v.BlockedBy())
			}
		}
	})
}
