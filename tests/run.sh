#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Sets up a Debian 12 machine and runs every test.
#
#   tests/run.sh                 all of it
#   tests/run.sh dev asan        only these stages
#
# Stages: dev, interop, tidy (clang-tidy), asan, tsan, fuzz.
# In CI (CI=true): dev and interop, which fit into its time.
# FEDTUNE_FUZZ_SECONDS is the time for each fuzz target (60).

set -euo pipefail
cd "$(dirname "$0")/.."

jobs=$(nproc)
failed=()
summary=()

say() { printf '\n== %s\n' "$*"; }

# Builds one preset and runs its tests; the arguments after it go to ctest.
build_and_test() {
  local preset=$1
  shift
  cmake --preset "$preset" >/dev/null
  cmake --build --preset "$preset" -j "$jobs"
  ctest --preset "$preset" -j "$jobs" --output-on-failure --progress "$@"
}

stage_dev() { build_and_test dev -LE slow; }
stage_tidy() { build_and_test dev -L slow; }
stage_asan() { build_and_test asan; }
stage_tsan() { build_and_test tsan; }
stage_interop() { tests/interop/run.sh; }

stage_fuzz() {
  cmake --preset fuzz -DFEDTUNE_FUZZ_SECONDS="${FEDTUNE_FUZZ_SECONDS:-60}" >/dev/null
  cmake --build --preset fuzz -j "$jobs"
  ctest --preset fuzz -j "$jobs" -R '^fuzz\.' --output-on-failure --no-tests=error
}

run_stage() {
  local stage=$1 start=$SECONDS
  say "$stage"
  # A process of its own: `set -e` does not hold inside a condition.
  if "$BASH" "$PWD/tests/run.sh" --inside "$stage"; then
    summary+=("$(printf '%-8s passed  %4d s' "$stage" $((SECONDS - start)))")
  else
    summary+=("$(printf '%-8s FAILED  %4d s' "$stage" $((SECONDS - start)))")
    failed+=("$stage")
  fi
}

main() {
  if [ "${1:-}" = --inside ]; then
    "stage_$2"
    return
  fi
  local stages=("$@")
  if [ ${#stages[@]} -eq 0 ]; then
    stages=(dev interop tidy asan tsan fuzz)
    [ "${CI:-}" != true ] || stages=(dev interop)
  fi
  local stage
  for stage in "${stages[@]}"; do
    declare -F "stage_$stage" >/dev/null || { echo "no stage $stage; see the head of this file" >&2; exit 2; }
  done
  deploy/bootstrap.sh --tests
  for stage in "${stages[@]}"; do run_stage "$stage"; done
  say summary
  printf '%s\n' "${summary[@]}"
  echo "$((${#stages[@]} - ${#failed[@]})) passed, ${#failed[@]} failed"
  [ ${#failed[@]} = 0 ]
}

main "$@"
