#!/usr/bin/env bash
# Measures every target of the measurement beside its reference and writes
# docs/benchmarks.md, a section for each target. Nothing else should run on the
# machine meanwhile: targets 1 to 7 take about 17 minutes on two cores, target 8
# about 40 minutes of processor time, target 9 about 3 minutes.
#
#   TARGETS=1,2   measures these alone; the sections of the others stay
#   QUICK=1       shortened, to standard output: to try the benchmark itself
#   ROUNDS=7      alternating rounds
#   OUT=FILE      instead of docs/benchmarks.md
set -euo pipefail
cd "$(dirname "$0")/.."

missing=()
command -v wrk >/dev/null || missing+=(wrk)
command -v ab >/dev/null || missing+=(apache2-utils)
if [ ${#missing[@]} -gt 0 ]; then
  echo "bench: the references are missing; install them with: apt-get install ${missing[*]}" >&2
  exit 1
fi
args=(-targets "${TARGETS:-}")
if [ -n "${QUICK:-}" ]; then
  args+=(-quick -rounds "${ROUNDS:-3}")
else
  args+=(-rounds "${ROUNDS:-7}")
  OUT=${OUT:-docs/benchmarks.md}
fi
exec go run ./test/bench "${args[@]}" -out "${OUT:-}"
