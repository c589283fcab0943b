#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# A whole federation on this machine, from nothing to a pulled model: an
# authority, a coordinator and six hospital departments, each with its own
# ICD-10-CM chapters, fine-tune one small DeepSeek-V2-shaped model together.
# Ends with one table: base model, every department alone, the federation, and
# all data pooled, on a common held-out split.
#
#   deploy/demo.sh                  into ./demo
#   deploy/demo.sh --dir DIR        into DIR (must be empty, or an earlier demo)
#   deploy/demo.sh --seed N         another seed (1)
#   deploy/demo.sh --data DIR --plan FILE    another split of the same shape, another plan
#   deploy/demo.sh --only-federation         no department alone, no pooled run
#
# Ctrl-C stops everything that it started.

set -euo pipefail
source_root=$(cd "$(dirname "$0")/.." && pwd)
dir=$PWD/demo
seed=1
data=$source_root/examples/icd10
plan=$source_root/examples/icd10/plan.toml
pooled_plan=$source_root/examples/icd10/pooled.toml
only_federation=no
base=$source_root/examples/base_model/icd-moe
bin=$source_root/build/release/bin
jobs=$(nproc)
started=$SECONDS
pids=()

say() { printf '%s\n' "$*" >&2; }
step() { printf '\n[%3d s] %s\n' $((SECONDS - started)) "$*" >&2; }

die() {
  say "demo: $*"
  exit 1
}

parse_arguments() {
  while [ $# -gt 0 ]; do
    case "$1" in
      --dir) dir=$(realpath -m "${2:?--dir needs a folder}"); shift 2 ;;
      --seed) seed=${2:?--seed needs a number}; shift 2 ;;
      --data) data=$(realpath "${2:?--data needs a folder}"); shift 2 ;;
      --plan) plan=$(realpath "${2:?--plan needs a file}"); shift 2 ;;
      --only-federation) only_federation=yes; shift ;;
      -h | --help) sed -n '4,17s/^# \{0,1\}//p' "$0"; exit 0 ;;
      *) die "unknown argument $1; try --help" ;;
    esac
  done
}

# Runs last, however the script ends.
stop_everything() {
  local status=$?
  trap - EXIT INT TERM
  local waited=0 pid
  for pid in ${pids[@]+"${pids[@]}"}; do kill -TERM -- "-$pid" 2>/dev/null || true; done
  for pid in ${pids[@]+"${pids[@]}"}; do
    while kill -0 -- "-$pid" 2>/dev/null && [ $waited -lt 100 ]; do
      sleep 0.1
      waited=$((waited + 1))
    done
    kill -KILL -- "-$pid" 2>/dev/null || true
  done
  exit $status
}

# in_background COMMAND ...: in a process group of its own, so that all of it can be stopped.
in_background() {
  set -m
  "$@" &
  set +m
  pids+=($!)
}

# follow PID PATTERN: until the process ends, the last line of the log in $dir that was written
# last: in place on a terminal, every 20 seconds elsewhere.
follow() {
  local shown=$SECONDS log
  while kill -0 "$1" 2>/dev/null; do
    sleep 0.5
    [ -t 2 ] || [ $((SECONDS - shown)) -ge 20 ] || continue
    shown=$SECONDS
    log=$(find "$dir" -maxdepth 2 -name "$2" -printf '%T@ %p\n' | sort -n | tail -n 1 | cut -d ' ' -f 2-)
    [ -s "$log" ] || continue
    show "$(basename "$log" .log): $(tail -c 300 "$log" | tail -n 1 | cut -c1-90)"
  done
  [ ! -t 2 ] || show ''
}

# A line that the next one replaces on a terminal.
show() { if [ -t 2 ]; then printf '\r  %s\033[K' "$1" >&2; else say "  $1"; fi; }

compile() {
  cmake --build --preset release -j "$jobs" --target \
    fedtune fedtune-simulate fedtune-client fedtune-coordinator fedtune-ca >"$dir/build.log" 2>&1
}

build() {
  step "preparing this machine"
  "$source_root/deploy/bootstrap.sh"
  step "building (a few minutes the first time)"
  cd "$source_root"
  cmake --preset release >/dev/null
  in_background compile
  local builder=${pids[-1]}
  follow "$builder" build.log
  wait "$builder" || die "the build failed; see $dir/build.log"
  pids=()
}

prepare_folder() {
  if [ -e "$dir" ] && [ ! -e "$dir/.fedtune-demo" ] && [ -n "$(ls -A "$dir")" ]; then
    die "$dir is not empty and not an earlier demo; choose another with --dir"
  fi
  rm -rf "$dir"
  mkdir -p "$dir"
  touch "$dir/.fedtune-demo"
}

free_port() {
  python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# certificate FOLDER ROLE NAME: a key and request made in FOLDER, certified by the authority.
certificate() {
  "$bin/fedtune-ca" request --dir "$1" --role "$2" --name "$3" --federation demo >>"$dir/setup.log" 2>&1
  local hosts=()
  [ "$2" != coordinator ] || hosts=(--host localhost --host 127.0.0.1)
  "$bin/fedtune-ca" issue --dir "$dir/ca" --request "$1/request.pem" --role "$2" --name "$3" \
    ${hosts[@]+"${hosts[@]}"} --days 7 --out "$1/certificate.pem" >>"$dir/setup.log" 2>&1
  cp "$dir/ca/ca.crt" "$1/authority.pem"
}

departments() { (cd "$data" && find . -mindepth 2 -name train.jsonl -printf '%h\n' | cut -c3- | sort); }

write_coordinator() {
  mkdir -p "$dir/coordinator"
  certificate "$dir/coordinator/state/keys" coordinator demo
  cat >"$dir/coordinator/coordinator.toml" <<EOF
listen = "127.0.0.1:$port"
state_dir = "$dir/coordinator/state"
signing_roster = "$dir/coordinator/roster.json"
EOF
}

write_administrator() {
  certificate "$dir/administrator/keys" administrator ada
  cat >"$dir/administrator/fedtune.toml" <<EOF
coordinator = "127.0.0.1:$port"
models = ["$(dirname "$base")"]
EOF
  sed "s/^seed = .*/seed = $seed/" "$plan" >"$dir/administrator/plan.toml"
}

# write_client NAME
write_client() {
  local home=$dir/clients/$1
  certificate "$home/state/keys" client "$1"
  cat >"$home/policy.toml" <<EOF
base_models = ["$digest"]
targets = ["attention", "shared_experts", "dense_mlp"]
max_rank = 32
EOF
  cat >"$home/client.toml" <<EOF
coordinator = "127.0.0.1:$port"
institution = "$1"
state_dir = "$home/state"
base_models = ["$base"]
policy = "$home/policy.toml"

[[datasets]]
name = "icd10"
train = "$data/$1/train.jsonl"
eval = "$data/$1/eval.jsonl"

[device]
kind = "cpu"
threads = 1
EOF
}

start() {
  local log=$dir/logs/$1.log
  shift
  in_background "$@" >"$log" 2>&1
}

set_up_federation() {
  step "setting up the federation in $dir"
  mkdir -p "$dir/logs"
  port=$(free_port)
  digest=$("$bin/fedtune-client" base digest "$base")
  "$bin/fedtune-ca" init --federation demo --dir "$dir/ca" >>"$dir/setup.log"
  write_coordinator
  write_administrator
  local name
  for name in $(departments); do write_client "$name"; done
  "$bin/fedtune-ca" roster sign --dir "$dir/ca" --out "$dir/coordinator/roster.json" >>"$dir/setup.log" 2>&1
}

start_federation() {
  step "starting the coordinator and $(departments | wc -l) clients on port $port"
  start coordinator "$bin/fedtune-coordinator" serve --config "$dir/coordinator/coordinator.toml"
  local name
  for name in $(departments); do
    start "client-$name" "$bin/fedtune-client" serve --config "$dir/clients/$name/client.toml"
  done
  wait_for_clients
}

fedtune() { "$bin/fedtune" --config "$dir/administrator/fedtune.toml" "$@"; }

wait_for_clients() {
  local expected deadline=$((SECONDS + 60)) connected
  expected=$(departments | wc -l)
  until connected=$(fedtune client list --json 2>>"$dir/setup.log" | grep -c '"connected":true') &&
    [ "$connected" = "$expected" ]; do
    [ $SECONDS -lt $deadline ] || die "only ${connected:-0} of $expected clients came; see $dir/logs"
    sleep 0.2
  done
}

run_federation() {
  step "what the plan will cost"
  fedtune plan check "$dir/administrator/plan.toml" >&2
  step "the run"
  local begin=$SECONDS
  in_background fedtune run start "$dir/administrator/plan.toml" --watch >&2
  wait "${pids[-1]}"  # Unlike a command in front, it ends as soon as this script is told to.
  federated_seconds=$((SECONDS - begin))
  run=$(fedtune run list --json | head -n 1 | python3 -c 'import json, sys; print(json.load(sys.stdin)["run_id"])')
  fedtune run show "$run" --json >"$dir/run.json"
  step "pulling the model"
  fedtune model pull "$run" --format peft --out "$dir/model-peft" >&2
  fedtune model pull "$run" --format hf --base "$base" --out "$dir/model-hf" >&2
}

client_command() { "$bin/fedtune-client" "$@"; }

# evaluate NAME [ADAPTER]: on the common held-out split, into results/NAME.json.
evaluate() {
  local adapter=()
  [ $# -lt 2 ] || adapter=(--adapter "$2")
  client_command evaluate --base "$base" ${adapter[@]+"${adapter[@]}"} --data "$data/heldout.jsonl" \
    --threads 1 --json >"$dir/results/$1.json" 2>>"$dir/logs/evaluate.log"
}

# alone NAME: one department trains by itself, as many steps as the federation.
alone() {
  client_command train --base "$base" --plan "$dir/administrator/alone.toml" --threads 1 \
    --data "$data/$1/train.jsonl" --out "$dir/alone/$1" >>"$dir/logs/alone-$1.log" 2>&1
  evaluate "alone-$1" "$dir/alone/$1"
}

pooled() {
  client_command train --base "$base" --plan "$dir/administrator/pooled.toml" --threads 1 \
    --data "$dir/pooled.jsonl" --out "$dir/pooled" >>"$dir/logs/pooled.log" 2>&1
  evaluate pooled "$dir/pooled"
}

base_and_alone() {
  evaluate base
  local name
  for name in $(departments); do alone "$name"; done
}

# Two at a time, as there are cores.
compare() {
  step "for comparison: base model, pooled data, each department alone"
  mkdir -p "$dir/alone"
  cat "$data"/*/train.jsonl >"$dir/pooled.jsonl"
  sed "s/^seed = .*/seed = $seed/" "$pooled_plan" >"$dir/administrator/pooled.toml"
  sed "s/^seed = .*/seed = $seed/" "$source_root/examples/icd10/alone.toml" >"$dir/administrator/alone.toml"
  in_background pooled
  local first=${pids[-1]}
  in_background base_and_alone
  local second=${pids[-1]}
  follow "$first" pooled.log
  follow "$second" 'alone-*.log'
  wait "$first" || die "training on all data failed; see $dir/logs/pooled.log"
  wait "$second" || die "a department's own training failed; see $dir/logs"
}

report() {
  python3 "$source_root/deploy/demo/report.py" --dir "$dir" --seconds "$federated_seconds" \
    --departments "$(departments | paste -sd,)"
}

next_commands() {
  cat >&2 <<EOF

Everything is in $dir. Try next:
  "$bin/fedtune-coordinator" serve --config "$dir/coordinator/coordinator.toml" &
  fedtune() { "$bin/fedtune" --config "$dir/administrator/fedtune.toml" "\$@"; }    # while a coordinator runs
  fedtune run list
  fedtune run show $run
  "$bin/fedtune-client" evaluate --base "$base" --adapter "$dir/model-peft" --data "$data/heldout.jsonl"
A federation of three, by hand: $source_root/docs/TUTORIAL.md
EOF
}

main() {
  parse_arguments "$@"
  trap stop_everything EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
  prepare_folder
  build
  set_up_federation
  start_federation
  run_federation
  step "evaluating it"
  mkdir -p "$dir/results"
  evaluate federated "$dir/model-peft"
  [ $only_federation = yes ] || compare
  report
  next_commands
}

main "$@"
