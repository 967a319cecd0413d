package wire

import (
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"reflect"
	"sort"
	"strings"
	"time"
)

// members writes the members of a v1 struct as XML, in the order of its fields.
func members(b *strings.Builder, v reflect.Value) error {
	v = reflect.Indirect(v)
	if !v.IsValid() {
		return nil
	}
	t := v.Type()
	for i := range t.NumField() {
		f := t.Field(i)
		if !f.IsExported() {
			continue
		}
		if err := element(b, orElse(f.Tag.Get("locationName"), f.Name), v.Field(i), f.Tag); err != nil {
			return fmt.Errorf("%s: %w", f.Name, err)
		}
	}
	return nil
}

func element(b *strings.Builder, name string, v reflect.Value, tag reflect.StructTag) error {
	for v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return nil
		}
		v = v.Elem()
	}
	open, end := "<"+name+">", "</"+name+">"
	switch {
	case v.Type() == timeType:
		b.WriteString(open + v.Interface().(time.Time).UTC().Format("2006-01-02T15:04:05.000Z") + end)
	case v.Kind() == reflect.Struct:
		b.WriteString(open)
		if err := members(b, v); err != nil {
			return err
		}
		b.WriteString(end)
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Uint8:
		b.WriteString(open + base64.StdEncoding.EncodeToString(v.Bytes()) + end)
	case v.Kind() == reflect.Slice:
		if v.IsNil() {
			return nil
		}
		item := name
		if tag.Get("flattened") == "" {
			item = orElse(tag.Get("locationNameList"), "member")
			b.WriteString(open)
			defer b.WriteString(end)
		}
		for i := range v.Len() {
			if err := element(b, item, v.Index(i), ""); err != nil {
				return err
			}
		}
	case v.Kind() == reflect.Map:
		if v.Len() == 0 {
			return nil
		}
		entry := name
		if tag.Get("flattened") == "" {
			entry = "entry"
			b.WriteString(open)
			defer b.WriteString(end)
		}
		keys := v.MapKeys()
		sort.Slice(keys, func(i, j int) bool { return keys[i].String() < keys[j].String() })
		for _, k := range keys {
			b.WriteString("<" + entry + ">")
			if err := element(b, orElse(tag.Get("locationNameKey"), "key"), k, ""); err != nil {
				return err
			}
			if err := element(b, orElse(tag.Get("locationNameValue"), "value"), v.MapIndex(k), ""); err != nil {
				return err
			}
			b.WriteString("</" + entry + ">")
		}
	default:
		b.WriteString(open)
		if err := xml.EscapeText(b, fmt.Append(nil, v.Interface())); err != nil {
			return err
		}
		b.WriteString(end)
	}
	return nil
}

// document makes what encoding/json can write of a v2 Output: members that are
// not set are left out, and times are seconds since 1970.
func document(v reflect.Value) any {
	for v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface {
		if v.IsNil() {
			return nil
		}
		v = v.Elem()
	}
	switch {
	case v.Type() == timeType:
		return float64(v.Interface().(time.Time).UnixMilli()) / 1000
	case v.Kind() == reflect.Struct:
		m := map[string]any{}
		for i := range v.NumField() {
			f := v.Type().Field(i)
			if !f.IsExported() || f.Name == "ResultMetadata" || v.Field(i).IsZero() {
				continue
			}
			m[f.Name] = document(v.Field(i))
		}
		return m
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() != reflect.Uint8:
		all := make([]any, v.Len())
		for i := range all {
			all[i] = document(v.Index(i))
		}
		return all
	case v.Kind() == reflect.Map:
		m := map[string]any{}
		for it := v.MapRange(); it.Next(); {
			m[it.Key().String()] = document(it.Value())
		}
		return m
	}
	return v.Interface()
}
