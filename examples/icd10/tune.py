#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Tries settings of the demo's plans on the departments' own validation rows.

The common held-out split is never read: every setting is judged by accuracy on
the six eval.jsonl together, which are rows split off from training. Prints one
JSON object per setting and seed.

    examples/icd10/tune.py pooled --set training.learning_rate=1e-3,2e-3,4e-3
    examples/icd10/tune.py federated --set server.learning_rate=2.5e-3,5e-3 --seeds 1,2

Needs the programs of the release build (deploy/demo.sh builds them).
"""

import argparse
import itertools
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import tomllib

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BASE = ROOT / "examples/base_model/icd-moe"
CLIENT = ROOT / "build/release/bin/fedtune-client"


def validation_view(folder):
    """Copies the data with all validation rows in the place of the held-out split."""
    sites = sorted(path.parent for path in HERE.glob("*/train.jsonl"))
    for site in sites:
        shutil.copytree(site, folder / site.name)
    for name, part in (("heldout.jsonl", "eval.jsonl"), ("pooled.jsonl", "train.jsonl")):
        text = "".join((site / part).read_text(encoding="utf-8") for site in sites)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def write_plan(plan, path):
    """A plan as TOML: tables of numbers, texts and lists of texts."""
    def value(x):
        return json.dumps(x) if isinstance(x, (str, list)) else repr(x)
    lines = [f"{key} = {value(x)}" for key, x in plan.items() if not isinstance(x, dict)]
    for name, table in plan.items():
        if isinstance(table, dict):
            lines += [f"[{name}]"] + [f"{key} = {value(x)}" for key, x in table.items()]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def run(*command):
    """Runs a command to its end and returns its standard output."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{command[0]} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return done.stdout


def pooled(plan, data, work):
    """Accuracy and loss after training on all rows in one place."""
    run(CLIENT, "train", "--base", BASE, "--plan", plan, "--threads", 1,
        "--data", data / "pooled.jsonl", "--out", work / "adapter")
    found = json.loads(run(CLIENT, "evaluate", "--base", BASE, "--adapter", work / "adapter",
                           "--data", data / "heldout.jsonl", "--threads", 1, "--json"))
    return {key: found[key] for key in ("accuracy", "loss")}


def federated(plan, data, work):
    """Accuracy and loss after a run of six departments."""
    run(ROOT / "deploy/demo.sh", "--only-federation", "--data", data, "--plan", plan,
        "--dir", work / "demo", "--seed", tomllib.loads(plan.read_text())["training"]["seed"])
    return json.loads((work / "demo/report.json").read_text())["federated"]


def parse_setting(text):
    """`table.key=a,b` as the table, the key and its values."""
    name, _, values = text.partition("=")
    table, _, key = name.partition(".")
    return table, key, [tomllib.loads(f"x = {value}")["x"] for value in values.split(",")]


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["pooled", "federated"])
    parser.add_argument("--set", action="append", default=[], metavar="TABLE.KEY=A,B",
                        help="values to try; several make a grid")
    parser.add_argument("--seeds", default="1")
    arguments = parser.parse_args()
    train = pooled if arguments.what == "pooled" else federated
    plan = tomllib.loads((HERE / ("pooled.toml" if train is pooled else "plan.toml")).read_text())
    settings = [parse_setting(text) for text in arguments.set]
    for seed in map(int, arguments.seeds.split(",")):
        for values in itertools.product(*(values for _, _, values in settings)):
            plan["training"]["seed"] = seed
            for (table, key, _), value in zip(settings, values):
                plan[table][key] = value
            with tempfile.TemporaryDirectory() as work:
                work = pathlib.Path(work)
                data = validation_view(work / "data")
                write_plan(plan, work / "plan.toml")
                tried = {f"{t}.{k}": v for (t, k, _), v in zip(settings, values)}
                print(json.dumps({"seed": seed, **tried, **train(work / "plan.toml", data, work)}),
                      flush=True)


if __name__ == "__main__":
    main()
