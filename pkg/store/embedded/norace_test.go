//go:build !race

package embedded_test

// manyEvents is the larger store of TestScale.
const manyEvents = 100_000
