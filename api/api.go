// Package api holds the contracts of the HTTP interface as data: the OpenAPI
// description that the server serves and that its tests hold against the
// routes.
//
// It is not code: what the contracts mean is implemented in httpapi.
package api

import _ "embed" // for the files

// OpenAPI is the description of every route, OpenAPI 3.1 in YAML.
//
//go:embed openapi.yaml
var OpenAPI []byte
