#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Says once more why stages of tests/run.sh failed, and at its end which tests of which stage.

usage: failed_tests.py FOLDER STAGE...

FOLDER/STAGE.xml is what ctest --output-junit wrote, FOLDER/STAGE.log all that the
stage printed. A stage in which no test failed, since its build did or it does not
use ctest, is shown by the end of what it printed.
"""

import pathlib
import sys
import xml.etree.ElementTree

LINES = 15
CHARACTERS_PER_LINE = 300
TELLING = ("Failure", "FAILED", "ERROR: ", "Error:", "error:", "broken invariant", "Traceback")


def failed_cases(results):
    """A title and the output of each test that failed or could not be started."""
    if not results.exists():
        return
    for case in xml.etree.ElementTree.parse(results).getroot().iter("testcase"):
        output = case.findtext("system-out") or ""
        if case.get("status") == "fail" or output.startswith("Unable to find executable"):
            yield f"{case.get('name')} failed after {float(case.get('time')):.0f} s", output


def telling_lines(output):
    """The end of an output, and before it the lines that say what was wrong."""
    lines = [line[:CHARACTERS_PER_LINE] for line in output.splitlines() if line.strip()]
    found = [line for line in lines[:-LINES] if any(word in line for word in TELLING)]
    return found[:LINES] + lines[-LINES:]


def show(title, output):
    print(f"\n{title}")
    for line in telling_lines(output):
        print(f"    {line}")


def main(folder, *stages):
    titles = []
    for stage in stages:
        cases = [(f"{stage}: {title}", output) for title, output in failed_cases(pathlib.Path(folder, f"{stage}.xml"))]
        if not cases:
            cases = [(f"{stage} failed", pathlib.Path(folder, f"{stage}.log").read_text(errors="replace"))]
        for title, output in cases:
            show(title, output)
        titles += [title for title, _ in cases]
    if titles:  # Together and last: a long output may be shown by its end only.
        print("", *titles, "", sep="\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
