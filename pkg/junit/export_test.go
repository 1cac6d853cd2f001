package junit

import (
	"io"

	"cyclone/pkg/cyclone"
)

// ParseWithin is Parse with a bound of its own for the size.
func ParseWithin(r io.Reader, size int) ([]cyclone.TestCase, error) { return parse(r, size) }
