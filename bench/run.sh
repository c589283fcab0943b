#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Runs one benchmark and prints a table.
#
#   bench/run.sh NAME                  builds what it needs (preset release), runs it
#   bench/run.sh NAME --quick          smaller cases, for a look
#   bench/run.sh NAME --json           one JSON object per line: bench, case, metric,
#                                      value, unit; goal and ok where there is a goal
#   bench/run.sh NAME --peers          other systems beside ours, on the same machine:
#                                      peer, peer_value and ratio (theirs over ours)
#   bench/run.sh NAME -- --help        what else this one can do
#   bench/run.sh --list                the benchmarks there are
#
# Examples:
#   bench/run.sh transport
#   bench/run.sh transport --quick --json > transport.jsonl
#   bench/run.sh transport -- --clients 4 --megabytes 10 --tensors 7
#
# Results go to stdout, everything else to stderr. A missed goal is shown and is
# not an error. Exit codes: 0 measured, 1 the benchmark failed, 2 wrong usage or
# no comparison with peers.
#
# A benchmark is a file bench/NAME.sh that prints the JSON lines. Its head names,
# each in a comment line: "Bench:" what it measures in one sentence, "Targets:"
# what is to be built, and "Peers:" the systems it can compare with, if any. It is
# run with $BIN, the folder of the programs, and the arguments --quick, --peers
# and whatever stands behind "--".

set -euo pipefail
cd "$(dirname "$0")/.."
export BIN=$PWD/build/release/bin

say() { printf '%s\n' "$*" >&2; }

usage_error() {
  say "error: $*"
  exit 2
}

# header FILE WORD: what stands behind "# WORD:" at the file's head.
header() { sed -n "1,20s/^# $2: *//p" "$1"; }

names() {
  local file
  for file in bench/*.sh; do
    [ "$file" = bench/run.sh ] || basename "$file" .sh
  done
}

list() {
  local name
  for name in $(names); do printf '%-12s %s\n' "$name" "$(header "bench/$name.sh" Bench)"; done
}

build() {
  local targets
  read -ra targets <<<"$(header "bench/$1.sh" Targets)"
  [ ${#targets[@]} -gt 0 ] || return 0
  [ -f build/release/build.ninja ] || cmake --preset release >&2
  cmake --build --preset release --target "${targets[@]}" >&2
}

main() {
  local name="" json=no peers=no arguments=()
  while [ $# -gt 0 ]; do
    case "$1" in
      -h | --help) sed -n '4,30s/^# \{0,1\}//p' bench/run.sh; exit 0 ;;
      --list) list; exit 0 ;;
      --json) json=yes ;;
      --peers) peers=yes; arguments+=(--peers) ;;
      --quick) arguments+=(--quick) ;;
      --) shift; arguments+=("$@"); break ;;
      -*) usage_error "unknown option $1; options of a benchmark stand behind --; try --help" ;;
      *) [ -z "$name" ] || usage_error "one benchmark at a time: $name or $1"; name=$1 ;;
    esac
    shift
  done
  [ -n "$name" ] || usage_error "which benchmark? There are: $(names | xargs)"
  [[ " $(names | xargs) " == *" $name "* ]] || usage_error "no benchmark $name; there are: $(names | xargs)"
  if [ $peers = yes ] && [ -z "$(header "bench/$name.sh" Peers)" ]; then
    usage_error "$name has no comparison with other systems yet; leave out --peers"
  fi
  build "$name"
  local form=(bench/table.py)
  [ $json = no ] || form+=(--json)
  "bench/$name.sh" "${arguments[@]}" | "${form[@]}"
}

main "$@"
