#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Bench: a round without training: an adapter to every client and an update back
# Targets: fedtune-coordinator fedtune-bench-transport

set -euo pipefail
exec "$BIN/fedtune-bench-transport" --coordinator "$BIN/fedtune-coordinator" "$@"
