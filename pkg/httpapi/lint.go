package httpapi

import (
	"net/http"

	"cyclone/api"
	"cyclone/pkg/cyclone"
	"cyclone/pkg/manifest"
)

// lintAnswer is what is wrong with a caicloud.yml. Warnings leave it valid.
type lintAnswer struct {
	Valid    bool              `json:"valid"`
	Problems []cyclone.Problem `json:"problems"`
}

func (s *Server) lint(w http.ResponseWriter, r *http.Request) error {
	if err := checkType(r, "text/plain", "application/yaml", "text/yaml", "application/x-yaml"); err != nil {
		return err
	}
	data, err := readBody(w, r, maxBody)
	if err != nil {
		return err
	}
	_, problems := manifest.Parse(data)
	answer := lintAnswer{Valid: true, Problems: []cyclone.Problem{}}
	for _, p := range problems {
		answer.Problems = append(answer.Problems, p)
		answer.Valid = answer.Valid && p.Severity != cyclone.SeverityError
	}
	return show(w, answer)
}

// pipelineSchema serves the JSON Schema of caicloud.yml. Editors fetch it
// without a token, and it tells nothing of this server.
func (s *Server) pipelineSchema(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Content-Type", "application/schema+json")
	w.Header().Set("Cache-Control", "public, max-age=300")
	_, _ = w.Write(api.Schema) // a caller that has gone is no error
	return nil
}
