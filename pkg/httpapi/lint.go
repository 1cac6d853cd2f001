package httpapi

import (
	"net/http"

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
