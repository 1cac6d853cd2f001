package payload

import (
	"reflect"
	"strconv"
	"strings"
)

// Lines is a list of lines that may be written as one text too.
type Lines []string

// reader goes once through a text and fills what it is asked for.
type reader struct {
	data  []byte
	pos   int
	depth int
	room  int // bytes that items of lists may still take
	plans map[reflect.Type]plan
}

// plan says where in a struct the values of an object's keys belong.
type plan map[string][]int

// plan makes the plan of a struct once per text. Structs that are embedded
// count as if their fields were the struct's own.
func (r *reader) plan(t reflect.Type) plan {
	p, ok := r.plans[t]
	if ok {
		return p
	}
	p = plan{}
	for i := range t.NumField() {
		field := t.Field(i)
		if field.Anonymous {
			for key, index := range r.plan(field.Type) {
				p[key] = append([]int{i}, index...)
			}
			continue
		}
		if key, _, _ := strings.Cut(field.Tag.Get("json"), ","); key != "" && field.IsExported() {
			p[key] = []int{i}
		}
	}
	r.plans[t] = p
	return p
}

// value reads the next value into v, or leaves v zero when it is of another
// type.
func (r *reader) value(v reflect.Value) error {
	r.space()
	v.SetZero()
	c, kind := r.peek(), v.Kind()
	switch {
	case c == '{' && kind == reflect.Struct:
		return r.object(v)
	case c == '{' && kind == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		return r.value(v.Elem())
	case c == '[' && kind == reflect.Slice:
		return r.list(v)
	case c == '"' && v.Type() == reflect.TypeFor[Lines]():
		return r.lines(v)
	case c == '"' && kind == reflect.String:
		s, err := r.text()
		v.SetString(s)
		return err
	case (c == 't' || c == 'f') && kind == reflect.Bool:
		truth, err := r.literal()
		v.SetBool(truth)
		return err
	case (c == '-' || digit(c)) && kind == reflect.Int64:
		return r.whole(v)
	}
	return r.skip()
}

func (r *reader) object(v reflect.Value) error {
	plan := r.plan(v.Type())
	return r.members(func(key []byte) error {
		if index, ok := plan[string(key)]; ok {
			return r.value(v.FieldByIndex(index))
		}
		return r.skip()
	})
}

// list fills a slice. It stays nil when there are more items than may be kept:
// half a list would lie.
func (r *reader) list(v reflect.Value) error {
	v.Set(reflect.MakeSlice(v.Type(), 0, 0))
	n, size, over := 0, int(v.Type().Elem().Size()), false
	err := r.each(func() error {
		if r.room -= size; over || r.room < 0 {
			over = true
			return r.skip()
		}
		v.Grow(1)
		v.SetLen(n + 1)
		n++
		return r.value(v.Index(n - 1))
	})
	if over {
		v.SetZero()
	}
	return err
}

func (r *reader) lines(v reflect.Value) error {
	s, err := r.text()
	if err != nil {
		return err
	}
	if r.room -= (strings.Count(s, "\n") + 1) * int(v.Type().Elem().Size()); r.room >= 0 {
		v.Set(reflect.ValueOf(Lines(strings.Split(s, "\n"))))
	}
	return nil
}

func (r *reader) text() (string, error) {
	raw, escaped, err := r.quoted()
	switch {
	case err != nil:
		return "", err
	case escaped:
		return unescape(raw), nil
	}
	return valid(string(raw)), nil
}

// whole reads a number into v; one that is no whole number of 64 bits is of
// another type.
func (r *reader) whole(v reflect.Value) error {
	digits, err := r.number()
	if err != nil {
		return err
	}
	if n, err := strconv.ParseInt(string(digits), 10, 64); err == nil {
		v.SetInt(n)
	}
	return nil
}
