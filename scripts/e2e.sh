#!/usr/bin/env bash
# Runs everything that needs real parts: the tests behind the build tag e2e of
# all packages, and the whole system in pkg/cyclonetest/e2e.
# Arguments go to go test, for instance: scripts/e2e.sh -run TestCancel ./pkg/cyclonetest/e2e
source "$(dirname "$0")/lib.sh"
cd "$root"
kubeapi=$(scripts/kubeapi.sh)
make -s build
scripts/images.sh worker
scripts/images.sh example
export CYCLONE_E2E_BIN=$root/bin CYCLONE_E2E_CACHE=$cache CYCLONE_E2E_KUBEAPI=$kubeapi
export GOFLAGS="${GOFLAGS:-} -trimpath" CGO_ENABLED=0
# One package at a time: each may use the whole machine, and its engine.
if [ $# = 0 ]; then
  mapfile -t packages < <(grep -rlx '//go:build e2e' --include='*_test.go' pkg cmd | xargs -n1 dirname | sort -u | sed 's|^|./|')
  set -- "${packages[@]}"
fi
go test -tags e2e -p 1 -count 1 -timeout 20m "$@"
