"""Trains the demo's byte-level BPE tokenizer, in the form of DeepSeek-V3's tokenizer.json.

The splitting expressions, the byte-level steps and the special tokens are those of DeepSeek-V3;
only the vocabulary is small and learnt from the pre-training corpus. As there, the two chat tokens
are the last of the vocabulary and not marked as special.
"""

import argparse
import json
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

import corpus

VOCABULARY = 4096
BOS, EOS, PAD = "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜▁pad▁｜>"
SPLITS = (
    r"\p{N}{1,3}",
    "[一-龥\u3040-ゟ゠-ヿ]+",
    r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^"""
    + "\r\n"
    + r"""\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+["""
    + "\r\n]*|"
    + r"\s*["
    + "\r\n"
    + r"]+|\s+(?!\S)|\s+",
)
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'user' %}{{ '<｜User｜>' + message['content'] }}"
    "{% elif message['role'] == 'assistant' %}{{ '<｜Assistant｜>' + message['content'] + eos_token }}"
    "{% else %}{{ message['content'] }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<｜Assistant｜>' }}{% endif %}"
)


def untrained() -> Tokenizer:
    """An empty tokenizer with DeepSeek-V3's pipeline."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(split), "isolated") for split in SPLITS]
        + [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def special(text: str) -> AddedToken:
    """A token that decoding skips."""
    return AddedToken(text, normalized=False, special=True)


def train(texts: list[str]) -> Tokenizer:
    """Learns the merges from the corpus, chat marks taken out, and appends the chat tokens."""
    tokenizer = untrained()
    marks = (corpus.USER, corpus.ASSISTANT)
    pieces = (piece for text in texts for piece in text.replace(marks[1], marks[0]).split(marks[0]) if piece)
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(marks),
        special_tokens=[special(text) for text in (BOS, EOS, PAD)],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(pieces, trainer)
    tokenizer.add_tokens([AddedToken(mark, normalized=True, special=False) for mark in marks])
    assert tokenizer.get_vocab_size() == VOCABULARY
    return tokenizer


def settings(max_positions: int = 512) -> dict:
    """tokenizer_config.json."""
    return {
        "add_bos_token": True,
        "add_eos_token": False,
        "bos_token": BOS,
        "eos_token": EOS,
        "pad_token": PAD,
        "unk_token": None,
        "clean_up_tokenization_spaces": False,
        "model_max_length": max_positions,
        "tokenizer_class": "PreTrainedTokenizerFast",
        "chat_template": CHAT_TEMPLATE,
    }


def main() -> None:
    """Writes tokenizer.json and tokenizer_config.json."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--wordnet", type=Path, default=corpus.WORDNET)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "icd-moe")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    train(corpus.build(arguments.wordnet).training).save(str(arguments.out / "tokenizer.json"))
    config = json.dumps(settings(), ensure_ascii=False, indent=2)
    (arguments.out / "tokenizer_config.json").write_text(config + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
