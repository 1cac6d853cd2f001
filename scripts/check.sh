#!/usr/bin/env bash
# Formatting, vet and linters, with the linters' version pinned in scripts/tools.
source "$(dirname "$0")/lib.sh"
cd "$root"

linter=$cache/golangci-lint-$(sha256sum scripts/tools/go.sum | cut -c1-12)-$(go env GOVERSION)
if [ ! -x "$linter" ]; then
  say "building the linters (once, a few minutes)"
  (cd scripts/tools && CGO_ENABLED=0 GOFLAGS=-trimpath go build -o "$linter.new" github.com/golangci/golangci-lint/v2/cmd/golangci-lint)
  mv "$linter.new" "$linter"
fi
"$linter" run ./...
for script in scripts/*.sh .ci/run; do bash -n "$script"; done
