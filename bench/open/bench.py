#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Opens a random checkpoint in several files, each measurement in a process of its own.

Options behind `bench/run.sh open --`:
  --repeats N      processes for each case and system, in turn (5)
"""

import argparse
import dataclasses
import json
import pathlib
import statistics
import struct
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "bench/train"))

import bench as train

SHARDS = 4
PEER_GOAL = 20
RESIDENT_GOAL_MB = 100


@dataclasses.dataclass(frozen=True)
class Case:
    """As in bench/train."""

    model: str
    dtype: str

    def name(self):
        return f"{self.model} {self.dtype}, {SHARDS} files"


CASES = [Case("L V2", "float32")]
QUICK = [Case("XS V2", "float32"), Case("XS V3", "bfloat16")]


def split(folder):
    """Moves the one file of a checkpoint into several, with an index."""
    whole = folder / "model.safetensors"
    with open(whole, "rb") as file:
        size, = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(size))
        metadata = header.pop("__metadata__")
        names = sorted(header, key=lambda name: header[name]["data_offsets"])
        index = {}
        for number in range(SHARDS):
            shard = f"model-{number + 1:05}-of-{SHARDS:05}.safetensors"
            some = names[number * len(names) // SHARDS:(number + 1) * len(names) // SHARDS]
            index |= dict.fromkeys(some, shard)
            write_shard(folder / shard, file, 8 + size, {name: header[name] for name in some}, metadata)
    size = sum(end - begin for begin, end in (tensor["data_offsets"] for tensor in header.values()))
    whole.unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps(
        {"metadata": {"total_size": size}, "weight_map": index}))


def write_shard(path, file, data, tensors, metadata):
    """One file, of tensors that lie together in `file`, whose data begins at `data`."""
    begin = min(tensor["data_offsets"][0] for tensor in tensors.values())
    end = max(tensor["data_offsets"][1] for tensor in tensors.values())
    header = {"__metadata__": metadata} | {
        name: tensor | {"data_offsets": [at - begin for at in tensor["data_offsets"]]}
        for name, tensor in tensors.items()}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as out:
        out.write(struct.pack("<Q", len(text)) + text)
        file.seek(data + begin)
        for at in range(begin, end, 1 << 24):
            out.write(file.read(min(1 << 24, end - at)))


class Bench:
    """Runs cases and prints their results."""

    def __init__(self, options, folder):
        self.options = options
        # It makes the models, and knows where transformers is.
        self.training = train.Bench(argparse.Namespace(
            peers=options.peers, program=options.programs / "fedtune-bench-train"), folder)

    def compare(self, case):
        """Ours and theirs in turn; prints the medians."""
        model = self.training.model(case)
        split(model)
        ours, theirs = [], []
        for _ in range(self.options.repeats):
            program = self.options.programs / "fedtune-bench-open"
            ours.append(json.loads(self.training.run([program, "measure", "--model", model])))
            if self.training.python:
                theirs.append(json.loads(self.training.run([
                    self.training.python, "-W", "ignore", ROOT / "bench/open/peer.py",
                    "--model", model, "--dtype", case.dtype])))
        self.report(case, ours, theirs)

    @staticmethod
    def report(case, ours, theirs):
        def emit(metric, unit, value, goal=None):
            line = {"bench": "open", "case": case.name(), "metric": metric, "value": value(ours),
                    "unit": unit}
            if goal is not None:
                line |= {"goal": goal, "ok": line["value"] <= goal}
            if theirs:
                line |= {"peer": "transformers", "peer_value": value(theirs)}
                line["ratio"] = line["peer_value"] / line["value"]
            print(json.dumps(line), flush=True)

        seconds_goal = train.median(theirs, "wall_s") / PEER_GOAL if theirs else None
        emit("seconds", "s", lambda runs: train.median(runs, "wall_s"), seconds_goal)
        emit("cpu_seconds", "s", lambda runs: train.median(runs, "cpu_s"))
        emit("resident_mb", "MB", added_mb, RESIDENT_GOAL_MB)
        emit("process_mb", "MB", lambda runs: train.median(runs, "resident_bytes") / train.MB)


def added_mb(runs):
    """Memory that is resident because of the opening: without the program and LibTorch themselves."""
    return statistics.median(run["resident_bytes"] - run["started_with_bytes"] for run in runs) / train.MB


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", type=pathlib.Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--repeats", type=int, default=0)
    options = parser.parse_args()
    options.repeats = options.repeats or (1 if options.quick else 5)
    with tempfile.TemporaryDirectory(prefix="fedtune-bench-") as folder:
        bench = Bench(options, folder)
        for case in QUICK if options.quick else CASES:
            bench.compare(case)


if __name__ == "__main__":
    main()
