//go:build !race

package httpapi_test

// manyLines is what the server must carry in seconds.
const manyLines = 1_000_000
