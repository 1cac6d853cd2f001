#!/usr/bin/env bash
# Runs everything that needs real parts: the tests behind the build tag e2e of
# all packages, the whole system in pkg/cyclonetest/e2e, and at the end the
# short form of pkg/cyclonetest/chaos.
# Arguments go to go test, for instance: scripts/e2e.sh -run TestCancel ./pkg/cyclonetest/e2e
source "$(dirname "$0")/lib.sh"
cd "$root"
kubeapi=$(scripts/kubeapi.sh)
mongo=$(scripts/mongo-standin.sh)
make -s build
scripts/images.sh worker
scripts/images.sh example
export CYCLONE_E2E_BIN=$root/bin CYCLONE_E2E_CACHE=$cache CYCLONE_E2E_KUBEAPI=$kubeapi CYCLONE_TEST_MONGO_STANDIN=$mongo
export GOFLAGS="${GOFLAGS:-} -trimpath" CGO_ENABLED=0
# One package at a time: each may use the whole machine, and its engine.
run() { go test -tags e2e -p 1 -count 1 -timeout 20m "$@"; }
if [ $# != 0 ]; then
  run "$@"
  exit
fi
mapfile -t packages < <(grep -rlx '//go:build e2e' --include='*_test.go' pkg cmd | xargs -n1 dirname | sort -u | grep -vxE 'pkg/cyclonetest/(chaos|e2e)' | sed 's|^|./|')
run "${packages[@]}"
# These wait for containers most of the time.
run -parallel 3 ./pkg/cyclonetest/e2e
run -v -run '^TestChaos$' ./pkg/cyclonetest/chaos # -v shows its tables and its seed
