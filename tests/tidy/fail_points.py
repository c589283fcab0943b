#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fails where the table of fail points and the code do not agree.

    fail_points.py [ON|OFF PROGRAM ...]

Each point of base/fail_point.h is reached once, in the file that the table names, and
there are no others. A program that was built without them (OFF) does not have the name
of their variable in it; one with them does. Runs from the repository root; ctest runs
it as tidy.fail_points.
"""

import pathlib
import re
import sys

TABLE = pathlib.Path("base/fail_point.h")
VARIABLE = b"FEDTUNE_FAIL_POINT"
ENTRY = re.compile(r'FailPointEntry\{FailPoint::(\w+), "([\w-]+)", "([^"]+)", (true|false)\}')
USE = re.compile(r"(Reach|Check)FailPoint\(FailPoint::(\w+)\)")


def entries():
    """The table: constant, name, file, whether it can fail."""
    return ENTRY.findall(TABLE.read_text())


def uses():
    """Where the code reaches points: file, function, constant."""
    folders = ["base", "client", "coordinator", "rpc", "cli", "ca", "privacy", "plan", "aggregation"]
    for path in sorted(p for folder in folders for p in pathlib.Path(folder).rglob("*.cpp")):
        if not path.stem.endswith("_test"):
            yield from ((str(path), *use) for use in USE.findall(path.read_text()))


def problems_of_code():
    found = list(uses())
    for constant, name, file, can_fail in entries():
        places = [(where, how) for where, how, what in found if what == constant]
        if places != [(file, "Check" if can_fail == "true" else "Reach")]:
            yield f"{name} is not reached once, in {file}, as its entry says: {places}"
    listed = {constant for constant, *_ in entries()}
    for where, _, what in found:
        if what not in listed:
            yield f"{where}: {what} is not in the table"


def problems_of_program(path, has_points):
    has_name = VARIABLE in pathlib.Path(path).read_bytes()
    if has_name != has_points:
        yield f"{path} {'looks' if has_name else 'does not look'} at {VARIABLE.decode()}"


def main():
    found = list(problems_of_code())
    for program in sys.argv[2:]:
        found += problems_of_program(program, sys.argv[1] == "ON")
    print("\n".join(found) or f"{len(entries())} fail points are where they are said to be")
    return 1 if found or not entries() else 0


if __name__ == "__main__":
    sys.exit(main())
