"""What characters are in expressions, where the system's Oniguruma and that within `tokenizers` differ.

Debian 12's Oniguruma 6.9.8 has the characters of Unicode 14, the one within the `tokenizers` library those of
Unicode 16. Writes `model/tokenizer/younger_characters.inc`, for every code point that the two say different
things of: all that `tokenizers` says. And `golden/character_properties.json`, for every expression: which
characters of all that there are it matches, as a digest.
"""

import argparse
import ctypes
import hashlib
import json
import struct
import sys
from collections import defaultdict
from importlib.metadata import version
from pathlib import Path

from tokenizers import Regex, pre_tokenizers

import golden_files as golden

OUT = Path(__file__).resolve().parents[2] / "model" / "tokenizer" / "younger_characters.inc"
GOLDEN = golden.GOLDEN / "character_properties.json"
OLDER = b"6.9.8"
BLOCK = 0x1000
# Those that differ, but for blocks (In_...), ages and where clusters of characters end.
LOST = "Cn Unknown"
CATEGORIES = "C Cf L LC Ll Lm Lo Lu M Mc Mn N Nd No P Pd Po S Sm So"
CLASSES = "Alnum Alpha Digit Graph Lower Print Punct Upper Word"
SCRIPTS = """Arabic Balinese Common Cyrillic Devanagari Egyptian_Hieroglyphs Han Hiragana Kannada Katakana
    Khitan_Small_Script Khojki Lao Latin Myanmar"""
NEW_SCRIPTS = """Gara Garay Gukh Gurung_Khema Kawi Kirat_Rai Krai Nag_Mundari Nagm Ol_Onal Onao Sunu Sunuwar
    Todhri Todr Tulu_Tigalari Tutg"""
OTHERS = """Alphabetic Assigned Case_Ignorable Cased Changes_When_Casefolded Changes_When_Casemapped
    Changes_When_Lowercased Changes_When_Titlecased Changes_When_Uppercased Dash Diacritic Emoji
    Emoji_Modifier_Base Emoji_Presentation Extender Grapheme_Base Grapheme_Extend Grapheme_Link ID_Continue
    ID_Start IDS_Binary_Operator Ideographic Lowercase Math Other_Alphabetic Other_Grapheme_Extend
    Other_ID_Continue Other_Lowercase Sentence_Terminal Soft_Dotted Terminal_Punctuation Unified_Ideograph
    Uppercase XID_Continue XID_Start"""
GAINED = " ".join([CATEGORIES, CLASSES, SCRIPTS, NEW_SCRIPTS, OTHERS]).split()
SAME = "Any White_Space Join_Control Lt Me Nl Pc Ps Pe Pi Pf Sc Sk Zs Co Cc Cntrl Space XDigit Blank Greek Hangul"
# Those of published tokenizers, and other ways to name characters. \p{Word} on its own is not: of six characters
# below U+0100 it says since 6.9.9 what \w says, and said before what [\w] says.
EXPRESSIONS = [
    *(rf"\p{{{name}}}" for name in [*LOST.split(), *GAINED, *SAME.split()] if name != "Word"),
    *(r"\w", r"[\w]", r"\W", r"[^\W_]", r"\d", r"[\d]", r"\s", r"[^\s]", r"\S", r"\h", r"\b\O", r"\O\B"),
    *(r"[[:alpha:]]", r"[[:^alnum:]]", r"[[:punct:]]", r"[[:word:]]", r"[[:graph:]]", r"[[:upper:]]", r"[\p{Word}]"),
    *(r"\p{Letter}", r"\P{Uppercase_Letter}", r"\p{^Other_Symbol}", r"\p{Hani}", r"\p{han}", r"\p{nag mundari}"),
    r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]",
    r"[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]",
    r"[^\r\n\p{L}\p{N}]",
    r"[^\s\p{L}\p{N}]",
    r"[^\r\n\p{L}\p{P}\p{S}]",
    r"[\p{L}\p{M}]",
    r"(?i:[^\p{L}\d_])",
]

BLOCKS = [
    "".join(chr(code) for code in range(begin, begin + BLOCK) if not 0xD800 <= code < 0xE000)
    for begin in range(0, 0x110000, BLOCK)
]

Members = set[int]


def matched(expression: str) -> list[int]:
    """The characters that it matches, as `tokenizers` says, in blocks of 4,096 in their order."""
    step = pre_tokenizers.Split(Regex(expression), "removed", invert=True)
    return [ord(one) for block in BLOCKS for word, _ in step.pre_tokenize_str(block) for one in word]


class Encoding(ctypes.Structure):
    """The beginning of Oniguruma's OnigEncodingType."""

    _fields_ = [
        ("before", ctypes.c_void_p * 2),
        ("lengths", ctypes.c_int * 2),
        ("between", ctypes.c_void_p * 7),
        ("type_of", ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)),
        ("has_type", ctypes.c_void_p),
        ("ranges_of", ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_uint, ctypes.c_void_p, ctypes.c_void_p)),
    ]


def load_older() -> Encoding:
    """The system's UTF-8."""
    library = ctypes.CDLL("libonig.so.5")
    library.onig_version.restype = ctypes.c_char_p
    if library.onig_version() != OLDER:
        sys.exit(f"error: the system's Oniguruma is {library.onig_version().decode()}; {OLDER.decode()} is needed")
    return Encoding.in_dll(library, "OnigEncodingUTF8")


def older_members(encoding: Encoding, name: str) -> Members:
    """What the system's Oniguruma says; nothing if it has not the name."""
    text = ctypes.create_string_buffer(name.encode())
    begin = ctypes.addressof(text)
    type_ = encoding.type_of(ctypes.addressof(encoding), begin, begin + len(name))
    if type_ < 0:
        return set()
    end, ranges = ctypes.c_uint(), ctypes.POINTER(ctypes.c_uint)()
    assert encoding.ranges_of(type_, ctypes.addressof(end), ctypes.addressof(ranges)) == 0
    pairs = [(ranges[1 + 2 * at], ranges[2 + 2 * at]) for at in range(ranges[0])]
    return {code for first, last in pairs for code in range(first, last + 1) if not 0xD800 <= code < 0xE000}


def ranges_of(codes: list[int]) -> list[tuple[int, int]]:
    """First and last of those without a gap."""
    ranges: list[tuple[int, int]] = []
    for code in codes:
        if ranges and ranges[-1][1] == code - 1:
            ranges[-1] = (ranges[-1][0], code)
        else:
            ranges.append((code, code))
    return ranges


def younger() -> dict[str, list[tuple[int, int]]]:
    """The characters that differ, by the properties that they have of those that differ."""
    encoding = load_older()
    theirs = {name: set(matched(rf"[\p{{{name}}}]")) for name in [*LOST.split(), *GAINED]}
    differ = sorted({code for name, members in theirs.items() for code in members ^ older_members(encoding, name)})
    by_properties = defaultdict(list)
    for code in differ:
        by_properties[" ".join(name for name in theirs if code in theirs[name])].append(code)
    has = {name for properties in by_properties for name in properties.split()}
    assert has == set(GAINED), set(GAINED) ^ has
    return {properties: ranges_of(codes) for properties, codes in by_properties.items()}


def wrapped(parts: list[str], indent: str, mark: str, end: str) -> str:
    """Lines of at most 100 characters."""
    lines = [""]
    for part in parts:
        if lines[-1] and len(indent + lines[-1] + mark + part + end) > 100:
            lines.append("")
        lines[-1] += (mark if lines[-1] else "") + part
    return "\n".join(f"{indent}{line}{end}" for line in lines)


def table() -> str:
    """The file."""
    head = f"""\
// SPDX-License-Identifier: Apache-2.0

// Written by tests/interop/make_younger_characters.py with tokenizers {version("tokenizers")}: characters
// of which Oniguruma {OLDER.decode()} says other things than Unicode 16, all properties that they
// have of those that differ anywhere, and first and last of their ranges.
"""
    rows = []
    for properties, ranges in younger().items():
        names = wrapped(properties.split(), ' "', " ", ' "').lstrip()
        names = names[:-2] + '"'
        pairs = wrapped([f"{{0x{first:05X}, 0x{last:05X}}}" for first, last in ranges], "  ", ", ", ",")
        rows.append(f"{{{names},\n {{\n{pairs}\n }}}},\n")
    return head + "".join(rows)


def digests() -> str:
    """The golden file."""
    lines = []
    for expression in EXPRESSIONS:
        codes = matched(expression)
        digest = hashlib.sha256(struct.pack(f"<{len(codes)}i", *codes)).hexdigest()
        lines.append(f"  {json.dumps(expression)}: {json.dumps({'characters': len(codes), 'sha256': digest})}")
    head = json.dumps({"versions": {"tokenizers": version("tokenizers")}})[:-1]
    return f'{head}, "expressions": {{\n' + ",\n".join(lines) + "\n}}\n"


def main(words: list[str] | None = None) -> int:
    """Writes the files, or compares with them."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    arguments = parser.parse_args(words)
    written = {OUT: table(), GOLDEN: digests()}
    if not arguments.check:
        for path, content in written.items():
            path.write_text(content, encoding="utf-8")
        return 0
    wrong = [path.name for path, content in written.items() if path.read_text(encoding="utf-8") != content]
    print("younger characters: " + (f"differ in {', '.join(wrong)}" if wrong else "reproduced"))
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
