#!/usr/bin/env bash
# Measures Cyclone against plain commands; see scripts/bench/main.go.
# Arguments go to the program, for instance: scripts/bench.sh -only cold,hook
source "$(dirname "$0")/lib.sh"
cd "$root"
kubeapi=$(scripts/kubeapi.sh)
mongo=$(scripts/mongo-standin.sh)
make -s build
GOFLAGS="${GOFLAGS:-} -trimpath" CGO_ENABLED=0 go build -o bin/bench ./scripts/bench
scripts/images.sh worker
scripts/images.sh example
exec bin/bench -root . -cache "$cache" -kubeapi "$kubeapi" -mongo "$mongo" "$@"
