#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Bench: turning text into tokens on one thread: megabytes a second
# Targets: fedtune-bench-tokenizer
# Peers: Hugging Face's tokenizers (installs an environment of 50 MB)

set -euo pipefail
exec python3 bench/tokenizer/bench.py --program "$BIN/fedtune-bench-tokenizer" "$@"
