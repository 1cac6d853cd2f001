package lab

import (
	"encoding/json"

	"cyclone/pkg/cyclone"
)

// wire is a frame of the log stream, less what Follow does not look at.
type wire struct {
	Type   string         `json:"type"` // lines, partial, stage or end
	Lines  rawLines       `json:"lines"`
	Status cyclone.Status `json:"status"`
}

// rawLines is a list of lines in a "lines" frame and their count in an "end" frame.
type rawLines struct {
	list  []cyclone.Line
	count int64
}

// UnmarshalJSON reads either form.
func (r *rawLines) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '[' {
		return json.Unmarshal(b, &r.list)
	}
	return json.Unmarshal(b, &r.count)
}
