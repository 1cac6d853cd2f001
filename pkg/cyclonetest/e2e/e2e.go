// Package e2e tests the whole system on real parts, with nothing in the chain
// mocked: a server process, worker containers with their own Docker engine, an
// image registry, git over HTTP, SMTP, and a Kubernetes API server. Its tests
// carry the build tag e2e; `make e2e` prepares what they need and runs them.
//
// It is not the place for rules that one package can show alone.
package e2e
