#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Makes the folder of what the bench compares with, unless it is there, and prints its path:
# an environment with Hugging Face's tokenizers, real tokenizers and Chinese texts. One folder
# per content of this file and requirements.txt.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
cache="${FEDTUNE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/fedtune}"
folder="$cache/bench-tokenizer-$(cat "$here/setup.sh" "$here/requirements.txt" | sha256sum | cut -c1-12)"

# unpack_debian PACKAGE VERSION: its files, into $folder/PACKAGE.
unpack_debian() {
  (cd "$folder" && apt-get download --quiet "$1=$2" >&2 && dpkg-deb -x "$1"_*.deb "$1" && rm "$1"_*.deb)
}

if [ ! -e "$folder/complete" ]; then
  mkdir -p "$cache"
  exec 9>"$cache/bench-tokenizer.lock"
  flock 9
fi
if [ ! -e "$folder/complete" ]; then
  rm -rf "$folder"
  python3 -m venv "$folder" >&2
  "$folder/bin/python" -m pip install --quiet --disable-pip-version-check -r "$here/requirements.txt" >&2
  unpack_debian manpages-zh 1.6.4.0-1
  touch "$folder/complete"
fi
echo "$folder"
