"""Models of configurations that nobody chose compute what transformers computes.

Each seed draws an architecture, its sizes, routing, rotary positions, the type of the stored weights, the form of the
config.json and whether the checkpoint is in several files; and an adapter, of which the loss's gradient is compared.
More seeds: FEDTUNE_RANDOM_MODELS=400. Our kernels for other processors: FEDTUNE_CPU=portable and so on.
"""

import json
import os
import random
import subprocess
from pathlib import Path

import pytest
import tiny_models
import torch
from safetensors.torch import save_file

import make_model_goldens as goldens
import reference_lora as lora

ROOT = Path(__file__).parents[2]
PROGRAMS = Path(os.environ.get("FEDTUNE_PROGRAMS", ROOT / "build" / "dev" / "bin"))
SEEDS = range(int(os.environ.get("FEDTUNE_RANDOM_MODELS", "24")))
# What a rounding may change, per unit of the largest logit.
TOLERANCE = 1e-5
# Of a gradient, per unit of the factor's.
GRADIENT_TOLERANCE = 1e-3

Fields = dict[str, object]


def draw_rotary(draw: random.Random, *, latent: bool) -> Fields:
    """Positions as they are, stretched, Llama 3.1's, or YaRN's; two mscale values exist for latent attention only."""
    kind = draw.choice(["default", "default", "linear", "llama3", "yarn", "dynamic"])
    if kind == "default":
        return {}
    scaling: Fields = {"type": kind, "factor": draw.choice([2.0, 4.0, 40.0])}
    if kind == "llama3":
        scaling |= {"original_max_position_embeddings": draw.choice([16, 64])}
        scaling |= {"low_freq_factor": draw.choice([0.5, 1.0]), "high_freq_factor": draw.choice([2.0, 4.0])}
    if kind == "yarn":
        scaling |= {"original_max_position_embeddings": draw.choice([16, 32, 64])}
        scaling |= {"beta_fast": draw.choice([8.0, 32.0]), "beta_slow": 1.0}
        scaling |= draw.choice([{}, {"truncate": False}])
        if latent:
            scaling |= draw.choice([{}, {"mscale": 0.7, "mscale_all_dim": 1.3}, {"mscale": 0.707, "mscale_all_dim": 0}])
    return {"rope_scaling": scaling}


def draw_grouped_attention(draw: random.Random) -> Fields:
    """Heads that share keys, of a size of their own; transformers wants them to divide the hidden size."""
    shared, groups = draw.randint(1, 3), draw.choice([1, 2, 4])
    heads = {"num_attention_heads": shared * groups, "num_key_value_heads": shared}
    return {**heads, "hidden_size": shared * groups * draw.choice([4, 10, 16]), "head_dim": draw.choice([4, 8, 12])}


def draw_latent_attention(draw: random.Random) -> Fields:
    """With and without a compressed query."""
    heads = draw.choice([1, 2, 4, 8])
    return {
        "num_attention_heads": heads,
        "num_key_value_heads": heads,
        "hidden_size": heads * draw.choice([8, 9, 24]),
        "q_lora_rank": draw.choice([None, 8, 20]),
        "kv_lora_rank": draw.choice([8, 12, 34]),
        "qk_nope_head_dim": draw.choice([4, 6, 16]),
        "qk_rope_head_dim": draw.choice([4, 8, 16]),
        "v_head_dim": draw.choice([4, 10, 16]),
    }


def draw_mixture(draw: random.Random, architecture: str, layers: int) -> Fields:
    """Routed experts in groups, of which some may be chosen."""
    groups, in_each = draw.choice([1, 2, 4]), draw.randint(2, 4)
    chosen = draw.randint(1, groups)
    fields: Fields = {
        "n_routed_experts": groups * in_each,
        "n_group": groups,
        "topk_group": chosen,
        "num_experts_per_tok": draw.randint(1, chosen * in_each),
        "n_shared_experts": draw.randint(1, 3),
        "moe_intermediate_size": draw.choice([8, 16, 21]),
        "first_k_dense_replace": draw.randint(0, layers),
        "moe_layer_freq": 1,
        "routed_scaling_factor": draw.choice([1.0, 2.5, 16.0]),
    }
    normalised = {"norm_topk_prob": draw.random() < 0.5}
    if architecture == "deepseek_v2":
        method = "greedy" if groups == 1 else "group_limited_greedy"
        return {**fields, **normalised, "scoring_func": "softmax", "topk_method": method}
    interleaved = {} if draw.random() < 0.7 else {"rope_interleave": False}
    return {**fields, **interleaved, **normalised, "scoring_func": "sigmoid", "topk_method": "noaux_tc"}


def draw_configuration(draw: random.Random) -> Fields:
    """The fields of a config.json in the older form."""
    architecture = draw.choice(["llama", "deepseek_v2", "deepseek_v3"])
    layers = draw.randint(1, 4)
    fields = {
        **tiny_models.BASICS,
        "model_type": architecture,
        "num_hidden_layers": layers,
        "intermediate_size": draw.choice([8, 17, 40, 100]),
        "vocab_size": draw.choice([50, 96, 257]),
        "rms_norm_eps": draw.choice([1e-6, 1e-5, 1e-3]),
        "tie_word_embeddings": draw.random() < 0.3,
        "attention_bias": draw.random() < 0.3,
        "max_position_embeddings": draw.choice([64, 512, 4096]),
        "rope_theta": draw.choice([100.0, 10000.0, 1e6]),
        "torch_dtype": draw.choice(["float32", "bfloat16", "float16"]),
        **draw_rotary(draw, latent=architecture != "llama"),
    }
    if architecture != "deepseek_v3":
        fields["mlp_bias"] = draw.random() < 0.3
    if architecture == "llama":
        return {**fields, **draw_grouped_attention(draw)}
    return {**fields, **draw_latent_attention(draw), **draw_mixture(draw, architecture, layers)}


def save(draw: random.Random, fields: Fields, folder: Path, seed: int) -> None:
    """A checkpoint of random weights, in one file or several; its config.json in either form."""
    model = tiny_models.fill(tiny_models.build(fields), seed)
    model.to(getattr(torch, fields["torch_dtype"])).save_pretrained(folder, max_shard_size=draw.choice(["1GB", "20KB"]))
    if draw.random() < 0.5:
        (folder / "config.json").write_text(json.dumps(fields), encoding="utf-8")


@pytest.mark.parametrize("seed", SEEDS)
def test_logits(seed: int, tmp_path: Path) -> None:
    """Of a long and a short sequence, in fp32."""
    draw = random.Random(seed)
    fields = draw_configuration(draw)
    save(draw, fields, tmp_path, seed)
    sequences = [[draw.randrange(fields["vocab_size"]) for _ in range(length)] for length in (63, draw.randint(1, 9))]
    tokens = tmp_path / "tokens.json"
    tokens.write_text(json.dumps({"token_ids": sequences}), encoding="utf-8")
    command = [PROGRAMS / "model_logits", "--base", tmp_path, "--tokens", tokens]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stderr, fields)

    model = tiny_models.load(tmp_path)
    model.set_experts_implementation("eager")  # Grouped products want other sizes.
    for sequence, ours in zip(sequences, json.loads(done.stdout)["logits"], strict=True):
        theirs = model(input_ids=torch.tensor([sequence]), use_cache=False).logits[0]
        difference = (theirs - torch.tensor(ours)).abs().max().item()
        assert difference < TOLERANCE * max(10.0, theirs.abs().max().item()), fields


def save_adapter(adapter: lora.Adapter, folder: Path, rank: int, alpha: float) -> None:
    """As peft would, with a pair of factors for each projection of a routed expert."""
    folder.mkdir()
    save_file(lora.tensors(adapter), folder / "adapter_model.safetensors", {"format": "pt"})
    modules = sorted({name.rpartition(".")[2] for name in adapter})
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": alpha, "target_modules": modules}
    (folder / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")


def expected_gradients(model, adapter: lora.Adapter, scale: float, sequences: goldens.Sequences) -> tuple[float, dict]:
    """The loss, and its gradient by each factor; skips what rounding may route otherwise."""

    def adapted(ids: list[int]) -> torch.Tensor:
        return lora.logits(model, adapter, scale, ids)

    try:
        goldens.check_routing_margin(model, lambda: [adapted(ids) for ids, _ in sequences])
    except AssertionError as error:
        pytest.skip(str(error))
    loss = goldens.mean_loss(adapted, sequences)
    loss.backward()
    pairs = {name: (a.grad.flatten(), b.grad.flatten()) for name, (a, b) in adapter.items()}
    gradients = {f"{name}.lora_A": a for name, (a, _) in pairs.items()}
    return loss.item(), gradients | {f"{name}.lora_B": b for name, (_, b) in pairs.items()}


@pytest.mark.parametrize("seed", SEEDS)
def test_gradients(seed: int, tmp_path: Path) -> None:
    """Of an adapter of every layer, routed experts included."""
    draw = random.Random(1000 + seed)
    fields = draw_configuration(draw)
    save(draw, fields, tmp_path / "base", seed)
    rank, alpha = draw.choice([1, 3, 8, 17]), draw.choice([1, 8, 13.5])
    prompts = [(length, draw.randint(1, length - 1)) for length in (37, draw.randint(2, 9))]
    sequences = [([draw.randrange(fields["vocab_size"]) for _ in range(length)], prompt) for length, prompt in prompts]
    model = tiny_models.load(tmp_path / "base")
    model.set_experts_implementation("eager")
    adapter = goldens.trainable(lora.random_adapter(model.config, rank, True, seed))
    save_adapter(adapter, tmp_path / "adapter", rank, alpha)
    tokens = tmp_path / "tokens.json"
    content = {"token_ids": [ids for ids, _ in sequences], "prompt_lengths": [prompt for _, prompt in sequences]}
    tokens.write_text(json.dumps(content), encoding="utf-8")
    command = [PROGRAMS / "model_logits", "--base", tmp_path / "base", "--adapter", tmp_path / "adapter"]
    done = subprocess.run([*command, "--tokens", tokens, "--gradient"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stderr, fields)
    ours = json.loads(done.stdout)

    loss, expected = expected_gradients(model, adapter, alpha / rank, sequences)
    assert abs(ours["loss"] - loss) < TOLERANCE * max(1.0, loss), fields
    assert ours["gradient"].keys() == expected.keys()
    whole = sum(their.square().sum() for their in expected.values()).sqrt()
    for name, their in expected.items():
        difference = (torch.tensor(ours["gradient"][name]) - their).norm()
        assert difference < GRADIENT_TOLERANCE * (their.norm() + 1e-5 * whole), (name, fields)
