"""Tokenizers that nobody chose give the tokens and texts of the `tokenizers` library.

More seeds: FEDTUNE_RANDOM_TOKENIZERS=5000.
"""

import json
import os
import random
import subprocess
from pathlib import Path

import pytest
from tokenizers import Tokenizer

import random_tokenizers

ROOT = Path(__file__).parents[2]
PROGRAM = Path(os.environ.get("FEDTUNE_PROGRAMS", ROOT / "build" / "dev" / "bin")) / "tokenized_texts"
SEEDS = range(int(os.environ.get("FEDTUNE_RANDOM_TOKENIZERS", "300")))
TEXTS = 30


def request_of(seed: int) -> dict[str, object]:
    """A tokenizer's file and texts."""
    draw = random.Random(seed)
    tokenizer, added = random_tokenizers.draw_tokenizer(draw)
    file = json.loads(tokenizer.to_str()) | {"added_tokens": added}
    names = [str(token["content"]) for token in added]
    texts = [random_tokenizers.draw_text(draw, names) for _ in range(TEXTS)]
    return {"tokenizer": json.dumps(file), "texts": texts}


def encoded(tokenizer: Tokenizer, text: str) -> list[int] | None:
    """Nothing where two added tokens claim the same white space, of which `tokenizers` panics."""
    try:
        return tokenizer.encode(text, add_special_tokens=False).ids
    except BaseException as error:  # A panic is no Exception.
        if "bad split" not in str(error):
            raise
        return None


@pytest.fixture(name="answers", scope="module")
def fixture_answers() -> list[dict]:
    """What our program says of all seeds."""
    requests = "".join(json.dumps(request_of(seed)) + "\n" for seed in SEEDS)
    done = subprocess.run([PROGRAM], input=requests, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.split("\n")[:-1]]


def test_ids_and_decoded_texts(answers: list[dict]) -> None:
    """Of every tokenizer and text."""
    assert len(answers) == len(SEEDS)
    compared = 0
    for seed, ours in zip(SEEDS, answers):
        request = request_of(seed)
        tokenizer = Tokenizer.from_str(str(request["tokenizer"]))
        assert "error" not in ours, (seed, ours)
        for at, text in enumerate(request["texts"]):
            ids = encoded(tokenizer, text)
            if ids is None:
                continue
            compared += 1
            assert ours["ids"][at] == ids, (seed, text)
            assert ours["decoded"][at] == tokenizer.decode(ids, skip_special_tokens=False), (seed, text)
            assert ours["plain"][at] == tokenizer.decode(ids, skip_special_tokens=True), (seed, text)
    assert compared > 0.95 * TEXTS * len(SEEDS)
