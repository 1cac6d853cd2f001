package mongo

import (
	"net/http"
	"reflect"
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"cyclone/pkg/cyclone"
)

// registry encodes what BSON cannot hold as it is: maps become lists, as keys
// with dots or dollars cannot be stored everywhere; texts become UTF-8, which
// BSON demands; durations and sizes are written as people write them.
func registry() *bson.Registry {
	r := bson.NewRegistry()
	r.RegisterKindEncoder(reflect.String, bson.ValueEncoderFunc(
		func(_ bson.EncodeContext, w bson.ValueWriter, v reflect.Value) error {
			return w.WriteString(strings.ToValidUTF8(v.String(), "\ufffd"))
		}))
	as(r, packVariables, unpackVariables)
	as(r, packHeader, unpackHeader)
	as(r, func(d cyclone.Duration) string {
		if d == 0 {
			return ""
		}
		return d.String()
	}, func(s string) (cyclone.Duration, error) {
		if s == "" {
			return 0, nil
		}
		return cyclone.ParseDuration(s)
	})
	as(r, cyclone.Size.String, cyclone.ParseSize)
	as(r, packImage, unpackImage)
	return r
}

// as stores values of type T in the form of an F.
func as[T, F any](r *bson.Registry, pack func(T) F, unpack func(F) (T, error)) {
	from, form := reflect.TypeFor[T](), reflect.TypeFor[F]()
	r.RegisterTypeEncoder(from, bson.ValueEncoderFunc(
		func(c bson.EncodeContext, w bson.ValueWriter, v reflect.Value) error {
			encoder, err := c.LookupEncoder(form)
			if err != nil {
				return err
			}
			return encoder.EncodeValue(c, w, reflect.ValueOf(pack(v.Interface().(T))))
		}))
	r.RegisterTypeDecoder(from, bson.ValueDecoderFunc(
		func(c bson.DecodeContext, d bson.ValueReader, v reflect.Value) error {
			decoder, err := c.LookupDecoder(form)
			if err != nil {
				return err
			}
			packed := reflect.New(form).Elem()
			if err := decoder.DecodeValue(c, d, packed); err != nil {
				return err
			}
			value, err := unpack(packed.Interface().(F))
			if err == nil {
				v.Set(reflect.ValueOf(value))
			}
			return err
		}))
}

// buildImage is a cyclone.BuildImage with all its parts side by side, as the
// API has it.
type buildImage struct {
	Build string        `bson:"build"`
	Image cyclone.Image `bson:",inline"`
}

func packImage(i cyclone.BuildImage) buildImage { return buildImage{i.Build, i.Image} }

func unpackImage(i buildImage) (cyclone.BuildImage, error) {
	return cyclone.BuildImage{Build: i.Build, Image: i.Image}, nil
}

// packVariables keeps nil apart from empty, as a list does.
func packVariables(m map[string]string) []cyclone.Variable {
	if m == nil {
		return nil
	}
	list := []cyclone.Variable{}
	for name, value := range m {
		list = append(list, cyclone.Variable{Name: name, Value: value})
	}
	slices.SortFunc(list, func(a, b cyclone.Variable) int { return strings.Compare(a.Name, b.Name) })
	return list
}

func unpackVariables(list []cyclone.Variable) (map[string]string, error) {
	if list == nil {
		return nil, nil
	}
	m := make(map[string]string, len(list))
	for _, v := range list {
		m[v.Name] = v.Value
	}
	return m, nil
}

// headerField is one name of an http.Header.
type headerField struct {
	Name   string   `bson:"name"`
	Values []string `bson:"values"`
}

func packHeader(h http.Header) []headerField {
	if h == nil {
		return nil
	}
	list := []headerField{}
	for name, values := range h {
		list = append(list, headerField{name, values})
	}
	slices.SortFunc(list, func(a, b headerField) int { return strings.Compare(a.Name, b.Name) })
	return list
}

func unpackHeader(list []headerField) (http.Header, error) {
	if list == nil {
		return nil, nil
	}
	h := make(http.Header, len(list))
	for _, f := range list {
		h[f.Name] = f.Values
	}
	return h, nil
}
