package cli

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/kube-rehearse/rehearse/scenarios"
)

// TestGuidesOfCloudsHold parses every command line of ours and every scenario in
// the guides of the drivers in AWS: a flag or a field that is renamed fails here.
func TestGuidesOfCloudsHold(t *testing.T) {
	for _, page := range []string{"kops", "eks"} {
		b, err := os.ReadFile("../../../docs/guides/" + page + ".md")
		if err != nil {
			t.Fatal(err)
		}
		commands, files := 0, 0
		for i, block := range strings.Split(string(b), "```") {
			if i%2 == 0 {
				continue // between two blocks
			}
			kind, text, _ := strings.Cut(block, "\n")
			if kind == "yaml" {
				files++
				if _, err := scenarios.Parse(page+".md", []byte("apiVersion: rehearse/v1alpha1\nscenarios:\n"+text)); err != nil {
					t.Errorf("%v in:\n%s", err, text)
				}
			}
			for line := range strings.Lines(text) {
				args := strings.Fields(line)
				if len(args) < 2 || args[0] != "rehearse" {
					continue
				}
				commands++
				cmd, rest, err := newRoot(Streams{In: &bytes.Buffer{}, Out: &bytes.Buffer{}, Err: &bytes.Buffer{}}).Find(args[1:])
				if err == nil {
					err = cmd.ParseFlags(rest)
				}
				if err != nil || !cmd.HasParent() {
					t.Errorf("%s.md: %s: %v", page, strings.TrimSpace(line), err)
				}
			}
		}
		if commands < 5 || files != 2 {
			t.Errorf("%s.md: %d command lines and %d scenarios were looked at", page, commands, files)
		}
	}
}
