#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes text with random models, one token after the other, each measurement in a process of its own.

Options behind `bench/run.sh decode --`:
  --case NAME      only cases with this in their name
  --repeats N      processes for each case and system, in turn (5)
  --threads N      0: all cores (0)
  --tokens N       tokens that are measured in a process (64)
  --experts WAY    how transformers computes the routed experts (eager, grouped_mm, batched_mm)
"""

import argparse
import dataclasses
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "bench/train"))

import bench as train

# What theirs is to be slower by.
PEER_GOALS = {"float32": 1.5, "bfloat16": 3}
SHARE_GOAL = 0.75


@dataclasses.dataclass(frozen=True)
class Case:
    """A model and its prompt."""

    model: str  # As in bench/train: "L V2".
    dtype: str
    prompt: int = 128
    warm_up: int = 32

    def name(self):
        return f"{self.model} {self.dtype}, 1 x {self.prompt}"


CASES = [Case(f"L {architecture}", dtype) for architecture in ("V2", "V3")
         for dtype in ("float32", "bfloat16")]
QUICK = [Case("XS V2", "float32", 16, 4), Case("XS V3", "bfloat16", 16, 4)]


class Bench:
    """Runs cases and prints their results."""

    def __init__(self, options, folder):
        self.options = options
        # It makes the models, and knows where transformers is.
        self.training = train.Bench(argparse.Namespace(
            peers=options.peers, program=options.programs / "fedtune-bench-train"), folder)

    def measure(self, case, command):
        """One text in a process of its own."""
        return json.loads(self.training.run([
            *command, "--model", self.training.model(case), "--prompt", case.prompt, "--warm-up", case.warm_up,
            "--tokens", self.options.tokens, "--threads", self.options.threads]))

    def compare(self, case):
        """Ours and theirs in turn; prints the medians."""
        ours, theirs = [], []
        for _ in range(self.options.repeats):
            ours.append(self.measure(case, [self.options.programs / "fedtune-bench-decode",
                                            "measure"]))
            if self.training.python:
                script = ROOT / "bench/decode/peer.py"
                theirs.append(self.measure(case, [
                    self.training.python, "-W", "ignore", script, "--dtype", case.dtype,
                    "--experts", self.options.experts]))
        self.report(case, ours, theirs)

    @staticmethod
    def report(case, ours, theirs):
        def emit(metric, unit, value, peer=None, goal=None):
            line = {"bench": "decode", "case": case.name(), "metric": metric, "value": value(ours),
                    "unit": unit}
            if goal is not None:
                line |= {"goal": goal, "ok": line["value"] >= goal}
            if theirs and peer:
                line |= {"peer": "transformers", "peer_value": peer(theirs)}
                line["ratio"] = line["peer_value"] / line["value"]
            print(json.dumps(line), flush=True)

        emit("tokens_per_s", "1/s", tokens_per_second, tokens_per_second)
        if theirs:
            emit("over_peer", "times", lambda runs: tokens_per_second(runs) / tokens_per_second(theirs),
                 goal=PEER_GOALS[case.dtype])
        emit("read_gb_per_s", "GB/s", lambda runs: 1e-9 * reads(runs))
        emit("active_mb", "MB", lambda runs: runs[0]["active_bytes"] / 1e6)
        emit("share_of_bandwidth", "", share, goal=SHARE_GOAL)
        emit("share_of_bandwidth_cpu", "", share_by_cpu)
        for metric, key in (("token_cpu_ms", "cpu_s"), ("token_ms", "wall_s")):
            emit(metric, "ms", lambda runs, key=key: 1e3 * train.steps(runs, key),
                 lambda runs, key=key: 1e3 * train.steps(runs, key))
        emit("prompt_ms", "ms", lambda runs: 1e3 * train.median(runs, "prompt_s"),
             lambda runs: 1e3 * train.median(runs, "prompt_s"))


def tokens_per_second(runs):
    return 1 / train.steps(runs, "wall_s")


def reads(runs):
    return statistics.median(rate for run in runs for rate in run["reads_per_s"])


def share(runs, reads_key="reads_per_s", tokens_key="wall_s"):
    """Of the tokens a second that reading the active weights alone would allow."""
    return statistics.median(
        run["active_bytes"] / statistics.median(run[reads_key]) / statistics.median(run[tokens_key])
        for run in runs)


def share_by_cpu(runs):
    """The same by processor time, which other work disturbs least; waiting threads count."""
    return share(runs, "reads_per_cpu_s", "cpu_s")


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", type=pathlib.Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--case", default="")
    parser.add_argument("--repeats", type=int, default=0)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--tokens", type=int, default=0)
    parser.add_argument("--experts", default="eager")
    options = parser.parse_args()
    options.repeats = options.repeats or (1 if options.quick else 5)
    options.tokens = options.tokens or (8 if options.quick else 64)
    cases = [case for case in (QUICK if options.quick else CASES) if options.case in case.name()]
    if not cases:
        parser.error(f"no case has {options.case!r} in its name")
    with tempfile.TemporaryDirectory(prefix="fedtune-bench-") as folder:
        bench = Bench(options, folder)
        for case in cases:
            bench.compare(case)


if __name__ == "__main__":
    main()
