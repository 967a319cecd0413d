#!/usr/bin/env bash
# Runs every native fuzz test of the repository, each for FUZZTIME (default 1m).
# Go fuzzes one test at a time. A failing input is left in testdata/fuzz of its
# package: commit it with the fix.
set -euo pipefail
cd "$(dirname "$0")/.."
FUZZTIME=${FUZZTIME:-1m}

found=0
while IFS=: read -r file name; do
  found=$((found + 1))
  printf '== %s %s for %s\n' "$(dirname "$file")" "$name" "$FUZZTIME"
  go test "./$(dirname "$file")" -run '^$' -fuzz "^${name}\$" -fuzztime "$FUZZTIME"
done < <(grep -rHoE --include='*_test.go' '^func Fuzz[A-Za-z0-9_]+' . | sed -E 's#^\./##; s#func ##' | sort)
[ "$found" -gt 0 ] || { echo "fuzz: no fuzz test was found" >&2; exit 1; }
