// Package fuzz holds hack/fuzz.sh to what it promises: a finding always fails,
// and Go's own time limit never does.
package fuzz

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// fakeGo answers in go's place: OUTPUT, and a failure, for the test called BAD.
const fakeGo = `#!/bin/sh
case "$*" in
  *"^$BAD\$"*) printf '%b' "$OUTPUT"; exit 1;;
esac
printf 'fuzz: elapsed: 60s, execs: 9 (0/sec)\nPASS\n'
`

func TestFuzzScript(t *testing.T) {
	const (
		elapsed = `fuzz: elapsed: 60s, execs: 16229 (0/sec), new interesting: 1 (total: 2)\n`
		trailer = `FAIL\nexit status 1\nFAIL\texample.com/p\t60.1s\n`
		limit   = `--- FAIL: FuzzDecodeWindow (60.03s)\n    context deadline exceeded\n`
	)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "go"), []byte(fakeGo), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		name, output string
		fails        bool
	}{
		{"time limit", elapsed + limit + trailer, false},
		{"crasher", elapsed + `--- FAIL: FuzzDecodeWindow (3.01s)\n    --- FAIL: FuzzDecodeWindow (0.00s)\n        frame_test.go:9: bad\n    Failing input written to testdata/fuzz/FuzzDecodeWindow/abc\n` + trailer, true},
		{"crasher that says the same", elapsed + `--- FAIL: FuzzDecodeWindow (3.01s)\n    --- FAIL: FuzzDecodeWindow (0.00s)\n        frame_test.go:9: context deadline exceeded\n    Failing input written to testdata/fuzz/FuzzDecodeWindow/abc\n` + trailer, true},
		{"crasher and time limit", elapsed + limit + `    Failing input written to testdata/fuzz/FuzzDecodeWindow/abc\n` + trailer, true},
		{"known input fails", `failure while testing seed corpus entry: FuzzDecodeWindow/abc\n--- FAIL: FuzzDecodeWindow (0.03s)\n    --- FAIL: FuzzDecodeWindow (0.00s)\n        frame_test.go:9: bad\n` + trailer, true},
		{"worker killed", elapsed + `--- FAIL: FuzzDecodeWindow (9.03s)\n    fuzzing process hung or terminated unexpectedly: signal: killed\n` + trailer, true},
		{"another test's limit", elapsed + strings.Replace(limit, "FuzzDecodeWindow", "FuzzOther", 1) + trailer, true},
		{"does not build", `./frame_test.go:3: undefined: x\nFAIL\texample.com/p [build failed]\n`, true},
		{"test binary's timeout", elapsed + `panic: test timed out after 10m0s\n` + limit + trailer, true},
	} {
		t.Run(x.name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), "../../hack/fuzz.sh")
			cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "BAD=FuzzDecodeWindow", "OUTPUT="+x.output)
			out, err := cmd.CombinedOutput()
			if (err != nil) != x.fails {
				t.Errorf("err %v\n%s", err, out)
			}
			if n := strings.Count(string(out), "\n== ") + strings.Count(string(out[:3]), "== "); n < 5 {
				t.Errorf("%d fuzz tests were run:\n%s", n, out)
			}
			if x.fails && !strings.Contains(string(out), "FuzzDecodeWindow: FAILED\n") {
				t.Errorf("it does not say what failed:\n%s", out)
			}
		})
	}
}
