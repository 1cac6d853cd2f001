#!/usr/bin/env bash
# Builds the server that the tests of pkg/store/mongo use where no MongoDB can
# be had, unless this version of it is in the cache already, and prints its path.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"

module=$root/pkg/store/mongo/internal/standin
key=$(cd "$module" && cat main.go proxy.go go.mod go.sum | sha256sum | cut -c1-16)
binary=$cache/mongo-standin-$key

if [ ! -x "$binary" ]; then
  say "building the MongoDB stand-in for the tests (once; about 2 minutes)"
  part=$(mktemp "$cache/mongo-standin.XXXXXX")
  (cd "$module" && CGO_ENABLED=0 GOFLAGS='' GOWORK=off quietly go build -trimpath -ldflags '-s -w' -o "$part" .)
  chmod +x "$part"
  mv "$part" "$binary" # at once, so that nobody runs a half-written file
fi
echo "$binary"
