#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Installs what fedtune is built with on Debian 12: Debian's packages and
# LibTorch from the official wheel. Does nothing, quickly, when all is there.
#
#   deploy/bootstrap.sh            what a build needs
#   deploy/bootstrap.sh --tests    also what the tests need
#   deploy/bootstrap.sh --gpu      also what a program built with FEDTUNE_CUDA needs to start
#
# Needs root or sudo for packages that are missing. LibTorch (1.5 GB) and the
# libraries for GPUs (2.8 GB more) go to $FEDTUNE_CACHE, or ~/.cache/fedtune;
# where FEDTUNE_CACHE is set here, it must be set for cmake, too.

set -euo pipefail

build_packages=(
  g++=4:12.* cmake=3.25.* ninja-build=1.11.* ccache=4.* mold=1.10.* git pkg-config
  libabsl-dev=20220623.* libgrpc++-dev=1.51.* protobuf-compiler=3.21.*
  protobuf-compiler-grpc=1.51.* libprotobuf-dev=3.21.* libssl-dev=3.0.* libsqlite3-dev=3.40.*
  nlohmann-json3-dev=3.11.* libfmt-dev=9.1.* libspdlog-dev=1:1.10.*
  libcli11-dev=2.1.* libtomlplusplus-dev=3.3.* libre2-dev=20220601* libonig-dev=6.9.* libgtest-dev=1.12.*
  libgmock-dev=1.12.* zlib1g-dev python3 python3-pip ca-certificates openssl
)
test_packages=(
  clang-14 clang-format-14 clang-tidy-14 libclang-rt-14-dev llvm-14 python3-venv
  wordnet-base=1:3.0-* iproute2=6.1.* mount=2.38.* libfaketime=0.9.10-*
)

torch_version=2.11.0
wheels=(torch==$torch_version nvidia-cuda-runtime==13.0.96 nvidia-cuda-cupti==13.0.85)
# What libtorch_cuda.so loads: the versions that torch's METADATA names, and for
# cuda-toolkit==13.0.2 those that its own names. Not triton and cuda-bindings, which are for Python.
gpu_wheels=(
  nvidia-cublas==13.1.0.3 nvidia-cuda-nvrtc==13.0.88 nvidia-cudnn-cu13==9.19.0.56
  nvidia-cufft==12.0.0.61 nvidia-cufile==1.15.1.6 nvidia-curand==10.4.0.35
  nvidia-cusolver==12.0.4.66 nvidia-cusparse==12.6.3.3 nvidia-cusparselt-cu13==0.8.0
  nvidia-nccl-cu13==2.28.9 nvidia-nvjitlink==13.0.88 nvidia-nvshmem-cu13==3.4.5
  nvidia-nvtx==13.0.85
)

cache=${FEDTUNE_CACHE:-${XDG_CACHE_HOME:-${HOME:-}/.cache}/fedtune}

# Seconds to wait for what else installs packages: Debian itself, for minutes after a start.
patience=${FEDTUNE_APT_SECONDS:-300}
partial=

say() { printf 'bootstrap: %s\n' "$*" >&2; }

die() {
  say "$*"
  exit 1
}

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

# apt_get ARGUMENT ...: what sudo would take away, a proxy and the usual rights, is given again.
apt_get() {
  local proxies=() name
  for name in http_proxy https_proxy ftp_proxy all_proxy no_proxy; do
    [ -z "${!name:-}" ] || proxies+=("$name=${!name}")
  done
  (umask 022 && as_root env DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 ${proxies[@]+"${proxies[@]}"} \
    apt-get -o DPkg::Lock::Timeout="$patience" "$@")
}

# For its lock on the packages apt-get waits if told to, for that on their lists it does not.
update_lists() {
  local output end=$((SECONDS + patience))
  until output=$(apt_get update -qq 2>&1); do
    if [[ $output != *lists/lock* ]] || [ $SECONDS -ge $end ]; then
      printf '%s\n' "$output" >&2
      die "apt-get could not update its lists; see above, and /etc/apt for its servers"
    fi
    sleep 1
  done
  [ -z "$output" ] || printf '%s\n' "$output" >&2
}

check_system() {
  # shellcheck source=/dev/null
  . /etc/os-release
  [ "${VERSION_CODENAME:-}" = bookworm ] ||
    die "this is ${PRETTY_NAME:-an unknown system}; fedtune is built on Debian 12 (bookworm)"
  [ "$(uname -m)" = x86_64 ] || die "this is $(uname -m); fedtune needs x86_64"
}

installed() {
  dpkg-query -W -f='${db:Status-Status}\n' "$1" 2>/dev/null | grep -q '^installed$'
}

install_packages() {
  local missing=() package
  for package in "$@"; do
    installed "${package%%=*}" || missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  if [ "$(id -u)" != 0 ] && ! command -v sudo >/dev/null; then
    die "packages are missing and there is neither root nor sudo; run this as root, then this script again:"$'\n'"\
apt-get update && apt-get install --no-install-recommends ${missing[*]@Q}"
  fi
  say "installing ${#missing[@]} Debian packages, which takes minutes: ${missing[*]%%=*}"
  update_lists
  apt_get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null ||
    die "apt-get could not install them; see above, and /etc/apt for its servers"
}

# unpack_wheels NAME WHEEL ...: into $partial/new. By Debian's own Python, as another need not have
# pip, and all in one folder, as there need not be space in /tmp.
unpack_wheels() {
  mkdir -p "$cache" && partial=$(mktemp -d "$cache/$1.partial.XXXXXX") ||
    die "cannot write to $cache; set FEDTUNE_CACHE to a folder where you can"
  trap 'rm -rf "$partial"' EXIT
  shift
  TMPDIR=$partial PIP_USER=0 PIP_REQUIRE_VIRTUALENV=0 /usr/bin/python3 -m pip install --quiet \
    --disable-pip-version-check --root-user-action=ignore \
    --no-deps --only-binary=:all: --python-version 3.11 --implementation cp \
    --target "$partial/new" "$@" ||
    die "could not install $*; check the network and the space under $cache"
}

install_libtorch() {
  local target=$cache/libtorch-$torch_version
  [ ! -f "$target/torch/lib/libtorch_cpu.so" ] || return 0
  say "installing LibTorch $torch_version into $target (1.5 GB, about half a minute)"
  unpack_wheels libtorch "${wheels[@]}"
  rm -rf "$target"
  mv "$partial/new" "$target"
  rm -rf "$partial"
}

# Beside LibTorch, where its own RPATH looks.
install_gpu_libraries() {
  local target=$cache/libtorch-$torch_version
  local mark=$target/gpu-libraries
  [ "$(cat "$mark" 2>/dev/null)" != "${gpu_wheels[*]}" ] || return 0
  say "installing the libraries for GPUs into $target (2.8 GB, about a minute)"
  unpack_wheels gpu "${gpu_wheels[@]}"
  cp -al --remove-destination "$partial/new/nvidia/." "$target/nvidia/"
  rm -rf "$partial"
  echo "${gpu_wheels[*]}" >"$mark"
}

main() {
  local tests=no gpu=no argument
  for argument in "$@"; do
    case "$argument" in
      --tests) tests=yes ;;
      --gpu) gpu=yes ;;
      *) die "unknown argument $argument; see the head of this file" ;;
    esac
  done
  check_system
  if dpkg-query -W libtorch-dev >/dev/null 2>&1; then
    die "Debian's libtorch-dev is installed and would hide the wheel's headers; remove it: apt-get remove libtorch-dev"
  fi
  install_packages "${build_packages[@]}"
  [ $tests = no ] || install_packages "${test_packages[@]}"
  install_libtorch
  [ $gpu = no ] || install_gpu_libraries
}

main "$@"
