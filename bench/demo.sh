#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Bench: the demo over three seeds: accuracy, and the share of the pooled model's gain
# Targets: fedtune fedtune-client fedtune-coordinator fedtune-ca
#
# --quick: one seed. --seeds "1 2 3": these. --dir DIR: keep the demos there.

set -euo pipefail
here=$(dirname "$0")
seeds="1 2 3"
dir=

while [ $# -gt 0 ]; do
  case "$1" in
    --quick) seeds=1 ;;
    --seeds) seeds=${2:?--seeds needs numbers}; shift ;;
    --dir) dir=${2:?--dir needs a folder}; shift ;;
    -h | --help) sed -n '4,7s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "demo: unknown argument $1; try --help" >&2; exit 2 ;;
  esac
  shift
done

if [ -z "$dir" ]; then
  dir=$(mktemp -d)
  trap 'rm -rf "$dir"' EXIT
fi
reports=()
for seed in $seeds; do
  "$here/../deploy/demo.sh" --dir "$dir/seed-$seed" --seed "$seed" >&2
  reports+=("$dir/seed-$seed/report.json")
done
"$here/demo_results.py" "${reports[@]}"
