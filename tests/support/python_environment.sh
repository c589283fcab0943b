#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# python_environment.sh NAME REQUIREMENTS: makes a Python environment of what the file names,
# unless it is there, and prints its path. One environment per content of the file, so that a
# change of a pin never mixes versions.
set -euo pipefail
cache="${FEDTUNE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/fedtune}"
venv="$cache/$1-$(sha256sum "$2" | cut -c1-12)"

if [ ! -e "$venv/complete" ]; then
  mkdir -p "$cache"
  exec 9>"$cache/$1.lock"
  flock 9
fi
if [ ! -e "$venv/complete" ]; then
  rm -rf "$venv"
  python3 -m venv "$venv" >&2
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$2" >&2
  touch "$venv/complete"
fi
echo "$venv"
