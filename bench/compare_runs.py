#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares the learning curves of two runs of one plan, say a secure and a plain one.

    deploy/demo.sh --only-federation --dir A; deploy/demo.sh --only-federation --dir B --plan ...
    bench/compare_runs.py A/run.json B/run.json
"""

import json
import pathlib
import statistics
import sys

SPANS = [(0, 10), (10, 50), (50, 100), (100, 200), (200, 400), (400, 640)]


def losses(name):
    """The training loss of every round, as `fedtune run show --json` tells it."""
    run = json.loads(pathlib.Path(name).read_text(encoding="utf-8"))
    return [one["training_loss"] for one in run["rounds"]]


def main():
    first, second = map(losses, sys.argv[1:])
    print("rounds      first   second  largest difference of a round")
    for begin, end in SPANS:
        pair = list(zip(first[begin:end], second[begin:end]))
        if not pair:
            return
        largest = max(abs(one - other) for one, other in pair)
        means = [statistics.mean(side) for side in zip(*pair)]
        print(f"{begin + 1:3}-{end:<6} {means[0]:8.4f} {means[1]:8.4f}  {largest:.4f}")


if __name__ == "__main__":
    main()
