# `make` lists the targets. Everything they need is installed by scripts/setup.sh.
.DEFAULT_GOAL := help
SHELL := /bin/bash

version := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
commit  := $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
ldflags := -s -w -X main.version=$(version) -X main.commit=$(commit)
# One cache of compiled packages serves build, demo and e2e.
export CGO_ENABLED ?= 0
export GOFLAGS += -trimpath

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## compile cyclone-server, cyclone-worker and cyclone into bin/
	@mkdir -p bin
	go build -ldflags '$(ldflags)' -o bin/ ./cmd/...

.PHONY: test
test: setup check unit fuzz e2e ## everything a change must pass: checks, race tests, e2e

.PHONY: check
check: ## formatting, vet and linters
	@scripts/check.sh

# SQLite as Go, translated from C, is not ours to watch for races, and being
# watched makes it three times as slow. Programs for tests need no symbols.
raceflags := -ldflags='-s -w' -gcflags=modernc.org/sqlite/lib=-race=false

.PHONY: unit
unit: ## tests of the packages, with the race detector
	@CYCLONE_TEST_MONGO_STANDIN=$$(scripts/mongo-standin.sh) CGO_ENABLED=1 go test -race -timeout 5m $(raceflags) ./...

.PHONY: fuzz
fuzz: ## what reads foreign bytes, with inputs that nobody thought of (FUZZTIME=)
	@scripts/fuzz.sh

.PHONY: e2e
e2e: setup ## the whole system on real parts: Docker, registry, git, SMTP, Kubernetes API
	@scripts/e2e.sh

.PHONY: chaos
chaos: setup ## 200 events while everything is killed, cut and filled (SEED=, EVENTS=); 20 minutes
	@scripts/chaos.sh

.PHONY: demo
demo: ## the main job, live: from a push to the mail and the rollout
	@scripts/demo.sh

.PHONY: run
run: ## the server alone, with the embedded store and a local registry
	@scripts/run.sh

.PHONY: bench
bench: setup ## speed, as ratios against plain commands
	@scripts/bench.sh

.PHONY: images
images: setup build ## container images of the server and the worker
	@scripts/images.sh

.PHONY: setup
setup:
	@scripts/setup.sh

.PHONY: clean
clean: ## remove what was built here (caches outside of this folder stay)
	rm -rf bin data .demo
