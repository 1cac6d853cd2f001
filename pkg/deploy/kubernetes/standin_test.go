package kubernetes_test

import (
	"testing"

	"cyclone/pkg/cyclonetest/kubestandin"
)

func TestOnStandin(t *testing.T) {
	s, err := kubestandin.Start(t.Context(), kubestandin.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	t.Run("", func(t *testing.T) {
		for _, sc := range scenarios {
			t.Run(sc.name, func(t *testing.T) {
				t.Parallel()
				sc.run(t, s)
			})
		}
	})
}
