//go:build race

package embedded_test

// manyEvents is the larger store of TestScale; making more takes too long
// under the race detector.
const manyEvents = 8_000
