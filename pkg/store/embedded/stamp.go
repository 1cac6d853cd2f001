package embedded

import (
	"reflect"
	"time"

	"cyclone/pkg/cyclone"
)

// stamped is a copy of a value of the vocabulary with all times as they are
// stored: UTC, whole milliseconds. Other parts are shared with the original.
func stamped[T any](v *T) *T {
	c := new(T)
	stampTo(reflect.ValueOf(c).Elem(), reflect.ValueOf(v).Elem())
	return c
}

func stampTo(to, from reflect.Value) {
	to.Set(from)
	switch from.Kind() {
	case reflect.Pointer:
		if !from.IsNil() && from.Type().Elem().Kind() == reflect.Struct {
			to.Set(reflect.New(from.Type().Elem()))
			stampTo(to.Elem(), from.Elem())
		}
	case reflect.Struct:
		if t, ok := from.Interface().(time.Time); ok {
			to.Set(reflect.ValueOf(cyclone.Stamp(t)))
			return
		}
		for i := range from.NumField() {
			stampTo(to.Field(i), from.Field(i))
		}
	case reflect.Slice:
		if from.IsNil() || from.Type().Elem().Kind() != reflect.Struct {
			return
		}
		to.Set(reflect.MakeSlice(from.Type(), from.Len(), from.Len()))
		for i := range from.Len() {
			stampTo(to.Index(i), from.Index(i))
		}
	}
}
