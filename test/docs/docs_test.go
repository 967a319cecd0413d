// Package docs holds the rule that every exported name is documented.
package docs

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// packages returns the directories of the module's packages with their files but
// tests, by go list.
func packages(t *testing.T) map[string][]string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-json=Dir,ImportPath,GoFiles,CgoFiles,IgnoredGoFiles", "./...")
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v", cmd, err)
	}
	found := map[string][]string{}
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct {
			Dir, ImportPath                   string
			GoFiles, CgoFiles, IgnoredGoFiles []string
		}
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return found
		} else if err != nil {
			t.Fatal(err)
		}
		for _, f := range slices.Concat(p.GoFiles, p.CgoFiles, p.IgnoredGoFiles) {
			if !strings.HasSuffix(f, "_test.go") {
				found[p.ImportPath] = append(found[p.ImportPath], filepath.Join(p.Dir, f))
			}
		}
	}
}

// TestEveryExportedNameIsDocumented asks for a comment at each package, and at
// each exported type, function, method of an exported type, constant and
// variable. A group of constants or variables may share the comment of the group
// or carry one at the end of each line. The methods of an interface need one,
// too; the fields of a struct need none where the name says it all.
func TestEveryExportedNameIsDocumented(t *testing.T) {
	total := 0
	for path, files := range packages(t) {
		fset := token.NewFileSet()
		commented := false
		for _, name := range files {
			f, err := parser.ParseFile(fset, name, nil, parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			commented = commented || f.Doc != nil
			for _, decl := range f.Decls {
				names, bad := undocumented(decl)
				total += names
				for _, b := range bad {
					t.Errorf("%s: %s has no comment", relative(fset.Position(b.pos).String()), b.name)
				}
			}
		}
		if !commented {
			t.Errorf("package %s has no comment", path)
		}
	}
	if total < 500 {
		t.Errorf("only %d exported names were looked at", total)
	}
}

// relative shortens a position below the module's root.
func relative(position string) string {
	root, err := filepath.Abs("../..")
	if err != nil {
		return position
	}
	return strings.TrimPrefix(position, root+string(filepath.Separator))
}

// missing is an exported name without a comment.
type missing struct {
	name string
	pos  token.Pos
}

// undocumented returns how many exported names a declaration has, and those
// without a comment.
func undocumented(decl ast.Decl) (names int, bad []missing) {
	check := func(id *ast.Ident, of string, docs ...*ast.CommentGroup) {
		if !id.IsExported() {
			return
		}
		names++
		for _, d := range docs {
			// Directives such as //go:build are no documentation.
			if d != nil && strings.TrimSpace(d.Text()) != "" {
				return
			}
		}
		bad = append(bad, missing{of + id.Name, id.Pos()})
	}
	switch d := decl.(type) {
	case *ast.FuncDecl:
		of := ""
		if d.Recv != nil {
			base := receiver(d.Recv.List[0].Type)
			if !ast.IsExported(base) {
				return 0, nil
			}
			of = base + "."
		}
		check(d.Name, of, d.Doc)
	case *ast.GenDecl:
		for _, s := range d.Specs {
			switch s := s.(type) {
			case *ast.TypeSpec:
				if len(d.Specs) > 1 {
					check(s.Name, "", s.Doc, s.Comment)
				} else {
					check(s.Name, "", s.Doc, d.Doc)
				}
				if i, ok := s.Type.(*ast.InterfaceType); ok && s.Name.IsExported() {
					for _, m := range i.Methods.List {
						for _, id := range m.Names {
							// One method may be told by its interface.
							docs := []*ast.CommentGroup{m.Doc, m.Comment}
							if i.Methods.NumFields() == 1 {
								docs = append(docs, s.Doc, d.Doc)
							}
							check(id, s.Name.Name+".", docs...)
						}
					}
				}
			case *ast.ValueSpec:
				for _, id := range s.Names {
					check(id, "", s.Doc, s.Comment, d.Doc)
				}
			}
		}
	}
	return names, bad
}

func receiver(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return receiver(e.X)
	case *ast.IndexExpr:
		return receiver(e.X)
	case *ast.IndexListExpr:
		return receiver(e.X)
	case *ast.Ident:
		return e.Name
	}
	return ""
}

// TestUndocumentedIsFound keeps the rule from passing because it sees nothing.
func TestUndocumentedIsFound(t *testing.T) {
	const src = `package p
type A struct{}
func (A) M() {}
func (b) N() {}
func F() {}
// G does.
func G() {}
//go:noinline
func H() {}
const ( C = 1; D = 2 // D is two.
)
// Group.
var ( V, W int )
type (
	T int
	// U is documented.
	U int
)
// I is one.
type I interface { X() }
// J is two.
type J interface {
	Y()
	// Z does.
	Z()
}
`
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, "p.go", src, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	names := 0
	for _, d := range f.Decls {
		n, bad := undocumented(d)
		names += n
		for _, b := range bad {
			got = append(got, b.name)
		}
	}
	want := []string{"A", "A.M", "F", "H", "C", "T", "J.Y"}
	if !slices.Equal(got, want) || names != 16 {
		t.Errorf("of %d names %q have no comment, want %q of 16", names, got, want)
	}
}
