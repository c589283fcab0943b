#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What compression saves on plain contributions (masked ones are random, and save nothing).

Trains adapters of the demo's base model, as one department of the demo would in a round,
takes the difference from where they began, in fp32 and in bf16, and has the zstd and lz4 of
Debian compress it: as it is; with all first bytes of its values, then all second ones, and
so on; and only the bytes that hold sign and exponent, the others as they are. Rates are of
all bytes, by the processor's time, without that of the shuffling. `bench/run.sh compression`
runs it.
"""

import argparse
import array
import ctypes
import json
import pathlib
import struct
import subprocess
import sys
import tempfile
import time

MODEL = "examples/base_model/icd-moe"
DATA = "examples/icd10/cardiology-hospital/train.jsonl"
TRAINING = ["--rank", "16", "--targets", "attention,shared_experts,dense_mlp",
            "--sequence-length", "128", "--batch-size", "4"]
STEPS = (20, 100)
COMPRESSED_MB = 64   # The content, as often as that takes, for the rate.
PAYS_PERCENT = 15
PAYS_MB_S = 500


def values_of(adapter):
    """All tensors of a safetensors file with fp32 values, one after the other."""
    content = (adapter / "adapter_model.safetensors").read_bytes()
    header_size = struct.unpack("<Q", content[:8])[0]
    values = array.array("f")
    values.frombytes(content[8 + header_size:])
    return values


def train(program, folder, steps, rate="1e-3"):
    out = folder / f"{steps}-{rate}"
    subprocess.run([program, "train", "--base", MODEL, "--data", DATA, "--out", out, "--steps",
                    str(steps), "--seed", "1", *TRAINING, "--learning-rate", rate], check=True,
                   stdout=subprocess.DEVNULL, stderr=sys.stderr)
    return values_of(out)


def to_bf16(values):
    """Rounded to the nearest, ties to even."""
    short = array.array("H")
    for bits in array.array("I", values.tobytes()):
        short.append(((bits + 0x7fff + ((bits >> 16) & 1)) >> 16) & 0xffff)
    return short.tobytes()


def shuffled(content, width):
    return b"".join(content[i::width] for i in range(width))


def report(case, metric, value, unit, goal, met):
    print(json.dumps({"bench": "compression", "case": case, "metric": metric, "value": value,
                      "unit": unit, "goal": goal, "ok": met}), flush=True)


class Tools:
    """The libraries of Debian: each gives the size of what comes out."""

    def __init__(self):
        zstd, lz4 = ctypes.CDLL("libzstd.so.1"), ctypes.CDLL("liblz4.so.1")
        zstd.ZSTD_compress.restype = ctypes.c_size_t
        zstd.ZSTD_compress.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p,
                                       ctypes.c_size_t, ctypes.c_int]
        lz4.LZ4_compress_default.argtypes = [ctypes.c_char_p, ctypes.c_void_p, ctypes.c_int,
                                             ctypes.c_int]
        self.by_name = {
            "zstd -1": lambda content, out: zstd.ZSTD_compress(out, len(out), content,
                                                               len(content), 1),
            "zstd -3": lambda content, out: zstd.ZSTD_compress(out, len(out), content,
                                                               len(content), 3),
            "lz4": lambda content, out: lz4.LZ4_compress_default(content, out, len(content),
                                                                 len(out))}


def measure(tools, case, content, aside=b""):
    """What is saved of `content` and of what is `aside`, which is sent as it is."""
    copies = 1 + (COMPRESSED_MB << 20) // len(content)
    size = len(content) + len(aside)
    out = ctypes.create_string_buffer(2 * len(content) + 1024)
    for tool, compress in tools.by_name.items():
        begin = time.process_time()
        for _ in range(copies):
            compressed = compress(content, out)
        rate = copies * size / 1e6 / (time.process_time() - begin)
        if not 0 < compressed <= len(out):
            raise SystemExit(f"{tool} fails with {case}")
        saved = 100 * (len(content) - compressed) / size
        report(f"{case}, {tool}", "saved_percent", round(saved, 1), "%", PAYS_PERCENT,
               saved >= PAYS_PERCENT)
        report(f"{case}, {tool}", "mb_per_cpu_s", round(rate), "MB/s", PAYS_MB_S,
               rate >= PAYS_MB_S)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--program", required=True, type=pathlib.Path, help="fedtune-client")
    parser.add_argument("--quick", action="store_true", help="the shorter training only")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fedtune-bench-") as name:
        folder, tools = pathlib.Path(name), Tools()
        # So small a rate that no value moves from where it began by what fp32 can tell.
        begin = train(options.program, folder, 1, "1e-30")
        for steps in STEPS[:1] if options.quick else STEPS:
            end = train(options.program, folder, steps)
            delta = array.array("f", (b - a for a, b in zip(begin, end)))
            fp32, bf16 = delta.tobytes(), to_bf16(delta)
            for kind, content, width in (("fp32", fp32, 4), ("bf16", bf16, 2)):
                measure(tools, f"{steps} steps, {kind}", content)
                measure(tools, f"{steps} steps, {kind} shuffled", shuffled(content, width))
                # The rest is close to random: the bytes with sign and exponent alone.
                first = content[width - 1::width]
                rest = b"".join(content[i::width] for i in range(width - 1))
                measure(tools, f"{steps} steps, {kind} exponents", first, rest)


if __name__ == "__main__":
    main()
