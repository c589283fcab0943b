#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Sets up a Debian 12 machine and runs every test.
#
#   tests/run.sh                 all of it
#   tests/run.sh dev asan        only these stages
#
# Stages:
#   dev      the build for daily work and its tests
#   interop  against Hugging Face's libraries
#   asan     all tests with the address and undefined-behaviour sanitizers
#   fuzz     every fuzz target for FEDTUNE_FUZZ_SECONDS (60; in CI 40) from FEDTUNE_FUZZ_SEED
#            (1; 0 draws another each time), same sanitizers
#   tsan     the tests that start threads, with the thread sanitizer
#   cuda     the client for GPUs compiles and links, where nvcc is found
#   tidy     clang-tidy
#   soak     random faults for FEDTUNE_SOAK_MINUTES (30); only when it is named
# In CI (CI=true): all but tidy and, under asan, the end-to-end tests, which dev runs,
# which took 74 to 86 minutes on two cores with an empty compilers' cache.

set -euo pipefail
cd "$(dirname "$0")/.."

jobs=$(nproc)
failed=()
summary=()

say() { printf '\n== %s\n' "$*"; }

# Builds a preset; the arguments after it go to the build.
build() {
  cmake --preset "$1" >/dev/null
  cmake --build --preset "$1" -j "$jobs" "${@:2}"
}

# The preset whose folder a stage works in.
preset_of() {
  case $1 in
    dev | soak | interop | tidy) echo dev ;;
    fuzz) echo asan ;;
    *) echo "$1" ;;
  esac
}

# Builds what a stage needs.
build_for() {
  case $1 in
    fuzz) build asan --target fuzz_targets ;;
    cuda) ! command -v nvcc >/dev/null || build cuda --target fedtune-client cuda_build_test ;;
    *) build "$(preset_of "$1")" ;;
  esac
}

# From here to this stage's end, what later ones need is built in the time that tests
# leave: those wait often, and at idle priority the compilers give way to them at once.
# A stage whose build is not done by then goes on with it, and says so if it fails.
build_ahead() {
  local stage elsewhere=()
  for stage in "${later_stages[@]}"; do
    [ "$(preset_of "$stage")" = "$(preset_of "$stage_name")" ] || elsewhere+=("$stage")
  done
  [ ${#elsewhere[@]} -gt 0 ] || return 0
  set -m  # A process group, to end it as a whole.
  chrt --idle 0 "$BASH" "$PWD/tests/run.sh" --build "${elsewhere[@]}" \
    </dev/null >"build/results/$stage_name.ahead.log" 2>&1 &
  set +m
  ahead=$!
  trap end_ahead EXIT
}

# Ninja outlives its shell for as long as it takes to remove what is half built, of which the
# next stage's may have made some anew by then.
end_ahead() {
  local tries
  kill -- "-$ahead" 2>/dev/null || return 0
  for ((tries = 0; tries < 300; ++tries)); do
    kill -0 -- "-$ahead" 2>/dev/null || return 0
    sleep 0.1
  done
}

# Runs a preset's tests; the arguments after it go to ctest. Two more tests at a time
# than there are cores, as many of them wait most of the time.
run_tests() {
  run_ctest "$1" -j $((jobs + 2)) --output-on-failure --progress "${@:2}"
}

# Keeps the results for the summary, which says again what failed.
run_ctest() {
  local preset=$1
  shift
  ctest --preset "$preset" --output-junit "$PWD/build/results/$stage_name.xml" \
    --test-output-truncation middle "$@"
}

stage_dev() {
  build_for dev
  build_ahead
  run_tests dev -LE slow
}
stage_soak() {
  build_for soak
  tests/soak/soak.py build/dev/bin
}
stage_interop() {
  build_ahead
  tests/interop/run.sh
}
stage_asan() {
  local others='^fuzz\.'
  [ "${CI:-}" != true ] || others='^(fuzz|end_to_end)\.'
  build_for asan
  build_ahead
  run_tests asan -E "$others"
}
stage_tsan() {
  build_for tsan
  build_ahead
  run_tests tsan
}
stage_tidy() {
  build_for tidy
  run_tests dev -L slow
}

# The preset of asan holds the fuzz targets. Seven at a time on each core, so that
# two cores need three times as long for 42 of them as for one; the slowest, of keys
# and certificates, still tries thousands of inputs in a minute.
stage_fuzz() {
  local seconds=60
  [ "${CI:-}" != true ] || seconds=40
  cmake --preset asan -DFEDTUNE_FUZZ_SECONDS="${FEDTUNE_FUZZ_SECONDS:-$seconds}" \
    -DFEDTUNE_FUZZ_SEED="${FEDTUNE_FUZZ_SEED:-1}" >/dev/null
  build_for fuzz
  build_ahead
  run_ctest asan -j $((7 * jobs)) -R '^fuzz\.' --output-on-failure --no-tests=error
}

# Compiles and links the client for GPUs; starts it where deploy/bootstrap.sh --gpu has been run.
stage_cuda() {
  command -v nvcc >/dev/null || { echo "cuda: skipped, there is no nvcc here"; return; }
  build_for cuda
  readelf -d build/cuda/bin/fedtune-client | grep 'NEEDED.*libtorch_cuda\.so'
  if ldd build/cuda/bin/fedtune-client | grep 'not found'; then
    echo "cuda: linked, but not started without these libraries (deploy/bootstrap.sh --gpu)"
    return
  fi
  run_ctest cuda -R '^(CudaBuildTest\.|cuda_start$)' --output-on-failure --no-tests=error
}

# run_stage STAGE LATER...
run_stage() {
  local stage=$1 start=$SECONDS
  say "$stage"
  # A process of its own: `set -e` does not hold inside a condition.
  if "$BASH" "$PWD/tests/run.sh" --inside "$@" 2>&1 | tee "build/results/$stage.log"; then
    summary+=("$(printf '%-8s passed  %4d s' "$stage" $((SECONDS - start)))")
  else
    summary+=("$(printf '%-8s FAILED  %4d s' "$stage" $((SECONDS - start)))")
    failed+=("$stage")
  fi
}

main() {
  if [ "${1:-}" = --inside ]; then
    stage_name=$2 later_stages=("${@:3}")
    "stage_$2"
    return
  fi
  if [ "${1:-}" = --build ]; then
    for stage in "${@:2}"; do build_for "$stage"; done
    return
  fi
  local stages=("$@")
  if [ ${#stages[@]} -eq 0 ]; then
    stages=(dev interop asan fuzz tsan cuda)
    [ "${CI:-}" = true ] || stages+=(tidy)
  fi
  local stage
  for stage in "${stages[@]}"; do
    declare -F "stage_$stage" >/dev/null || { echo "no stage $stage; see the head of this file" >&2; exit 2; }
  done
  deploy/bootstrap.sh --tests
  rm -rf build/results && mkdir -p build/results
  local i
  for i in "${!stages[@]}"; do run_stage "${stages[@]:i}"; done
  say summary
  tests/support/failed_tests.py build/results "${failed[@]}"
  printf '%s\n' "${summary[@]}"
  echo "$((${#stages[@]} - ${#failed[@]})) passed, ${#failed[@]} failed"
  [ ${#failed[@]} = 0 ]
}

main "$@"
