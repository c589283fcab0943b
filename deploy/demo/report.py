#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Turns the demo's results into one table and report.json."""

import argparse
import json
import pathlib
import sys


def read_json(path):
    return json.loads(path.read_text())


def result(path):
    """Accuracy and loss of one evaluation; None where it was not asked for."""
    if not path.exists():
        return None
    found = read_json(path)
    return {"accuracy": found["accuracy"], "loss": found["loss"]}


def make_report(directory, departments, seconds):
    """The content of report.json."""
    results = directory / "results"
    run = read_json(directory / "run.json")
    report = {
        "base": result(results / "base.json"),
        "alone": {name: result(results / f"alone-{name}.json") for name in departments},
        "federated": result(results / "federated.json"),
        "pooled": result(results / "pooled.json"),
        "rounds": run["rounds_done"],
        "bytes_up": run["bytes_received"],
        "bytes_down": run["bytes_sent"],
        "seconds": seconds,
    }
    if report["pooled"] and report["base"]:
        gain = report["federated"]["accuracy"] - report["base"]["accuracy"]
        possible = report["pooled"]["accuracy"] - report["base"]["accuracy"]
        report["share_of_pooled_gain"] = gain / possible if possible > 0 else None
    return report


def print_table(report):
    rows = [("base model", report["base"])]
    rows += [(f"{name} alone", values) for name, values in report["alone"].items()]
    rows += [("federated", report["federated"]), ("all data pooled", report["pooled"])]
    width = max(len(name) for name, _ in rows)
    print(f"\n{'on the common held-out split':{width}}  accuracy    loss")
    for name, values in rows:
        if values:
            print(f"{name:{width}}   {100 * values['accuracy']:5.1f} %   {values['loss']:.3f}")
    print(f"\n{report['rounds']} rounds in {report['seconds']} s; "
          f"{report['bytes_up'] / 1e6:.0f} MB to the coordinator, "
          f"{report['bytes_down'] / 1e6:.0f} MB from it, no record left its department")
    if report.get("share_of_pooled_gain") is not None:
        print(f"the federation reaches {100 * report['share_of_pooled_gain']:.0f} % "
              "of what pooling all data would gain")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dir", type=pathlib.Path, required=True)
    parser.add_argument("--departments", required=True, help="comma-separated names")
    parser.add_argument("--seconds", type=int, required=True, help="of the federated run")
    arguments = parser.parse_args()
    report = make_report(arguments.dir, arguments.departments.split(","), arguments.seconds)
    (arguments.dir / "report.json").write_text(json.dumps(report, indent=2) + "\n")
    print_table(report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
