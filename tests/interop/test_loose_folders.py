"""Folders that leave something out, or say it twice, are what transformers takes them for, or are refused.

The programs are those of the build that `run.sh` makes, or of FEDTUNE_PROGRAMS.
"""

import json
import os
import subprocess
from pathlib import Path

import golden_files as golden
import pytest
import tiny_models
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from transformers import AutoTokenizer

ROOT = Path(__file__).parents[2]
PROGRAMS = Path(os.environ.get("FEDTUNE_PROGRAMS", ROOT / "build" / "dev" / "bin"))
TOKENS = [[3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43], [2, 4]]
TOLERANCE = 1e-4

# What goes without saying in a V3, as far as a tiny model can have it.
V3_DEPTH = {"num_hidden_layers": 4, "n_routed_experts": 16}
V3_ROUTING = {
    "first_k_dense_replace": 3,
    "n_group": 8,
    "topk_group": 4,
    "num_experts_per_tok": 8,
    "norm_topk_prob": True,
    "routed_scaling_factor": 2.5,
}
V3_LEFT_OUT = [*V3_ROUTING, "scoring_func", "topk_method", "moe_layer_freq", "n_shared_experts", "rms_norm_eps"]
V2_ROUTING = {"first_k_dense_replace": 0, "n_shared_experts": 2}
V2_LEFT_OUT = ["n_group", "topk_group", "norm_topk_prob", "routed_scaling_factor", "scoring_func", "topk_method"]
YARN = {"type": "yarn", "factor": 4.0}
LONGROPE = {
    "rope_type": "longrope",
    "short_factor": [1.0, 1.2, 1.5, 3.0],
    "long_factor": [1.0, 2.0, 4.0, 8.0],
    "original_max_position_embeddings": 32,
}
LLAMA3 = {"rope_type": "llama3", "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
UNTRUNCATED = {"truncate": False, "original_max_position_embeddings": 48, "beta_fast": 3.0}
MSCALES = {"mscale": 0.7, "mscale_all_dim": 1.1}

# The model, how it is made, what its config.json leaves out, and what it says otherwise.
CONFIGURATIONS = {
    "routing of V3": ("v3_b", {**V3_DEPTH, **V3_ROUTING}, V3_LEFT_OUT, {}),
    "routing of V3.2": ("v32", {**V3_DEPTH, **V3_ROUTING}, V3_LEFT_OUT, {}),
    "routing of V2": ("model_a", V2_ROUTING, [*V2_ROUTING, *V2_LEFT_OUT, "moe_layer_freq", "rms_norm_eps"], {}),
    "weights that are not normalised": ("v3_b", {}, [], {"norm_topk_prob": None}),
    "yarn": ("llama_mha", {}, [], {"rope_scaling": YARN}),
    "yarn with latent attention": ("v3_b", {}, [], {"rope_scaling": {**YARN, **MSCALES}}),
    "yarn whose ends are no whole numbers": ("llama_mha", {}, [], {"rope_scaling": {**YARN, **UNTRUNCATED}}),
    "yarn without a factor": ("llama_mha", {}, [], {"rope_scaling": {**YARN, **UNTRUNCATED, "factor": None}}),
    "longrope": ("llama_mha", {}, [], {"rope_scaling": LONGROPE}),
    "longrope with latent attention": ("v3_b", {}, [], {"rope_scaling": {**LONGROPE, **MSCALES, "factor": 6.0}}),
    "dynamic": ("llama_mha", {"max_position_embeddings": 16}, [], {"rope_scaling": {"type": "dynamic", "factor": 4.0}}),
    "linear with mscale": ("v3_b", {}, [], {"rope_scaling": {"type": "linear", "factor": 4.0, **MSCALES}}),
    "llama3": ("llama_mha", {}, [], {"rope_scaling": LLAMA3}),
    "original context beside it": (
        "llama_mha",
        {},
        [],
        {"original_max_position_embeddings": 16, "rope_scaling": {**YARN, "original_max_position_embeddings": 64}},
    ),
    "rope_parameters beside it": ("llama_mha", {}, ["rope_theta"], {"rope_parameters": {"rope_theta": 77.0}}),
    "everything that a llama need not say": (
        "llama_mha",
        {"max_position_embeddings": 2048},
        ["max_position_embeddings", "rms_norm_eps", "num_key_value_heads", "hidden_act", "rope_theta"],
        {},
    ),
}


def ours(base: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """The logits of our program, or what it says."""
    tokens = folder / "tokens.json"
    tokens.write_text(json.dumps({"token_ids": TOKENS}), encoding="utf-8")
    command = [PROGRAMS / "model_logits", "--base", base, "--tokens", tokens]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@torch.no_grad()
def expect_equal(base: Path, folder: Path) -> None:
    """Ours and transformers' logits."""
    done = ours(base, folder)
    assert done.returncode == 0, done.stderr
    model = tiny_models.load(base)
    model.set_experts_implementation("eager")
    for sequence, our in zip(TOKENS, json.loads(done.stdout)["logits"], strict=True):
        their = model(input_ids=torch.tensor([sequence]), use_cache=False).logits[0]
        assert (torch.tensor(our) - their).abs().max() <= TOLERANCE


def change_config(base: Path, left_out: list[str], changes: dict) -> None:
    """Another config.json for the same weights."""
    file = base / "config.json"
    config = json.loads(file.read_text(encoding="utf-8"))
    config = {key: value for key, value in config.items() if key not in left_out}
    file.write_text(json.dumps(config | changes), encoding="utf-8")


@pytest.mark.parametrize("case", CONFIGURATIONS)
def test_configuration(case: str, tmp_path: Path) -> None:
    """What config.json leaves out, or says in two places."""
    name, built, left_out, changes = CONFIGURATIONS[case]
    base = tmp_path / "base"
    tiny_models.save(name, base, **built)
    change_config(base, left_out, changes)
    expect_equal(base, tmp_path)


def save_in_shards(base: Path) -> tuple[Path, dict[str, str]]:
    """A checkpoint of several files, its index, and in which file the index has each tensor."""
    tiny_models.random_model("llama_mha").save_pretrained(base, max_shard_size="20KB")
    index = base / "model.safetensors.index.json"
    return index, json.loads(index.read_text(encoding="utf-8"))["weight_map"]


def write_index(index: Path, weights: dict[str, str]) -> None:
    """The index as transformers reads it."""
    index.write_text(json.dumps({"metadata": {}, "weight_map": weights}), encoding="utf-8")


def test_index_that_says_too_much_and_too_little(tmp_path: Path) -> None:
    """A tensor that is nowhere, one that is not listed, and one that is in another file."""
    index, weights = save_in_shards(tmp_path / "base")
    shards = sorted(set(weights.values()))
    full = next(shard for shard in shards if list(weights.values()).count(shard) > 2)
    first, second = [name for name, shard in weights.items() if shard == full][:2]
    weights["model.layers.9.mlp.up_proj.weight"] = full
    del weights[first]
    weights[second] = next(shard for shard in shards if shard != full)
    write_index(index, weights)
    expect_equal(tmp_path / "base", tmp_path)


def test_tensor_in_two_files(tmp_path: Path) -> None:
    """Which of them transformers takes is chance."""
    _, weights = save_in_shards(tmp_path / "base")
    name, shard = next(iter(weights.items()))
    other = tmp_path / "base" / next(file for file in weights.values() if file != shard)
    save_file({**load_file(other), name: load_file(tmp_path / "base" / shard)[name] + 1}, other, {"format": "pt"})
    done = ours(tmp_path / "base", tmp_path)
    assert done.returncode != 0
    assert f"holds tensor {name}, and so does " in done.stderr


def test_one_file_beside_several(tmp_path: Path) -> None:
    """transformers would read that one, and nobody knows which is meant."""
    save_in_shards(tmp_path / "base")
    save_file({"model.norm.weight": torch.ones(32)}, tmp_path / "base" / "model.safetensors", {"format": "pt"})
    done = ours(tmp_path / "base", tmp_path)
    assert done.returncode != 0
    assert "there are weights in model.safetensors, and model.safetensors.index.json lists others" in done.stderr


@pytest.mark.parametrize("name", ["llama_gqa", "llama_bias"])
def test_model_that_was_saved_without_its_head(name: str, tmp_path: Path) -> None:
    """As AutoModel saves it; its head is the embedding."""
    base = tmp_path / "base"
    tiny_models.save(name, base)
    tiny_models.load(base).model.save_pretrained(base, max_shard_size="20KB")
    (base / "model.safetensors").unlink()
    assert json.loads((base / "config.json").read_text(encoding="utf-8"))["architectures"] == ["LlamaModel"]
    assert "layers.0.mlp.up_proj.weight" in (base / "model.safetensors.index.json").read_text(encoding="utf-8")
    expect_equal(base, tmp_path)


def test_untied_model_without_a_head(tmp_path: Path) -> None:
    """transformers would draw one."""
    base = tmp_path / "base"
    tiny_models.save("v3_b", base)
    tiny_models.load(base).model.save_pretrained(base)
    done = ours(base, tmp_path)
    assert done.returncode != 0
    assert "has no tensor lm_head.weight" in done.stderr and "(tie_word_embeddings)" in done.stderr


def begin_mark_processor(mark: str, number: int) -> dict:
    """A post_processor that puts a mark before a text, as that of Llama 3."""
    text = {"Sequence": {"id": "A", "type_id": 0}}
    single = [{"SpecialToken": {"id": mark, "type_id": 0}}, text]
    marks = {mark: {"id": mark, "ids": [number], "tokens": [mark]}}
    return {"type": "TemplateProcessing", "single": single, "pair": single, "special_tokens": marks}


@pytest.mark.parametrize(
    ("name", "puts_mark"), [("v3_b", False), ("v3_b", True), ("llama_bias", False), ("v2_bias", True)]
)
def test_begin_mark_without_add_bos_token(name: str, puts_mark: bool, tmp_path: Path) -> None:
    """Generation goes on from the tokens that transformers' tokenizer gives, with and without a mark."""
    base = tmp_path / "base"
    tiny_models.save(name, base, vocab_size=4096)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        content = json.loads((golden.BASE_MODEL / file).read_text(encoding="utf-8"))
        if file == "tokenizer.json" and puts_mark:
            mark = content["added_tokens"][0]
            steps = [content["post_processor"], begin_mark_processor(mark["content"], mark["id"])]
            content["post_processor"] = {"type": "Sequence", "processors": steps}
        content.pop("add_bos_token", None)
        (base / file).write_text(json.dumps(content), encoding="utf-8")
    tokenizer = AutoTokenizer.from_pretrained(base)
    prompt = tokenizer("Sudden loss of sight:", return_tensors="pt")
    assert (prompt.input_ids[0, 0] == tokenizer.bos_token_id) == puts_mark
    model = tiny_models.load(base)
    model.set_experts_implementation("eager")
    ids = model.generate(**prompt, max_new_tokens=12, do_sample=False)[0, prompt.input_ids.shape[1] :]
    command = [PROGRAMS / "fedtune-client", "generate", "--base", base, "--prompt", "Sudden loss of sight:"]
    done = subprocess.run([*command, "--max-tokens", "12", "--json"], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["text"] == tokenizer.decode(ids, skip_special_tokens=True)


FLAGS = {"lstrip": False, "rstrip": False, "single_word": False, "normalized": False, "special": True}
ADDED = {"content": "<dose>", **FLAGS}
# What tokenizer.json has of a token, what tokenizer_config.json says besides, and why ours refuses it.
CHANGED_TOKENS = {
    "a number of its own": (9000, {}, "has id 9000, but Hugging Face's tokenizers number it"),
    "white space that it takes": (
        4096,
        {"added_tokens_decoder": {"0": {**ADDED, "lstrip": True}}},
        'added_tokens_decoder has another "lstrip" for the token "<dose>"',
    ),
    "no token within texts": (4096, {"split_special_tokens": True}, "split_special_tokens is true"),
}


@pytest.mark.parametrize("case", CHANGED_TOKENS)
def test_added_token_of_which_transformers_makes_another(case: str, tmp_path: Path) -> None:
    """Texts would have other tokens than tokenizer.json says."""
    number, says, reason = CHANGED_TOKENS[case]
    base = tmp_path / "base"
    tiny_models.save("llama_mha", base, vocab_size=4100)
    content = json.loads((golden.BASE_MODEL / "tokenizer.json").read_text(encoding="utf-8"))
    content["added_tokens"].append({"id": number, **ADDED})
    (base / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    config = json.loads((golden.BASE_MODEL / "tokenizer_config.json").read_text(encoding="utf-8"))
    (base / "tokenizer_config.json").write_text(json.dumps(config | says), encoding="utf-8")
    *before, _ = Tokenizer.from_str(json.dumps(content)).encode("10 mg <dose>", add_special_tokens=False).ids
    assert AutoTokenizer.from_pretrained(base)("10 mg <dose>", add_special_tokens=False).input_ids != [*before, number]
    command = [PROGRAMS / "fedtune-client", "generate", "--base", base, "--prompt", "10 mg <dose>"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert reason in done.stderr
