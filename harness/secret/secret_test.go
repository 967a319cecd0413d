package secret

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestArgs(t *testing.T) {
	for in, want := range map[string]string{
		"./up.sh|--token|hunter2|--all":                     "./up.sh|--token|***|--all",
		"./up.sh|--token=hunter2":                           "./up.sh|--token=***",
		"up|-password|x|--password-file|/etc/p|--verbose":   "up|-password|***|--password-file|/etc/p|--verbose",
		"up|--api-key|--all":                                "up|--api-key|--all",
		"sh|-c|curl -H 'Authorization: Bearer abcdef' x":    "sh|-c|curl -H 'Authorization: Bearer ***' x",
		"sh|-c|up --token hunter2 && DB_PASSWORD='a b' x":   "sh|-c|up --token *** && DB_PASSWORD='***' x",
		"curl|https://me:hunter2@example.com/a?token=abc&b": "curl|https://***@example.com/a?token=***&b",
		"curl|https://hooks.slack.com/services/T0/B0/abc":   "curl|https://hooks.slack.com/services/***",
		"env|AWS_ACCESS_KEY_ID=AKIAPLANTEDPLANTED00|x":      "env|AWS_ACCESS_KEY_ID=***|x",
		"kubectl|delete|secret|db|--namespace|shop":         "kubectl|delete|secret|db|--namespace|shop",
		"kops|get|--name|t.example.com|--state|s3://a/b":    "kops|get|--name|t.example.com|--state|s3://a/b",
	} {
		if got := strings.Join(Args(strings.Split(in, "|")), "|"); got != want {
			t.Errorf("%s\ngot  %s\nwant %s", in, got, want)
		}
	}
}

func TestValues(t *testing.T) {
	got := Values([]string{"up", "--token", "hunter2", "--password=longer-one", "-x", "sh -c 'API_KEY=abcdefgh'", "https://me:password1@x/"},
		[]string{"HOME=/root", "AWS_SECRET_ACCESS_KEY=planted/secret", "GITHUB_TOKEN=abc", "KUBE_TOKEN_FILE=/var/run/token", "HTTPS_PROXY=http://u:proxy-password@p:1"})
	if diff := cmp.Diff([]string{"planted/secret", "proxy-password", "longer-one", "password1", "abcdefgh", "hunter2"}, got); diff != "" {
		t.Errorf("values (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"MIIEvQIBADANBg", "second-line"}, Known("-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBg\nsecond-line\n-----END PRIVATE KEY-----\n", "no")); diff != "" {
		t.Errorf("known (-want +got):\n%s", diff)
	}
}

// TestWriterSeesWholeLines hands a secret over in pieces.
func TestWriterSeesWholeLines(t *testing.T) {
	var out bytes.Buffer
	w := NewWriter(&out, []string{"hunter2"})
	for _, piece := range []string{"begin hun", "ter2 end\nnext", " line\nlast hunt", "er2"} {
		if n, err := w.Write([]byte(piece)); err != nil || n != len(piece) {
			t.Errorf("%d, %v", n, err)
		}
	}
	if want := "begin *** end\nnext line\n"; out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
	if err := w.Flush(); err != nil || !strings.HasSuffix(out.String(), "\nlast ***") {
		t.Errorf("%q, %v", out.String(), err)
	}
}

func FuzzText(f *testing.F) {
	f.Add("--token hunter2")
	f.Add(`{"password": "a"}`)
	f.Fuzz(func(t *testing.T, s string) {
		once := Text(s, []string{"hunter2"})
		if strings.Contains(once, "hunter2") {
			t.Errorf("%q", once)
		}
	})
}
