#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fails on sources that have outgrown the project's shape.

Checks what formatters do not: the licence line, #pragma once, file length, the width of
CMake lists, leftover notes to self, vague names, and names that collide. Runs from the
repository root; ctest runs it as tidy.code_shape.
"""

import pathlib
import re
import subprocess
import sys

MAX_LINES = 400
MAX_TEST_LINES = 700
MAX_LIST_COLUMNS = 100
LICENCE = "SPDX-License-Identifier: Apache-2.0"
LEFTOVER = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
TYPE = re.compile(r"^(?:struct|class|enum class) (\w+)[^;\n]*\{", re.MULTILINE)
VAGUE_NAME = re.compile(r"\b(?:class|struct)\s+\w*(Manager|Helper|Util|Utils)\b")


def tracked(*patterns):
    names = subprocess.run(["git", "ls-files", "--", *patterns], check=True, text=True,
                           stdout=subprocess.PIPE).stdout.split("\n")
    return [pathlib.Path(name) for name in names if name]


def problems_of_source(path):
    """Yields a line for each fault of one C++ or CUDA file."""
    text = path.read_text()
    lines = text.count("\n")
    is_test = path.stem.endswith("_test") or path.parts[0] == "tests"
    if LICENCE not in text[:200]:
        yield f"{path}: no licence line"
    if path.suffix in {".h", ".cuh"} and "#pragma once" not in text:
        yield f"{path}: no #pragma once"
    if lines > (MAX_TEST_LINES if is_test else MAX_LINES):
        yield f"{path}: {lines} lines; does it hold more than one idea?"
    if VAGUE_NAME.search(text):
        yield f"{path}: a name that says nothing: {VAGUE_NAME.search(text).group(0)}"


def problems_of_text(path):
    """Yields a line for each leftover in a script or source."""
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        if LEFTOVER.search(line) and path.name != "code_shape.py":
            yield f"{path}:{number}: leftover: {line.strip()}"


def problems_of_list(path):
    """Yields a line for each line of a CMake list that is wider than the C++ may be."""
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        if len(line) > MAX_LIST_COLUMNS:
            yield f"{path}:{number}: {len(line)} columns"


def types_of(folder):
    """Names of the types that the headers of a folder define."""
    names = set()
    for path in tracked(f"{folder}/*.h"):
        names.update(TYPE.findall(path.read_text()))
    return names


def problems_of_names():
    """Coordinator and client never include each other, but some programs hold both: two
    types of one name would be one to the linker."""
    for name in sorted(types_of("coordinator") & types_of("client")):
        yield f"coordinator and client both define {name}"


def main():
    sources = tracked("*.h", "*.cpp", "*.cu", "*.cuh")
    lists = tracked("*.cmake", "*CMakeLists.txt")
    texts = sources + lists + tracked("*.proto", "*.py", "*.sh")
    found = [p for path in sources for p in problems_of_source(path)]
    found += [p for path in lists for p in problems_of_list(path)]
    found += [p for path in texts for p in problems_of_text(path)]
    found += problems_of_names()
    print("\n".join(found) or f"{len(texts)} files are in shape")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
