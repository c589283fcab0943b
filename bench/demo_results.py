#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Turns the report.json of demos with different seeds into results of the bench.

    bench/demo_results.py seed-1/report.json seed-2/report.json ...
"""

import json
import pathlib
import statistics
import sys

GOAL_SHARE = 0.95  # Of the gain that pooling all data brings over the base model.


def say(case, metric, value, unit, **goal):
    print(json.dumps({"bench": "demo", "case": case, "metric": metric, "value": value,
                      "unit": unit, **goal}), flush=True)


def smallest_gain(report):
    """By how much the federation beats the department that does best alone."""
    best = max(alone["accuracy"] for alone in report["alone"].values())
    return report["federated"]["accuracy"] - best


def main():
    reports = [json.loads(pathlib.Path(name).read_text()) for name in sys.argv[1:]]
    for number, report in enumerate(reports, start=1):
        for name in ("base", "pooled", "federated"):
            say(f"run {number}", f"{name}_accuracy", report[name]["accuracy"], "")
        say(f"run {number}", "share_of_pooled_gain", report["share_of_pooled_gain"], "")
        say(f"run {number}", "seconds", report["seconds"], "s")
    case = f"mean of {len(reports)}"
    share = statistics.mean(report["share_of_pooled_gain"] for report in reports)
    say(case, "share_of_pooled_gain", share, "", goal=GOAL_SHARE, ok=share >= GOAL_SHARE)
    gain = min(map(smallest_gain, reports))
    say("all", "gain_over_best_alone", gain, "", goal=0, ok=gain > 0)


if __name__ == "__main__":
    main()
