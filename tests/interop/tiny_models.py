"""Two tiny random DeepSeek-V2 models that between them use every branch of the architecture.

A: no query compression, greedy routing, plain rotary positions. B: query compression, group-limited
routing, YaRN with two different mscale values, scaled routing weights, two shared experts.
"""

import json
import os
from copy import deepcopy
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
import transformers
from transformers import DeepseekV2Config, DeepseekV2ForCausalLM

torch.set_num_threads(1)  # sums in the same order everywhere; the models are too small for more
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

SEED = 20
COMMON = {
    "vocab_size": 96,
    "num_hidden_layers": 3,
    "first_k_dense_replace": 1,
    "moe_layer_freq": 1,
    "scoring_func": "softmax",
    "norm_topk_prob": False,
    "tie_word_embeddings": False,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 2,
}
CONFIGS = {
    "model_a": {
        **COMMON,
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
        **COMMON,
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
}


def random_model(name: str, **changes) -> DeepseekV2ForCausalLM:
    """A model with weights large enough that routing and attention matter; `changes` are to its configuration."""
    model = DeepseekV2ForCausalLM(DeepseekV2Config(**deepcopy({**CONFIGS[name], **changes})))
    generator = torch.Generator().manual_seed(SEED + list(CONFIGS).index(name))
    for parameter_name, parameter in sorted(model.named_parameters()):
        noise = torch.randn(parameter.shape, generator=generator)
        if parameter_name.endswith("norm.weight"):
            parameter.data = 1 + 0.2 * noise
        elif "embed" in parameter_name:
            parameter.data = noise
        else:
            parameter.data = noise / parameter.shape[-1] ** 0.5
    return model


def save(name: str, folder: Path, **changes) -> None:
    """Writes an fp32 checkpoint; the config in the older form (`rope_theta`, `rope_scaling`)."""
    random_model(name, **changes).save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    config = {
        "architectures": ["DeepseekV2ForCausalLM"],
        "model_type": "deepseek_v2",
        "hidden_act": "silu",
        "rms_norm_eps": 1e-6,
        "attention_bias": False,
        "torch_dtype": "float32",
        "rope_scaling": None,
        **CONFIGS[name],
        **changes,
    }
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")


def load(folder: Path) -> DeepseekV2ForCausalLM:
    """Any of our checkpoints in fp32 with plain attention, frozen and in evaluation mode."""
    model = DeepseekV2ForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    return model.eval().requires_grad_(False)
