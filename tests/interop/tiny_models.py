"""Tiny random models, two or more of each architecture, that between them use its every branch.

model_a, model_b (DeepSeek-V2): no query compression, greedy routing, plain rotary positions; and query
compression, group-limited routing, YaRN with two different mscale values, scaled routing weights, two
shared experts. llama_mha, llama_gqa: linear scaling; shared keys, heads of a size of their own, a tied
head. llama_bias, v2_bias: biases in attention, dense MLPs and shared experts. v3_a, v3_b: biased groups without and with query compression, normalised weights or not, both kinds of
rotary pairs, YaRN. v3_fp8: linear layers in blocks of 8-bit floats, with ragged edges. v32: the indexer chooses every token. moe_a, moe_b (DeepSeekMoE, see `deepseek_moe.py`).
"""

import json
import os
import tempfile
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM

import deepseek_moe
import fp8_blocks

torch.set_num_threads(1)  # sums in the same order everywhere; the models are too small for more
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

SEED = 20
VOCABULARY = 96
BASICS = {
    "hidden_act": "silu",
    "rms_norm_eps": 1e-6,
    "attention_bias": False,
    "rope_scaling": None,
    "vocab_size": VOCABULARY,
    "num_hidden_layers": 3,
    "tie_word_embeddings": False,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 2,
}
MIXTURE = {**BASICS, "first_k_dense_replace": 1, "moe_layer_freq": 1}
V2 = {**MIXTURE, "model_type": "deepseek_v2", "scoring_func": "softmax", "norm_topk_prob": False}
V3 = {**MIXTURE, "model_type": "deepseek_v3", "scoring_func": "sigmoid", "topk_method": "noaux_tc"}
V1 = {**MIXTURE, "model_type": "deepseek", "scoring_func": "softmax"}
V3_B = {
    **V3,
    "hidden_size": 32,
    "intermediate_size": 40,
    "moe_intermediate_size": 16,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "q_lora_rank": 20,
    "kv_lora_rank": 12,
    "qk_nope_head_dim": 6,
    "qk_rope_head_dim": 8,
    "v_head_dim": 10,
    "n_routed_experts": 8,
    "n_shared_experts": 1,
    "num_experts_per_tok": 3,
    "n_group": 4,
    "topk_group": 2,
    "norm_topk_prob": True,
    "routed_scaling_factor": 2.5,
    "max_position_embeddings": 256,
    "rope_theta": 1000.0,
    "rope_scaling": {
        "type": "yarn",
        "factor": 4.0,
        "original_max_position_embeddings": 64,
        "beta_fast": 8.0,
        "beta_slow": 1.0,
        "mscale": 1.0,
        "mscale_all_dim": 1.0,
    },
}
CONFIGS = {
    "model_a": {
        **V2,
        "hidden_size": 32,
        "intermediate_size": 48,
        "moe_intermediate_size": 24,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "q_lora_rank": None,
        "kv_lora_rank": 16,
        "qk_nope_head_dim": 12,
        "qk_rope_head_dim": 8,
        "v_head_dim": 10,
        "n_routed_experts": 4,
        "n_shared_experts": 1,
        "num_experts_per_tok": 2,
        "n_group": 1,
        "topk_group": 1,
        "topk_method": "greedy",
        "routed_scaling_factor": 1.0,
        "max_position_embeddings": 64,
        "rope_theta": 10000.0,
    },
    "model_b": {
        **V2,
        "hidden_size": 40,
        "intermediate_size": 56,
        "moe_intermediate_size": 16,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "q_lora_rank": 20,
        "kv_lora_rank": 12,
        "qk_nope_head_dim": 6,
        "qk_rope_head_dim": 16,
        "v_head_dim": 8,
        "n_routed_experts": 8,
        "n_shared_experts": 2,
        "num_experts_per_tok": 3,
        "n_group": 4,
        "topk_group": 2,
        "topk_method": "group_limited_greedy",
        "routed_scaling_factor": 2.5,
        "max_position_embeddings": 256,
        "rope_theta": 1000.0,
        "rope_scaling": {
            "type": "yarn",
            "factor": 4.0,
            "original_max_position_embeddings": 64,
            "beta_fast": 8.0,
            "beta_slow": 1.0,
            "mscale": 0.8,
            "mscale_all_dim": 1.4,
        },
    },
    "llama_mha": {
        **BASICS,
        "model_type": "llama",
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "max_position_embeddings": 128,
        "rope_theta": 10000.0,
        "rope_scaling": {"type": "linear", "factor": 4.0},
    },
    "llama_gqa": {
        **BASICS,
        "model_type": "llama",
        "rms_norm_eps": 1e-5,
        "hidden_size": 40,
        "intermediate_size": 56,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 12,
        "tie_word_embeddings": True,
        "max_position_embeddings": 128,
        "rope_theta": 500.0,
    },
    "v3_a": {
        **V3_B,
        "rms_norm_eps": 1e-5,
        "q_lora_rank": None,
        "n_routed_experts": 6,
        "n_shared_experts": 2,
        "num_experts_per_tok": 2,
        "n_group": 1,
        "topk_group": 1,
        "norm_topk_prob": False,
        "rope_interleave": False,
        "rope_scaling": None,
    },
    "v3_b": {**V3_B, "hidden_size": 40},
    "v32": {
        **V3_B,
        "model_type": "deepseek_v32",
        "num_hidden_layers": 2,
        "index_topk": 64,
        "index_head_dim": 16,
        "index_n_heads": 2,
    },
    "moe_a": {
        **V1,
        "hidden_size": 32,
        "intermediate_size": 40,
        "moe_intermediate_size": 16,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "n_routed_experts": 5,
        "n_shared_experts": 2,
        "num_experts_per_tok": 3,
        "norm_topk_prob": False,
        "max_position_embeddings": 128,
        "rope_theta": 10000.0,
    },
    "moe_b": {
        **V1,
        "hidden_size": 36,
        "intermediate_size": 40,
        "moe_intermediate_size": 16,
        "num_attention_heads": 3,
        "num_key_value_heads": 3,
        "n_routed_experts": 4,
        "n_shared_experts": 1,
        "num_experts_per_tok": 2,
        "norm_topk_prob": True,
        "first_k_dense_replace": 0,
        "moe_layer_freq": 2,
        "tie_word_embeddings": True,
        "max_position_embeddings": 128,
        "rope_theta": 1000.0,
    },
    "v3_fp8": {
        **V3_B,
        "hidden_size": 40,
        "num_hidden_layers": 2,
        "quantization_config": {
            "activation_scheme": "dynamic",
            "fmt": "e4m3",
            "quant_method": "fp8",
            "weight_block_size": [16, 24],
        },
    },
    "llama_bias": {
        **BASICS,
        "model_type": "llama",
        "num_hidden_layers": 2,
        "hidden_size": 32,
        "intermediate_size": 40,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "attention_bias": True,
        "mlp_bias": True,
        "tie_word_embeddings": True,
        "max_position_embeddings": 128,
        "rope_theta": 10000.0,
    },
    "v2_bias": {
        **V2,
        "num_hidden_layers": 2,
        "hidden_size": 40,
        "intermediate_size": 48,
        "moe_intermediate_size": 16,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "attention_bias": True,
        "mlp_bias": True,
        "q_lora_rank": 20,
        "kv_lora_rank": 12,
        "qk_nope_head_dim": 6,
        "qk_rope_head_dim": 8,
        "v_head_dim": 10,
        "n_routed_experts": 4,
        "n_shared_experts": 2,
        "num_experts_per_tok": 2,
        "topk_method": "greedy",
        "routed_scaling_factor": 1.0,
        "max_position_embeddings": 64,
        "rope_theta": 10000.0,
    },
}


def configuration(name: str, **changes) -> dict:
    """The fields of a config.json in the older form (`rope_theta`, `rope_scaling`)."""
    return {"torch_dtype": "float32", **deepcopy({**CONFIGS[name], **changes})}


def build(config: dict):
    """A model of transformers, or the reference where transformers has none."""
    if config["model_type"] == deepseek_moe.MODEL_TYPE:
        return deepseek_moe.DeepseekMoe(SimpleNamespace(**config))
    fields = {key: value for key, value in config.items() if key not in ("torch_dtype", "quantization_config")}
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(**fields), dtype=torch.float32)


def fill(model, seed: int):
    """The model with weights large enough that routing and attention matter."""
    generator = torch.Generator().manual_seed(seed)
    for parameter_name, parameter in sorted(model.named_parameters()):
        noise = torch.randn(parameter.shape, generator=generator).to(parameter.dtype)
        if parameter_name.endswith("norm.weight"):
            parameter.data = 1 + 0.2 * noise
        elif "embed" in parameter_name:
            parameter.data = noise
        else:
            parameter.data = noise / parameter.shape[-1] ** 0.5
    for buffer_name, buffer in sorted(model.named_buffers()):
        if buffer_name.endswith("e_score_correction_bias"):
            buffer.copy_(0.2 * torch.randn(buffer.shape, generator=generator))
    return model


def random_model(name: str, **changes):
    """One of those above; `changes` are to its configuration."""
    return fill(build(configuration(name, **changes)), SEED + list(CONFIGS).index(name))


def save(name: str, folder: Path, **changes) -> None:
    """Writes an fp32 checkpoint; the config in the older form."""
    model = random_model(name, **changes)
    if isinstance(model, deepseek_moe.DeepseekMoe):
        deepseek_moe.save(model, folder)
    else:
        model.save_pretrained(folder)
        (folder / "generation_config.json").unlink(missing_ok=True)
    if "quantization_config" in CONFIGS[name]:
        fp8_blocks.quantise(folder / "model.safetensors", CONFIGS[name]["quantization_config"]["weight_block_size"])
    text = json.dumps(configuration(name, **changes), indent=1) + "\n"
    (folder / "config.json").write_text(text, encoding="utf-8")


def load(folder: Path):
    """Any of our checkpoints in fp32 with plain attention, frozen and in evaluation mode."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if config["model_type"] == deepseek_moe.MODEL_TYPE:
        return deepseek_moe.load(folder)
    if "quantization_config" in config:
        with tempfile.TemporaryDirectory() as widened:
            fp8_blocks.widen(folder, Path(widened))
            return load(Path(widened))
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    return model.eval().requires_grad_(False)
