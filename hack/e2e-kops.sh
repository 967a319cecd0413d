#!/usr/bin/env bash
# Runs the kops driver's tests with the real kops against a simulated AWS and a
# real API server. It builds kops and test/awssim, which takes half an hour the
# first time; both are kept in the cache of `rehearse images build`, from which
# Kubernetes and etcd come. No Docker, no AWS account and no root are needed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly kops_version=${KOPS_VERSION:-v1.35.0} kubernetes=v1.34.4
readonly cache=${REHEARSE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/rehearse}
readonly dir=$cache/kops-$kops_version

say() { printf 'e2e-kops: %s\n' "$*" >&2; }

# newest PATTERN: the newest file that matches, of those that were built.
newest() {
  local files
  # shellcheck disable=SC2206 # the pattern is meant to be expanded
  files=($1)
  [ -e "${files[0]}" ] || return 1
  # shellcheck disable=SC2012 # the names are our own
  ls -t "${files[@]}" | head -n 1
}

if ! kube=$(newest "$cache/kubernetes-$kubernetes-*/kube") || ! etcd=$(newest "$cache/etcd-*/etcd"); then
  say "no Kubernetes $kubernetes in $cache: building node images"
  make images
  kube=$(newest "$cache/kubernetes-$kubernetes-*/kube")
  etcd=$(newest "$cache/etcd-*/etcd")
fi

# As a throw-away module: kops cannot be installed by its path and version alone.
# The language version and the runtime's defaults must be those of its own module.
mkdir -p "$dir"
module=$(GOFLAGS=-mod=mod go mod download -json "k8s.io/kops@$kops_version")
gomod=$(sed -n 's/^\t"GoMod": "\(.*\)",$/\1/p' <<<"$module")
source=$(sed -n 's/^\t"Dir": "\(.*\)",$/\1/p' <<<"$module")
if [ ! -x "$dir/kops" ]; then
  say "building kops $kops_version (18 minutes of one processor)"
  scratch=$(mktemp -d)
  trap 'rm -rf "$scratch"' EXIT
  { echo "module kops"; grep -E '^(go|godebug) ' "$gomod"; echo "require k8s.io/kops $kops_version"; } >"$scratch/go.mod"
  (cd "$scratch" && GOWORK=off GOFLAGS='-mod=mod -buildvcs=false' CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o "$dir/kops.new" k8s.io/kops/cmd/kops)
  mv "$dir/kops.new" "$dir/kops"
fi
say "building test/awssim"
GOWORK=off CGO_ENABLED=0 go -C test/awssim build -trimpath -buildvcs=false -o "$dir/awssim" .

E2EKOPS_KOPS=$dir/kops E2EKOPS_AWSSIM=$dir/awssim E2EKOPS_KUBE=$kube E2EKOPS_ETCD=$etcd E2EKOPS_CHANNELS=$source/channels \
  go test -tags e2ekops -count=1 -timeout 60m -v "$@" ./test/e2ekops
