#!/usr/bin/env bash
# Installs the programs that the project needs beside Go: shellcheck, yamllint and
# groovy for `make verify`, debootstrap and a C compiler for building node images, and
# Chromium for reading the HTML report as a person would. With the argument
# "images" only what building node images needs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

what=${1:-all}
missing=()
[ "$what" = images ] || command -v shellcheck >/dev/null || missing+=(shellcheck)
[ "$what" = images ] || command -v yamllint >/dev/null || missing+=(yamllint)
[ "$what" = images ] || command -v groovy >/dev/null || missing+=(groovy default-jre-headless)
command -v debootstrap >/dev/null || [ -x /usr/sbin/debootstrap ] || missing+=(debootstrap)
command -v gcc >/dev/null || missing+=(gcc libc6-dev)

if [ ${#missing[@]} -gt 0 ]; then
  if ! command -v apt-get >/dev/null; then
    echo "tools: install ${missing[*]} with this system's package manager; only apt-get is known here" >&2
    exit 1
  fi
  sudo=()
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || { echo "tools: run as root, or install sudo, to install: ${missing[*]}" >&2; exit 1; }
    sudo=(sudo)
  fi
  export DEBIAN_FRONTEND=noninteractive
  "${sudo[@]}" apt-get update -qq
  "${sudo[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

[ "$what" = images ] || exec hack/chromium.sh
