#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Bench: writing text token by token on the CPU, over what the machine's memory allows
# Targets: fedtune-bench-decode fedtune-bench-train
# Peers: transformers (installs tests/interop's environment, 5 GB)

set -euo pipefail
exec python3 bench/decode/bench.py --programs "$BIN" "$@"
