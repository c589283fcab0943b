#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Trains on the demo's base model and on random ones, each measurement in a process of its own.

Options behind `bench/run.sh train --`:
  --case NAME      only cases with this in their name; those of shape L run only with it
  --repeats N      processes for each case and system, in turn (5)
  --threads N      0: all cores (0)
  --rank N         LoRA rank of every adapted layer (16)
  --experts WAY    how transformers computes the routed experts (grouped_mm, eager, batched_mm)
  --forecast       only ours, and only its memory beside the forecast, for cases of their own
"""

import argparse
import dataclasses
import gzip
import json
import pathlib
import random
import shutil
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEMO_MODEL = ROOT / "examples/base_model/icd-moe"
DATA_SETS = ROOT.parent / "shared/data/federated"
PEER = "transformers+peft"
MB = 1e6

# Attention, shared experts and dense layers; and the routed experts too.
TARGETS = {"t1": "attention,shared_experts,dense_mlp", "t2": "all-linear"}


# What models of one architecture have in common.
COMMON = {"hidden_act": "silu", "attention_bias": False, "rms_norm_eps": 1e-6,
          "first_k_dense_replace": 1, "moe_layer_freq": 1, "num_experts_per_tok": 6,
          "n_shared_experts": 2, "rope_theta": 10000.0, "max_position_embeddings": 2048,
          "tie_word_embeddings": False}
ARCHITECTURES = {
    "V2": {"architectures": ["DeepseekV2ForCausalLM"], "model_type": "deepseek_v2",
           "n_group": 1, "topk_group": 1, "topk_method": "greedy", "norm_topk_prob": False,
           "routed_scaling_factor": 1.0, "scoring_func": "softmax", "q_lora_rank": None},
    "V3": {"architectures": ["DeepseekV3ForCausalLM"], "model_type": "deepseek_v3",
           "n_group": 4, "topk_group": 2, "topk_method": "noaux_tc", "norm_topk_prob": True,
           "routed_scaling_factor": 2.5, "scoring_func": "sigmoid"},
}
SHAPES = {
    "L": dict(hidden_size=1024, intermediate_size=2816, moe_intermediate_size=512,
              num_hidden_layers=12, n_routed_experts=64, kv_lora_rank=256, q_lora_rank=384,
              num_attention_heads=16, qk_nope_head_dim=64, qk_rope_head_dim=32, v_head_dim=64,
              vocab_size=32000),
    "S": dict(hidden_size=512, intermediate_size=1408, moe_intermediate_size=352,
              num_hidden_layers=8, n_routed_experts=32, kv_lora_rank=128, q_lora_rank=192,
              num_attention_heads=8, qk_nope_head_dim=64, qk_rope_head_dim=32, v_head_dim=64,
              vocab_size=8192),
    "XS": dict(hidden_size=128, intermediate_size=352, moe_intermediate_size=96,
               num_hidden_layers=3, n_routed_experts=8, num_experts_per_tok=2,
               n_shared_experts=1, kv_lora_rank=32, q_lora_rank=48, num_attention_heads=4,
               qk_nope_head_dim=32, qk_rope_head_dim=16, v_head_dim=32, vocab_size=2048),
}


def config_json(model, dtype):
    """Of "S V2" and the like."""
    shape, architecture = model.split()
    heads = SHAPES[shape]["num_attention_heads"]
    return (COMMON | {"num_key_value_heads": heads, "torch_dtype": dtype} | SHAPES[shape]
            | ARCHITECTURES[architecture])


@dataclasses.dataclass(frozen=True)
class Case:
    """A model, what of it is adapted, and the batch of a step: of records of that length, or
    of those of a data set, as long as they are, or left out if they are longer."""

    model: str  # "demo", or a shape and an architecture: "S V2".
    targets: str  # One of TARGETS.
    batch: int
    length: int
    steps: int
    dtype: str = "float32"  # Of the checkpoint, and what theirs computes in.
    is_big: bool = False  # Gigabytes and minutes: only when its name is given.
    data: str | None = None  # Of DATA_SETS, or of the demo.
    recomputed: int = 0  # Layers; theirs has no such case.

    def name(self):
        length = f"records of {self.data}" if self.data else str(self.length)
        name = f"{self.model} {self.targets} {self.dtype}, {self.batch} x {length}"
        return f"{name}, {self.recomputed} layers recomputed" if self.recomputed else name

    def lines(self):
        """Of the data set; None where it is not there."""
        if self.data == "icd10":
            return (ROOT / "examples/icd10/heldout.jsonl").read_text(encoding="utf-8")
        path = DATA_SETS / f"{self.data}.jsonl.gz"
        return gzip.decompress(path.read_bytes()).decode() if path.exists() else None


CASES = [Case("demo", "t1", 8, 28, 40), Case("demo", "t2", 8, 28, 40),
         Case("demo", "t1", 16, 256, 10),
         *(Case(f"S {architecture}", targets, 8, 256, 3, dtype)
           for architecture in ARCHITECTURES for dtype in ("float32", "bfloat16")
           for targets in TARGETS),
         *(Case("S V2", "t1", batch, 1024, 8, dtype, data=data)
           for dtype in ("float32", "bfloat16")
           for data, batch in (("banking77", 64), ("cfpb-by-company", 16))),
         *(Case("S V2", "t2", 8, 256, 3, recomputed=layers) for layers in (4, 8)),
         *(Case(f"L {architecture}", targets, 4, 256, 2, dtype, is_big=True)
           for architecture in ARCHITECTURES for dtype in ("float32", "bfloat16")
           for targets in TARGETS)]
QUICK = [Case("XS V2", "t1", 4, 64, 5), Case("XS V2", "t2", 4, 64, 5),
         Case("XS V2", "t2", 4, 64, 5, recomputed=2),
         Case("XS V3", "t2", 4, 64, 5, "bfloat16"), Case("XS V2", "t1", 4, 256, 5, data="icd10")]

FORECASTS = [Case("S V2", "t1", 8, 256, 1), Case("S V3", "t2", 8, 256, 1),
             Case("S V2", "t2", 8, 256, 1, "bfloat16"), Case("S V3", "t1", 8, 256, 1, "bfloat16"),
             Case("S V2", "t2", 4, 128, 1), Case("S V3", "t2", 16, 256, 1, "bfloat16"),
             Case("S V2", "t2", 8, 256, 1, recomputed=4), Case("S V2", "t2", 8, 256, 1, recomputed=8),
             Case("S V3", "t2", 16, 256, 1, "bfloat16", recomputed=8),
             *(Case("S V2", "t1", batch, 1024, steps, dtype, data=data)
               for dtype in ("float32", "bfloat16")
               for data, batch, steps in (("icd10", 64, 6), ("banking77", 64, 8),
                                          ("cfpb-by-company", 16, 8))),
             Case("S V2", "t2", 16, 1024, 8, data="cfpb-by-company", recomputed=4)]


class Bench:
    """Runs cases and prints their results."""

    def __init__(self, options, folder):
        self.options = options
        self.folder = pathlib.Path(folder)
        self.python = None
        if options.peers:
            setup = subprocess.run([ROOT / "tests/interop/setup.sh"], check=True, text=True,
                                   stdout=subprocess.PIPE)
            self.python = pathlib.Path(setup.stdout.strip()) / "bin/python"

    def model(self, case):
        """The folder of a case's model, made on first use."""
        if case.model == "demo":
            return DEMO_MODEL
        directory = self.folder / f"{case.model} {case.dtype}"
        if not directory.exists():
            for other in self.folder.glob("*/"):  # One at a time: the big ones fill a disk.
                shutil.rmtree(other)
            config = self.folder / "config.json"
            config.write_text(json.dumps(config_json(case.model, case.dtype), indent=1) + "\n")
            self.run([self.options.program, "model", "--config", config, "--out", directory])
        return directory

    @staticmethod
    def run(command):
        done = subprocess.run([str(word) for word in command], text=True, check=True,
                              stdout=subprocess.PIPE)
        return done.stdout

    def lengths(self, case):
        """The file that says how long a case's records are, in an order drawn once, made on
        first use."""
        path = self.folder / f"{case.data}.lengths.json"
        if not path.exists():
            data = self.folder / f"{case.data}.jsonl"
            data.write_text(case.lines(), encoding="utf-8")
            pairs = json.loads(self.run([self.options.program, "lengths", "--model", DEMO_MODEL,
                                         "--data", data, "--length", case.length]))
            random.Random(7).shuffle(pairs)
            path.write_text(json.dumps(pairs) + "\n")
        return path

    def measure(self, case, command):
        """One training in a process of its own."""
        if case.data:
            command = [*command, "--lengths", self.lengths(case)]
        return json.loads(self.run([
            *command, "--model", self.model(case), "--targets", TARGETS[case.targets],
            "--rank", self.options.rank, "--batch", case.batch, "--length", case.length,
            "--steps", case.steps, "--threads", self.options.threads]))

    def compare(self, case):
        """Ours and theirs in turn; prints the medians."""
        if case.data and case.lines() is None:
            print(f"skipped, {DATA_SETS} has no {case.data}: {case.name()}", file=sys.stderr)
            return
        ours, padded, theirs = [], [], []
        for _ in range(self.options.repeats):
            ours.append(self.measure(case, [self.options.program, "measure",
                                            "--recomputed-layers", case.recomputed,
                                            *["--memory-only"] * self.options.forecast]))
            if case.data and not self.options.forecast:
                padded.append(self.measure(case, [self.options.program, "measure", "--padded",
                                                  "--memory-only"]))
            if self.python and not case.recomputed:
                script = ROOT / "bench/train/peer.py"
                theirs.append(self.measure(case, [
                    self.python, "-W", "ignore", script, "--dtype", case.dtype,
                    "--experts", self.options.experts]))
        self.report(case, ours, theirs, padded)

    def report(self, case, ours, theirs, padded):
        def emit(metric, unit, value, peer=None, goal=None):
            line = {"bench": "train", "case": case.name(), "metric": metric,
                    "value": value(ours), "unit": unit}
            if goal is not None:
                line |= {"goal": goal, "ok": line["value"] <= goal}
            if theirs and peer:
                line |= {"peer": PEER, "peer_value": peer(theirs)}
                line["ratio"] = line["peer_value"] / line["value"]
            print(json.dumps(line), flush=True)

        emit("peak_mb", "MB", lambda runs: median(runs, "peak_bytes") / MB,
             lambda runs: median(runs, "peak_bytes") / MB)
        emit("forecast_mb", "MB", lambda runs: median(runs, "forecast_bytes") / MB)
        emit("forecast_error_percent", "%", forecast_error, goal=10)
        if self.options.forecast:
            return
        self.report_steps(emit, case, padded)
        emit("over_matrix_products", "times", over("wall_s", "products_s"))
        emit("over_products_cpu", "times", over("cpu_s", "products_cpu_s"))
        emit("products_ms", "ms", lambda runs: 1e3 * median(runs, "products_s"))
        emit("over_frozen_products_cpu", "times", over("cpu_s", "frozen_products_cpu_s"))
        emit("frozen_products_ms", "ms", lambda runs: 1e3 * median(runs, "frozen_products_s"))
        emit("gemm_gflops", "GF/s", lambda runs: median(runs, "gemm_per_s") / 1e9)
        emit("trained_parameters", "", lambda runs: runs[0]["trained_parameters"],
             lambda runs: runs[0]["trained_parameters"])

    @staticmethod
    def report_steps(emit, case, padded):
        """Tokens a second leave out those that only fill up."""
        step = mean_step if case.data else steps

        def tokens_per_second(runs):
            return runs[0]["tokens"] / step(runs, "wall_s")

        emit("tokens_per_s", "1/s", tokens_per_second, tokens_per_second)
        if case.data:
            emit("padding_over_packing_cpu", "times",
                 lambda runs: step(padded, "cpu_s") / step(runs, "cpu_s"))
        for metric, key in (("step_ms", "wall_s"), ("step_cpu_ms", "cpu_s")):
            def milliseconds(runs, key=key):
                return 1e3 * step(runs, key)

            emit(metric, "ms", milliseconds, milliseconds)


def over(step, products):
    """A function of runs: the median step over its bare products."""
    return lambda runs: statistics.median(
        statistics.median(run[step]) / run[products] for run in runs)


def steps(runs, key):
    """The median step."""
    return statistics.median(value for run in runs for value in run[key])


def mean_step(runs, key):
    """The mean step of the median process: where records differ in length, so do steps."""
    return statistics.median(statistics.mean(run[key]) for run in runs)


def median(runs, key):
    return statistics.median(run[key] for run in runs)


def forecast_error(runs):
    """How far the forecast of the memory is from its peak, either way."""
    return 100 * abs(median(runs, "forecast_bytes") / median(runs, "peak_bytes") - 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", type=pathlib.Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--case", default="")
    parser.add_argument("--repeats", type=int, default=0)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--experts", default="grouped_mm")
    parser.add_argument("--forecast", action="store_true")
    options = parser.parse_args()
    if options.forecast and options.peers:
        parser.error("the forecast is of our memory: leave out --peers")
    options.repeats = options.repeats or (1 if options.quick or options.forecast else 5)
    every = FORECASTS if options.forecast else QUICK if options.quick else CASES
    cases = [case for case in every
             if options.case in case.name() and (options.case or not case.is_big)]
    if not cases:
        parser.error(f"no case has {options.case!r} in its name")
    with tempfile.TemporaryDirectory(prefix="fedtune-bench-") as folder:
        bench = Bench(options, folder)
        for case in cases:
            bench.compare(case)


if __name__ == "__main__":
    main()
