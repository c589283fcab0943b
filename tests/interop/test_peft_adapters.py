"""Adapters as peft makes them of many configurations: ours computes what peft computes, or says what it does not have.

The programs are those of the build that `run.sh` makes, or of FEDTUNE_PROGRAMS.
"""

import json
import os
import subprocess
from pathlib import Path

import pytest
import tiny_models
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file

ROOT = Path(__file__).parents[2]
PROGRAMS = Path(os.environ.get("FEDTUNE_PROGRAMS", ROOT / "build" / "dev" / "bin"))
TOKENS = [[3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43], [2, 4]]
TOLERANCE = 1e-4
ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"]

pytestmark = pytest.mark.filterwarnings("ignore")

EQUAL = {
    "patterns": (
        "llama_mha",
        {
            "target_modules": ATTENTION,
            "rank_pattern": {r"^model\.layers\.0\.self_attn\.q_proj": 2, "v_proj": 3},
            "alpha_pattern": {r".*\.2\..*": 5, "^o_proj": 9},
            "use_rslora": True,
        },
    ),
    "patterns that match nothing at all": (
        "llama_mha",
        {"target_modules": ATTENTION, "rank_pattern": {"(q_proj)?": 2}, "alpha_pattern": {"x*": 3, "o_proj": -5}},
    ),
    "alpha below zero": ("llama_mha", {"target_modules": ATTENTION, "lora_alpha": -6, "use_rslora": True}),
    "alpha of a parameter below zero": (
        "v3_b",
        {"target_modules": ["o_proj"], "target_parameters": ["mlp.experts.gate_up_proj"], "lora_alpha": -6},
    ),
    "an expression that looks ahead": (
        "llama_mha",
        {"target_modules": r"(?!.*k_proj)model\.layers\.[02]\.self_attn\.\w_proj"},
    ),
    "everything but some layers": (
        "llama_mha",
        {"target_modules": "all-linear", "exclude_modules": r".*\.(1|2)\..*"},
    ),
    "head": ("llama_mha", {"target_modules": [*ATTENTION, "lm_head"]}),
    "head of a mixture": ("v3_b", {"target_modules": ["kv_b_proj", "lm_head"]}),
    "everything but": ("llama_gqa", {"target_modules": "all-linear", "exclude_modules": ["v_proj"]}),
    "all-linear": ("model_b", {"target_modules": "all-linear"}),
    "shared experts by expression": ("v3_a", {"target_modules": r".*shared_experts\.(gate|up|down)_proj"}),
    "a layer": ("model_b", {"target_modules": ["o_proj"], "layers_to_transform": 1}),
    "biased layers": ("llama_bias", {"target_modules": "all-linear"}),
    "biased layers of a mixture": (
        "v2_bias",
        {
            "target_modules": ["q_a_proj", "kv_a_proj_with_mqa", "o_proj"],
            "target_parameters": ["shared_experts.down_proj.weight", "mlp.experts.down_proj"],
        },
    ),
    "more ranks than a layer has": ("llama_mha", {"target_modules": ATTENTION, "rank_pattern": {"o_proj": 80}}),
    "orthogonal": ("llama_mha", {"target_modules": ATTENTION, "init_lora_weights": "orthogonal"}),
    "patterns of a module that is adapted as a parameter": (
        "v3_b",
        {
            "target_modules": ["o_proj"],
            "target_parameters": ["shared_experts.gate_proj.weight", "shared_experts.up_proj.weight"],
            "rank_pattern": {"gate_proj": 2, r".*up_proj\.weight": 3},
            "alpha_pattern": {"gate_proj": 64, "shared_experts.up_proj.weight": 16},
        },
    ),
    "router and experts": (
        "v3_b",
        {"target_modules": ["o_proj"], "target_parameters": ["mlp.gate.weight", "mlp.experts.down_proj"]},
    ),
}
REFUSED = {
    "use_dora": {"use_dora": True},
    "bias": {"bias": "lora_only"},
    "lora_bias": {"lora_bias": True},
    "modules_to_save": {"modules_to_save": ["lm_head"]},
    "trainable_token_indices": {"trainable_token_indices": [3]},
    "layer_replication": {"layer_replication": [[0, 2], [1, 2]]},
    "alora_invocation_tokens": {"alora_invocation_tokens": [3, 5]},
    "init_lora_weights": {"init_lora_weights": "pissa"},
}


def save_adapter(base: Path, folder: Path, **configuration) -> None:
    """What peft saves after a training that moved everything."""
    model = get_peft_model(tiny_models.load(base), LoraConfig(task_type="CAUSAL_LM", r=4, **configuration))
    generator = torch.Generator().manual_seed(1)
    for name, parameter in sorted(model.named_parameters()):
        if ".lora_" in name and parameter.requires_grad:
            parameter.data = 0.2 * torch.randn(parameter.shape, generator=generator)
    model.save_pretrained(folder)


def ours(base: Path, adapter: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Our program with the adapter."""
    tokens = folder / "tokens.json"
    tokens.write_text(json.dumps({"token_ids": TOKENS}), encoding="utf-8")
    command = [PROGRAMS / "model_logits", "--base", base, "--adapter", adapter, "--tokens", tokens]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@torch.no_grad()
def logits(model) -> list[torch.Tensor]:
    """Those of transformers or peft."""
    return [model(input_ids=torch.tensor([ids]), use_cache=False).logits[0] for ids in TOKENS]


def expect_equal(base: Path, adapter: Path, folder: Path) -> list[torch.Tensor]:
    """Peft's logits, which ours must be."""
    done = ours(base, adapter, folder)
    assert done.returncode == 0, done.stderr
    expected = logits(PeftModel.from_pretrained(tiny_models.load(base), adapter).eval())
    for our, their in zip(json.loads(done.stdout)["logits"], expected, strict=True):
        assert (torch.tensor(our) - their).abs().max() <= TOLERANCE
    return expected


@pytest.mark.parametrize("case", EQUAL)
def test_logits(tmp_path: Path, case: str) -> None:
    """With an adapter that matters."""
    name, configuration = EQUAL[case]
    base, adapter = tmp_path / "base", tmp_path / "adapter"
    tiny_models.save(name, base)
    save_adapter(base, adapter, **configuration)
    untouched = logits(tiny_models.load(base))
    for their, without in zip(expect_equal(base, adapter, tmp_path), untouched, strict=True):
        assert (their - without).abs().max() > 100 * TOLERANCE


@pytest.mark.parametrize("key", REFUSED)
def test_what_we_do_not_have_is_refused_by_its_name(tmp_path: Path, key: str) -> None:
    """And not left out."""
    base, adapter = tmp_path / "base", tmp_path / "adapter"
    tiny_models.save("llama_mha", base)
    save_adapter(base, adapter, target_modules=ATTENTION, **REFUSED[key])
    done = ours(base, adapter, tmp_path)
    assert done.returncode != 0
    assert f"adapter_config.json: {key} " in done.stderr


LEFT_OUT = {
    "target_modules": ["q_proj", "v_proj"],
    "exclude_modules": ["k_proj"],
    "layers_to_transform": [1],
}


@pytest.mark.parametrize("key", LEFT_OUT)
def test_factors_that_peft_would_leave_out_are_refused(tmp_path: Path, key: str) -> None:
    """Of modules that adapter_config.json does not name."""
    base, adapter = tmp_path / "base", tmp_path / "adapter"
    tiny_models.save("llama_mha", base)
    save_adapter(base, adapter, target_modules=ATTENTION)
    file = adapter / "adapter_config.json"
    config = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps(config | {key: LEFT_OUT[key]}), encoding="utf-8")
    done = ours(base, adapter, tmp_path)
    assert done.returncode != 0
    assert f"k_proj.lora_A.weight is of a module that {key} " in done.stderr


@pytest.mark.parametrize("stored", [torch.float64, torch.float16, torch.bfloat16])
def test_factors_of_another_type(tmp_path: Path, stored: torch.dtype) -> None:
    """Peft computes with all of them in fp32."""
    base, adapter = tmp_path / "base", tmp_path / "adapter"
    tiny_models.save("llama_mha", base)
    save_adapter(base, adapter, target_modules=ATTENTION)
    weights = adapter / "adapter_model.safetensors"
    save_file({name: factor.to(stored) for name, factor in load_file(weights).items()}, weights, {"format": "pt"})
    expect_equal(base, adapter, tmp_path)


def test_alpha_of_zero_leaves_the_base_model(tmp_path: Path) -> None:
    """As with peft."""
    base, adapter = tmp_path / "base", tmp_path / "adapter"
    tiny_models.save("llama_mha", base)
    save_adapter(base, adapter, target_modules=ATTENTION, lora_alpha=0)
    expect_equal(base, adapter, tmp_path)


def test_a_tied_head_is_refused(tmp_path: Path) -> None:
    """What peft merges of it changes the embedding, too."""
    base, adapter = tmp_path / "base", tmp_path / "adapter"
    tiny_models.save("llama_gqa", base)
    save_adapter(base, adapter, target_modules=["q_proj", "lm_head"])
    done = ours(base, adapter, tmp_path)
    assert done.returncode != 0
    assert "lm_head is adapted, but" in done.stderr and "tied to the embedding" in done.stderr


def test_a_head_of_ones_own_beside_its_factors_is_refused(tmp_path: Path) -> None:
    """peft would put it in the base model's place."""
    base, adapter = tmp_path / "base", tmp_path / "adapter"
    tiny_models.save("llama_mha", base)
    save_adapter(base, adapter, target_modules=["lm_head"])
    other = tmp_path / "other"
    tiny_models.save("llama_mha", other)
    weights = other / "model.safetensors"
    tensors = load_file(weights)
    tensors["lm_head.weight"][5] += 1
    save_file(tensors, weights, {"format": "pt"})
    done = ours(other, adapter, tmp_path)
    assert done.returncode != 0
    assert "lm_head.base_layer.weight is a weight of the base model, but differs" in done.stderr
