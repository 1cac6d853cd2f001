#!/usr/bin/env bash
# Fuzzes every fuzz target of the packages for a while each, two at a time: 30 s
# for what reads a repository's files and what its steps make, 5 s for the rest.
# What a target finds is written to its package's testdata/fuzz: mend the
# cause and commit the file, which from then on is one of the unit tests.
#   scripts/fuzz.sh                 all targets
#   FUZZTIME=10m scripts/fuzz.sh    all of them for longer
#   scripts/fuzz.sh pkg/manifest    those of some packages
source "$(dirname "$0")/lib.sh"
cd "$root"
[ $# != 0 ] || set -- pkg cmd
mapfile -t targets < <(grep -rHoE '^func Fuzz[A-Za-z0-9_]*\(f ' --include='*_test.go' "$@" |
  sed -E 's|^(.*)/[^/]*:func (Fuzz[A-Za-z0-9_]*)\(f $|\1 \2|' | sort -u)
[ ${#targets[@]} != 0 ] || die "there are no fuzz targets in $*"

# One process each, two at a time. Little is spent on making inputs smaller: it would take most of the time.
one() {
  local dir=$1 name=$2 time=${FUZZTIME:-5s} log
  case "$dir/$name" in pkg/manifest/FuzzParse | pkg/manifest/FuzzExpand | pkg/worker/*) time=${FUZZTIME:-30s} ;; esac
  log=$(mktemp)
  if go test -run '^$' -fuzz "^$name\$" -fuzztime "$time" -fuzzminimizetime 10x -parallel 1 "./$dir" >"$log" 2>&1; then
    printf '  %-28s %-20s %s\n' "$dir" "$name" "$(grep -oE 'execs: [0-9]+ .*' "$log" | tail -1)"
    rm -f "$log"
    return
  fi
  printf '  %-28s %-20s FAILED\n' "$dir" "$name"
  cat "$log" >&2
  rm -f "$log"
  return 1
}

say "fuzzing ${#targets[@]} targets"
failed=0
for ((i = 0; i < ${#targets[@]}; i += 2)); do
  one ${targets[i]} & first=$!
  if [ $((i + 1)) -lt ${#targets[@]} ]; then one ${targets[i + 1]} || failed=1; fi
  wait "$first" || failed=1
done
[ $failed = 0 ] || die "a fuzz target failed; its input is in the package's testdata/fuzz"
