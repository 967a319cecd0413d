package pipelines

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

type github struct {
	Jobs map[string]struct {
		Env   map[string]string `json:"env"`
		Steps []struct {
			Name string         `json:"name"`
			Run  string         `json:"run"`
			Uses string         `json:"uses"`
			With map[string]any `json:"with"`
		} `json:"steps"`
	} `json:"jobs"`
}

func readGitHub(t *testing.T) github {
	t.Helper()
	var g github
	if err := yaml.Unmarshal([]byte(read(t, "examples/pipelines/github.yml")), &g); err != nil {
		t.Fatal(err)
	}
	return g
}

type gitlabJob struct {
	Script    []string `json:"script"`
	Artifacts struct {
		Paths   []string `json:"paths"`
		Reports struct {
			JUnit string `json:"junit"`
		} `json:"reports"`
	} `json:"artifacts"`
}

type gitlab struct {
	Variables map[string]string `json:"variables"`
	Rehearse  gitlabJob         `json:"rehearse"`
	Gate      gitlabJob         `json:"gate"`
}

func readGitLab(t *testing.T) gitlab {
	t.Helper()
	var g gitlab
	if err := yaml.Unmarshal([]byte(read(t, "examples/pipelines/gitlab-ci.yml")), &g); err != nil {
		t.Fatal(err)
	}
	return g
}

var jenkinsOut = regexp.MustCompile(`(?m)^\s*OUT = '([^']+)'$`)

// outOfAll returns the directory that all three give to make as OUT.
func outOfAll(t *testing.T) string {
	t.Helper()
	m := jenkinsOut.FindStringSubmatch(read(t, "examples/pipelines/Jenkinsfile"))
	if m == nil {
		t.Fatal("the Jenkinsfile sets no OUT")
	}
	if hub, lab := readGitHub(t).Jobs["rehearse"].Env["OUT"], readGitLab(t).Variables["OUT"]; hub != m[1] || lab != m[1] {
		t.Fatalf("OUT is %s for Jenkins, %s for GitHub and %s for GitLab", m[1], hub, lab)
	}
	return m[1]
}

// published is a pattern of files that a pipeline publishes, relative to its
// workspace.
type published struct {
	who, pattern string
	// kind is what the files must be: junit, html, or anything.
	kind string
}

const (
	junit    = "junit"
	html     = "html"
	anything = "anything"
)

var (
	jenkinsJUnit   = regexp.MustCompile(`\bjunit .*\btestResults: '([^']+)'`)
	jenkinsHTML    = regexp.MustCompile(`\bpublishHTML\(target: \[reportDir: '([^']+)', reportFiles: '([^']+)'`)
	jenkinsArchive = regexp.MustCompile(`\barchiveArtifacts artifacts: '([^']+)'`)
)

// allPublished reads the patterns from the three pipelines.
func allPublished(t *testing.T) []published {
	t.Helper()
	var all []published
	add := func(who, kind, prefix, list string) {
		for pattern := range strings.SplitSeq(list, ",") {
			if pattern = strings.TrimSpace(pattern); pattern != "" {
				all = append(all, published{who, prefix + pattern, kind})
			}
		}
	}
	text := read(t, "examples/pipelines/Jenkinsfile")
	for _, m := range jenkinsJUnit.FindAllStringSubmatch(text, -1) {
		add("Jenkins", junit, "", m[1])
	}
	for _, m := range jenkinsHTML.FindAllStringSubmatch(text, -1) {
		add("Jenkins", html, m[1]+"/", m[2])
	}
	for _, m := range jenkinsArchive.FindAllStringSubmatch(text, -1) {
		add("Jenkins", anything, "", m[1])
	}
	for _, s := range readGitHub(t).Jobs["rehearse"].Steps {
		if paths, ok := s.With["path"].(string); ok && strings.HasPrefix(s.Uses, "actions/upload-artifact@") {
			add("GitHub", anything, "", strings.ReplaceAll(paths, "\n", ","))
		}
	}
	lab := readGitLab(t)
	for _, j := range []gitlabJob{lab.Rehearse, lab.Gate} {
		add("GitLab", anything, "", strings.Join(j.Artifacts.Paths, ","))
		add("GitLab", junit, "", j.Artifacts.Reports.JUnit)
	}
	return all
}

// like translates a pattern as Jenkins (Ant), GitLab and GitHub read it: ** is
// any directories, * and ? stay within one name, and a directory is all below it.
func like(pattern string) *regexp.Regexp {
	if strings.HasSuffix(pattern, "/") {
		pattern += "**"
	}
	s := regexp.QuoteMeta(pattern)
	for _, r := range [][2]string{{`\*\*/`, `(?:.+/)?`}, {`\*\*`, `.+`}, {`\*`, `[^/]*`}, {`\?`, `[^/]`}} {
		s = strings.ReplaceAll(s, r[0], r[1])
	}
	return regexp.MustCompile("^" + s + "$")
}

// checkPublished holds what every pipeline publishes against what one rehearsal
// and the gate left in workspace.
func checkPublished(t *testing.T, workspace string) {
	t.Helper()
	var files []string
	err := filepath.WalkDir(workspace, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			name, err := filepath.Rel(workspace, path)
			files = append(files, filepath.ToSlash(name))
			return err
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	all := allPublished(t)
	kinds := map[string]int{}
	for _, p := range all {
		kinds[p.who+" "+p.kind]++
		var found []string
		for _, name := range files {
			if like(p.pattern).MatchString(name) {
				found = append(found, name)
			}
		}
		switch {
		case p.kind == anything:
			// What an archive must hold is the record and all its reports.
			for _, name := range []string{"/run.json", "/timeline.ndjson", "/SHA256SUMS", "/verdict.json", "/report.html", "/summary.md", "/junit.xml", "/gate.xml"} {
				if !strings.Contains(strings.Join(found, "\n")+"\n", name+"\n") {
					t.Errorf("%s keeps no %s by %s, but %q", p.who, name[1:], p.pattern, found)
				}
			}
		case len(found) != 1:
			t.Errorf("%s publishes %q by %s, want one file", p.who, found, p.pattern)
		default:
			check(t, p, filepath.Join(workspace, found[0]))
		}
	}
	for kind, want := range map[string]int{"Jenkins junit": 2, "Jenkins html": 1, "Jenkins anything": 1, "GitHub anything": 1, "GitLab junit": 2, "GitLab anything": 1} {
		if kinds[kind] != want {
			t.Errorf("%d patterns of %s were read from the pipeline, want %d: %+v", kinds[kind], kind, want, all)
		}
	}

	// GitHub has no pattern for the summary, but a command.
	for _, s := range readGitHub(t).Jobs["rehearse"].Steps {
		if s.Name != "Summary" {
			continue
		}
		summary := filepath.Join(t.TempDir(), "summary.md")
		cmd := exec.CommandContext(t.Context(), "bash", "-c", s.Run)
		cmd.Dir, cmd.Env = workspace, append(os.Environ(), "GITHUB_STEP_SUMMARY="+summary)
		if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%s: %v\n%s", s.Run, err, out)
		}
		if b, err := os.ReadFile(summary); err != nil || !bytes.HasPrefix(b, []byte("## ")) {
			t.Errorf("GitHub's summary is %.80q (%v)", b, err)
		}
	}
}

// check asserts that a published file is what it is published as.
func check(t *testing.T, p published, name string) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	switch p.kind {
	case html:
		if !bytes.HasPrefix(b, []byte("<!DOCTYPE html>")) || !bytes.HasSuffix(bytes.TrimSpace(b), []byte("</html>")) {
			t.Errorf("%s publishes %s, which is no whole page", p.who, name)
		}
	case junit:
		d := xml.NewDecoder(bytes.NewReader(b))
		root, cases := "", 0
		for {
			token, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Errorf("%s publishes %s: %v", p.who, name, err)
				break
			}
			if e, ok := token.(xml.StartElement); ok {
				if root == "" {
					root = e.Name.Local
				}
				if e.Name.Local == "testcase" {
					cases++
				}
			}
		}
		if root != "testsuites" || cases == 0 {
			t.Errorf("%s publishes %s, a <%s> of %d test cases", p.who, name, root, cases)
		}
	}
}

func TestPatternsAreReadAsCIReadsThem(t *testing.T) {
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"runs/*/junit.xml", "runs/a/junit.xml", true},
		{"runs/*/junit.xml", "runs/a/b/junit.xml", false},
		{"runs/*/junit.xml", "runs/junit.xml", false},
		{"runs/**", "runs/a/b/x.json", true},
		{"runs/", "runs/a/b/x.json", true},
		{"runs/", "other/runs/x.json", false},
		{"runs/**/x.?son", "runs/x.json", true},
		{"runs/gate.xml", "runs/gatexxml", false},
	} {
		if got := like(c.pattern).MatchString(c.name); got != c.want {
			t.Errorf("%s matches %s: %t", c.pattern, c.name, got)
		}
	}
}
