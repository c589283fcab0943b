#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Bench: a round without training: an adapter to every client and an update back
# Targets: fedtune-coordinator fedtune-bench-transport
# Peers: Flower's deployment engine and NVFlare's simulator (installs both into the cache, 0.6 GB)

set -euo pipefail
arguments=()
program=("$BIN/fedtune-bench-transport")
for argument in "$@"; do
  if [ "$argument" = --peers ]; then
    program=(python3 bench/transport/peers/compare.py --program "$BIN/fedtune-bench-transport")
  else
    arguments+=("$argument")
  fi
done
exec "${program[@]}" --coordinator "$BIN/fedtune-coordinator" ${arguments[@]+"${arguments[@]}"}
