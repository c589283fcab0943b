"""Files tokenizer.json of the family that nobody chose, drawn from a seed, and texts that are hard for each.

What `tokenizers` and ours differ in on purpose (`model/tokenizer/tokenizer.h`) is not drawn: added tokens in letters
that stand for other bytes, and expressions with characters younger than Unicode 14.
"""

import random

from tokenizers import Regex, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import PreTokenizer

Fields = dict[str, object]

WORDS = ["the", " the", "ing", " and", "12", "123", "  ", "\n\n", "\r\n", " \n", "é", "中文", "😀", "👍🏽", "can't", "'s", "<|", "a", " a"]
WORDS += ["aaa", "ab", "abab", "٣", "½", "x\u0301", "\u200b", "Ⅷ", "\u3000", "\x00", "\x85", "_", "user", "...", "Straße", "ﬁ", "İ"]
LETTERS = "aabbcde  \n\r\t.,'<>|_-0123 ZÉé½٣中文ー\u0301\u200b\u200d\u00a0\u3000\x00\x85\x1c\u2028\ufeffǅß\U0001d7d8\U0010ffff😀🏽"
ADDED = ["<s>", "</s>", "<|user|>", "<|user", "user", "a", "ab", " a", "a ", "  ", "\n", "中", "<｜User｜>", "<|", "1", "12", "aa", "aab"]
ADDED += ["\u0301", "😀", " ", "_", "the", " the "]
EXPRESSIONS = [r"\p{N}{1,3}", r"\p{N}", r"\s+(?!\S)|\s+", r"[\r\n]", r"\s?[A-Za-z]+", r"[一-龥]+", r"\p{L}+", r"a*", r"(?<=a)b"]
EXPRESSIONS += [r"^\s+", r"\s+$", r".", r"(a|ab)(c|bcd)?", r"\X", r"[[:alpha:]]+", r"(?=a)", r"a|$", r"\G\s", r"(?m)^a", r"(a)\1"]
EXPRESSIONS += [r"[\p{P}\p{S}]+", r"(?i)straße", r"\p{^L}+", r"(?>a+)b", r"a++b", r"[a-z&&[^aeiou]]+", r".\Z", r"\p{L}\p{M}*"]
BEHAVIOURS = ["removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous"]


def bytes_as_letters(text: str) -> str:
    """The form in which a vocabulary holds a text."""
    return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False).pre_tokenize_str(text)[0][0]


def draw_model(draw: random.Random) -> BPE:
    """All bytes, in any order, and merges of what is there."""
    vocabulary = sorted(pre_tokenizers.ByteLevel.alphabet())
    draw.shuffle(vocabulary)
    merges: list[tuple[str, str]] = []
    for _ in range(draw.choice([0, 5, 30, 120])):
        word = bytes_as_letters(draw.choice(WORDS + ADDED))
        begin, size = draw.randrange(len(word)), draw.randint(2, 4)
        piece = word[begin : begin + size]
        cut = draw.randint(1, max(1, len(piece) - 1))
        pair = (piece[:cut], piece[cut:]) if draw.random() < 0.7 else (draw.choice(vocabulary), draw.choice(vocabulary))
        if all(part in vocabulary for part in pair) and pair not in merges:
            merges.append(pair)
            vocabulary += [] if "".join(pair) in vocabulary else ["".join(pair)]
    ids = {token: number for number, token in enumerate(vocabulary)}
    return BPE(vocab=ids, merges=merges, ignore_merges=draw.random() < 0.4)


def draw_step(draw: random.Random) -> PreTokenizer:
    """How text is cut."""
    if draw.random() < 0.25:
        return pre_tokenizers.Digits(individual_digits=draw.random() < 0.5)
    pattern = Regex(draw.choice(EXPRESSIONS)) if draw.random() < 0.8 else draw.choice(["a", " ", "ab", "\n", "中", "<|", "."])
    return pre_tokenizers.Split(pattern, draw.choice(BEHAVIOURS), invert=draw.random() < 0.3)


def draw_added_tokens(draw: random.Random, tokenizer: Tokenizer) -> list[Fields]:
    """Some in the vocabulary, some behind it, with all flags."""
    tokens: list[Fields] = []
    end = tokenizer.get_vocab_size()
    for content in draw.sample(ADDED, draw.choice([0, 1, 3, 6, 10])):
        number = tokenizer.token_to_id(content)
        flags = {name: draw.random() < 0.3 for name in ("single_word", "lstrip", "rstrip")}
        flags |= {name: draw.random() < 0.5 for name in ("normalized", "special")}
        tokens.append({"id": end if number is None else number, "content": content, **flags})
        end += number is None
    return tokens


def draw_tokenizer(draw: random.Random) -> tuple[Tokenizer, list[Fields]]:
    """Without its added tokens, which go into the file."""
    tokenizer = Tokenizer(draw_model(draw))
    bytes_last = pre_tokenizers.ByteLevel(add_prefix_space=draw.random() < 0.3, use_regex=draw.random() < 0.5)
    steps = [draw_step(draw) for _ in range(draw.choice([0, 1, 1, 2, 3, 4]))]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*steps, bytes_last])
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer, draw_added_tokens(draw, tokenizer)


def draw_text(draw: random.Random, added: list[str]) -> str:
    """Words, added tokens or parts of them beside what they may swallow, and letters."""
    text = ""
    for _ in range(draw.randint(0, draw.choice([3, 8, 25]))):
        kind = draw.random()
        if kind < 0.3:
            text += draw.choice(WORDS)
        elif kind < 0.6 and added:
            token = draw.choice(added)
            part = token if draw.random() < 0.7 else token[: draw.randint(0, len(token))]
            text += draw.choice(["", "", " ", "  ", "\n", "a", "_", "\u00a0", "é"]) + part
            text += draw.choice(["", "", " ", "  ", "\t ", "b", "1", "\u3000", "."])
        else:
            text += "".join(draw.choice(LETTERS) for _ in range(draw.randint(1, 6)))
    return text
