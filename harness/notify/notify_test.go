package notify_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-rehearse/rehearse/harness/notify"
)

var message = notify.Message{
	Event: "run", Outcome: "NO-GO", Exit: 1, Scenario: "kind", From: "v1.34.4", To: "v1.35.4",
	Summary: "outage/new failed: <!channel> & more.", Dir: "runs/kind-1", Link: "https://ci.example/1",
}

// hook is a webhook that gives its answers in turn, the last for ever, and keeps
// what it was sent.
func hook(t *testing.T, answers ...func(http.ResponseWriter)) (address string, got *[]string) {
	got = &[]string{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil || r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s %s %v", r.Method, r.Header, err)
		}
		*got = append(*got, string(b))
		answers[min(len(*got), len(answers))-1](w)
	}))
	t.Cleanup(server.Close)
	return server.URL + "/services/T0/B0/hunter2?key=hunter2", got
}

func status(code int, header ...string) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(code)
	}
}

func send(t *testing.T, address, format string) error {
	t.Helper()
	w, err := notify.New(address, format)
	if err != nil {
		t.Fatal(err)
	}
	return w.Send(t.Context(), message)
}

func TestForms(t *testing.T) {
	address, got := hook(t, status(200))
	for _, format := range notify.Formats {
		if err := send(t, address, format); err != nil {
			t.Error(err)
		}
	}
	want := []string{
		`{"text":"NO-GO: run kind, v1.34.4 to v1.35.4","blocks":[` +
			`{"type":"header","text":{"type":"plain_text","text":"NO-GO: run kind, v1.34.4 to v1.35.4"}},` +
			`{"type":"section","text":{"type":"mrkdwn","text":"outage/new failed: &lt;!channel&gt; &amp; more."}},` +
			`{"type":"context","elements":[{"type":"mrkdwn","text":"exit code 1 · runs/kind-1 · https://ci.example/1"}]}]}`,
		`{"event":"run","outcome":"NO-GO","exit":1,"scenario":"kind","from":"v1.34.4","to":"v1.35.4","summary":"outage/new failed: <!channel> & more.","dir":"runs/kind-1","link":"https://ci.example/1"}`,
	}
	for i, g := range *got {
		var a, b any
		if err := json.Unmarshal([]byte(g), &a); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(want[i]), &b); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(b, a); diff != "" {
			t.Errorf("%s (-want +got):\n%s", notify.Formats[i], diff)
		}
	}
}

func TestRetries(t *testing.T) {
	for name, tc := range map[string]struct {
		answers []func(http.ResponseWriter)
		posts   int
		err     string
		least   time.Duration
	}{
		"busy once":          {[]func(http.ResponseWriter){status(503), status(204)}, 2, "", time.Second},
		"asked to wait":      {[]func(http.ResponseWriter){status(429, "Retry-After", "2"), status(200)}, 2, "", 2 * time.Second},
		"asked for too long": {[]func(http.ResponseWriter){status(429, "Retry-After", "3600")}, 1, "the server answers 429 Too Many Requests; it asks to wait 1h0m0s, which is too long", 0},
		"gone":               {[]func(http.ResponseWriter){status(404)}, 1, "the server answers 404 Not Found; is the webhook's URL still valid?", 0},
		"a redirect":         {[]func(http.ResponseWriter){status(307, "Location", "/elsewhere")}, 1, "the server answers 307 Temporary Redirect; is the webhook's URL still valid?", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address, got := hook(t, tc.answers...)
			begun := time.Now()
			err := send(t, address, notify.FormatSlack)
			text := ""
			if err != nil {
				text = err.Error()
				if _, rest, ok := strings.Cut(text, ": "); ok {
					text = rest
				}
			}
			if text != tc.err || len(*got) != tc.posts {
				t.Errorf("%d posts, error %q; want %d, %q", len(*got), text, tc.posts, tc.err)
			}
			if took := time.Since(begun); took < tc.least {
				t.Errorf("waited %s, want at least %s", took, tc.least)
			}
			if strings.Contains(fmt.Sprint(err), "hunter2") {
				t.Errorf("the secret is told: %v", err)
			}
		})
	}
}

func TestSecretIsNotTold(t *testing.T) {
	for _, address := range []string{"hunter2", "ftp://x/hunter2", "https:///hunter2", "https://x/%zzhunter2", " "} {
		if _, err := notify.New(address, notify.FormatSlack); err == nil || err.Error() != "not a URL that begins with https:// or http://" {
			t.Errorf("%s: %v", address, err)
		}
	}
	if _, err := notify.New("https://x/hunter2", "teams"); err == nil || err.Error() != `format "teams" is unknown; accepted: slack, json` {
		t.Errorf("got %v", err)
	}
}
