package kind

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-rehearse/rehearse/harness/record"
)

func TestEtcdMembers(t *testing.T) {
	const members = `{"header":{},"members":[{"ID":"1","name":"a","peerURLs":["https://10.0.0.1:2380"],"clientURLs":["https://10.0.0.1:2379"]},
		{"ID":"2","name":"b","clientURLs":["https://10.0.0.2:2379"]},{"ID":"3","name":"c","clientURLs":["https://10.0.0.3:2379"]},
		{"ID":"4","peerURLs":["https://10.0.0.4:2380"]},{"ID":"5","name":"e","clientURLs":["https://10.0.0.5:2379"],"isLearner":true}]}`
	f := newFakeDocker(t, append(threeNodes(),
		answer{match: `*"/v3/cluster/member/list"`, stdout: members},
		answer{match: `*"10.0.0.1:2379/health"`, stdout: `{"health":"true","reason":""}`},
		answer{match: `*"10.0.0.2:2379/health"`, stdout: `{"health":"false","reason":"RAFT NO LEADER"}`},
		answer{match: `*"10.0.0.3:2379/health"`, stderr: "curl: (7) connection refused\n", exit: 7})...)
	got, err := newDriver(f, nil).EtcdMembers(t.Context(), theCluster())
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 5 || !strings.HasSuffix(got[2].Detail, "curl: (7) connection refused") {
		t.Fatalf("got %+v", got)
	}
	got[2].Detail = "refused"
	want := []record.Named{
		{Name: "a", OK: true}, {Name: "b", Detail: "RAFT NO LEADER"}, {Name: "c", Detail: "refused"},
		{Name: "https://10.0.0.4:2380", Detail: "added, but never started"}, {Name: "e", Detail: "still a learner, it has no vote"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestEtcdThatCannotBeAskedIsAnError(t *testing.T) {
	f := newFakeDocker(t, append(threeNodes(), answer{match: `*"member/list"`, stderr: "curl: (7) connection refused\n", exit: 7})...)
	_, err := newDriver(f, nil).EtcdMembers(t.Context(), theCluster())
	if err == nil || !strings.HasPrefix(err.Error(), "ask etcd for its members: etcd on node "+testName+"-control-plane: ") {
		t.Errorf("got %v", err)
	}
}
