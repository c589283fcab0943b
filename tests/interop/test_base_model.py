"""The committed base model is what its README says, as far as that can be checked quickly."""

import json
import math
import sys

import pytest
import tiny_models
import torch
from safetensors import safe_open
from tokenizers import Tokenizer
from transformers import AutoTokenizer

import golden_files as golden

SOURCES = golden.BASE_MODEL.parent
sys.path.insert(0, str(SOURCES))

import corpus
import pretrain
import train_tokenizer

needs_wordnet = pytest.mark.skipif(not (corpus.WORDNET / "data.noun").exists(), reason="wordnet-base is not installed")


def test_checkpoint_form() -> None:
    """Small, in bf16, with one tensor per expert and projection."""
    assert sum(path.stat().st_size for path in golden.BASE_MODEL.iterdir()) < 12e6
    with safe_open(golden.BASE_MODEL / "model.safetensors", "pt") as file:
        names = set(file.keys())
        assert all(file.get_slice(name).get_dtype() == "BF16" for name in names)
        assert file.get_slice("model.layers.1.mlp.experts.0.gate_proj.weight").get_shape() == [128, 128]
    assert len([name for name in names if ".mlp.experts." in name]) == 3 * 8 * 3


def test_config_is_the_scripts() -> None:
    """config.json has the shape that pretrain.py trains."""
    stored = json.loads((golden.BASE_MODEL / "config.json").read_text(encoding="utf-8"))
    made = json.loads(pretrain.model_config().to_json_string(use_diff=False))
    ignored = {"dtype", "architectures", "transformers_version"}
    assert {key for key in stored if key not in ignored and stored[key] != made.get(key)} == set()


def test_transformers_reads_the_tokenizer() -> None:
    """AutoTokenizer gives the ids of tokenizer.json, and the chat template the chat layout."""
    plain = Tokenizer.from_file(str(golden.BASE_MODEL / "tokenizer.json"))
    auto = AutoTokenizer.from_pretrained(golden.BASE_MODEL)
    text = "Which chapter?\nHeart failure, 12 weeks' gestation: 体 😀"
    assert auto(text, add_special_tokens=False).input_ids == plain.encode(text, add_special_tokens=False).ids
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]
    chat = auto.apply_chat_template(messages, tokenize=False)
    assert chat == f"{train_tokenizer.BOS}{corpus.USER}Hi{corpus.ASSISTANT}Ho{train_tokenizer.EOS}"


@needs_wordnet
def test_tokenizer_and_perplexity_come_out_again() -> None:
    """The same bytes come out, and the held-out perplexity is the one in the log."""
    text = corpus.build()
    stored = golden.BASE_MODEL / "tokenizer.json"
    trained = train_tokenizer.train(text.training)
    assert trained.to_str(pretty=True) == stored.read_text(encoding="utf-8")
    model = tiny_models.load(golden.BASE_MODEL)
    model.set_attn_implementation("sdpa")
    rows = pretrain.pack(pretrain.encode(trained, text.held_out))
    with torch.no_grad():
        nats, load = pretrain.evaluate(model, pretrain.Router(model), rows)
    log = json.loads((SOURCES / "training_log.json").read_text(encoding="utf-8"))
    assert math.exp(nats) == pytest.approx(log["held_out_perplexity"], abs=0.05)
    assert min(map(min, load)) > 0.3
