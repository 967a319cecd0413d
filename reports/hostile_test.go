package reports

import (
	"encoding/json"
	"reflect"
	"time"

	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/harness/record"
	"github.com/kube-rehearse/rehearse/scenarios"
)

// hostile is what a pod could write into an event, an error or a name.
const hostile = "<script>alert('x')</script>\"|`&amp;\x1b[31mred\x1b]0;title\x07\r\nGO second line\x00\u202eabc ]]> --> @someone [a](javascript:b) </details>\xff"

// fill sets every string that can be reached from x to s, and makes one element
// where a slice, map or pointer is empty, so that no field can be forgotten.
func fill(x reflect.Value, s string) {
	switch x.Kind() {
	case reflect.String:
		x.SetString(s)
	case reflect.Pointer:
		if x.IsNil() {
			x.Set(reflect.New(x.Type().Elem()))
		}
		fill(x.Elem(), s)
	case reflect.Slice:
		if x.Type() == reflect.TypeFor[json.RawMessage]() {
			doc, err := json.Marshal(map[string]string{s: s})
			if err != nil {
				panic(err)
			}
			x.SetBytes(doc)
			return
		}
		if x.Len() == 0 {
			x.Set(reflect.MakeSlice(x.Type(), 1, 1))
		}
		for i := range x.Len() {
			fill(x.Index(i), s)
		}
	case reflect.Map:
		if x.Type().Key().Kind() != reflect.String {
			return
		}
		x.Set(reflect.MakeMap(x.Type()))
		element := reflect.New(x.Type().Elem()).Elem()
		fill(element, s)
		x.SetMapIndex(reflect.ValueOf(s), element)
	case reflect.Array:
		for i := range x.Len() {
			fill(x.Index(i), s)
		}
	case reflect.Struct:
		if x.Type() == reflect.TypeFor[time.Time]() {
			return
		}
		for i := range x.NumField() {
			if x.Type().Field(i).IsExported() {
				fill(x.Field(i), s)
			}
		}
	}
}

func hostileRecord() *record.Record {
	r := &record.Record{}
	fill(reflect.ValueOf(r).Elem(), hostile)
	// Reports read the scenario's mirror block, and nothing else of it.
	mirror := &scenarios.Mirror{}
	fill(reflect.ValueOf(mirror).Elem(), hostile)
	doc, err := json.Marshal(map[string]any{"mirror": mirror})
	if err != nil {
		panic(err)
	}
	r.Run.Scenario = doc
	r.Run.Started = time.Date(2026, 11, 21, 9, 30, 0, 0, time.UTC)
	r.Run.Findings = append(r.Run.Findings, r.Run.Findings[0]) // two that go together
	r.Lanes[0].Parts[0].Seconds = 1                            // of a load agent that told something
	return r
}

func hostileVerdict() judge.Verdict {
	var v judge.Verdict
	fill(reflect.ValueOf(&v).Elem(), hostile)
	return v
}
