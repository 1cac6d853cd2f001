// Command kubeapi is a Kubernetes control plane for tests in one binary: etcd,
// kube-apiserver and the controllers that Deployments, Jobs and namespaces
// need, each chosen by the first argument and started as a process of its own
// by pkg/cyclonetest/kubetest. It is a module of its own so that Cyclone's
// users never download Kubernetes' own sources.
//
// It is not a cluster: there is no scheduler and no kubelet (kubetest plays
// both), and nothing in it is tuned or secured for use outside of tests.
package main

import (
	"fmt"
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
)

const usage = "usage: kubeapi etcd|kube-apiserver|controllers [flags]"

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, usage)
		os.Exit(2)
	}
	name := os.Args[1]
	os.Args = append([]string{name}, os.Args[2:]...)
	switch name {
	case "etcd":
		etcdmain.Main(os.Args)
	case "kube-apiserver":
		os.Exit(cli.Run(app.NewAPIServerCommand()))
	case "controllers":
		if err := runControllers(os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, "controllers:", err)
			os.Exit(1)
		}
	default:
		fmt.Fprintf(os.Stderr, "unknown command %q\n%s\n", name, usage)
		os.Exit(2)
	}
}
