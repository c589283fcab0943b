#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The same rounds in ours and in other systems, in turn; prints medians as JSON lines.

Ours runs over mutual TLS with digests, log and durable state; the others without any of that.
Processor time and peak memory are those of the server's processes; theirs counts their start,
too, shared among the rounds. A peer that has not begun three rounds within --limit seconds is named
on stderr and has no row.

Options behind `bench/run.sh transport --peers --`:
  --clients N --megabytes N --tensors N   one case of its own
  --turns N                               of each system (2; 1 with --quick)
  --limit SECONDS                         for one peer's rounds (900)
  --only NAME                             Flower or NVFlare (both)
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import types

from systems import ROUNDS, Failed, Flower, NvFlare


def load_of(clients, megabytes, tensors):
    return types.SimpleNamespace(clients=clients, megabytes=megabytes, tensors=tensors)


CASES = [load_of(10, 1, 10), load_of(2, 100, 1000), load_of(10, 100, 100)]
QUICK = [load_of(2, 1, 2)]


def ours(options, load):
    """The program's lines, by case and metric."""
    done = subprocess.run(
        [options.program, "--coordinator", options.coordinator, "--clients", str(load.clients),
         "--megabytes", str(load.megabytes), "--tensors", str(max(load.tensors, 2)),
         "--rounds", str(ROUNDS)], check=True, text=True, stdout=subprocess.PIPE)
    return [json.loads(line) for line in done.stdout.splitlines()]


def theirs(peer, load, limit_s):
    with tempfile.TemporaryDirectory() as work:
        try:
            return peer.measure(load, pathlib.Path(work), limit_s)
        except Failed as error:
            print(f"{peer.name} has no result for {load.clients} x {load.megabytes} MB, "
                  f"{load.tensors} tensors, in {limit_s} s: {error}", file=sys.stderr)
            return None


def medians(runs):
    """One line for each case and metric of several runs of ours."""
    values = {}
    for line in (line for run in runs for line in run):
        values.setdefault((line["case"], line["metric"]), []).append(line)
    for lines in values.values():
        yield lines[0] | {"value": statistics.median(line["value"] for line in lines)}


def over(line, peer, value):
    return line | {"peer": peer, "peer_value": value, "ratio": value / line["value"]}


def rows(own, peers):
    """Ours, with what each of `peers` (name, runs) measured beside it."""
    for line in medians(own):
        if "goal" in line:
            line["ok"] = line["value"] <= line["goal"]
        print(json.dumps(line), flush=True)
        for name, runs in peers:
            if line["metric"] == "round_s":
                value = statistics.median(value for run in runs for value in run["rounds"])
            elif line["metric"] == "cpu_s":
                value = statistics.median(run["cpu_s"] for run in runs)
            elif line["metric"] == "coordinator_peak_mb":
                value = max(run["peak_mb"] for run in runs)
            else:
                continue
            bare = {key: line[key] for key in ("bench", "case", "metric", "value", "unit")}
            print(json.dumps(over(bare, name, value)), flush=True)


def compare(options, load, systems):
    own, results = [], {peer.name: [] for peer in systems}
    for _ in range(options.turns):
        own.append(ours(options, load))
        for peer in systems:
            measured = theirs(peer, load, options.limit)
            if measured:
                results[peer.name].append(measured)
    rows(own, [(name, runs) for name, runs in results.items() if runs])


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", type=pathlib.Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--coordinator", type=pathlib.Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--clients", type=int)
    parser.add_argument("--megabytes", type=int, default=100)
    parser.add_argument("--tensors", type=int, default=100)
    parser.add_argument("--turns", type=int)
    parser.add_argument("--limit", type=int, default=900)
    parser.add_argument("--only", choices=["Flower", "NVFlare"])
    options = parser.parse_args()
    options.turns = options.turns or (1 if options.quick else 2)
    cases = QUICK if options.quick else CASES
    if options.clients:
        cases = [load_of(options.clients, options.megabytes, options.tensors)]
    chosen = {"Flower": [Flower], "NVFlare": [NvFlare]}.get(options.only, [Flower, NvFlare])
    systems = [system() for system in chosen]
    for load in cases:
        compare(options, load, systems)


if __name__ == "__main__":
    main()
