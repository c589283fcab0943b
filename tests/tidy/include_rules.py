#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fails if a folder includes a folder, or a library, that it must not know.

Runs from the repository root; ctest runs it as tidy.include_rules. The arrows
are drawn in docs/ARCHITECTURE.md.
"""

import pathlib
import re
import sys

# Folder, or folder/subfolder where that is narrower: what it may include
# besides itself, as path prefixes.
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
}

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


def violations(path):
    """Yields a line for each include of `path` that breaks a rule."""
    folder = path.parts[0]
    is_test = path.stem.endswith("_test")
    for header in INCLUDE.findall(path.read_text()):
        target = header.split("/")[0]
        allowed = MAY_INCLUDE[folder] + (["tests/support/"] if is_test else [])
        if target in MAY_INCLUDE and target != folder and not header.startswith(tuple(allowed)):
            yield f"{path}: {folder}/ must not include {header}"
        for prefix, homes in CONFINED.items():
            if header.startswith(prefix) and not str(path).startswith(tuple(homes)):
                yield f"{path}: {header} is confined to {', '.join(homes)}"


def main():
    sources = [path for folder in MAY_INCLUDE for path in pathlib.Path(folder).rglob("*")
               if path.suffix in SUFFIXES]
    if not sources:
        print("no sources here: run from the repository root")
        return 2
    found = [line for path in sorted(sources) for line in violations(path)]
    print("\n".join(found) or f"{len(sources)} files keep to the arrows")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
