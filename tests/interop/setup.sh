#!/usr/bin/env bash
# Makes the Python environment of the interoperability checks, unless it is there, and prints its path.
# One environment per content of requirements.txt, so that a change of a pin never mixes versions.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
cache="${FEDTUNE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/fedtune}"
hash="$(sha256sum "$here/requirements.txt" | cut -c1-12)"
venv="$cache/interop-$hash"

if [ ! -e "$venv/complete" ]; then
  mkdir -p "$cache"
  exec 9>"$cache/interop.lock"
  flock 9
fi
if [ ! -e "$venv/complete" ]; then
  rm -rf "$venv"
  python3 -m venv "$venv" >&2
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$here/requirements.txt" >&2
  touch "$venv/complete"
fi
echo "$venv"
