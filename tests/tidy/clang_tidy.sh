#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Runs clang-tidy 14 over the sources of a build folder, two at a time. Sources
# that passed once are not looked at again until they, or a header of the
# project, change.
#
#   clang_tidy.sh BUILD_DIR

set -euo pipefail
build=$1
stamps=$build/clang_tidy
mkdir -p "$stamps"

rules=$( (cat .clang-tidy; git ls-files -z '*.h' '*.cuh' | xargs -0 cat) | sha256sum | cut -c1-16)

# LibTorch's headers alone cost clang-tidy a minute a file: those sources are
# compiled with all warnings instead.
sources() {
  git ls-files '*.cpp' | grep -vE '^(model/transformer|client/training|tests/fuzz)/' |
    while read -r source; do
      grep -qF "\"$PWD/$source\"" "$build/compile_commands.json" || continue
      stamp=$stamps/$(sha256sum <"$source" | cut -c1-16)-$rules
      [ -e "$stamp" ] || printf '%s\0%s\0' "$source" "$stamp"
    done
}

check() {
  clang-tidy-14 --quiet -p "$build" --extra-arg=-Wno-unknown-warning-option "$1" 2>/dev/null || {
    echo "clang-tidy: $1 has findings"
    return 1
  }
  touch "$2"
}
export -f check
export build

sources | xargs -0 -r -n 2 -P 2 bash -c 'check "$1" "$2"' check
echo "clang-tidy is content"
