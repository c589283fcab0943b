#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The same with transformers; prints what fedtune-bench-decode prints.

Runs in tests/interop's environment.
"""

import argparse
import json
import resource
import time

import torch
from transformers import AutoModelForCausalLM
from transformers.utils import logging


def parse_arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--prompt", type=int, required=True)
    parser.add_argument("--warm-up", type=int, required=True)
    parser.add_argument("--tokens", type=int, required=True)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--experts", default="eager")
    return parser.parse_args()


def cpu_seconds():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def write(model, prompt, warm_up, tokens):
    """Seconds of the prompt, and wall and CPU seconds of each token behind the first."""
    started = time.perf_counter()
    out = model(input_ids=prompt, use_cache=True, logits_to_keep=1)
    prompt_seconds = time.perf_counter() - started
    wall, cpu = [], []
    for _ in range(warm_up + tokens):
        started = time.perf_counter(), cpu_seconds()
        token = out.logits[:, -1].argmax(-1, keepdim=True)
        out = model(input_ids=token, past_key_values=out.past_key_values, use_cache=True)
        wall.append(time.perf_counter() - started[0])
        cpu.append(cpu_seconds() - started[1])
    return prompt_seconds, wall[warm_up:], cpu[warm_up:]


def main():
    arguments = parse_arguments()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    logging.disable_progress_bar()
    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_pretrained(
        arguments.model, dtype=getattr(torch, arguments.dtype), attn_implementation="sdpa",
        experts_implementation=arguments.experts).eval()
    prompt = torch.randint(model.config.vocab_size, (1, arguments.prompt))
    with torch.inference_mode():
        prompt_s, wall, cpu = write(model, prompt, arguments.warm_up, arguments.tokens)
    print(json.dumps({"wall_s": wall, "cpu_s": cpu, "prompt_s": prompt_s}))


if __name__ == "__main__":
    main()
