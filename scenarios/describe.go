package scenarios

import (
	"fmt"
	"reflect"
	"regexp"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/kube-rehearse/rehearse/harness/secret"
)

// raw is a value as it stood in the file, quotes and all.
type raw string

// describe words one mistake: path, what was given, what is accepted.
func describe(e *field.Error) string {
	given := func() string {
		switch v := e.BadValue.(type) {
		case raw:
			return string(v)
		case string:
			return fmt.Sprintf("%q", secret.Text(v, nil))
		default:
			return fmt.Sprint(v)
		}
	}
	switch e.Type {
	case field.ErrorTypeRequired:
		return fmt.Sprintf("%s: missing: %s", e.Field, e.Detail)
	case field.ErrorTypeDuplicate:
		return fmt.Sprintf("%s: %s stands there twice", e.Field, given())
	case field.ErrorTypeNotSupported:
		accepted := strings.TrimPrefix(e.Detail, "supported values: ")
		return fmt.Sprintf("%s: %s is unknown; accepted: %s", e.Field, given(), strings.ReplaceAll(accepted, `"`, ""))
	}
	if given() == `""` {
		return fmt.Sprintf("%s: %s", e.Field, e.Detail)
	}
	return fmt.Sprintf("%s: %s is not accepted: %s", e.Field, given(), e.Detail)
}

var unknownField = regexp.MustCompile(`^unknown field "(.*)"$`)

// describeUnknown words what the strict decoder said, with the keys that the
// object does have.
func describeUnknown(root reflect.Type, msg string) string {
	m := unknownField.FindStringSubmatch(msg)
	if m == nil {
		return msg
	}
	path := m[1]
	parent := ""
	if i := strings.LastIndexByte(path, '.'); i >= 0 {
		parent = path[:i]
	}
	return fmt.Sprintf("%s: unknown key; accepted: %s", path, list(keysAt(root, parent)))
}

var index = regexp.MustCompile(`\[\d+\]`)

// keysAt returns the keys of the object at path below t, in the order of
// declaration.
func keysAt(t reflect.Type, path string) []string {
	for _, name := range strings.Split(index.ReplaceAllString(path, ""), ".") {
		if name == "" || t.Kind() != reflect.Struct {
			continue
		}
		for f := range t.NumField() {
			if jsonName(t.Field(f)) == name {
				t = t.Field(f).Type
				for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
					t = t.Elem()
				}
				break
			}
		}
	}
	var keys []string
	if t.Kind() == reflect.Struct {
		for f := range t.NumField() {
			keys = append(keys, jsonName(t.Field(f)))
		}
	}
	return keys
}

func jsonName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	return name
}

func list(names []string) string { return strings.Join(names, ", ") }
