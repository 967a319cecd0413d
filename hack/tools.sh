#!/usr/bin/env bash
# Installs the programs that this project's checks and builds need beside Go:
# Chromium for reading the HTML report as a person would, shellcheck, and
# debootstrap for building node images from source.
set -euo pipefail

missing=()
command -v shellcheck >/dev/null || missing+=(shellcheck)
PATH=$PATH:/usr/sbin command -v debootstrap >/dev/null || missing+=(debootstrap)
command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || missing+=(chromium)
[ ${#missing[@]} -eq 0 ] && exit 0

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
