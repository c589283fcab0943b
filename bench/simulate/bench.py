#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs fedtune-simulate with more and more clients, and prints what each took.

The state is in memory where there is such a place (fedtune-simulate's default): on a
disk each transition that stores something also waits for that disk.
"""

import argparse
import json
import pathlib
import subprocess

FOLDER = pathlib.Path(__file__).parent
MOST_MS = 1.0  # Of a transition, in 99 of 100.


def totals(program, plan, clients):
    """The last line that the program prints."""
    done = subprocess.run([program, FOLDER / plan, "--clients", str(clients), "--json"],
                          check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def say(case, metric, value, unit, **more):
    print(json.dumps({"bench": "simulate", "case": case, "metric": metric,
                      "value": round(value, 4), "unit": unit, **more}), flush=True)


def measure(program, plan, mode, clients):
    """Prints a case."""
    took = totals(program, plan, clients)
    case = f"{mode}, {clients} clients"
    goal = {"goal": MOST_MS, "ok": took["transition_p99_ms"] < MOST_MS}
    say(case, "transition_median_ms", took["transition_median_ms"], "ms")
    say(case, "transition_p99_ms", took["transition_p99_ms"], "ms", **goal)
    say(case, "transition_max_ms", took["transition_max_ms"], "ms")
    say(case, "release_max_ms", took["release_max_ms"], "ms")
    say(case, "memory_kb_per_client", took["memory_bytes_per_client"] / 1e3, "kB")
    say(case, "wall_s_per_round", took["wall_seconds"] / took["rounds"], "s")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--program", required=True)
    parser.add_argument("--quick", action="store_true", help="without the largest cases")
    options = parser.parse_args()
    for clients in [1_000, 10_000] if options.quick else [1_000, 10_000, 100_000]:
        measure(options.program, "plain.toml", "plain", clients)
    if not options.quick:
        measure(options.program, "secure.toml", "secure", 1_000)


if __name__ == "__main__":
    main()
