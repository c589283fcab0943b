"""Golden digests of the hostile corpus: what the `tokenizers` library makes of it.

`golden/hostile_demo.json` is of the demo's tokenizer, `golden/hostile_v3.json` of DeepSeek-V3's, which lies
beside the repository; that one is left as it is where the tokenizer is absent.
"""

import argparse
import gzip
import json
import sys
from pathlib import Path

from tokenizers import Tokenizer

import golden_files as golden
import hostile_corpus

ROOT = Path(__file__).resolve().parents[2]
TOKENIZERS = {
    "hostile_demo.json": golden.BASE_MODEL / "tokenizer.json",
    "hostile_v3.json": ROOT.parent / "shared/data/tokenizers/deepseek-v3-tokenizer/tokenizer.json.gz",
}


def read(path: Path) -> str:
    """A tokenizer's file, compressed or not."""
    content = path.read_bytes()
    return (gzip.decompress(content) if path.suffix == ".gz" else content).decode("utf-8")


def check(name: str, groups: dict) -> list[str]:
    """The groups that are not as stored."""
    stored = json.loads((golden.GOLDEN / name).read_text(encoding="utf-8"))["groups"]
    return [f"{name}: {one}" for one in {*groups, *stored} if groups.get(one) != stored.get(one)]


def write(name: str, groups: dict) -> None:
    """One line for each group."""
    facts = {"versions": golden.versions("tokenizers"), "seed": hostile_corpus.SEED}
    lines = ",\n".join(f"  {json.dumps(one)}: {json.dumps(digest)}" for one, digest in groups.items())
    head = json.dumps(facts)[:-1]
    (golden.GOLDEN / name).write_text(f'{head}, "groups": {{\n{lines}\n}}}}\n', encoding="utf-8")


def main(words: list[str] | None = None) -> int:
    """Writes the golden files, or compares with them."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    parser.add_argument("name", nargs="?", choices=list(TOKENIZERS), help="only this one")
    arguments = parser.parse_args(words)
    wrong = []
    for name, path in TOKENIZERS.items():
        if arguments.name not in (None, name):
            continue
        if not path.exists():
            print(f"{name}: skipped, its tokenizer is absent")
            continue
        groups = hostile_corpus.digests(Tokenizer.from_str(read(path)))
        if arguments.check:
            wrong += check(name, groups)
        else:
            write(name, groups)
    print("\n".join(wrong) or "hostile corpus: done")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
