#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Makes the folder of what the bench compares with, unless it is there, and prints its path:
# an environment with Hugging Face's tokenizers, and Chinese texts in it.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
version=1.6.4.0-1
folder="$("$here/../../tests/support/python_environment.sh" bench-tokenizer "$here/requirements.txt")"
texts="$folder/manpages-zh"

exec 9>"$folder/manpages-zh.lock"
flock 9
if [ ! -e "$texts/$version" ]; then
  rm -rf "$texts"
  mkdir "$texts"
  cd "$texts"
  apt-get download --quiet "manpages-zh=$version" >&2
  dpkg-deb -x manpages-zh_*.deb .
  rm manpages-zh_*.deb
  touch "$version"
fi
echo "$folder"
