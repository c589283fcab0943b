#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Bench: the coordinator with its database beside up to 100,000 virtual clients
# Targets: fedtune-simulate

set -euo pipefail
exec python3 bench/simulate/bench.py --program "$BIN/fedtune-simulate" "$@"
