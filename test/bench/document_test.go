package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTargetsAreWrittenBesideEachOther(t *testing.T) {
	path := filepath.Join(t.TempDir(), "benchmarks.md")
	put := func(n int, facts string, m measured) {
		t.Helper()
		if err := merge(path, sectionOf(targets[n-1], facts, m)); err != nil {
			t.Fatal(err)
		}
	}
	put(8, "Then.", measured{rows: []row{{what: "a", ours: "1%", limit: "≤ 1%", met: true}, {what: "b | c", ours: "2%", limit: "≤ 1%", reason: "bad\nluck"}}})
	put(1, "Before.", measured{rows: []row{{what: "x", ours: "1"}}, err: errors.New("wrk: not found")})
	put(1, "Now.", measured{notes: []string{"One round was repeated."}, rows: []row{{what: "x", ours: "1", limit: "≤ 2", met: true}, {what: "y", ours: "2 ms"}}})
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(got), "there for comparison.\n")
	if !ok {
		t.Fatalf("no preamble:\n%s", got)
	}
	want := `
| target | figures that meet their limit | that do not | not measured |
|---|---|---|---|
| 1 | 1 | 0 | 0 |
| 2 | | | all of it |
| 3 | | | all of it |
| 4 | | | all of it |
| 5 | | | all of it |
| 6 | | | all of it |
| 7 | | | all of it |
| 8 | 1 | 1 | 0 |
| 9 | | | all of it |

## 1. ` + upperFirst(targets[0].title) + `

Now.

- One round was repeated.

| what | rehearse | others | limit | met | reason |
|---|---|---|---|---|---|
| x | 1 |  | ≤ 2 | yes |  |
| y | 2 ms |  |  | – |  |

## 8. ` + upperFirst(targets[7].title) + `

Then.

| what | rehearse | others | limit | met | reason |
|---|---|---|---|---|---|
| a | 1% |  | ≤ 1% | yes |  |
| b \| c | 2% |  | ≤ 1% | **no** | bad luck |
`
	if rest != want {
		t.Errorf("got:\n%s\nwant:\n%s", rest, want)
	}
}

func TestUnmeasuredSaysWhy(t *testing.T) {
	s := sectionOf(targets[2], "Now.", measured{err: errors.New("the server\ndid not start")})
	if want := "| the rest of this target |  |  |  | **not measured** | the server did not start |\n"; !strings.HasSuffix(s.text, want) {
		t.Errorf("%s\nwant at its end: %s", s.text, want)
	}
}

func TestInvalidRoundsAreRepeated(t *testing.T) {
	for _, tc := range []struct {
		invalid int // rounds that are not valid, from the first on
		rounds  int // that were measured in all
		note    string
		reason  string
	}{
		{0, 3, "", "all rounds were valid"},
		{2, 5, "x: 2 rounds were repeated, because the machine kept the runner from sending in time.", "all rounds were valid"},
		{100, 6, "x: 3 rounds were repeated, because the machine kept the runner from sending in time. 3 more count although it did.",
			"the machine kept the runner from sending in time in 3 of 3 rounds; see the load averages"},
	} {
		b := &bench{rounds: 3}
		n := 0
		notes, reason, err := b.valid(t.Context(), "x: ", func(round int, _ bool) (string, error) {
			if round != n {
				t.Errorf("round %d is called %d", n, round)
			}
			n++
			if n <= tc.invalid {
				return "late", nil
			}
			return "", nil
		})
		if err != nil || n != tc.rounds || strings.Join(notes, "\n") != tc.note || reason != tc.reason {
			t.Errorf("%d invalid: %d rounds, %q, %q, %v", tc.invalid, n, notes, reason, err)
		}
	}
}

func TestUnknownTarget(t *testing.T) {
	_, err := choose("1,10")
	if err == nil || err.Error() != `-targets: "10" is not one of 1, 2, 3, 4, 5, 6, 7, 8, 9` {
		t.Errorf("%v", err)
	}
}
