#!/usr/bin/env bash
# Runs every native fuzz test of the repository for FUZZTIME (default 1m), as many
# side by side as FUZZJOBS says (default 2, at most the number of CPUs). A failing
# input is left in testdata/fuzz of its package: commit it with the fix.
set -euo pipefail
cd "$(dirname "$0")/.."
FUZZTIME=${FUZZTIME:-1m}
cpus=$(getconf _NPROCESSORS_ONLN)
jobs=${FUZZJOBS:-2}
[ "$jobs" -le "$cpus" ] || jobs=$cpus
workers=$((cpus / jobs))
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT

# inputs lists the failing inputs that are known of a test.
inputs() { find "$1/testdata/fuzz/$2" -type f 2>/dev/null | sort || true; }

# timesUp tells Go's own time limit from a finding. At the end of -fuzztime the
# coordinator may see its deadline before its workers' and take that for their
# failure (golang/go#75804, mended in Go 1.27). The test has then run for all of
# its time and found nothing: all that is said of it is this one line, and there
# is no new input. Whatever else is said is a finding.
timesUp() {
  awk -v name="$2" '
    $1 == "---" && $2 == "FAIL:" {
      fails++
      if ($3 != name || (getline) <= 0 || $0 != "    context deadline exceeded" || (getline) <= 0 || $0 != "FAIL") other++
    }
    /Failing input|panic:|seed corpus|hung or terminated/ { other++ }
    END { exit !(fails == 1 && other == 0) }' "$1"
}

# fuzz runs one test and tells what came of it.
fuzz() {
  local dir=$1 name=$2 log=$logs/$2 known
  known=$(inputs "$dir" "$name")
  if go test "$dir" -run '^$' -fuzz "^$name\$" -fuzztime "$FUZZTIME" -parallel "$workers" >"$log" 2>&1; then
    echo "== $dir $name: nothing found in $FUZZTIME; $(grep '^fuzz: elapsed' "$log" | tail -1)"
    return 0
  fi
  if [ "$known" = "$(inputs "$dir" "$name")" ] && timesUp "$log" "$name"; then
    echo "== $dir $name: nothing found in $FUZZTIME, and ended by Go's own limit (golang/go#75804); $(grep '^fuzz: elapsed' "$log" | tail -1)"
    return 0
  fi
  echo "== $dir $name: FAILED"
  grep -v '^fuzz: elapsed' "$log"
  return 1
}

found=0
running=0
failed=0
while IFS=: read -r file name; do
  if [ "$running" -eq "$jobs" ]; then
    wait -n || failed=1
    running=$((running - 1))
  fi
  fuzz "./$(dirname "$file")" "$name" </dev/null &
  found=$((found + 1))
  running=$((running + 1))
done < <(grep -rHoE --include='*_test.go' '^func Fuzz[A-Za-z0-9_]+' . | sed -E 's#^\./##; s#func ##' | sort)
while [ "$running" -gt 0 ]; do
  wait -n || failed=1
  running=$((running - 1))
done
[ "$found" -gt 0 ] || { echo "fuzz: no fuzz test was found" >&2; exit 1; }
exit "$failed"
