#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Bench: opening a sharded checkpoint of 5 GB on the CPU: seconds, and memory that it takes
# Targets: fedtune-bench-open fedtune-bench-train
# Peers: transformers (installs tests/interop's environment, 5 GB)

set -euo pipefail
exec python3 bench/open/bench.py --programs "$BIN" "$@"
