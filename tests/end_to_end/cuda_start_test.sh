#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Starts a client that was built for GPUs: without one it says so and takes the
# CPU, or refuses where a GPU was asked for; with one it uses it.
#
#   tests/end_to_end/cuda_start_test.sh build/cuda/bin/fedtune-client

set -euo pipefail
client=$1
base=examples/base_model/icd-moe
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
head -n 8 examples/icd10/cardiology-hospital/train.jsonl >"$folder/records.jsonl"

# expect STATUS PATTERN COMMAND ...: its exit status, and what it says.
expect() {
  local status=$1 pattern=$2 got=0
  shift 2
  "$@" >"$folder/output" 2>&1 || got=$?
  if [ "$got" != "$status" ] || ! grep -E "$pattern" "$folder/output" >/dev/null; then
    echo "$* ended with $got, not $status, or did not say \"$pattern\":"
    cat "$folder/output"
    exit 1
  fi
}

evaluate_on() { "$client" evaluate --base "$base" --data "$folder/records.jsonl" --device "$1"; }

check_with() {
  "$client" check --coordinator localhost:1 --institution x --state-dir "$folder" \
    --base-model "$base" --dataset "x:$folder/records.jsonl" --device "$1"
}

expect 0 '^Usage:' "$client" --help
expect 0 '^device: cpu$' evaluate_on cpu
if [ -e /dev/nvidiactl ]; then
  expect 0 '^device: cuda:0, .*, self-test passed' evaluate_on auto
  expect 0 '^device: cuda:0, .*, self-test passed' evaluate_on cuda
else
  expect 0 '^device: cpu, no GPU: CUDA finds no GPU: ' evaluate_on auto
  expect 1 '^error: the device is "cuda", but CUDA finds no GPU: ' evaluate_on cuda
  # There is no certificate here, so that a check fails in any case.
  expect 1 '^ *device +ok +cpu, no GPU: .*; base model loaded$' check_with auto
  expect 1 '^ *device +failed +the device is "cuda:0", but CUDA finds no GPU: ' check_with cuda:0
fi
echo "starts, and chooses its device"
