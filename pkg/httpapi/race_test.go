//go:build race

package httpapi_test

// manyLines is fewer under the race detector, which makes every line cost
// twenty times as much.
const manyLines = 100_000
