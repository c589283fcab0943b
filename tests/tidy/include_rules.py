#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fails if a folder includes a folder, or a library, that it must not know.

Runs from the repository root; ctest runs it as tidy.include_rules. The arrows
are drawn in docs/ARCHITECTURE.md.
"""

import pathlib
import re
import sys

# Folder: what it may include besides itself, as path prefixes; a folder within
# another one: what of that one.
MAY_INCLUDE = {
    "base": [],
    "privacy": ["base/"],
    "aggregation": ["base/", "privacy/"],
    "model": ["base/", "aggregation/adapter_layout.h"],
    "plan": ["base/", "privacy/", "aggregation/", "model/checkpoint/"],
    "rpc": ["base/", "privacy/", "proto/"],
    "coordinator": ["base/", "privacy/", "aggregation/", "plan/", "proto/", "rpc/"],
    "client": ["base/", "privacy/", "aggregation/", "model/", "plan/", "proto/", "rpc/"],
    "cli": ["base/", "privacy/", "aggregation/", "model/checkpoint/", "plan/", "proto/", "rpc/"],
    "ca": ["base/", "privacy/"],
    "simulation": ["base/", "privacy/", "aggregation/", "model/checkpoint/", "plan/", "coordinator/",
                   "client/", "cli/", "proto/"],
    "bench": ["base/", "privacy/", "aggregation/", "model/", "plan/", "coordinator/", "client/",
              "proto/", "rpc/", "tests/"],
    "tests": ["base/", "privacy/", "aggregation/", "model/", "plan/", "coordinator/", "client/",
              "cli/", "ca/", "proto/", "rpc/", "simulation/"],
    "privacy/crypto": [],
    "privacy/identity": ["privacy/crypto/"],
    "privacy/audit": ["privacy/crypto/", "privacy/identity/"],
    "privacy/secure_aggregation": ["privacy/crypto/"],
    "model/checkpoint": [],
    "model/tokenizer": [],
    "model/chat": ["model/tokenizer/"],
    "model/transformer": ["model/checkpoint/"],
    "coordinator/rounds": [],
    "coordinator/storage": ["coordinator/rounds/"],
    "coordinator/driver": ["coordinator/rounds/", "coordinator/storage/"],
    "coordinator/driver/clients": [],
    "coordinator/driver/contributions": [],
    "coordinator/driver/release": ["coordinator/driver/contributions/"],
    "coordinator/rpc": ["coordinator/rounds/", "coordinator/storage/", "coordinator/driver/"],
    "client/data": [],
    "client/policy": [],
    "client/storage": [],
    "client/training": ["client/data/"],
    "client/round": ["client/data/", "client/policy/", "client/storage/", "client/training/"],
    "client/transport": ["client/round/"],
}
FOLDERS = [folder for folder in MAY_INCLUDE if "/" not in folder]

# Library header prefix: the only folders that may include it.
EDGE = ["rpc", "coordinator/rpc", "client/transport", "cli", "simulation", "bench", "tests"]
TORCH = ["model/transformer", "client/training"]
CONFINED = {
    "sqlite3.h": ["base/sqlite", "tests/support/fault_vfs"],
    "grpcpp/": EDGE,
    "google/protobuf/": EDGE,
    "proto/": EDGE,
    "openssl/": ["privacy", "bench"],
    "torch/": TORCH,
    "ATen/": TORCH,
    "c10/": TORCH,
    "oniguruma.h": ["model/tokenizer"],
    "re2/": ["model/checkpoint"],
    "toml++/": ["base"],
    "spdlog/": ["base"],
    "CLI/": ["base", "ca", "cli", "coordinator", "client", "simulation", "bench", "tests"],
}

SUFFIXES = {".h", ".cpp", ".cu", ".cuh"}
INCLUDE = re.compile(r'^\s*#\s*include\s+[<"]([^">]+)[>"]', re.MULTILINE)


def may_include(folder, header, is_test):
    """Whether the row of `folder` lets a file in it include `header`."""
    around = folder.rpartition("/")[0]
    governs = header.startswith(f"{around}/") if around else header.split("/")[0] in FOLDERS
    allowed = [f"{folder}/", *MAY_INCLUDE[folder], *(["tests/support/"] if is_test else [])]
    return not governs or header.startswith(tuple(allowed))


def violations(path):
    """Yields a line for each include of `path` that breaks a rule."""
    folders = [str(parent) for parent in path.parents if str(parent) in MAY_INCLUDE]
    is_test = path.stem.endswith("_test")
    for header in INCLUDE.findall(path.read_text()):
        for folder in folders:
            if not may_include(folder, header, is_test):
                yield f"{path}: {folder}/ must not include {header}"
        for prefix, homes in CONFINED.items():
            if header.startswith(prefix) and not str(path).startswith(tuple(homes)):
                yield f"{path}: {header} is confined to {', '.join(homes)}"


def main():
    sources = [path for folder in FOLDERS for path in pathlib.Path(folder).rglob("*")
               if path.suffix in SUFFIXES]
    if not sources:
        print("no sources here: run from the repository root")
        return 2
    found = [line for path in sorted(sources) for line in violations(path)]
    print("\n".join(found) or f"{len(sources)} files keep to the arrows")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
