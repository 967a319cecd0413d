package wire

import (
	"encoding/base64"
	"fmt"
	"reflect"
	"sort"
	"strconv"
	"strings"
	"time"
)

// node is a parameter of a form whose name has dots in it, as a tree.
type node struct {
	value    string
	set      bool
	used     bool
	children map[string]*node
}

// tree makes one of a form. The last value counts where a name comes twice.
func tree(form map[string][]string) *node {
	root := &node{}
	for key, values := range form {
		at := root
		for part := range strings.SplitSeq(key, ".") {
			if at.children == nil {
				at.children = map[string]*node{}
			}
			next := at.children[part]
			if next == nil {
				next = &node{}
				at.children[part] = next
			}
			at = next
		}
		if len(values) > 0 {
			at.value, at.set = values[len(values)-1], true
		}
	}
	return root
}

func (n *node) child(name string) *node {
	if n == nil {
		return nil
	}
	return n.children[name]
}

// items are the children with numbers for names, in order.
func (n *node) items() []*node {
	type item struct {
		index int
		node  *node
	}
	var all []item
	for name, c := range n.children {
		if i, err := strconv.Atoi(name); err == nil {
			all = append(all, item{i, c})
		}
	}
	sort.Slice(all, func(i, j int) bool { return all[i].index < all[j].index })
	out := make([]*node, len(all))
	for i, x := range all {
		out[i] = x.node
	}
	return out
}

// unused names the parameters that no member took.
func (n *node) unused(prefix string) []string {
	var all []string
	if n.set && !n.used && n.value != "" {
		all = append(all, strings.TrimPrefix(prefix, "."))
	}
	for name, c := range n.children {
		all = append(all, c.unused(prefix+"."+name)...)
	}
	sort.Strings(all)
	return all
}

var timeType = reflect.TypeFor[time.Time]()

// decode fills v, of a v1 type, from n.
func decode(n *node, v reflect.Value, tag reflect.StructTag, ec2 bool) error {
	if n == nil {
		return nil
	}
	t := v.Type()
	switch {
	case t.Kind() == reflect.Pointer:
		p := reflect.New(t.Elem())
		if err := decode(n, p.Elem(), tag, ec2); err != nil {
			return err
		}
		v.Set(p)
		return nil
	case t == timeType:
		n.used = true
		parsed, err := time.Parse(time.RFC3339, n.value)
		if err != nil {
			return err
		}
		v.Set(reflect.ValueOf(parsed))
		return nil
	case t.Kind() == reflect.Struct:
		for i := range t.NumField() {
			f := t.Field(i)
			if !f.IsExported() {
				continue
			}
			if err := decode(n.child(parameter(f, ec2)), v.Field(i), f.Tag, ec2); err != nil {
				return fmt.Errorf("%s: %w", f.Name, err)
			}
		}
		return nil
	case t.Kind() == reflect.Slice && t.Elem().Kind() != reflect.Uint8:
		n.used = true // an empty list is sent as a name without a value
		if !ec2 && tag.Get("flattened") == "" {
			if n = n.child(orElse(tag.Get("locationNameList"), "member")); n == nil {
				return nil
			}
		}
		for _, item := range n.items() {
			e := reflect.New(t.Elem()).Elem()
			if err := decode(item, e, "", ec2); err != nil {
				return err
			}
			v.Set(reflect.Append(v, e))
		}
		return nil
	case t.Kind() == reflect.Map:
		if tag.Get("flattened") == "" {
			n = n.child("entry")
		}
		if n == nil {
			return nil
		}
		v.Set(reflect.MakeMap(t))
		for _, entry := range n.items() {
			key, value := reflect.New(t.Key()).Elem(), reflect.New(t.Elem()).Elem()
			if err := decode(entry.child(orElse(tag.Get("locationNameKey"), "key")), key, "", ec2); err != nil {
				return err
			}
			if err := decode(entry.child(orElse(tag.Get("locationNameValue"), "value")), value, "", ec2); err != nil {
				return err
			}
			v.SetMapIndex(key, value)
		}
		return nil
	}
	n.used = true
	return scalar(n.value, v)
}

func scalar(text string, v reflect.Value) error {
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return err
		}
		v.SetBool(b)
	case reflect.Int64:
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return err
		}
		v.SetInt(n)
	case reflect.Float64:
		f, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return err
		}
		v.SetFloat(f)
	case reflect.Slice:
		b, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return err
		}
		v.SetBytes(b)
	default:
		return fmt.Errorf("a %s in a request", v.Type())
	}
	return nil
}

// parameter is a member's name in a request.
func parameter(f reflect.StructField, ec2 bool) string {
	if name := f.Tag.Get("queryName"); ec2 && name != "" {
		return name
	}
	name := f.Tag.Get("locationName")
	if f.Tag.Get("flattened") != "" && f.Tag.Get("locationNameList") != "" {
		name = f.Tag.Get("locationNameList")
	}
	if name == "" {
		return f.Name
	}
	if ec2 {
		name = strings.ToUpper(name[:1]) + name[1:]
	}
	return name
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}
