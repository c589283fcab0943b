#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The same training with transformers and peft; prints what fedtune-bench-train prints.

Runs in tests/interop's environment. The routed experts are computed as --experts says; grouped
products are transformers' fastest way on a CPU. There peft adapts the fused gate and up projections of all
experts together, so that both share an A: it trains fewer numbers than we do.
"""

import argparse
import json
import pathlib
import resource
import sys
import time

import torch

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tests/interop"))

import peft_form
import reference_lora as lora
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM
from transformers.utils import logging


def parse_arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--targets", required=True)
    parser.add_argument("--rank", type=int, required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--length", type=int, required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--lengths")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--experts", default="grouped_mm")
    return parser.parse_args()


def load(folder, dtype, experts):
    return AutoModelForCausalLM.from_pretrained(
        folder, dtype=getattr(torch, dtype), attn_implementation="sdpa",
        experts_implementation=experts).requires_grad_(False)


def expected_parameters(config, rank, routed):
    """Ours, but that every expert's gate and up have one A."""
    count = lora.parameter_count(config, rank, routed)
    if routed:
        layers = config.num_hidden_layers - config.first_k_dense_replace
        count -= layers * config.n_routed_experts * rank * config.hidden_size
    return count


def adapt(model, rank, routed):
    """The model with LoRA, and the number of trained parameters, none silently dropped."""
    form = peft_form.adapter_config(list(lora.adapted_shapes(model.config, routed=False)), rank, 2 * rank)
    if routed:
        form["target_parameters"] += [name for name, _ in model.named_parameters() if ".mlp.experts." in name]
    adapted = get_peft_model(model, LoraConfig(
        r=rank, lora_alpha=2 * rank, target_modules=form["target_modules"],
        target_parameters=form["target_parameters"], task_type="CAUSAL_LM"))
    count = sum(p.numel() for p in adapted.parameters() if p.requires_grad)
    expected = expected_parameters(model.config, rank, routed)
    assert count == expected, f"peft trains {count} parameters, not {expected}"
    return adapted, count


def cpu_seconds():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def batches(arguments, vocabulary):
    """Of each step, padded to the longest record; and the number of tokens that are none of the padding, on
    average after the first step. As usual, the loss leaves prompts and padding out."""
    count = arguments.batch * (arguments.steps + 1)
    pairs = [(arguments.length, 1)] * count
    if arguments.lengths:
        pairs = json.loads(pathlib.Path(arguments.lengths).read_text(encoding="utf-8"))[:count]
    every = []
    for begin in range(0, count, arguments.batch):
        step = pairs[begin:begin + arguments.batch]
        shape = (len(step), max(length for length, _ in step))
        tokens = torch.randint(vocabulary, shape)
        mask = torch.arange(shape[1])[None, :] < torch.tensor([length for length, _ in step])[:, None]
        answer = mask & (torch.arange(shape[1])[None, :] >= torch.tensor([prompt for _, prompt in step])[:, None])
        every.append({"input_ids": tokens, "labels": torch.where(answer, tokens, -100)}
                     | ({} if mask.all() else {"attention_mask": mask.long()}))
    real = sum(length for length, _ in pairs[arguments.batch:])
    return every, real // arguments.steps


def train(model, every):
    """Wall and CPU seconds of each step after the first."""
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4)
    wall, cpu = [], []
    for batch in every:
        started = time.perf_counter(), cpu_seconds()
        model(**batch, use_cache=False).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        wall.append(time.perf_counter() - started[0])
        cpu.append(cpu_seconds() - started[1])
    return wall[1:], cpu[1:]


def main():
    arguments = parse_arguments()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    logging.disable_progress_bar()
    torch.manual_seed(1)
    model, count = adapt(load(arguments.model, arguments.dtype, arguments.experts), arguments.rank, arguments.targets == "all-linear")
    every, tokens = batches(arguments, model.config.vocab_size)
    wall, cpu = train(model.train(), every)
    print(json.dumps({"trained_parameters": count, "tokens": tokens, "wall_s": wall,
                      "cpu_s": cpu, "peak_bytes": 1024 * resource.getrusage(
                          resource.RUSAGE_SELF).ru_maxrss}))


if __name__ == "__main__":
    main()
