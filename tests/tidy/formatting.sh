#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Fails if a source is not as clang-format 14 writes it. To mend:
#   git ls-files '*.h' '*.cpp' '*.cu' '*.cuh' | xargs clang-format-14 -i

set -euo pipefail
git ls-files -z '*.h' '*.cpp' '*.cu' '*.cuh' | xargs -0 clang-format-14 --dry-run -Werror
