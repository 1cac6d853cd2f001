#!/usr/bin/env bash
# Shows the main job on real parts; see scripts/demo/main.go for what is checked.
source "$(dirname "$0")/lib.sh"
cd "$root"
scripts/setup.sh

# Compiling and making images use different things, so they go side by side.
say "compiling Cyclone (2 minutes the first time)"
(make -s build && GOFLAGS="${GOFLAGS:-} -trimpath" CGO_ENABLED=0 go build -o bin/demo ./scripts/demo) &
build=$!
scripts/images.sh example
scripts/images.sh worker_base
wait $build || die "Cyclone does not compile"
scripts/images.sh worker
exec bin/demo -root . -cache "$cache" -kubeapi "$(scripts/kubeapi.sh --cached || true)"
