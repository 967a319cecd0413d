#!/usr/bin/env bash
# Runs every native fuzz test of the repository, each for FUZZTIME (default 1m).
# Go fuzzes one test at a time. A failing input is left in testdata/fuzz of its
# package: commit it with the fix.
set -euo pipefail
cd "$(dirname "$0")/.."
FUZZTIME=${FUZZTIME:-1m}

# fuzz runs one test. On a slow machine Go may report its own time limit as a
# failure ("context deadline exceeded", golang/go#48591) without any failing
# input: that is tried again, everything else is not.
fuzz() {
  local log try
  log=$(mktemp)
  for try in 1 2 3; do
    if go test "$1" -run '^$' -fuzz "^$2\$" -fuzztime "$FUZZTIME" 2>&1 | tee "$log"; then
      rm -f "$log"
      return 0
    fi
    if ! grep -q 'context deadline exceeded' "$log" || grep -q 'Failing input written' "$log"; then
      break
    fi
    echo "fuzz: $2 ran into Go's own time limit (try $try)" >&2
  done
  rm -f "$log"
  return 1
}

found=0
while IFS=: read -r file name; do
  found=$((found + 1))
  printf '== %s %s for %s\n' "$(dirname "$file")" "$name" "$FUZZTIME"
  fuzz "./$(dirname "$file")" "$name"
done < <(grep -rHoE --include='*_test.go' '^func Fuzz[A-Za-z0-9_]+' . | sed -E 's#^\./##; s#func ##' | sort)
[ "$found" -gt 0 ] || { echo "fuzz: no fuzz test was found" >&2; exit 1; }
