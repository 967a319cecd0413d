#!/usr/bin/env bash
# Makes sure that a Chromium is there for the tests that open a report as its
# reader does. Does nothing where one is found; installs Debian's or Ubuntu's
# package otherwise. Part of `make tools`.
set -euo pipefail

for name in chromium chromium-browser google-chrome google-chrome-stable; do
  if command -v "$name" >/dev/null && "$name" --version >/dev/null 2>&1; then
    exit 0
  fi
done

if ! command -v apt-get >/dev/null; then
  echo "chromium.sh: no Chromium was found and this machine has no apt-get: install Chromium and put it on the PATH" >&2
  exit 1
fi

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  if ! command -v sudo >/dev/null; then
    echo "chromium.sh: no Chromium was found; installing it needs root: run apt-get install chromium as root" >&2
    exit 1
  fi
  as_root=(sudo)
fi

# The lists of a fresh machine are empty, those of an old one name packages that are gone.
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core
chromium --version
