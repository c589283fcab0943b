#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Bench: LoRA training on the CPU: tokens a second, memory, and the step over its bare products
# Targets: fedtune-bench-train
# Peers: transformers with peft (installs tests/interop's environment, 5 GB)

set -euo pipefail
exec python3 bench/train/bench.py --program "$BIN/fedtune-bench-train" "$@"
