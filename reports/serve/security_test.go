package serve

import (
	"bytes"
	"context"
	"errors"
	"html"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/kube-rehearse/rehearse/harness/record"
)

func TestOnlyItsOwnNames(t *testing.T) {
	dir := runs(t)
	for _, x := range []struct {
		o    Options
		host string
		want int
	}{
		{Options{}, "127.0.0.1:8099", http.StatusOK},
		{Options{}, "127.0.0.1", http.StatusOK},
		{Options{}, "127.9.9.9:1", http.StatusOK},
		{Options{}, "[::1]:8099", http.StatusOK},
		{Options{}, "[::1]", http.StatusOK},
		{Options{}, "localhost:8099", http.StatusOK},
		{Options{}, "LocalHost.", http.StatusOK},
		{Options{}, "evil.example:8099", http.StatusMisdirectedRequest},
		{Options{}, "localhost.evil.example", http.StatusMisdirectedRequest},
		{Options{}, "127.0.0.1.evil.example:8099", http.StatusMisdirectedRequest},
		{Options{}, "10.1.2.3:8099", http.StatusMisdirectedRequest},
		{Options{}, "", http.StatusMisdirectedRequest},
		{Options{AnyAddress: true}, "10.1.2.3:8099", http.StatusOK},
		{Options{AnyAddress: true}, "evil.example", http.StatusMisdirectedRequest},
		{Options{Hosts: []string{"runs.corp.example"}}, "runs.corp.example:443", http.StatusOK},
		{Options{Hosts: []string{"runs.corp.example"}}, "other.corp.example", http.StatusMisdirectedRequest},
	} {
		s, err := New(dir, x.o)
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{"/", "/run/good", "/assets/page.js"} {
			r := httptest.NewRequest(http.MethodGet, path, nil)
			r.Host = x.host
			w := httptest.NewRecorder()
			s.ServeHTTP(w, r)
			if w.Code != x.want {
				t.Errorf("host %q of %+v: %s answers %d, want %d", x.host, x.o, path, w.Code, x.want)
			}
			if x.want != http.StatusOK && strings.Contains(w.Body.String(), "monthly") {
				t.Errorf("host %q is told of the runs", x.host)
			}
		}
	}
}

func TestOnlyReads(t *testing.T) {
	dir := runs(t)
	s := serverOf(t, dir)
	for _, method := range []string{"POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "PROPFIND"} {
		r := httptest.NewRequest(method, "/run/good", strings.NewReader("x"))
		r.Host = "localhost"
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "GET, HEAD" {
			t.Errorf("%s answers %d, allowed %q", method, w.Code, w.Header().Get("Allow"))
		}
	}
	r := httptest.NewRequest(http.MethodHead, "/", nil)
	r.Host = "localhost"
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		t.Errorf("HEAD answers %d", w.Code)
	}
	for name, want := range map[string]string{
		"Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer",
		"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin", "Cache-Control": "no-store",
	} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if strings.Contains(policy, "unsafe") {
		t.Error("the policy lets scripts of a page run")
	}
}

// TestNothingElseIsRead asks for what lies beside the runs.
func TestNothingElseIsRead(t *testing.T) {
	dir := runs(t)
	outside := t.TempDir()
	write(t, filepath.Join(outside, "secret-run"), rehearsal("777777", "secret", 7))
	file(t, "secret", dir, "secret.txt")
	if err := errors.Join(
		os.Symlink(filepath.Join(outside, "secret-run"), filepath.Join(dir, "link")),
		os.MkdirAll(filepath.Join(dir, "linked"), 0o755),
		os.Symlink(filepath.Join(outside, "secret-run", runFile), filepath.Join(dir, "linked", runFile)),
		os.Symlink(outside, filepath.Join(dir, "good", "load", "x.frames")),
	); err != nil {
		t.Fatal(err)
	}
	s := serverOf(t, dir)
	for _, path := range []string{
		"/run/..", "/run/../", "/run/..%2f", "/run/%2e%2e/" + filepath.Base(outside) + "/secret-run", "/run/..%2f" + filepath.Base(outside) + "%2fsecret-run", "/run/good/..%2f..%2f",
		"/run/link", "/run/secret.txt", "/run/" + outside + "/secret-run", "/run//" + outside + "/secret-run", "/run/good%00", "/run/./good/", "/run/", "/run/search",
		"/assets/../list.tmpl", "/assets/list.tmpl", "/assets/..%2fserver.go", "/assets/report.js", "/etc/passwd", "/good/run.json", "/..", "/.git/config",
		"/compare?a=link&b=good", "/compare?a=..%2f" + filepath.Base(outside) + "%2fsecret-run&b=bad",
	} {
		r := get(s, path)
		switch to := r.Header.Get("Location"); to { // the path as the server cleans it
		case "":
		case "/":
			continue
		default:
			r = get(s, to)
		}
		page := body(t, r)
		if strings.Contains(page, "secret") && !strings.Contains(page, "There is no run ..") || r.StatusCode == http.StatusOK && !strings.HasPrefix(path, "/compare") {
			t.Errorf("%s answers %d: %s", path, r.StatusCode, words(page))
		}
	}
	if page := says(t, s, "/", http.StatusOK, "linked linked broken run.json is no regular file"); strings.Contains(page, "secret-run") {
		t.Error("a link is followed")
	}
	says(t, s, "/run/good", http.StatusUnprocessableEntity, "load/x.frames is no regular file, and is not read")
}

// hostile is what a pod or a file name could bring.
const hostile = "<script>alert('x')</script>\"'|`&amp;\x1b[31mred\x07\nGO\u202eabc ]]> --> </script></details><img src=x onerror=alert(1)>"

func TestHostileRecords(t *testing.T) {
	dir := t.TempDir()
	r := rehearsal("aaaaaa", "monthly", 3)
	r.Run.Name, r.Run.Driver, r.Run.Tool, r.Run.Failure, r.Run.Command = hostile, hostile, hostile, hostile, hostile
	r.Run.Outcome, r.Run.Versions = record.OutcomeFailed, record.Versions{From: hostile, To: hostile, Via: []string{hostile}}
	r.Run.Findings = []record.Finding{{ID: hostile, Severity: hostile, Object: hostile, Cause: hostile, Remedy: hostile}}
	for i := range r.Run.Steps {
		r.Run.Steps[i].Description, r.Run.Steps[i].Error = hostile, hostile
	}
	write(t, filepath.Join(dir, "text"), r)
	odd := rehearsal("bbbbbb", "monthly", 4)
	// Whatever a file system accepts as a name.
	name := "<img src=x onerror=alert(1)> \"'&?#%2f..\u202e\x1b[31m"
	write(t, filepath.Join(dir, name), odd)
	file(t, `{"format": 1, "outcome": "GO", "summary": "<script>alert(1)</script>", "lanes": [{"lane": "<script>", "phase": "upgrade", "sent": 5, "p99MS": 1e308}, {"lane": "<script>", "phase": "baseline", "p99MS": 1e-308}],
		"outages": [{"lane": "</script><script>alert(1)//", "upperNS": 9223372036854775807, "lowerNS": -9223372036854775808, "usable": true}]}`, dir, name, verdictFile)
	file(t, `{"format": 1, "name": "monthly", "outcome": "passed", "started": "9999-12-31T23:59:59Z", "ended": "0001-01-01T00:00:01Z", "steps": [{"section": "upgrade", "startNS": -9223372036854775808, "endNS": 9223372036854775807}], "scenario": {"mirror": {"fidelity": 1e300}}}`, dir, "numbers", runFile)
	file(t, `[]`, dir, "array", runFile)
	file(t, `{"format": 1, "outcome": "<b>"}`, dir, "outcome", runFile)
	file(t, strings.Repeat("[", 100_000), dir, "deep", runFile)
	if err := os.Truncate(filepath.Join(dir, "deep", runFile), maxDocument+1); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "directory", runFile), 0o755); err != nil {
		t.Fatal(err)
	}
	s := serverOf(t, dir)
	query := "?scenario=" + strings.ReplaceAll(strings.ReplaceAll(hostileQuery, " ", "+"), "<", "%3C")
	for _, target := range []string{
		"/", "/" + query, "/history" + query, "/history?scenario=monthly", "/compare" + query, runURL("text"), runURL(name),
		"/compare?a=text&b=" + escapeQuery(id(name)), "/compare?b=text&a=" + escapeQuery(id(name)), "/compare?run=text&run=" + escapeQuery(id(name)), "/compare?a=%25zz&b=text", "/compare?a=%3Cscript%3E&b=text",
		"/run/%3Cscript%3Ealert(1)%3C/script%3E", runURL("numbers"), runURL("array"), runURL("outcome"), runURL("deep"), runURL("directory"), "/compare?a=numbers&b=text",
	} {
		r := get(s, target)
		page := body(t, r)
		if r.StatusCode >= 500 {
			t.Errorf("%s answers %d: %s", target, r.StatusCode, words(page))
		}
		for _, bad := range []string{"<script>alert", "<img", "alert(1)//\"", "\x1b", "\u202e", "onerror=alert(1)>\"", "<b>"} {
			if at := strings.Index(page, bad); at >= 0 {
				t.Errorf("%s has %q: %q", target, bad, page[max(0, at-80):min(len(page), at+80)])
			}
		}
	}
	list := says(t, s, "/", http.StatusOK, `run.json has the unknown outcome "<b>"`, "run.json has 16777217 bytes, and at most 16777216 are read", "run.json is no regular file")
	if n := len(rows(list)); n != 7 {
		t.Errorf("%d rows, want 7", n)
	}
	says(t, s, "/compare?a=text&b="+escapeQuery(id(name)), http.StatusOK, "Both ran the same scenario")
	// The odd name is a link that leads to its run.
	says(t, s, runURL(name), http.StatusOK, "verdict.json says GO too, and differs in what stands beside it.")
	if !strings.Contains(html.UnescapeString(list), `<a href="`+runURL(name)+`">`) {
		t.Error("the list has no link to the oddly named run")
	}
}

const hostileQuery = "<script>alert(1)</script>"

func escapeQuery(s string) string {
	return strings.NewReplacer("%", "%25", "#", "%23", "&", "%26", "+", "%2B", " ", "%20", "\x1b", "%1B", "<", "%3C", ">", "%3E", "\"", "%22").Replace(s)
}

func TestListenRefusesOtherMachines(t *testing.T) {
	for addr, want := range map[string]string{
		"0.0.0.0:0":       `address "0.0.0.0:0" can be reached from other machines: records name the nodes, pods and versions of clusters, and whoever can connect may read them: there is no password`,
		":0":              `address ":0" can be reached`,
		"[::]:0":          `address "[::]:0" can be reached`,
		"10.0.0.1:0":      `address "10.0.0.1:0" can be reached`,
		"host.example:80": `address "host.example:80" can be reached`,
		"127.0.0.1":       `address "127.0.0.1": address 127.0.0.1: missing port in address; give a host and a port, such as 127.0.0.1:8099`,
	} {
		l, err := Listen(t.Context(), addr, false)
		if err == nil {
			_ = l.Close()
		}
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v, want %s", addr, err, want)
		}
		if errors.Is(err, ErrRemote) == (addr == "127.0.0.1") {
			t.Errorf("%s: %v", addr, err)
		}
	}
	for addr, remote := range map[string]bool{"127.0.0.1:0": false, "localhost:0": false, "0.0.0.0:0": true} {
		l, err := Listen(t.Context(), addr, remote)
		if err != nil {
			t.Errorf("%s: %v", addr, err)
			continue
		}
		if ip := l.Addr().(*net.TCPAddr).IP; ip.IsLoopback() == remote {
			t.Errorf("%s listens on %s", addr, ip)
		}
		_ = l.Close()
	}
}

// TestServeEndsWhenItIsTold holds a request open while the server is told to end:
// it is answered, and nothing is left behind.
func TestServeEndsWhenItIsTold(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	s := serverOf(t, runs(t))
	l, err := Listen(t.Context(), "127.0.0.1:0", false)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, l) }()
	s.turn <- struct{}{} // no record is loaded until this is taken back
	client := &http.Client{Transport: &http.Transport{}, Timeout: time.Minute}
	defer client.CloseIdleConnections()
	answer := make(chan []byte, 1)
	go func() {
		r, err := client.Get("http://" + l.Addr().String() + "/run/good")
		if err != nil {
			answer <- []byte(err.Error())
			return
		}
		b, _ := io.ReadAll(r.Body)
		_ = r.Body.Close()
		answer <- b
	}()
	for s.store.reads.Load() == 0 { // the request has come in
		time.Sleep(time.Millisecond)
	}
	cancel()
	<-s.turn
	if got := <-answer; !bytes.Contains(got, []byte("Judged anew from the record")) {
		t.Errorf("the request under way was answered with %.200s", got)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if _, err := client.Get("http://" + l.Addr().String() + "/"); err == nil {
		t.Error("the server still answers")
	}
}
