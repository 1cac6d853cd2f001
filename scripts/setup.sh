#!/usr/bin/env bash
# Installs and starts what building, testing and the demo need on a Debian
# machine with Go: packages, and a running Docker engine. It changes nothing
# that is there already and says what it did.
#   scripts/setup.sh            everything
#   scripts/setup.sh docker     only a running engine (and what it needs)
source "$(dirname "$0")/lib.sh"

# package -> a file that proves it is installed
declare -A proof=(
  [busybox-static]=/bin/busybox
  [ca-certificates]=/etc/ssl/certs/ca-certificates.crt
  [curl]=/usr/bin/curl
  [debootstrap]=/usr/sbin/debootstrap
  [docker.io]=/usr/bin/dockerd
  [docker-registry]=/usr/bin/docker-registry
  [gcc]=/usr/bin/gcc
  [git]=/usr/bin/git
  [git-lfs]=/usr/bin/git-lfs
  [iproute2]=/bin/ip
  [iptables]=/usr/sbin/iptables
  [make]=/usr/bin/make
  [openssh-client]=/usr/bin/ssh
  [openssh-server]=/usr/sbin/sshd
  [openssl]=/usr/bin/openssl
  [subversion]=/usr/bin/svn
)

install_packages() {
  local missing=() p
  for p in "$@"; do
    case "$p" in docker.io) command -v dockerd >/dev/null && continue ;; esac
    [ -e "${proof[$p]}" ] || missing+=("$p")
  done
  [ ${#missing[@]} = 0 ] && return
  command -v apt-get >/dev/null || die "please install: ${missing[*]} (apt-get is not here to do it)"
  say "installing ${missing[*]}"
  quietly as_root apt-get update -q
  # A package that starts a service of its own must not do so here: the
  # registry and the engine are started by whoever needs them.
  printf '#!/bin/sh\nexit 101\n' >"$cache/policy-rc.d" && chmod +x "$cache/policy-rc.d"
  local policy=/usr/sbin/policy-rc.d placed=
  [ -e $policy ] || { as_root cp "$cache/policy-rc.d" $policy; placed=1; }
  quietly as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}"
  # From Debian 13 on the engine's client is a package of its own.
  command -v docker >/dev/null || quietly as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends docker-cli
  [ -z "$placed" ] || as_root rm -f $policy
}

# forget removes the file in which a program that was killed left its process
# id, if that id is nobody's by now, or somebody else's, or that of a zombie: the
# program would take it for itself and not start.
forget() {
  local file=$1 program=$2
  [ -f "$file" ] || return 0
  # A zombie has a name still, but no program.
  [ "$(basename "$(as_root readlink "/proc/$(cat "$file")/exe" 2>/dev/null || true)")" = "$program" ] || as_root rm -f "$file"
}

start_engine() {
  docker version >/dev/null 2>&1 && return
  if [ -d /run/systemd/system ]; then
    say "starting the Docker engine (systemd)"
    as_root systemctl start docker
  else
    say "starting the Docker engine (its log: $cache/dockerd.log)"
    forget /var/run/docker.pid dockerd
    forget /var/run/docker/containerd/containerd.pid containerd
    as_root sh -c "mkdir -p '$cache' && setsid dockerd >'$cache/dockerd.log' 2>&1 </dev/null &"
  fi
  local i
  for i in $(seq 1 120); do
    docker version >/dev/null 2>&1 && { say "the Docker engine answers"; return; }
    sleep 0.25
  done
  [ -f "$cache/dockerd.log" ] && tail -20 "$cache/dockerd.log" >&2
  die "the Docker engine did not answer within 30 s; if it runs, is $(id -un) in the group docker?"
}

command -v go >/dev/null || die "Go is needed (1.26 or newer): install it and put it on the PATH"
case "${1:-all}" in
  docker) install_packages docker.io iptables ca-certificates ;;
  all) install_packages "${!proof[@]}" ;;
  *) die "usage: scripts/setup.sh [all|docker]" ;;
esac
start_engine
