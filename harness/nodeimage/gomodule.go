package nodeimage

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/version"

	"github.com/kube-rehearse/rehearse/harness/command"
)

// module is one version of a Go module, in the module cache.
type module struct {
	Path, Version string
	Dir           string // read-only, of Go's module cache
	GoMod         string // path of its go.mod
}

// toolchain runs the go command in throw-away modules.
type toolchain struct {
	// scratch is a directory outside any module, for questions about modules.
	scratch string
}

// goEnv keeps builds independent of the user's workspace and flags, static,
// and the same wherever they run.
func goEnv() []string {
	return append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=mod -buildvcs=false", "CGO_ENABLED=0", "GOTOOLCHAIN=local+auto")
}

func (t toolchain) run(ctx context.Context, dir string, args ...string) (string, error) {
	out, err := command.Output(ctx, command.Cmd{Args: append([]string{"go"}, args...), Dir: dir, Env: goEnv()})
	return out, explainNoGo(err)
}

func explainNoGo(err error) error {
	if errors.Is(err, exec.ErrNotFound) {
		return errors.New("building from source needs the Go toolchain, and there is no go on PATH: " + remedyGo)
	}
	return err
}

// download fetches a module version. A version that the proxy does not have is
// an error for which errors.As finds an unresolvedError.
func (t toolchain) download(ctx context.Context, path, version string) (module, error) {
	// The answer is on standard output also when the command fails.
	var answer bytes.Buffer
	err := command.Run(ctx, command.Cmd{Args: []string{"go", "mod", "download", "-json", path + "@" + version},
		Dir: t.scratch, Env: goEnv(), Stdout: &answer})
	if err := explainNoGo(err); err != nil && (ctx.Err() != nil || answer.Len() == 0) {
		return module{}, err
	}
	var m struct {
		Path, Version, Dir, GoMod, Error string
	}
	if jsonErr := json.NewDecoder(&answer).Decode(&m); jsonErr != nil {
		return module{}, fmt.Errorf("download %s@%s: %w", path, version, errors.Join(err, jsonErr))
	}
	if m.Error != "" {
		return module{}, &unresolvedError{path: path, version: version, reason: m.Error}
	}
	return module{Path: m.Path, Version: m.Version, Dir: m.Dir, GoMod: m.GoMod}, nil
}

// unresolvedError says that a module version cannot be had.
type unresolvedError struct{ path, version, reason string }

func (e *unresolvedError) Error() string {
	return fmt.Sprintf("Go module %s@%s cannot be had: %s", e.path, e.version, strings.ReplaceAll(e.reason, "\n", " "))
}

// nearestTried bounds how many other versions are tried.
const nearestTried = 6

// nearest downloads the version, or the nearest one that can be had; other
// than the wanted one comes with a warning that says so.
func (t toolchain) nearest(ctx context.Context, path, want string) (m module, warning string, err error) {
	m, err = t.download(ctx, path, want)
	var unresolved *unresolvedError
	if err == nil || !errors.As(err, &unresolved) {
		return m, "", err
	}
	list, listErr := t.run(ctx, t.scratch, "list", "-m", "-versions", "-f", `{{join .Versions " "}}`, path)
	if listErr != nil {
		return module{}, "", errors.Join(err, listErr)
	}
	for i, candidate := range byDistance(strings.Fields(list), want) {
		if i == nearestTried {
			break
		}
		m, otherErr := t.download(ctx, path, candidate)
		if otherErr == nil {
			return m, fmt.Sprintf("%s %s stands in for %s, which cannot be had as a Go module", path, candidate, want), nil
		}
		if !errors.As(otherErr, &unresolved) {
			return module{}, "", otherErr
		}
	}
	return module{}, "", fmt.Errorf("no version near it either: %w", err)
}

// byDistance sorts the released versions by how far they are from want: the
// same minor version before the others, and within it the nearest patch, the
// newer of two. Other minor versions of the same major follow, nearest first.
func byDistance(versions []string, want string) []string {
	w, err := version.ParseSemantic(want)
	if err != nil {
		return nil
	}
	distance := func(s string) [3]int {
		v := version.MustParseSemantic(s)
		minor := abs(int(v.Minor()) - int(w.Minor()))
		patch := int(v.Patch()) - int(w.Patch())
		older := 0
		if v.LessThan(w) {
			older = 1
		}
		if minor != 0 {
			// Of another minor version, the newest patch is as good as any.
			return [3]int{minor, older, -int(v.Patch())}
		}
		return [3]int{0, abs(patch), older}
	}
	var near []string
	for _, s := range versions {
		v, err := version.ParseSemantic(s)
		if err == nil && v.PreRelease() == "" && v.Major() == w.Major() && s != want {
			near = append(near, s)
		}
	}
	slices.SortStableFunc(near, func(a, b string) int {
		da, db := distance(a), distance(b)
		return slices.Compare(da[:], db[:])
	})
	return near
}

func abs(n int) int { return max(n, -n) }

// program is one or more executables to build in a throw-away module.
type program struct {
	module   module            // the module that is built
	replaces []string          // lines for go.mod, without the word replace
	requires []string          // further requirements, "path version"
	files    map[string]string // source files of the throw-away module by path
	packages []string          // what to build
	tags     string
	ldflags  string
	names    map[string]string // names for what is built, where the package's is not wanted
}

// build compiles p's packages into the directory out, in a module below dir.
func (t toolchain) build(ctx context.Context, dir string, p program, out string) error {
	if err := os.MkdirAll(out, 0o755); err != nil {
		return fmt.Errorf("make the output directory: %w", err)
	}
	goMod, err := p.goMod()
	if err != nil {
		return err
	}
	files := map[string]string{"go.mod": goMod}
	maps.Copy(files, p.files)
	if err := writeFiles(dir, files); err != nil {
		return err
	}
	args := []string{"build", "-trimpath", "-o", out + string(filepath.Separator), "-ldflags", strings.TrimSpace("-s -w " + p.ldflags)}
	if p.tags != "" {
		args = append(args, "-tags", p.tags)
	}
	var messages bytes.Buffer
	err = explainNoGo(command.Run(ctx, command.Cmd{
		Args: slices.Concat([]string{"go"}, args, p.packages), Dir: dir, Env: goEnv(), Stderr: &messages,
	}))
	if missing := missingModules(messages.String()); err != nil && len(missing) > 0 && ctx.Err() == nil {
		return fmt.Errorf("compile %s@%s: its modules %s cannot be had; for another patch release they may be there",
			p.module.Path, p.module.Version, strings.Join(missing, ", "))
	}
	if err != nil {
		return fmt.Errorf("compile %s@%s: %w", p.module.Path, p.module.Version, err)
	}
	for from, to := range p.names {
		if err := os.Rename(filepath.Join(out, from), filepath.Join(out, to)); err != nil {
			return fmt.Errorf("name what was compiled: %w", err)
		}
	}
	return nil
}

var missingModule = regexp.MustCompile(`(\S+@v\S+): (?:reading|verifying|invalid version)`)

// missingModules reads off what go build printed which modules it could not
// get: it prints a line for each file that imports one, which is hundreds.
func missingModules(messages string) []string {
	found := missingModule.FindAllStringSubmatch(messages, -1)
	missing := make([]string, 0, len(found))
	for _, match := range found {
		missing = append(missing, match[1])
	}
	slices.Sort(missing)
	return slices.Compact(missing)
}

// goMod renders the throw-away module's go.mod: the language version and the
// runtime defaults of the module that is built, because they decide how it
// behaves.
func (p program) goMod() (string, error) {
	var b bytes.Buffer
	b.WriteString("module " + throwAway + "\n\n")
	original, err := os.ReadFile(p.module.GoMod)
	if err != nil {
		return "", fmt.Errorf("read the go.mod of %s: %w", p.module.Path, err)
	}
	for line := range strings.Lines(string(original)) {
		if strings.HasPrefix(line, "go ") || strings.HasPrefix(line, "godebug ") && !strings.HasSuffix(strings.TrimSpace(line), "(") {
			b.WriteString(line)
		}
	}
	for _, r := range append([]string{p.module.Path + " " + p.module.Version}, p.requires...) {
		b.WriteString("require " + r + "\n")
	}
	for _, r := range p.replaces {
		b.WriteString("replace " + r + "\n")
	}
	return b.String(), nil
}

// throwAway is the path of the throw-away modules.
const throwAway = "node"

// writeFiles writes a throw-away module's files below dir.
func writeFiles(dir string, files map[string]string) error {
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fmt.Errorf("make a throw-away module: %w", err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			return fmt.Errorf("make a throw-away module: %w", err)
		}
	}
	return nil
}
