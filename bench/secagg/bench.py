#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measures the numbers of secure aggregation, ours and Flower's in turn, and prints medians.

Goals stand over limits that the same process measured: the bare keystream of AES-256-CTR by the
best instructions, kept in the cache, and a vector in memory that is changed in place.

Options behind `bench/run.sh secagg --`:
  --repeats N      processes for each system, in turn (5)
  --threads N      for unmasking (2)
"""

import argparse
import json
import pathlib
import statistics
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
PEER = "flower"
CLIENTS, NEIGHBORS, THRESHOLD = 100, 20, 67


class Bench:
    """Runs both systems and prints the results."""

    def __init__(self, options):
        self.options = options
        self.elements = 1_000_000 if options.quick else 25_000_000
        self.ours, self.theirs = [], []

    def measure(self):
        python = None
        if self.options.peers:
            setup = subprocess.run(
                [ROOT / "tests/support/python_environment.sh", "bench-secagg",
                 ROOT / "bench/secagg/requirements.txt"],
                check=True, text=True, stdout=subprocess.PIPE)
            python = pathlib.Path(setup.stdout.strip()) / "bin/python"
        for _ in range(self.options.repeats):
            self.ours.append(run([
                self.options.program, "--elements", self.elements, "--clients", CLIENTS,
                "--neighbors", NEIGHBORS, "--threshold", THRESHOLD, "--threads",
                self.options.threads]))
            if python:
                self.theirs.append(run([
                    python, ROOT / "bench/secagg/peer.py", "--elements", self.elements, "--masks",
                    NEIGHBORS + 1, "--clients", CLIENTS, "--threshold", THRESHOLD]))

    def emit(self, case, metric, unit, value, goal=None, peer=None):
        """One row. `value`, `goal` and `peer` are functions of a process's results; of
        them the medians are printed. A goal is (">=" or "<=", function)."""
        line = {"bench": "secagg", "case": case, "metric": metric,
                "value": median(self.ours, value), "unit": unit}
        if goal:
            line["goal"] = median(self.ours, goal[1])
            line["ok"] = (line["value"] >= line["goal"] if goal[0] == ">="
                          else line["value"] <= line["goal"])
        if peer and self.theirs:
            line |= {"peer": PEER, "peer_value": median(self.theirs, peer)}
            line["ratio"] = line["peer_value"] / line["value"]
        print(json.dumps(line), flush=True)

    def report(self):
        self.report_limits()
        self.report_masks()
        self.report_unmasking()
        self.emit(f"Shamir, {THRESHOLD} of {CLIENTS}", "shamir_ms", "ms",
                  lambda run: 1e3 * run["shamir_s"], ("<=", lambda run: 2),
                  lambda run: 1e3 * run["shamir_s"])

        if self.theirs:
            self.report_ratios()

    def report_ratios(self):
        """Goals that stand over the peer's medians."""
        mask_s = median(self.theirs, lambda run: run["mask_s"])
        wire = median(self.theirs, lambda run: run["wire_bytes"])
        self.emit(f"over {PEER}'s", "mask_rate_ratio", "times",
                  lambda run: mask_s / run["mask32_s"], (">=", lambda run: 25))
        self.emit(f"over {PEER}'s", "wire_ratio", "times", lambda run: run["wire_bytes"] / wire,
                  ("<=", lambda run: 0.5))

    def report_limits(self):
        kernel = self.ours[0]["kernel"]
        self.emit(f"limit, {kernel}", "keystream_gb_per_s", "GB/s",
                  lambda run: run["keystream_per_s"] / 1e9)
        self.emit(f"limit, {kernel}, {self.options.threads} threads", "keystream_gb_per_s", "GB/s",
                  lambda run: run["keystream_all_threads_per_s"] / 1e9)
        self.emit("limit, read and written", "memory_gb_per_s", "GB/s",
                  lambda run: run["memory_update_per_s"] / 1e9)

    def report_masks(self):
        masks = self.ours[0]["client_masks"]
        size = f"{self.elements / 1e6:.0f} M"

        def rate(key, count):
            return lambda run: count * self.elements / run[key]

        for bits in (32, 24, 16):
            goal = (">=", lambda run, bits=bits: 0.75 * run["keystream_per_s"] / (bits // 8))
            peer = (lambda run: masks * self.elements / run["mask_s"]) if bits == 32 else None
            self.emit(f"{masks} masks, {size} x {bits} bits", "mask_elements_per_s", "1/s",
                      rate(f"mask{bits}_s", masks), goal, peer)
        self.emit(f"1 mask, {size} x 32 bits", "mask_elements_per_s", "1/s",
                  rate("one_mask32_s", 1))
        self.emit(f"{masks} masks, {size} x 32 bits", "mask_s", "s", lambda run: run["mask32_s"],
                  None, lambda run: run["mask_s"])
        self.emit(f"{size} x 32 bits", "wire_mb", "MB", lambda run: run["wire_bytes"] / 1e6, None,
                  lambda run: run["wire_bytes"] / 1e6)

    def report_unmasking(self):
        masks = self.ours[0]["masks_to_remove"]

        def floor(run):
            return 4 * masks * self.elements / run["keystream_all_threads_per_s"]

        case = f"{masks} masks, {self.options.threads} threads"
        self.emit(case, "unmask_s", "s", lambda run: run["unmask_s"],
                  ("<=", lambda run: 1.3 * floor(run)))
        self.emit(case, "unmask_over_keystream", "times",
                  lambda run: run["unmask_s"] / floor(run), ("<=", lambda run: 1.3))


def run(command):
    done = subprocess.run([str(word) for word in command], text=True, check=True,
                          stdout=subprocess.PIPE)
    return json.loads(done.stdout)


def median(runs, value):
    return statistics.median(value(run) for run in runs)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", type=pathlib.Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--repeats", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    options.repeats = options.repeats or (1 if options.quick else 5)
    bench = Bench(options)
    bench.measure()
    bench.report()


if __name__ == "__main__":
    main()
