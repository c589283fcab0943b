#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Runs deploy/bootstrap.sh among commands that only write down how they were called.
#
#   deploy/bootstrap_test.sh

set -euo pipefail
script=$(cd "$(dirname "$0")" && pwd)/bootstrap.sh
bash=$BASH
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
commands=$folder/commands
cache="$folder/a cache"

# command_named NAME: what it does is on the standard input.
command_named() {
  { echo "#!$bash" && cat; } >"$commands/$1"
  chmod +x "$commands/$1"
}

# A machine where a user who is not root has no packages, no sudo, and LibTorch.
bare_machine() {
  rm -rf "$commands" "$cache" "$folder"/apt-get.*
  mkdir -p "$commands" "$cache/libtorch-2.11.0/torch/lib"
  touch "$cache/libtorch-2.11.0/torch/lib/libtorch_cpu.so"
  local name
  for name in cat env grep mkdir mktemp rm sleep uname; do ln -s "$(command -v $name)" "$commands"; done
  command_named id <<<'echo 1000'
  command_named dpkg-query <<<'exit 1'
}

with_packages() {
  command_named dpkg-query <<<'[[ $* != *libtorch-dev* ]] && echo installed'
}

# Its apt-get writes down its proxy, umask and arguments, after what is on the standard input.
with_sudo() {
  command_named sudo <<<"exec env -i PATH=\"$commands\" \"\$@\""
  { cat && echo "echo \"\${http_proxy:-no proxy} \$(umask) \$*\" >>\"$folder/apt-get.calls\""; } |
    command_named apt-get
}

bootstrap() {
  env -i PATH="$commands" FEDTUNE_CACHE="$cache" FEDTUNE_APT_SECONDS=60 "$@" "$bash" "$script"
}

# expect STATUS PATTERN COMMAND ...: its exit status, and what it says.
expect() {
  local status=$1 pattern=$2 got=0
  shift 2
  "$@" >"$folder/output" 2>&1 || got=$?
  if [ "$got" != "$status" ] || ! grep -E -e "$pattern" "$folder/output" >/dev/null; then
    echo "line ${BASH_LINENO[0]}: $* ended with $got, not $status, or did not say \"$pattern\":"
    cat "$folder/output"
    exit 1
  fi
}

calls() { cat "$folder/apt-get.calls"; }

says_what_to_run_as_root_where_there_is_no_sudo() {
  bare_machine
  expect 1 "^apt-get update && apt-get install .*'g\+\+=4:12\.\*' .*'openssl'$" bootstrap
}

does_nothing_when_all_is_there() {
  bare_machine
  with_packages
  local output
  output=$(bootstrap 2>&1) && [ -z "$output" ] || { echo "with all there, bootstrap said: $output"; exit 1; }
}

gives_apt_get_the_proxy_and_the_usual_rights() {
  bare_machine
  with_sudo <<<''
  umask 077
  expect 0 'installing' bootstrap http_proxy=http://proxy:3128
  umask 022
  expect 0 '^http://proxy:3128 0022 .*update' calls
  expect 0 '^http://proxy:3128 0022 .*install .*g\+\+=4:12\.\*' calls
}

waits_for_the_lists_that_another_program_holds() {
  bare_machine
  with_sudo <<END
if [ ! -e "$folder/apt-get.held" ]; then
  : >"$folder/apt-get.held"
  echo "E: Could not get lock /var/lib/apt/lists/lock. It is held by process 1 (apt-get)" >&2
  exit 100
fi
END
  expect 0 'installing' bootstrap
  expect 0 'install .*g\+\+' calls
}

stops_when_the_lists_cannot_be_had() {
  bare_machine
  with_sudo <<<'echo "E: no such server" >&2; exit 100'
  expect 1 '^E: no such server$' bootstrap
  expect 1 'bootstrap: apt-get could not update its lists' bootstrap
}

says_what_to_set_when_the_cache_cannot_be_written() {
  bare_machine
  with_packages
  expect 1 'cannot write to /dev/null/cache; set FEDTUNE_CACHE' bootstrap FEDTUNE_CACHE=/dev/null/cache
  expect 1 'cannot write to /dev/null/.cache/fedtune; set FEDTUNE_CACHE' \
    bootstrap FEDTUNE_CACHE= HOME=/dev/null
}

says_what_to_run_as_root_where_there_is_no_sudo
does_nothing_when_all_is_there
gives_apt_get_the_proxy_and_the_usual_rights
waits_for_the_lists_that_another_program_holds
stops_when_the_lists_cannot_be_had
says_what_to_set_when_the_cache_cannot_be_written
echo "installs what is missing, or says what to do"
