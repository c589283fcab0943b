#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The same with transformers; prints what fedtune-bench-open prints. Runs in tests/interop's environment."""

import argparse
import json
import resource
import time

import torch
from transformers import AutoModelForCausalLM
from transformers.utils import logging


def resident_bytes():
    with open("/proc/self/status", encoding="ascii") as status:
        return next(1024 * int(line.split()[1]) for line in status if line.startswith("VmRSS:"))


def cpu_seconds():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--dtype", required=True)
    arguments = parser.parse_args()
    logging.disable_progress_bar()
    started_with, started = resident_bytes(), (time.perf_counter(), cpu_seconds())
    model = AutoModelForCausalLM.from_pretrained(arguments.model, dtype=getattr(torch, arguments.dtype))
    print(json.dumps({"wall_s": time.perf_counter() - started[0], "cpu_s": cpu_seconds() - started[1],
                      "started_with_bytes": started_with, "resident_bytes": resident_bytes(),
                      "parameters": sum(p.numel() for p in model.parameters())}))


if __name__ == "__main__":
    main()
