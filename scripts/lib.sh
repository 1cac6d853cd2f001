# Sourced by the scripts beside it: where things are, and how they speak.
# shellcheck shell=bash
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/cyclone
mkdir -p "$cache"

say() { printf '\033[36m==>\033[0m %s\n' "$*" >&2; }
die() { printf '\033[31merror:\033[0m %s\n' "$*" >&2; exit 1; }

# as_root runs a command as root, through sudo where that is needed.
as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else
    command -v sudo >/dev/null || die "this needs root: run it as root, or install sudo. The command was: $*"
    sudo "$@"
  fi
}

# quietly runs a command, and shows what it printed only when it fails.
quietly() {
  local log; log=$(mktemp)
  if ! "$@" >"$log" 2>&1; then
    tail -40 "$log" >&2; rm -f "$log"
    die "failed: $*"
  fi
  rm -f "$log"
}
