#!/usr/bin/env bash
# Runs the server alone, in the foreground, with the embedded store in ./data and
# a local registry on Docker's bridge. Settings given in the environment win.
source "$(dirname "$0")/lib.sh"
cd "$root"
scripts/setup.sh
say "building"
make -s build
docker image inspect "${CYCLONE_WORKER_IMAGE:-cyclone-worker:dev}" >/dev/null 2>&1 || scripts/images.sh worker

bridge=$(ip -4 -o addr show "$(docker network inspect bridge --format '{{index .Options "com.docker.network.bridge.name"}}')" | awk '{sub("/.*", "", $4); print $4; exit}')
if [ -z "${CYCLONE_REGISTRY:-}" ]; then
  port=${CYCLONE_RUN_REGISTRY_PORT:-5000}
  mkdir -p data/registry
  cat >data/registry.yml <<EOF
version: 0.1
log: {level: warn, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: "$root/data/registry"}, delete: {enabled: true}}
http: {addr: "$bridge:$port"}
EOF
  docker-registry serve data/registry.yml >data/registry.log 2>&1 &
  registry=$!
  trap 'kill $registry 2>/dev/null || true' EXIT
  export CYCLONE_REGISTRY=$bridge:$port
  export CYCLONE_INSECURE_REGISTRIES=${CYCLONE_INSECURE_REGISTRIES:+$CYCLONE_INSECURE_REGISTRIES,}$bridge:$port
  say "registry: $bridge:$port (images under data/registry)"
fi
[ -s data/admin-token ] || (umask 077 && mkdir -p data && head -c 24 /dev/urandom | base64 | tr '+/' '-_' >data/admin-token)
export CYCLONE_ADMIN_TOKEN=${CYCLONE_ADMIN_TOKEN:-$(cat data/admin-token)}
listen=${CYCLONE_LISTEN:-127.0.0.1:7099}
export CYCLONE_LISTEN=$listen
say "address: http://${listen/#:/127.0.0.1:}   token: $CYCLONE_ADMIN_TOKEN"
say "try:     CYCLONE_SERVER=http://${listen/#:/127.0.0.1:} CYCLONE_TOKEN=$CYCLONE_ADMIN_TOKEN bin/cyclone project list"
bin/cyclone-server "$@" &
server=$!
trap 'kill -TERM $server ${registry:-} 2>/dev/null || true; wait' EXIT INT TERM
wait $server
