#!/usr/bin/env bash
# Measures every target of docs/measurement.md beside its reference and writes
# docs/benchmarks.md. Takes about an hour on two cores; nothing else should run.
# QUICK=1 runs fewer rounds, into the file named by OUT.
set -euo pipefail
cd "$(dirname "$0")/.."

missing=()
command -v wrk >/dev/null || missing+=(wrk)
command -v ab >/dev/null || missing+=(apache2-utils)
if [ ${#missing[@]} -gt 0 ]; then
  echo "bench: the references are missing; install them with: apt-get install ${missing[*]}" >&2
  exit 1
fi
args=()
[ -z "${QUICK:-}" ] || args+=(-quick -rounds 3)
exec go run ./test/bench "${args[@]}" -out "${OUT:-docs/benchmarks.md}"
