"""Writes pipelines.jsonl: what Hugging Face's tokenizers 0.23.3 makes of small pipelines.

The first line is a model with few merges; every other line has the rest of a tokenizer file and
texts with their ids, and what these decode to with and without special tokens.

    pip install tokenizers==0.23.3 && python model/tokenizer/testdata/make_pipelines.py
"""

import json
import random
from pathlib import Path

from tokenizers import Tokenizer, pre_tokenizers

MERGED = "th he in er the ing an and re on Ġt Ġa Ġthe Ġand ĠĠ 12 123 -- ĊĊ Ã¤ éĻ ..".split()
EXPRESSION = r"\p{N}{1,2}|[A-Za-z]+|\s+(?!\S)|\s+"
OPTIONAL = r"[a-c]*"
BEHAVIOURS = ("Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous")
TEXTS = [
    "",
    " ",
    "a",
    "the thing and the other thing",
    "  two  spaces and a tab\tand\r\n\r\nlines  \n",
    "12345 -- 6789--12-3",
    "I'll say it's they're DON'T",
    "na\u00efve \u00e4\u00e4 \u4e2d\u6587\u6587\u5b57 \u3042\u30a2 \U0001f600\u200d\U0001f600 \u0661\u0662\u0663\u2164\u00bd",
    "--a--b-c--",
    "a<x>b <x> c<x>d<x><x> e",
    "word<w>word <w> word.<w>.\u0301<w> \u200d<w> _<w>",
    "  <l>\t\u2003<l>a \u00a0<r>  b <b>  <b> \n <b>",
    "<x><xx><xxx> <special> hello<special>",
    "hello world hello  world helloworld",
    "x\u0085y\u180ez\u2028\u2029\ufeff\u3000",
]


def added(token: int, content: str, **flags: bool) -> dict:
    """One entry of added_tokens."""
    names = ("single_word", "lstrip", "rstrip", "normalized", "special")
    return {"id": token, "content": content, **{name: flags.get(name, False) for name in names}}


def model() -> dict:
    """Bytes, merges, and one word that no merge reaches."""
    tokens = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = []
    for word in MERGED:
        cut = next(at for at in range(1, len(word)) if word[:at] in tokens and word[at:] in tokens)
        merges.append([word[:cut], word[cut:]])
        tokens.append(word)
    tokens.append("unreached")
    return {
        "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
        "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
        "vocab": {token: number for number, token in enumerate(tokens)}, "merges": merges,
    }  # fmt: skip


def byte_level(**settings: bool) -> dict:
    """The last step of every pipeline."""
    return {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False, **settings}


def split(pattern: dict, behaviour: str, invert: bool = False) -> dict:
    """A step Split."""
    return {"type": "Split", "pattern": pattern, "behavior": behaviour, "invert": invert}


def sequence(*steps: dict) -> dict:
    """Steps and a plain ByteLevel."""
    return {"type": "Sequence", "pretokenizers": [*steps, byte_level()]}


def pipelines(size: int) -> dict[str, dict]:
    """By name: what differs from a file with a plain ByteLevel and no added tokens."""
    found = {
        "plain": {},
        "own expression": {"pre_tokenizer": byte_level(use_regex=True)},
        "prefix space": {"pre_tokenizer": byte_level(add_prefix_space=True)},
        "prefix space and own expression": {"pre_tokenizer": byte_level(add_prefix_space=True, use_regex=True)},
        "single digits": {"pre_tokenizer": sequence({"type": "Digits", "individual_digits": True})},
        "runs of digits": {"pre_tokenizer": sequence({"type": "Digits", "individual_digits": False})},
        "ends of lines": {"pre_tokenizer": sequence(split({"Regex": r"\s+$"}, "Isolated"))},
        "two steps, then a prefix space": {
            "pre_tokenizer": {
                "type": "Sequence",
                "pretokenizers": [
                    split({"String": "--"}, "Isolated"),
                    {"type": "Sequence", "pretokenizers": [split({"Regex": r"\p{N}{1,3}"}, "Isolated")]},
                    byte_level(add_prefix_space=True),
                ],
            }
        },
        "words as they stand": {"ignore_merges": True, "pre_tokenizer": byte_level(use_regex=True)},
        "added tokens": {
            "added_tokens": [
                added(size, "<x>", special=True),
                added(size + 1, "<xx>", normalized=True),
                added(size + 2, "<x><xx>", normalized=True),
                added(size + 3, "<special>", special=True),
                added(size + 4, "hello", normalized=True),
                added(size + 5, "hello world"),
            ]
        },
        "added tokens that strip": {
            "added_tokens": [
                added(size, "<l>", lstrip=True),
                added(size + 1, "<r>", rstrip=True, special=True),
                added(size + 2, "<b>", lstrip=True, rstrip=True, normalized=True),
                added(size + 3, "<w>", single_word=True),
                added(size + 4, "hello", single_word=True, lstrip=True),
            ]
        },
        "a token of the model as an added one": {"added_tokens": [added(size - 1, "unreached", special=True)]},
    }
    patterns = {"text": {"String": "-"}, "expression": {"Regex": EXPRESSION}, "empty": {"Regex": OPTIONAL}}
    for name, pattern in patterns.items():
        for behaviour in BEHAVIOURS:
            for invert in (False, True):
                title = f"{name} {behaviour}{' inverted' if invert else ''}"
                found[title] = {"pre_tokenizer": sequence(split(pattern, behaviour, invert))}
    return found


def noise(rng: random.Random) -> str:
    """Text in which expressions and added tokens meet each other."""
    parts = ["a", "b", "the", "ing", " ", "  ", "\n", "\t", "-", "--", "1", "12", "\u00e4", "\u4e2d", "'s", "unreached"]
    parts += ["<x>", "<xx>", "<l>", "<r>", "<b>", "<w>", "hello", "hello world", "\u00a0", "\u0301", "."]
    return "".join(rng.choice(parts) for _ in range(rng.randint(1, 14)))


def main() -> None:
    """Writes the file beside this script."""
    rng = random.Random(1)
    base = model()
    lines = [{"model": base}]
    for name, changes in pipelines(len(base["vocab"])).items():
        ignore = changes.pop("ignore_merges", False)
        rest = {
            "version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
            "pre_tokenizer": byte_level(), "post_processor": None,
            "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
            **changes,
        }  # fmt: skip
        tokenizer = Tokenizer.from_str(json.dumps({**rest, "model": {**base, "ignore_merges": ignore}}))
        cases = []
        for text in TEXTS + [noise(rng) for _ in range(6)]:
            ids = tokenizer.encode(text, add_special_tokens=False).ids
            decoded = [tokenizer.decode(ids, skip) for skip in (False, True)] if rest["added_tokens"] else []
            cases.append([text, ids, *decoded])
        lines.append({"name": name, "ignore_merges": ignore, "rest": rest, "cases": cases})
    text = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)
    (Path(__file__).parent / "pipelines.jsonl").write_text(text, encoding="ascii")


if __name__ == "__main__":
    main()
