#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Bench: masks and secret shares of secure aggregation, over this machine's bare keystream
# Targets: fedtune-bench-secagg
# Peers: Flower's SecAgg+ functions (installs flwr into the cache, 0.3 GB)

set -euo pipefail
exec python3 bench/secagg/bench.py --program "$BIN/fedtune-bench-secagg" "$@"
