package storetest

import (
	"fmt"
	"reflect"
	"time"

	"cyclone/pkg/cyclone"
)

// fill gives every field below v a value of its own that is not zero, so that
// a store that forgets one is found out. Map keys have dots and dollars, texts
// are not ASCII, and times are finer than a store keeps.
func fill(v any) {
	n := 0
	fillValue(reflect.ValueOf(v).Elem(), &n)
}

func fillValue(v reflect.Value, n *int) {
	*n++
	if t, ok := v.Addr().Interface().(*time.Time); ok {
		*t = at(*n)
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(fmt.Sprintf("ä世\t$%d", *n))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(*n) << 10)
	case reflect.Uint8:
		v.SetUint(uint64(*n)&0x7f | 0x80) // not UTF-8
	case reflect.Float64:
		v.SetFloat(float64(*n) + 0.25)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fillValue(v.Elem(), n)
	case reflect.Struct:
		for i := range v.NumField() {
			fillValue(v.Field(i), n)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range v.Len() {
			fillValue(v.Index(i), n)
		}
	case reflect.Map:
		fillMap(v, n)
	default:
		panic("storetest cannot fill " + v.Type().String())
	}
}

func fillMap(v reflect.Value, n *int) {
	v.Set(reflect.MakeMap(v.Type()))
	for _, key := range []string{"a.b", "$c", "D-e"} {
		value := reflect.New(v.Type().Elem()).Elem()
		fillValue(value, n)
		v.SetMapIndex(reflect.ValueOf(key), value)
	}
}

// stored is a copy of v as a store gives it back: times in UTC and whole
// milliseconds.
func stored[T any](v T) T {
	return storedValue(reflect.ValueOf(v)).Interface().(T)
}

func storedValue(v reflect.Value) reflect.Value {
	c := reflect.New(v.Type()).Elem()
	c.Set(v)
	if t, ok := v.Interface().(time.Time); ok {
		c.Set(reflect.ValueOf(cyclone.Stamp(t)))
		return c
	}
	switch {
	case v.Kind() == reflect.Pointer && !v.IsNil():
		c.Set(reflect.New(v.Type().Elem()))
		c.Elem().Set(storedValue(v.Elem()))
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			c.Field(i).Set(storedValue(v.Field(i)))
		}
	case v.Kind() == reflect.Slice && !v.IsNil():
		c.Set(reflect.MakeSlice(v.Type(), v.Len(), v.Len()))
		for i := range v.Len() {
			c.Index(i).Set(storedValue(v.Index(i)))
		}
	}
	return c
}
