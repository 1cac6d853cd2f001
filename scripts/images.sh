#!/usr/bin/env bash
# Builds Cyclone's images, and where no registry can be pulled from the base
# images too: Debian by debootstrap, the rest from Debian's packages and the
# machine's own Go.
#   scripts/images.sh            worker and server
#   scripts/images.sh worker     the worker alone
#   scripts/images.sh example    what docs/examples/shop runs in
source "$(dirname "$0")/lib.sh"
cd "$root"

worker_image=${CYCLONE_WORKER_IMAGE:-cyclone-worker:dev}
server_image=${CYCLONE_SERVER_IMAGE:-cyclone-server:dev}

have() { docker image inspect "$1" >/dev/null 2>&1; }

# base prints the Debian image to build on: the one that is asked for when it is
# here or can be pulled, else one made by debootstrap.
base() {
  local want=${BASE_IMAGE:-debian:trixie-slim} made=cyclone/debian:trixie
  if have "$want"; then echo "$want"; return; fi
  if have "$made"; then echo "$made"; return; fi
  if timeout 60 docker pull -q "$want" >/dev/null 2>&1; then echo "$want"; return; fi
  [ -z "${BASE_IMAGE:-}" ] || die "the image $BASE_IMAGE is neither here nor can it be pulled"
  say "$want cannot be pulled: making a Debian base image with debootstrap (half a minute)"
  local dir; dir=$(mktemp -d)
  quietly as_root debootstrap --variant=minbase trixie "$dir/rootfs"
  as_root tar -C "$dir/rootfs" --exclude='./var/cache/apt/archives/*' --exclude='./var/lib/apt/lists/*' -c . |
    docker import --change 'CMD ["/bin/bash"]' - "$made" >/dev/null
  as_root rm -rf "$dir"
  echo "$made"
}

# build runs docker build and shows its output only when it fails.
build() {
  local image=$1; shift
  say "building $image"
  quietly env DOCKER_BUILDKIT=0 docker build -t "$image" "$@"
}

worker() {
  [ -x bin/cyclone-worker ] || die "bin/cyclone-worker is missing: run make build first"
  build "$worker_image" --build-arg BASE_IMAGE="$(base)" -f Dockerfile.worker .
}

# worker_base builds all of the worker's image but the program, while that is
# still being compiled. The full build finds it in the engine's cache.
worker_base() {
  build cyclone/worker-base:dev --target system --build-arg BASE_IMAGE="$(base)" -f Dockerfile.worker .
}

server() {
  [ -x bin/cyclone-server ] || die "bin/cyclone-server is missing: run make build first"
  build "$server_image" --build-arg BASE_IMAGE="$(base)" -f Dockerfile.server .
}

busybox() {
  have cyclone/busybox:demo || build cyclone/busybox:demo --build-arg BASE_IMAGE="$(base)" -f scripts/base/Dockerfile.busybox scripts/base
}

# golang is rebuilt when the Go version or the example's modules change.
golang() {
  local image; image=cyclone/golang:$( (go env GOVERSION; cat docs/examples/shop/go.mod docs/examples/shop/go.sum scripts/base/Dockerfile.golang) | sha256sum | cut -c1-12)
  if ! have "$image"; then
    busybox
    local dir; dir=$(mktemp -d)
    say "fetching the example's modules"
    (cd docs/examples/shop && quietly env GOFLAGS=-modcacherw GOWORK=off GOMODCACHE="$dir/mod" go mod download)
    mkdir "$dir/go" "$dir/warm"
    cp docs/examples/shop/*.go docs/examples/shop/go.mod docs/examples/shop/go.sum "$dir/warm"
    tar -C "$(go env GOROOT)" --exclude=./test --exclude=./api --exclude=./doc --exclude=./pkg/obj -c . | tar -C "$dir/go" -x
    build "$image" --build-arg BUSYBOX_IMAGE=cyclone/busybox:demo -f scripts/base/Dockerfile.golang "$dir"
    rm -rf "$dir"
  fi
  docker tag "$image" cyclone/golang:demo
}

postgres() {
  have cyclone/postgres:demo || build cyclone/postgres:demo --build-arg BASE_IMAGE="$(base)" -f scripts/base/Dockerfile.postgres scripts/base
}

case "${1:-all}" in
  all) worker; server ;;
  worker | worker_base | server | busybox | golang | postgres) "$1" ;;
  example) busybox; golang; postgres ;;
  *) die "usage: scripts/images.sh [all|worker|server|example]" ;;
esac
