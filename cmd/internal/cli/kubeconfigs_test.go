package cli

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// refusingAPI is an API server that tells its version to everybody and lists
// some things: at /some only nodes, pods and workloads, elsewhere nothing.
func refusingAPI(t *testing.T) string {
	t.Helper()
	lists := map[string]string{
		"/api/v1/nodes":              `{"kind":"NodeList","apiVersion":"v1","items":[{"metadata":{"name":"w1"},"status":{"nodeInfo":{"kubeletVersion":"v1.34.4"},"allocatable":{"cpu":"4","memory":"8Gi","pods":"110"},"conditions":[{"type":"Ready","status":"True"}]}},{"metadata":{"name":"w2"},"status":{"nodeInfo":{"kubeletVersion":"v1.34.4"},"allocatable":{"cpu":"4","memory":"8Gi","pods":"110"},"conditions":[{"type":"Ready","status":"True"}]}}]}`,
		"/api/v1/pods":               `{"kind":"PodList","apiVersion":"v1","items":[{"metadata":{"namespace":"shop","name":"alone"},"spec":{"nodeName":"w1","containers":[{"name":"a","image":"a:1"}]},"status":{"phase":"Running"}}]}`,
		"/apis/apps/v1/deployments":  `{"kind":"DeploymentList","apiVersion":"apps/v1","items":[]}`,
		"/apis/apps/v1/replicasets":  `{"kind":"ReplicaSetList","apiVersion":"apps/v1","items":[]}`,
		"/apis/apps/v1/statefulsets": `{"kind":"StatefulSetList","apiVersion":"apps/v1","items":[]}`,
		"/apis/apps/v1/daemonsets":   `{"kind":"DaemonSetList","apiVersion":"apps/v1","items":[]}`,
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path, some := strings.CutPrefix(r.URL.Path, "/some")
		w.Header().Set("Content-Type", "application/json")
		switch {
		case r.Method != http.MethodGet:
			t.Errorf("%s %s: preflight may only read", r.Method, r.URL)
		case path == "/version":
			fmt.Fprint(w, `{"major":"1","minor":"34","gitVersion":"v1.34.4"}`)
		case some && lists[path] != "":
			fmt.Fprint(w, lists[path])
		default:
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprintf(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","message":"forbidden: User \"ci\" may not","reason":"Forbidden","code":403}`)
		}
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// kubeconfigs writes kubeconfigs of clusters that refuse to be looked at.
func kubeconfigs(dir, refusing string) error {
	config := func(server string) string {
		return fmt.Sprintf(`{"apiVersion":"v1","kind":"Config","current-context":"c","clusters":[{"name":"c","cluster":{"server":%q}}],"contexts":[{"name":"c","context":{"cluster":"c","user":"u"}}],"users":[{"name":"u","user":{}}]}`, server)
	}
	return errors.Join(
		os.WriteFile(filepath.Join(dir, "unreachable.kubeconfig"), []byte(config("http://127.0.0.1:1")), 0o600),
		os.WriteFile(filepath.Join(dir, "forbidden.kubeconfig"), []byte(config(refusing)), 0o600),
		os.WriteFile(filepath.Join(dir, "some.kubeconfig"), []byte(config(refusing+"/some")), 0o600),
		os.WriteFile(filepath.Join(dir, "bad.kubeconfig"), []byte("clusters: ["), 0o600),
	)
}
