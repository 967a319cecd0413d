package wire

import (
	"fmt"
	"reflect"
	"strings"
)

// Copy copies what dst and src have in common, member by member: names are equal
// but for their case, and pointers, kinds of numbers and enumerations differ. It
// serves v1's and v2's types of one shape, and a request's and an answer's of
// one resource. dst must be a pointer to a struct.
func Copy(dst, src any) error {
	return assign(reflect.ValueOf(dst).Elem(), reflect.ValueOf(src))
}

func assign(dst, src reflect.Value) error {
	for src.Kind() == reflect.Pointer || src.Kind() == reflect.Interface {
		if src.IsNil() {
			return nil
		}
		src = src.Elem()
	}
	if dst.Kind() == reflect.Pointer {
		// What is required in one of the two is no pointer there; its zero value
		// stands for a member that is not set.
		if src.Kind() == reflect.String && src.Len() == 0 && src.Type().Name() != "string" {
			return nil
		}
		p := reflect.New(dst.Type().Elem())
		if err := assign(p.Elem(), src); err != nil {
			return err
		}
		dst.Set(p)
		return nil
	}
	if src.Type() == dst.Type() {
		dst.Set(src)
		return nil
	}
	switch src.Kind() {
	case reflect.Struct:
		if dst.Kind() != reflect.Struct {
			break
		}
		for i := range src.NumField() {
			name := src.Type().Field(i).Name
			if !src.Type().Field(i).IsExported() || name == "ResultMetadata" {
				continue
			}
			to := dst.FieldByNameFunc(func(s string) bool { return strings.EqualFold(s, name) })
			if !to.IsValid() || !to.CanSet() {
				continue
			}
			if err := assign(to, src.Field(i)); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
		return nil
	case reflect.Slice:
		if dst.Kind() != reflect.Slice {
			break
		}
		if src.IsNil() {
			return nil
		}
		all := reflect.MakeSlice(dst.Type(), src.Len(), src.Len())
		for i := range src.Len() {
			if err := assign(all.Index(i), src.Index(i)); err != nil {
				return err
			}
		}
		dst.Set(all)
		return nil
	case reflect.Map:
		if dst.Kind() != reflect.Map {
			break
		}
		if src.IsNil() {
			return nil
		}
		all := reflect.MakeMap(dst.Type())
		for it := src.MapRange(); it.Next(); {
			key, value := reflect.New(dst.Type().Key()).Elem(), reflect.New(dst.Type().Elem()).Elem()
			if err := assign(key, it.Key()); err != nil {
				return err
			}
			if err := assign(value, it.Value()); err != nil {
				return err
			}
			all.SetMapIndex(key, value)
		}
		dst.Set(all)
		return nil
	}
	if src.CanConvert(dst.Type()) && (src.Kind() == dst.Kind() || src.CanInt() && dst.CanInt() || src.CanFloat() && dst.CanFloat()) {
		dst.Set(src.Convert(dst.Type()))
		return nil
	}
	return fmt.Errorf("a %s does not fit a %s", src.Type(), dst.Type())
}
