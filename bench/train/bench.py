#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Trains on the demo's base model and on random ones, each measurement in a process of its own.

Options behind `bench/run.sh train --`:
  --case NAME      only cases with this in their name
  --repeats N      processes for each case and system, in turn (5)
  --threads N      0: all cores (0)
  --rank N         LoRA rank of every adapted layer (16)
"""

import argparse
import dataclasses
import json
import pathlib
import statistics
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEMO_MODEL = ROOT / "examples/base_model/icd-moe"
PEER = "transformers+peft"
MB = 1e6

# Attention, shared experts and dense layers; and the routed experts too.
TARGETS = {"t1": "attention,shared_experts,dense_mlp", "t2": "all-linear"}


def deepseek_v2(**shape):
    """A config.json; the rest is what every shape here has in common."""
    return {"architectures": ["DeepseekV2ForCausalLM"], "model_type": "deepseek_v2",
            "hidden_act": "silu", "attention_bias": False, "rms_norm_eps": 1e-6,
            "torch_dtype": "float32", "first_k_dense_replace": 1, "moe_layer_freq": 1,
            "n_group": 1, "topk_group": 1, "topk_method": "greedy", "norm_topk_prob": False,
            "routed_scaling_factor": 1.0, "scoring_func": "softmax", "rope_theta": 10000.0,
            "max_position_embeddings": 2048, "tie_word_embeddings": False, "q_lora_rank": None,
            "num_key_value_heads": shape["num_attention_heads"], **shape}


SHAPES = {
    "S": deepseek_v2(hidden_size=512, intermediate_size=1408, moe_intermediate_size=352,
                     num_hidden_layers=8, n_routed_experts=32, num_experts_per_tok=6,
                     n_shared_experts=2, kv_lora_rank=128, num_attention_heads=8,
                     qk_nope_head_dim=64, qk_rope_head_dim=32, v_head_dim=64, vocab_size=8192),
    "XS": deepseek_v2(hidden_size=128, intermediate_size=352, moe_intermediate_size=96,
                      num_hidden_layers=3, n_routed_experts=8, num_experts_per_tok=2,
                      n_shared_experts=1, kv_lora_rank=32, num_attention_heads=4,
                      qk_nope_head_dim=32, qk_rope_head_dim=16, v_head_dim=32, vocab_size=2048),
}


@dataclasses.dataclass(frozen=True)
class Case:
    """A model, what of it is adapted, and the batch of a step."""

    model: str  # "demo", or one of SHAPES.
    targets: str  # One of TARGETS.
    batch: int
    length: int
    steps: int

    def name(self):
        return f"{self.model} {self.targets}, {self.batch} x {self.length}"


CASES = [Case("demo", "t1", 8, 28, 40), Case("demo", "t2", 8, 28, 40),
         Case("demo", "t1", 16, 256, 10), Case("S", "t1", 8, 256, 3), Case("S", "t2", 8, 256, 3)]
QUICK = [Case("XS", "t1", 4, 64, 5), Case("XS", "t2", 4, 64, 5)]


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
        directory = self.folder / case.model
        if not directory.exists():
            config = self.folder / f"{case.model}.json"
            config.write_text(json.dumps(SHAPES[case.model], indent=1) + "\n")
            self.run([self.options.program, "model", "--config", config, "--out", directory])
        return directory

    @staticmethod
    def run(command):
        done = subprocess.run([str(word) for word in command], text=True, check=True,
                              stdout=subprocess.PIPE)
        return done.stdout

    def measure(self, case, command):
        """One training in a process of its own."""
        return json.loads(self.run([
            *command, "--model", self.model(case), "--targets", TARGETS[case.targets],
            "--rank", self.options.rank, "--batch", case.batch, "--length", case.length,
            "--steps", case.steps, "--threads", self.options.threads]))

    def compare(self, case):
        """Ours and theirs in turn; prints the medians."""
        ours, theirs = [], []
        for _ in range(self.options.repeats):
            ours.append(self.measure(case, [self.options.program, "measure"]))
            if self.python:
                script = ROOT / "bench/train/peer.py"
                theirs.append(self.measure(case, [self.python, "-W", "ignore", script]))
        self.report(case, ours, theirs)

    def report(self, case, ours, theirs):
        def emit(metric, unit, value, peer=None, goal=None):
            line = {"bench": "train", "case": case.name(), "metric": metric,
                    "value": value(ours), "unit": unit}
            if goal is not None:
                line |= {"goal": goal, "ok": line["value"] <= goal}
            if theirs and peer:
                line |= {"peer": PEER, "peer_value": peer(theirs)}
                line["ratio"] = line["peer_value"] / line["value"]
            print(json.dumps(line), flush=True)

        emit("tokens_per_s", "1/s", tokens_per_second, tokens_per_second)
        emit("step_ms", "ms", lambda runs: 1e3 * steps(runs, "wall_s"),
             lambda runs: 1e3 * steps(runs, "wall_s"))
        emit("step_cpu_ms", "ms", lambda runs: 1e3 * steps(runs, "cpu_s"),
             lambda runs: 1e3 * steps(runs, "cpu_s"))
        emit("over_matrix_products", "times", lambda runs: statistics.median(
            statistics.median(run["wall_s"]) / run["products_s"] for run in runs))
        emit("over_products_cpu", "times", lambda runs: statistics.median(
            statistics.median(run["cpu_s"]) / run["products_cpu_s"] for run in runs))
        emit("products_ms", "ms", lambda runs: 1e3 * median(runs, "products_s"))
        emit("gemm_gflops", "GF/s", lambda runs: median(runs, "gemm_per_s") / 1e9)
        emit("peak_mb", "MB", lambda runs: median(runs, "peak_bytes") / MB,
             lambda runs: median(runs, "peak_bytes") / MB)
        emit("forecast_mb", "MB", lambda runs: median(runs, "forecast_bytes") / MB)
        emit("forecast_error_percent", "%", forecast_error, goal=15)
        emit("trained_parameters", "", lambda runs: runs[0]["trained_parameters"],
             lambda runs: runs[0]["trained_parameters"])


def steps(runs, key):
    """The median step."""
    return statistics.median(value for run in runs for value in run[key])


def median(runs, key):
    return statistics.median(run[key] for run in runs)


def tokens_per_second(runs):
    return runs[0]["tokens"] / steps(runs, "wall_s")


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
    options = parser.parse_args()
    options.repeats = options.repeats or (1 if options.quick else 5)
    cases = [case for case in (QUICK if options.quick else CASES) if options.case in case.name()]
    if not cases:
        parser.error(f"no case has {options.case!r} in its name")
    with tempfile.TemporaryDirectory(prefix="fedtune-bench-") as folder:
        bench = Bench(options, folder)
        for case in cases:
            bench.compare(case)


if __name__ == "__main__":
    main()
