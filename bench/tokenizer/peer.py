#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The same with Hugging Face's tokenizers; prints what fedtune-bench-tokenizer prints.

Without offsets, its fastest way. The time is that of the library alone: its ids are made lists of
Python's outside of it.
"""

import argparse
import array
import json
import pathlib
import statistics
import time
import zlib

from tokenizers import Tokenizer

LEAST_SECONDS = 1.0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--texts", type=pathlib.Path, required=True)
    options = parser.parse_args()
    tokenizer = Tokenizer.from_file(options.tokenizer)
    texts = json.loads(options.texts.read_text())
    encoded = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
    ids = array.array("i", (token for one in encoded for token in one.ids))
    passes = []
    while sum(passes) < LEAST_SECONDS:
        start = time.process_time()
        tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        passes.append(time.process_time() - start)
    print(json.dumps({"tokens": len(ids), "crc32": zlib.crc32(ids.tobytes()),
                      "cpu_s": statistics.median(passes)}))


if __name__ == "__main__":
    main()
