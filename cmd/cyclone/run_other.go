//go:build !linux

package main

import (
	"errors"

	"github.com/spf13/cobra"
)

// runCommand says where pipelines can be run: what runs them mounts and counts
// as Linux does.
func (a *app) runCommand() *cobra.Command {
	c := &cobra.Command{Use: "run [DIR]", Short: "Run a pipeline on the Docker engine of this machine; on Linux only"}
	c.RunE = a.does(func(*cobra.Command, []string) error {
		return errors.New("cyclone run works on Linux only; on other systems, run it in a virtual machine that has the Docker engine")
	})
	return c
}
