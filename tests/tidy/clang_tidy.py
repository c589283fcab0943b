#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs clang-tidy 14 over the sources of a build folder, two at a time.

  clang_tidy.py BUILD_DIR [SOURCE_PREFIX...]

Runs from the repository root; ctest runs it as tidy.clang_tidy. A source that
passed is not looked at again until it, a header of the project that it
includes, its compiler flags or the rules change. With prefixes, only the
sources whose paths begin with one of them are looked at, in that order.
"""

import concurrent.futures
import hashlib
import json
import pathlib
import re
import resource
import subprocess
import sys
import time

# LibTorch's headers alone cost clang-tidy a minute a file: those sources are
# compiled with all warnings instead.
EXCLUDED = ("model/transformer/", "client/training/", "tests/fuzz/")
RULES = pathlib.Path(".clang-tidy")
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.MULTILINE)
JOBS = 2


def with_headers(source):
    """The source and all headers of the project that it includes, sorted."""
    found, open_ends = set(), [source]
    while open_ends:
        path = open_ends.pop()
        if path in found or not path.is_file():
            continue
        found.add(path)
        open_ends += map(pathlib.Path, INCLUDE.findall(path.read_text()))
    return sorted(found)


def stamp_name(source, command):
    digest = hashlib.sha256(f"{command}\n".encode())
    for path in [RULES, *with_headers(source)]:
        digest.update(f"{path} {path.stat().st_size}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:32]


def sources(build, prefixes):
    """Yields each source of the build folder, and its stamp."""
    tracked = set(subprocess.check_output(["git", "ls-files", "*.cpp"], text=True).split())
    commands = {}
    for entry in json.loads((build / "compile_commands.json").read_text()):
        path = pathlib.Path(entry["directory"], entry["file"])
        if path.is_relative_to(pathlib.Path.cwd()):
            commands[str(path.relative_to(pathlib.Path.cwd()))] = entry["command"]
    for prefix in prefixes:
        for name in sorted(tracked & commands.keys()):
            if name.startswith(prefix) and not name.startswith(EXCLUDED):
                yield name, build / "clang_tidy" / stamp_name(pathlib.Path(name), commands[name])


def passes(build, source, stamp):
    ran = subprocess.run(
        ["clang-tidy-14", "--quiet", "-p", str(build),
         "--extra-arg=-Wno-unknown-warning-option",
         "--extra-arg=-Wno-unused-command-line-argument", source],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
    if ran.returncode == 0:
        stamp.touch()
    else:
        # What it says on stderr matters only where it found nothing to say.
        print(f"clang-tidy: {source}\n{ran.stdout or ran.stderr}", flush=True)
    return ran.returncode == 0


def main():
    build = pathlib.Path(sys.argv[1]).absolute()
    (build / "clang_tidy").mkdir(exist_ok=True)
    every = list(sources(build, sys.argv[2:] or [""]))
    if not every:
        print("no sources here: run from the repository root, and configure the build folder first")
        return 2
    todo = [(source, stamp) for source, stamp in every if not stamp.exists()]
    started = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
        passed = sum(pool.map(lambda job: passes(build, *job), todo))
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"{passed} of {len(todo)} sources pass, in {time.monotonic() - started:.0f} s "
          f"({children.ru_utime + children.ru_stime:.0f} s of processors); "
          f"{len(every) - len(todo)} have not changed since they did")
    return 0 if passed == len(todo) else 1


if __name__ == "__main__":
    sys.exit(main())
