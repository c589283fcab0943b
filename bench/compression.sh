#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Bench: what zstd and lz4 save on contributions of trained adapters, and how fast
# Targets: fedtune-client

set -euo pipefail
exec python3 bench/compression/bench.py --program "$BIN/fedtune-client" "$@"
