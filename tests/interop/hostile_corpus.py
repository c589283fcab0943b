"""Texts on which byte-level tokenizers go wrong, made by rule, and what `tokenizers` makes of them.

`hostile_corpus.cpp` makes the same texts, so that only digests need to be stored: of the ids of every text
of a group, and of what they decode to, with and without special tokens.
"""

import hashlib
import struct
from collections.abc import Iterator
from itertools import product

from tokenizers import Tokenizer

SEED = 20
BLOCK = 0x1000
PLANES = ((0, 0x40000), (0xE0000, 0xE1000), (0xF0000, 0xF0100), (0x10FF00, 0x110000))
WHITE_SPACE = " \t\n\r\u0085\u00a0\u2028\u3000"
PEOPLE = "\U0001f468\U0001f469\U0001f467\U0001f9d1\U0001f44d"
TONES = "\U0001f3fb\U0001f3fd\U0001f3ff"
BEHIND = "\u2764\U0001f466\U0001f4bb\u2640\U0001f692"
ZEROES = "0\u0660\u0966\uff10\U0001d7d8"
TELLING = " \n\r\taZ7.$_\x00\x7f\u00a0\u00bd\u00e9\u0301\u0661\u200b\u200d\u3042\u309b\u30fb\u30fc\u4e00\uff0c\U0001f600\u2028"


class Draw:
    """Numbers from a seed that are easy to draw in any language: Knuth's MMIX generator, its upper half."""

    def __init__(self, seed: int) -> None:
        self.state = seed

    def below(self, end: int) -> int:
        """A number from 0 on."""
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) % 2**64
        return (self.state >> 33) % end


def code_points() -> Iterator[tuple[str, list[str]]]:
    """Every code point of the planes in use, in several contexts, at both ends of its text too."""
    for begin, end in PLANES:
        for block in range(begin, end, BLOCK):
            codes = [code for code in range(block, min(block + BLOCK, end)) if not 0xD800 <= code < 0xE000]
            texts = ["{0}a{0}b {0}{0}\n{0}1{0}2.{0}".format(chr(code)) for code in codes]
            if texts:
                yield f"U+{block:05X}", texts


def joined_emoji() -> list[str]:
    """Emoji with tones, joined by the zero width joiner; flags and keycaps."""
    texts = []
    for one, tone, other in product(PEOPLE, ["", *TONES], BEHIND):
        texts.append(f"{one}{tone}\u200d{other}")
        texts.append(f"x {one}{tone}\u200d{other}\ufe0f\u200d{one}{other}!\u200d")
    regions = [chr(0x1F1E6 + at) for at in range(26)]
    texts += ["".join(regions[: at + 1]) for at in range(26)]
    texts += [f"{key}\ufe0f\u20e3" for key in "0123456789#*"]
    return texts


def digit_runs() -> list[str]:
    """Digits of several scripts, of many lengths, alone and within words."""
    texts = []
    for zero in ZEROES:
        for length in [*range(1, 33), 100, 1000, 10000]:
            run = "".join(chr(ord(zero) + at * 7 % 10) for at in range(length))
            texts += [run, f"a{run} {run}.{run[0]}b"]
    return texts


def white_space() -> list[str]:
    """Up to four white space characters at the beginning, at the end, before a line end and within a line."""
    runs = ["".join(run) for length in range(1, 5) for run in product(WHITE_SPACE, repeat=length)]
    return [f"{run}x{run}y{run}\n{run}" for run in runs]


def look_alikes(added: list[str]) -> list[str]:
    """Added tokens, and texts that are nearly ones."""
    texts = []
    for token in added:
        narrow = token.replace("\uff5c", "|")
        texts += [token, token + token, f" {token} x{token}y", token[1:], token[:-1], token[:1] + token, narrow]
        texts += [token.replace("\u2581", "_"), token.replace("\u2581", " "), token[:2] + " " + token[2:]]
        texts += [token.upper(), f"{token[:-1]}\u200d{token[-1:]}", narrow.lower()]
    return texts


def long_runs() -> list[str]:
    """A mebibyte of one letter, and of other things that go on and on."""
    return ["a" * 2**20, *(part * (2**16 // len(part.encode())) for part in ("ab", " ", "\n", " \n", ".", "7", "\u4e2d", "<"))]


def mixtures() -> list[str]:
    """Characters of all kinds in any order."""
    draw = Draw(SEED)
    texts = []
    for _ in range(5000):
        length = 1 + draw.below(40)
        texts.append("".join(TELLING[draw.below(len(TELLING))] for _ in range(length)))
    return texts


def groups(added: list[str]) -> Iterator[tuple[str, list[str]]]:
    """All texts, by their groups."""
    yield from code_points()
    yield "joined emoji", joined_emoji()
    yield "digit runs", digit_runs()
    yield "white space", white_space()
    yield "look-alikes", look_alikes(added)
    yield "long runs", long_runs()
    yield "mixtures", mixtures()


def broken_bytes() -> list[bytes]:
    """Bytes of which most are not UTF-8."""
    draw = Draw(SEED + 1)
    parts = [b"a", b"\xc3\xa9", b"\xe4\xb8\xad", b"\xf0\x9f\x98\x80", b"\x80", b"\xbf", b"\xc0", b"\xc1", b"\xe0\x9f", b"\xed\xa0\x80"]
    parts += [b"\xf0\x8f", b"\xf4\x90", b"\xf5", b"\xff", b"\xe4\xb8", b"\xf0\x9f\x98", b"\xc3"]
    texts = []
    for _ in range(5000):
        sound = b"".join(parts[draw.below(4)] for _ in range(draw.below(20)))
        texts.append(sound + b"".join(parts[draw.below(len(parts))] for _ in range(draw.below(4))))
    return texts


def first_invalid(text: bytes) -> int:
    """Where UTF-8 ends, as Python says; -1 where it does not."""
    try:
        text.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start
    return -1


def digest_of(tokenizer: Tokenizer, texts: list[str]) -> dict:
    """What a group comes to."""
    ids = [one.ids for one in tokenizer.encode_batch_fast(texts, add_special_tokens=False)]
    decoded = tokenizer.decode_batch(ids, skip_special_tokens=False)
    plain = tokenizer.decode_batch(ids, skip_special_tokens=True)
    sha256 = hashlib.sha256()
    for one, *both in zip(ids, decoded, plain):
        sha256.update(struct.pack(f"<{len(one) + 1}i", len(one), *one))
        for text in map(str.encode, both):
            sha256.update(struct.pack("<i", len(text)) + text)
    return {"texts": len(texts), "tokens": sum(map(len, ids)), "sha256": sha256.hexdigest()}


def digests(tokenizer: Tokenizer) -> dict[str, dict]:
    """Of all groups of texts, and of the places where broken bytes break."""
    added = [token.content for _, token in sorted(tokenizer.get_added_tokens_decoder().items())]
    result = {name: digest_of(tokenizer, texts) for name, texts in groups(added)}
    offsets = [first_invalid(text) for text in broken_bytes()]
    sha256 = hashlib.sha256(struct.pack(f"<{len(offsets)}i", *offsets))
    result["broken bytes"] = {"texts": len(offsets), "sha256": sha256.hexdigest()}
    return result
