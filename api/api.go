// Package api holds the contracts as data: the OpenAPI description that the
// server serves and that its tests hold against the routes, and the schema of
// caicloud.yml, which the tests of manifest hold against the parser.
//
// It is not code: what the contracts mean is implemented in httpapi.
package api

import _ "embed" // for the files

// OpenAPI is the description of every route, OpenAPI 3.1 in YAML.
//
//go:embed openapi.yaml
var OpenAPI []byte

// Schema is the JSON Schema of caicloud.yml, for editors; manifest.Schema
// makes it.
//
//go:embed caicloud.schema.json
var Schema []byte
