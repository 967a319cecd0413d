package scenarios

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"
	sigsjson "sigs.k8s.io/json"

	"github.com/kube-rehearse/rehearse/harness/secret"
)

// InvalidError is a scenario file that cannot be used. Nothing was created.
type InvalidError struct {
	Source string   // path of the file
	Errs   []string // one for each mistake, with its field
}

// Error lists every mistake, one line each.
func (e *InvalidError) Error() string {
	lines := make([]string, len(e.Errs))
	for i, m := range e.Errs {
		lines[i] = e.Source + ": " + m
	}
	return strings.Join(lines, "\n")
}

// LoadFile reads, completes and validates the file at path. Its error is an
// *InvalidError for everything that the file's author can mend.
func LoadFile(path string) (*File, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, &InvalidError{Source: path, Errs: []string{fmt.Sprintf("cannot be read: %v; name a scenario file with -f", unwrapPath(err))}}
	}
	return Parse(path, b)
}

// Parse reads a scenario file from memory; source names it in errors.
func Parse(source string, b []byte) (*File, error) {
	js, err := toJSON(source, b, "put all scenarios into one list")
	if err != nil {
		return nil, err
	}
	js, err = underlay(js)
	if err != nil {
		return nil, err
	}
	if msgs := wrongShapes(js); len(msgs) > 0 {
		return nil, &InvalidError{Source: source, Errs: msgs}
	}
	var f File
	strict, err := sigsjson.UnmarshalStrict(js, &f)
	if err != nil {
		return nil, &InvalidError{Source: source, Errs: []string{describeType("", err)}}
	}
	var msgs []string
	for _, e := range strict {
		msgs = append(msgs, describeUnknown(reflect.TypeFor[File](), e.Error()))
	}
	for i := range f.Scenarios {
		f.Scenarios[i].derive()
	}
	for _, e := range f.Validate() {
		msgs = append(msgs, describe(e))
	}
	if len(msgs) > 0 {
		return nil, &InvalidError{Source: source, Errs: msgs}
	}
	return &f, nil
}

// Pick returns the scenario called name, or the only one when name is empty.
func (f *File) Pick(name string) (*Scenario, error) {
	names := make([]string, len(f.Scenarios))
	for i := range f.Scenarios {
		names[i] = f.Scenarios[i].Name
		if names[i] == name {
			return &f.Scenarios[i], nil
		}
	}
	if name == "" {
		// The first scenario is the file's default: a quickstart stays one
		// command however many scenarios follow it.
		return &f.Scenarios[0], nil
	}
	return nil, fmt.Errorf("--scenario %q: no such scenario; the file has: %s", name, strings.Join(names, ", "))
}

// Resolved returns the scenario as compact JSON with every default filled in:
// what the record keeps, and what its digest covers. What is secret in the
// arguments of the user's command is not in it.
func (s *Scenario) Resolved() (json.RawMessage, error) { return json.Marshal(s.Public()) }

// Public is the scenario without what is secret in the arguments of its command.
func (s *Scenario) Public() *Scenario {
	public := *s
	if len(s.Upgrade.Command) > 0 {
		public.Upgrade.Command = secret.Args(s.Upgrade.Command)
	}
	return &public
}

// FromResolved reads what Resolved wrote.
func FromResolved(b []byte) (*Scenario, error) {
	var s Scenario
	strict, err := sigsjson.UnmarshalStrict(b, &s)
	if err == nil && len(strict) > 0 {
		err = strict[0]
	}
	if err != nil {
		return nil, fmt.Errorf("the record's scenario: %w", err)
	}
	return &s, nil
}

// ParseThresholds reads a file that gives thresholds anew, over those of base:
// what it leaves out stays as it was.
func ParseThresholds(source string, b []byte, base Thresholds) (Thresholds, error) {
	js, err := toJSON(source, b, "put all thresholds into one mapping")
	if err != nil {
		return base, err
	}
	doc := struct {
		Thresholds Thresholds `json:"thresholds"`
	}{base}
	strict, err := sigsjson.UnmarshalStrict(js, &doc)
	if err != nil {
		return base, &InvalidError{Source: source, Errs: []string{describeType("", err)}}
	}
	var msgs []string
	for _, e := range strict {
		msgs = append(msgs, describeUnknown(reflect.TypeOf(doc), e.Error()))
	}
	for _, e := range doc.Thresholds.validate(field.NewPath("thresholds")) {
		msgs = append(msgs, describe(e))
	}
	if len(msgs) > 0 {
		return base, &InvalidError{Source: source, Errs: msgs}
	}
	return doc.Thresholds, nil
}

func unwrapPath(err error) error {
	var pe *os.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}
