"""Writes `model/tokenizer/younger_characters.inc`: the characters that the system's Oniguruma does not know.

Debian's has the characters of Unicode 14, the one within the `tokenizers` library those of Unicode 16. The
general category of a code point is asked of `tokenizers`, and listed where it is not what Unicode 14 says;
that is asked of Python 3.11, which has its tables.
"""

import argparse
import sys
import unicodedata
from importlib.metadata import version
from pathlib import Path

from tokenizers import Regex, pre_tokenizers

OUT = Path(__file__).resolve().parents[2] / "model" / "tokenizer" / "younger_characters.inc"
CATEGORIES = "Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So".split()
OLDER = "14.0.0"
HEAD = """\
// SPDX-License-Identifier: Apache-2.0

// Written by tests/interop/make_younger_characters.py with tokenizers {}: characters
// that Unicode 14 did not have, first and last of a range with their general category.
"""


def members(categories: list[str], characters: str) -> str:
    """Those of `characters` that belong to one of some general categories."""
    among = "".join(rf"\p{{{category}}}" for category in categories)
    step = pre_tokenizers.Split(Regex(f"[{among}]"), "removed", invert=True)
    return "".join(word for word, _ in step.pre_tokenize_str(characters))


def younger() -> list[tuple[int, int, str]]:
    """The ranges, in order."""
    everything = "".join(chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000)
    unknown = "".join(one for one in everything if unicodedata.category(one) == "Cn")
    new = members(CATEGORIES, unknown)
    found = sorted((ord(one), category) for category in CATEGORIES for one in members([category], new))
    ranges: list[tuple[int, int, str]] = []
    for code, category in found:
        if ranges and ranges[-1][1] == code - 1 and ranges[-1][2] == category:
            ranges[-1] = (ranges[-1][0], code, category)
        else:
            ranges.append((code, code, category))
    return ranges


def content() -> str:
    """The file."""
    entries = [f'{{0x{first:05X}, 0x{last:05X}, "{category}"}},' for first, last, category in younger()]
    rows = [" ".join(entries[at : at + 4]) for at in range(0, len(entries), 4)]
    return HEAD.format(version("tokenizers")) + "\n".join(rows) + "\n"


def main(words: list[str] | None = None) -> int:
    """Writes the file, or compares with it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    arguments = parser.parse_args(words)
    if unicodedata.unidata_version != OLDER:
        sys.exit(f"error: this Python has Unicode {unicodedata.unidata_version}; {OLDER} is needed (Python 3.11)")
    if not arguments.check:
        OUT.write_text(content(), encoding="utf-8")
        return 0
    same = OUT.read_text(encoding="utf-8") == content()
    print("younger_characters: " + ("reproduced" if same else "differs"))
    return int(not same)


if __name__ == "__main__":
    sys.exit(main())
