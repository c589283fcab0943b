#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Reads a benchmark's JSON lines and prints them as a table, or checked with --json.

bench/run.sh calls it. Rows appear as they are measured.
"""

import json
import sys

NEEDED = {"bench": str, "case": str, "metric": str, "value": (int, float), "unit": str}
EXTRA = {"goal": (int, float), "ok": bool, "peer": str, "peer_value": (int, float),
         "ratio": (int, float)}
TOGETHER = [{"goal", "ok"}, {"peer", "peer_value", "ratio"}]
ROW = "{:<28} {:<22} {:>12} {:<6} {:>10} {:<7} {}"


def parse(line):
    """The result in `line`; ValueError says what is wrong with it."""
    result = json.loads(line)
    if not isinstance(result, dict):
        raise ValueError("not an object")
    for key, kind in NEEDED.items():
        if not isinstance(result.get(key), kind):
            raise ValueError(f'"{key}" is missing or of another type')
    for key, value in result.items():
        kind = NEEDED.get(key) or EXTRA.get(key)
        if kind is None or not isinstance(value, kind):
            raise ValueError(f'"{key}" is unknown or of another type')
    for keys in TOGETHER:
        if 0 < len(keys & result.keys()) < len(keys):
            raise ValueError(f"{', '.join(sorted(keys))} belong together")
    return result


def number(value):
    """Four significant digits, no exponent."""
    if isinstance(value, int) or abs(value) >= 1000:
        return f"{value:,.0f}"
    text = f"{value:.4g}"
    return f"{value:.6f}" if "e" in text else text


def row(result):
    goal = number(result["goal"]) if "goal" in result else ""
    verdict = {True: "met", False: "missed"}.get(result.get("ok"), "")
    peer = ""
    if "peer" in result:
        peer = (f"{result['peer']}: {number(result['peer_value'])} {result['unit']}, "
                f"{number(result['ratio'])} times ours")
    return ROW.format(result["case"], result["metric"], number(result["value"]), result["unit"],
                      goal, verdict, peer).rstrip()


def main():
    as_json = sys.argv[1:] == ["--json"]
    if not as_json:
        print(ROW.format("case", "metric", "value", "unit", "goal", "", "").rstrip(), flush=True)
    for line in sys.stdin:
        try:
            result = parse(line)
        except ValueError as error:
            print(f"error: not a result: {line.strip()!r}: {error}", file=sys.stderr)
            return 1
        print(json.dumps(result) if as_json else row(result), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
