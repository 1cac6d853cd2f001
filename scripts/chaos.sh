#!/usr/bin/env bash
# Runs the long form of the chaos test: 200 events on real servers and workers
# while a seeded schedule of faults goes on; see pkg/cyclonetest/chaos.
#   scripts/chaos.sh              with a seed of its own, which it prints
#   SEED=17 scripts/chaos.sh      replays the schedule of a seed
#   EVENTS=50 scripts/chaos.sh    with fewer events
source "$(dirname "$0")/lib.sh"
cd "$root"
mongo=$(scripts/mongo-standin.sh)
make -s build
scripts/images.sh worker
scripts/images.sh busybox
logs=${LOGS:-$(mktemp -d "${TMPDIR:-/tmp}/cyclone-chaos.XXXXXX")}
mkdir -p "$logs"
say "logs and report: $logs"
export CYCLONE_E2E_BIN=$root/bin CYCLONE_E2E_CACHE=$cache CYCLONE_TEST_MONGO_STANDIN=$mongo
export CYCLONE_CHAOS_SEED=${SEED:-$((RANDOM * 32768 + RANDOM))} CYCLONE_CHAOS_EVENTS=${EVENTS:-200} CYCLONE_CHAOS_LOGS=$logs
export GOFLAGS="${GOFLAGS:-} -trimpath" CGO_ENABLED=0
exec go test -tags e2e -count 1 -timeout 100m -v -run '^TestChaos$' ./pkg/cyclonetest/chaos
