package scenarios

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"

	sigsjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// toJSON reads the one document of a file. together says what the user shall do
// with what stands in a second one.
func toJSON(source string, b []byte, together string) ([]byte, error) {
	if n := secondDocument(b); n > 0 {
		return nil, &InvalidError{Source: source, Errs: []string{fmt.Sprintf("line %d: a second document begins, which would not be read: %s", n, together)}}
	}
	js, err := yaml.YAMLToJSONStrict(b)
	if err != nil {
		return nil, &InvalidError{Source: source, Errs: yamlErrors(err)}
	}
	return js, nil
}

// secondDocument returns the number of the line that begins one, or 0. Dashes in
// the first column always begin a document (YAML 1.2.2, 9.1.2).
func secondDocument(b []byte) int {
	begins, content := 0, false
	for i, line := range strings.Split(string(b), "\n") {
		mark := line == "---" || strings.HasPrefix(line, "--- ") || line == "---\r" || strings.HasPrefix(line, "---\t")
		rest := line
		if mark {
			rest = line[len("---"):]
			if begins = 0; content {
				begins = i + 1
			}
		}
		rest = strings.TrimSpace(rest)
		if rest == "" || rest == "..." || rest[0] == '#' || rest[0] == '%' {
			continue
		}
		if begins > 0 {
			return begins
		}
		content = true
	}
	return 0
}

// yamlErrors are the parser's, one for each mistake.
func yamlErrors(err error) []string {
	const several = "unmarshal errors:"
	msg := strings.TrimPrefix(err.Error(), "yaml: ")
	if !strings.HasPrefix(msg, several) {
		return []string{msg}
	}
	var msgs []string
	for line := range strings.Lines(strings.TrimPrefix(msg, several)) {
		if line = strings.TrimSpace(line); line != "" {
			msgs = append(msgs, line)
		}
	}
	return msgs
}

// wrongShapes words what is of the wrong type in each scenario of the document:
// one mistake a scenario, because there its decoding stops.
func wrongShapes(js []byte) []string {
	var doc struct {
		Scenarios []json.RawMessage `json:"scenarios"`
	}
	if json.Unmarshal(js, &doc) != nil {
		return nil // there is no list: decoding the whole says so
	}
	var msgs []string
	for i, given := range doc.Scenarios {
		path := fmt.Sprintf("scenarios[%d]", i)
		if string(given) == "null" {
			msgs = append(msgs, path+": nothing was given, want a mapping: an entry of the list is empty")
			continue
		}
		var s Scenario
		if _, err := sigsjson.UnmarshalStrict(given, &s); err != nil {
			msgs = append(msgs, describeType(path, err))
		}
	}
	return msgs
}

// describeType words a value of the wrong JSON type, at which decoding stops;
// parent is the path of what was decoded, empty for the whole document.
func describeType(parent string, err error) string {
	var te *json.UnmarshalTypeError
	if !errors.As(err, &te) || te.Field == "" && parent == "" {
		return err.Error()
	}
	path := strings.Trim(parent+"."+te.Field, ".")
	return fmt.Sprintf("%s: %s was given, want %s", path, givenName(te.Value), kindName(te.Type))
}

// givenName says what a JSON value is as the author of a YAML file calls it.
func givenName(value string) string {
	switch value {
	case "object":
		return "a mapping"
	case "array":
		return "a list"
	case "bool":
		return "true or false"
	}
	if number, ok := strings.CutPrefix(value, "number "); ok {
		return number
	}
	return "a " + value
}

func kindName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Slice:
		return "a list"
	case reflect.Struct, reflect.Map, reflect.Pointer:
		return "a mapping"
	case reflect.Int, reflect.Int64:
		return "a whole number"
	case reflect.Float64:
		return "a number"
	case reflect.Bool:
		return "true or false"
	default:
		return "a " + t.Kind().String()
	}
}
