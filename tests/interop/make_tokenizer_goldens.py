"""Golden encodings of the demo's tokenizer: varied texts with their ids and decoded forms.

Every line of `golden/demo_tokenizer.jsonl` is {"text", "ids", "decoded", "decoded_plain"}, where
`decoded_plain` leaves special tokens out; a first line names versions and seed. The encoder is the
`tokenizers` library, without a begin mark.
"""

import argparse
import json
import random
import sys
from pathlib import Path

from tokenizers import Tokenizer

import golden_files as golden

SEED = 11
OUT = golden.GOLDEN / "demo_tokenizer.jsonl"
FIXED = [
    "", " ", "  ", "   ", "\n", "\n\n", "\r\n", "\r", "\t", " \n", "\n ", " \n \n ", "\t\t x", "a  b", "a   b   ",
    "  leading", "trailing  ", "line\n  indented\n\n\n    more", "mixed\r\nends\r\n\r\nhere\r", "\u00a0nbsp\u00a0", "\u2003em",
    "\u3000全角", "zero\u200bwidth\u200djoin", "\ufefforder mark", "\x00nul\x01\x7f", "0", "12", "123", "1234", "1234567890",
    "3.14159", "1,000,000", "1e-5", "½ ⅔ ²³ ①②", "٣٤٥ ६७८ 一二三", "Ⅷ Ⅻ", "2024-01-31T12:00:00Z", "+49 (0)30 123456",
    "hello", " hello", "Hello", "HELLO", "hello world", "don't can't I'm we'll they've", "it’s “quoted” ‘text’ — dash…",
    "snake_case camelCase kebab-case", "a.b.c", "..", "...", "!?!?", " !", " ?!\n", "#hash @at $1 %2 ^3 &4 *5 (6)", "{}[]<>|\\/`~",
    "f(x) = x^2 + 1;", "if (a != b) { return -1; }\n", "https://example.org/a?b=c&d=%20#e", "user@example.org",
    "e\u0301 é ñ n\u0303 ü", "Straße, naïve, cœur, Łódź, İstanbul", "ﬁ ligature ﬀ", "ǅ titlecase", "Ωμέγα Привет мир",
    "שלום עולם", "مرحبا بالعالم", "नमस्ते दुनिया", "สวัสดีชาวโลก", "안녕하세요 세계", "你好，世界！", "こんにちは世界 カタカナ ｶﾅ",
    "中文English混合123", "龥龦 一", "𠀀𠀁 beyond the plane", "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𝟘𝟙𝟚", "😀", "😀😃 😄", "👩\u200d👩\u200d👧\u200d👦 family", "👍🏽 tone", "🇩🇪🇫🇷",
    "❤\ufe0f heart", "™ © ® € £ ¥ ₹ ₿", "∑ ∫ √ ≤ ≥ ≠ ∞ π", "→ ⇒ ↔", "█▓▒░", "a\u0300\u0301\u0302\u0303b", "\u0301start",
    "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜▁pad▁｜>", "<｜User｜>", "<｜Assistant｜>",
    "<｜begin▁of▁sentence｜><｜User｜>Which chapter?\n\nHeart failure<｜Assistant｜>circulatory<｜end▁of▁sentence｜>",
    "x<｜User｜>y", " <｜User｜> ", "<｜user｜>", "<|User|>", "<｜User", "｜User｜>", "<｜ User ｜>", "<<｜User｜>>", "<｜User｜><｜User｜>",
    "<｜Assistant｜>\n<｜end▁of▁sentence｜>\n", "<bos> <eos> <pad> <unk> [CLS] [SEP] <s></s>", "<｜begin_of_sentence｜>",
    "Ġ Ċ ĉ ▁ Ã", "Which chapter?\nHeart failure: circulatory", "Which chapter?",
    "E11.9 Type 2 diabetes mellitus without complications", "S52.531K, subsequent encounter", "5 mg/kg b.i.d. (p.o.)",
    "Patient c/o SOB x3 days; BP 140/90 mmHg, HR 88/min, T 38.5°C, SpO₂ 94%.", "β-blocker, α₁-antitrypsin, H₂O, Na⁺/K⁺",
    "pneumonoultramicroscopicsilicovolcanoconiosis", "otorhinolaryngology", "electroencephalographically", "AAAAAAAAAAAAAAAA",
    "abcabcabcabcabcabc", "the the the the", "a" * 300, " " * 65, "\n" * 17, "-" * 80, "0" * 31,
]
WORDS = (
    "acute chronic fracture of the left right femur kidney heart failure infection Staphylococcus aureus bronchitis "
    "unspecified other specified disorder congenital malformation pregnancy trimester burn second degree poisoning by "
    "adverse effect anaemia leukaemia carcinoma in situ benign neoplasm skin eye ear hearing loss without with and due to"
).split()
ALPHABETS = (
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "0123456789 .,:;-+/",
    " \t\n\r\u00a0\u2003",
    "äöüßéèêçñøåæłšžýþð",
    "абвгдежзийклмнопрстуфхцчшщъыьэюя",
    "αβγδεζηθικλμνξοπρστυφχψω",
    "漢字仮名交文書日本語中国龥ぁんァヶー",
    "ابتثجحخدذرزسشصضطظعغفقكلمنهوي",
    "😀🧬💉🩺❤\u200d\ufe0f🏽",
    "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~«»„“‚‘¿¡§¶†‡•",
)


def medical_phrase(rng: random.Random) -> str:
    """A few medical words with some punctuation and case."""
    words = [rng.choice(WORDS) for _ in range(rng.randint(1, 12))]
    words = [word.capitalize() if rng.random() < 0.2 else word for word in words]
    return "".join(word + rng.choice((" ", " ", " ", ", ", "; ", "\n", " (", ") ")) for word in words).strip()


def soup(rng: random.Random) -> str:
    """Characters of one to three alphabets in any order."""
    alphabets = rng.sample(ALPHABETS, rng.randint(1, 3))
    return "".join(rng.choice(rng.choice(alphabets)) for _ in range(rng.randint(1, 40)))


def texts() -> list[str]:
    """All texts, fixed and random, without repetition."""
    rng = random.Random(SEED)
    drawn = [make(rng) for make in (medical_phrase, soup) for _ in range(120)]
    return list(dict.fromkeys(FIXED + drawn))


def lines() -> list[str]:
    """The content of the golden file."""
    tokenizer = Tokenizer.from_file(str(golden.BASE_MODEL / "tokenizer.json"))
    out = [{"versions": golden.versions("tokenizers"), "seed": SEED}]
    for text in texts():
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        out.append(
            {
                "text": text,
                "ids": ids,
                "decoded": tokenizer.decode(ids, skip_special_tokens=False),
                "decoded_plain": tokenizer.decode(ids, skip_special_tokens=True),
            }
        )
    return [json.dumps(record, ensure_ascii=True) for record in out]


def main(words: list[str] | None = None) -> int:
    """Writes the golden file, or compares with it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args(words)
    fresh = lines()
    if not arguments.check:
        arguments.out.write_text("\n".join(fresh) + "\n", encoding="utf-8")
        print(f"{len(fresh) - 1} texts")
        return 0
    stored = arguments.out.read_text(encoding="utf-8").splitlines()
    wrong = [one for one, other in zip(fresh[1:], stored[1:]) if one != other]
    print("\n".join(wrong) or "demo_tokenizer: reproduced")
    return int(bool(wrong) or len(fresh) != len(stored))


if __name__ == "__main__":
    sys.exit(main())
