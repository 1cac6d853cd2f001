#!/bin/sh
# Prints the path of the test-only Kubernetes API server, building it first
# when this version of it is not in the user's cache yet (6 to 15 minutes of
# two processors the first time; at once afterwards).
#
#   scripts/kubeapi.sh            build if needed, print the path
#   scripts/kubeapi.sh --cached   print the path, or exit 1 when it is not built
set -eu

cd "$(dirname "$0")/kubeapi"
version=$(sed -n 's#^[[:space:]]*k8s.io/kubernetes \(v[0-9.]*\)$#\1#p' go.mod)
hash=$({ cat go.mod go.sum ./*.go ../kubeapi.sh; go env GOVERSION GOARCH; } | sha256sum | cut -c1-12)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/cyclone
binary=$cache/kubeapi-$version-$hash

if [ -x "$binary" ]; then
	echo "$binary"
	exit 0
fi
if [ "${1:-}" = --cached ]; then
	exit 1
fi

say() { echo "kubeapi: $*" >&2; }

# One build at a time; whoever waited finds the binary there.
mkdir -p "$cache"
exec 9>"$cache/kubeapi.lock"
if ! flock -n 9; then
	say "another build is under way, waiting for it"
	flock 9
fi
if [ -x "$binary" ]; then
	echo "$binary"
	exit 0
fi

# Without these the API server calls itself v0.0.0.
major=${version#v}; major=${major%%.*}
minor=${version#v*.}; minor=${minor%%.*}
stamp() { printf ' -X k8s.io/component-base/version.%s=%s' "$1" "$2"; }
flags="-s -w$(stamp gitVersion "$version")$(stamp gitMajor "$major")$(stamp gitMinor "$minor")$(stamp gitTreeState clean)"

say "building the Kubernetes $version API server for tests, once; this takes a while"
new=$binary.new.$$
list=$cache/kubeapi.packages.$$
trap 'rm -f "$new" "$list"' EXIT
total=$(go list -deps . | wc -l)

# -v names each package as it is compiled: count them instead of showing them.
# Lines that are no package are errors and are shown.
begun=$(date +%s)
{ CGO_ENABLED=0 go build -v -trimpath -ldflags "$flags" -o "$new" . 9>&- 2>&1 || echo "failed" >"$list"; } |
	awk -v total="$total" -v begun="$begun" '
		/^[a-zA-Z0-9_.\/~-]+$/ { if (++n % 100 == 0) { printf "kubeapi: %d packages compiled (of at most %d)\n", n, total; fflush() } next }
		{ print; fflush() }' >&2
if [ -s "$list" ]; then
	say "the build failed"
	exit 1
fi
mv "$new" "$binary"
say "built in $(($(date +%s) - begun)) s: $binary"
echo "$binary"
