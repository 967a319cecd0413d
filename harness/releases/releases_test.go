package releases_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-rehearse/rehearse/harness/cluster"
	"github.com/kube-rehearse/rehearse/harness/releases"
)

func versions(v ...string) []cluster.Version {
	var out []cluster.Version
	for _, s := range v {
		out = append(out, cluster.Version(s))
	}
	return out
}

func TestParse(t *testing.T) {
	channel, err := os.ReadFile("testdata/channel.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		text string
		want []cluster.Version
		err  string
	}{
		"one, as dl.k8s.io gives it": {"v1.35.4", versions("v1.35.4"), ""},
		"a list":                     {"\ufeff# ours\r\nv1.35.4\r\n\r\n1.34.10 # old\n1.34.9\nv1.35.4\nv1.36.0-rc.1\n", versions("v1.34.9", "v1.34.10", "v1.35.4"), ""},
		"a kops channel":             {string(channel), versions("v1.34.6", "v1.35.2"), ""},
		"empty":                      {"\n", nil, "list: no stable version in it; want " + releases.Formats},
		"pre-releases only":          {"v1.36.0-beta.0\n", nil, "list: no stable version in it; want " + releases.Formats},
		"a web page":                 {"<html>\n<title>Sign in</title>", nil, `list: line 1: "<html>" is no version; want ` + releases.Formats},
		"a word on line 2":           {"v1.35.4\nlatest", nil, `list: line 2: "latest" is no version; want ` + releases.Formats},
		"a minor version alone":      {"v1.35", nil, `list: line 1: "v1.35" is no version; want ` + releases.Formats},
		"a channel with a bad version": {"spec:\n  kubernetesVersions:\n  - recommendedVersion: \"latest\"\n", nil,
			`list: spec.kubernetesVersions[0].recommendedVersion: "latest" is no version; want ` + releases.Formats},
		"a channel of nothing": {"spec:\n  kubernetesVersions:\n", nil, "list: no stable version in it; want " + releases.Formats},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := releases.Parse("list", []byte(tc.text))
			if text := fmt.Sprint(err); err != nil && text != tc.err || err == nil && tc.err != "" {
				t.Errorf("error %q, want %q", text, tc.err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	channel, err := os.ReadFile("testdata/channel.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(channel)
	f.Add([]byte("v1.35.4\n# x\n1.34.1"))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := releases.Parse("list", b)
		if (err == nil) == (len(got) == 0) {
			t.Errorf("%v and error %v", got, err)
		}
		for i := 1; i < len(got); i++ {
			if !got[i-1].Less(got[i]) {
				t.Errorf("not in order: %v", got)
			}
		}
	})
}

func TestThan(t *testing.T) {
	all := versions("v1.35.4", "v1.34.9", "v1.34.10", "v1.36.1", "v1.33.2")
	for from, want := range map[string]string{
		"v1.34.4":         "newest v1.35.4, patch v1.34.10, minor v1.35.4. Production runs v1.34.4. The newest patch of 1.34 is v1.34.10, and the newest version of 1.35 is v1.35.4.",
		"v1.36.0":         "newest v1.36.1, patch v1.36.1, minor . Production runs v1.36.0. The newest patch of 1.36 is v1.36.1, and no version of 1.37.",
		"v1.36.1":         "newest , patch , minor . Production runs v1.36.1. There is no newer patch of 1.36, and no version of 1.37.",
		"v1.37.0":         "newest , patch , minor . Production runs v1.37.0. There is no newer patch of 1.37, and no version of 1.38.",
		"v1.36.1-alpha.1": "newest v1.36.1, patch v1.36.1, minor . Production runs v1.36.1-alpha.1. The newest patch of 1.36 is v1.36.1, and no version of 1.37.",
	} {
		n, err := releases.Than(all, cluster.Version(from))
		if err != nil {
			t.Errorf("%s: %v", from, err)
			continue
		}
		var parts []string
		for _, policy := range releases.Policies {
			to, ok, err := n.Target(policy)
			if err != nil || ok != (to != "") {
				t.Errorf("%s, %s: %q %t %v", from, policy, to, ok, err)
			}
			parts = append(parts, policy+" "+string(to))
		}
		if diff := cmp.Diff(want, strings.Join(parts, ", ")+". "+n.Text()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", from, diff)
		}
	}
	// Versions that cannot be reached are no "nothing new".
	_, err := releases.Than(all, "v1.31.2")
	if want := "versions of minor 1.33 and above are listed and none of 1.32, but v1.31.2 can be upgraded by one minor version at a time: list those of 1.32 as well"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if _, _, err := (releases.Newer{}).Target("latest"); err == nil || err.Error() != "unknown policy latest; accepted: newest, patch, minor" {
		t.Errorf("got %v", err)
	}
}

func TestUpstream(t *testing.T) {
	for in, want := range map[string]string{
		"v1.34.4": "v1.34.4", "v1.34.4-eks-3025e55": "v1.34.4", "v1.34.4-gke.100": "v1.34.4", "v1.34.4+k3s1": "v1.34.4",
		"v1.35.0-rc.1": "v1.35.0-rc.1", "v1.35.0-alpha.0.123+abc": "v1.35.0-alpha.0.123",
	} {
		got, err := releases.Upstream(in)
		if err != nil || string(got) != want {
			t.Errorf("%s: %q %v, want %s", in, got, err, want)
		}
	}
	if _, err := releases.Upstream("1.34+"); err == nil || !strings.HasPrefix(err.Error(), `version "1.34+": want the form v1.35.4: `) {
		t.Errorf("got %v", err)
	}
}

func TestRead(t *testing.T) {
	var flaky, asked atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		switch r.URL.Path {
		case "/stable-1.34.txt":
			fmt.Fprint(w, "v1.34.10\n")
		case "/stable-1.35.txt":
			fmt.Fprint(w, "v1.35.4\n")
		case "/flaky":
			if flaky.Add(1) < 2 {
				http.Error(w, "busy", http.StatusServiceUnavailable)
				return
			}
			fmt.Fprint(w, "v1.35.9")
		case "/forbidden":
			http.Error(w, "no", http.StatusForbidden)
		case "/endless":
			for range 3 << 10 {
				if _, err := w.Write([]byte(strings.Repeat("x", 1024))); err != nil {
					return
				}
			}
		default:
			http.NotFound(w, r)
		}
	}))
	defer server.Close()
	dir := t.TempDir()
	file := filepath.Join(dir, "list-1.34.txt")
	if err := os.WriteFile(file, []byte("v1.34.11\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	secret := strings.Replace(server.URL, "http://", "http://user:hunter2@", 1)
	for name, tc := range map[string]struct {
		sources []string
		from    cluster.Version
		want    []cluster.Version
		err     string
	}{
		"a placeholder":            {[]string{server.URL + "/stable-{minor}.txt"}, "v1.34.4", versions("v1.34.10", "v1.35.4"), ""},
		"no next minor yet":        {[]string{server.URL + "/stable-{minor}.txt"}, "v1.35.1", versions("v1.35.4"), ""},
		"no text of the own minor": {[]string{server.URL + "/stable-{minor}.txt"}, "v1.36.1", nil, "versions: " + server.URL + "/stable-1.36.txt: the server answers 404 Not Found: file does not exist"},
		"a file and a URL":         {[]string{file, server.URL + "/stable-1.35.txt"}, "v1.34.4", versions("v1.34.11", "v1.35.4"), ""},
		"a file by placeholder":    {[]string{filepath.Join(dir, "list-{minor}.txt")}, "v1.34.4", versions("v1.34.11"), ""},
		"busy for a moment":        {[]string{server.URL + "/flaky"}, "v1.34.4", versions("v1.35.9"), ""},
		"forbidden, and a secret":  {[]string{secret + "/forbidden?token=hunter2"}, "v1.34.4", nil, "versions: " + server.URL + "/forbidden: the server answers 403 Forbidden; is the URL right?"},
		"too long":                 {[]string{server.URL + "/endless"}, "v1.34.4", nil, "versions: " + server.URL + "/endless: more than 1048576 bytes: that is no list of versions"},
		"no file":                  {[]string{"none.txt"}, "v1.34.4", nil, "versions: open none.txt: no such file or directory; name a file or a URL that has " + releases.Formats},
		"nothing given":            {nil, "v1.34.4", nil, "no source of versions was given"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := releases.Reader{Backoff: time.Millisecond}.Read(t.Context(), tc.sources, tc.from)
			text := ""
			if err != nil {
				text = err.Error()
			}
			if diff := cmp.Diff(tc.err, text); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	if n := asked.Load(); n > 16 {
		t.Errorf("the server was asked %d times", n)
	}
	_, err := releases.Reader{Backoff: time.Millisecond}.Read(t.Context(), []string{"http://user:hunter2@127.0.0.1:1/?token=hunter2"}, "v1.34.4")
	if err == nil || strings.Contains(err.Error(), "hunter2") || !strings.HasPrefix(err.Error(), "versions: http://127.0.0.1:1/: ") {
		t.Errorf("got %v", err)
	}
}
