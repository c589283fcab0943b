#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Bench: values of a delta made integers of a ring, on one core, beside what memory gives
# Targets: fedtune-bench-quantise

set -euo pipefail
exec "$BIN/fedtune-bench-quantise" "$@"
