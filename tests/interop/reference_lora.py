"""LoRA by the definition W + (alpha / r) B A, differentiable, for any linear map of a DeepSeek-V2.

transformers holds the routed experts as fused three-dimensional parameters, which peft can only
adapt as a whole. Here every expert's gate, up and down projection has factors of its own, named as
in checkpoints (`model.layers.1.mlp.experts.0.gate_proj`), so an adapter is just name -> (A, B).
"""

import re

import torch
from torch.func import functional_call
from transformers import DeepseekV2Config, DeepseekV2ForCausalLM

PREFIX = "base_model.model."
EXPERT = re.compile(r"(.*\.mlp\.experts)\.(\d+)\.(gate|up|down)_proj")

Adapter = dict[str, tuple[torch.Tensor, torch.Tensor]]


def attention_shapes(config: DeepseekV2Config) -> dict[str, tuple[int, int]]:
    """(out, in) of the projections of one attention layer."""
    heads, hidden = config.num_attention_heads, config.hidden_size
    query = heads * (config.qk_nope_head_dim + config.qk_rope_head_dim)
    shapes = {
        "kv_a_proj_with_mqa": (config.kv_lora_rank + config.qk_rope_head_dim, hidden),
        "kv_b_proj": (heads * (config.qk_nope_head_dim + config.v_head_dim), config.kv_lora_rank),
        "o_proj": (hidden, heads * config.v_head_dim),
    }
    if config.q_lora_rank is None:
        return {"q_proj": (query, hidden), **shapes}
    return {"q_a_proj": (config.q_lora_rank, hidden), "q_b_proj": (query, config.q_lora_rank), **shapes}


def mlp_shapes(hidden: int, width: int) -> dict[str, tuple[int, int]]:
    """(out, in) of the projections of one gated MLP."""
    return {"gate_proj": (width, hidden), "up_proj": (width, hidden), "down_proj": (hidden, width)}


def adapted_shapes(config: DeepseekV2Config, routed: bool) -> dict[str, tuple[int, int]]:
    """(out, in) of all adapted maps: attention, dense and shared MLPs, and the routed experts."""
    hidden, width = config.hidden_size, config.moe_intermediate_size
    parts: dict[str, dict[str, tuple[int, int]]] = {}
    for number in range(config.num_hidden_layers):
        layer = f"model.layers.{number}"
        parts[f"{layer}.self_attn"] = attention_shapes(config)
        if number < config.first_k_dense_replace:
            parts[f"{layer}.mlp"] = mlp_shapes(hidden, config.intermediate_size)
            continue
        parts[f"{layer}.mlp.shared_experts"] = mlp_shapes(hidden, width * config.n_shared_experts)
        for expert in range(config.n_routed_experts if routed else 0):
            parts[f"{layer}.mlp.experts.{expert}"] = mlp_shapes(hidden, width)
    return {f"{part}.{name}": shape for part, shapes in parts.items() for name, shape in shapes.items()}


def parameter_count(config: DeepseekV2Config, rank: int, routed: bool) -> int:
    """Trained numbers, by formula, to notice silently dropped targets."""
    hidden, moe = config.hidden_size, config.num_hidden_layers - config.first_k_dense_replace
    attention = sum(out + inner for out, inner in attention_shapes(config).values())
    expert = 3 * (hidden + config.moe_intermediate_size)
    shared = 3 * (hidden + config.moe_intermediate_size * config.n_shared_experts)
    dense = 3 * (hidden + config.intermediate_size)
    experts = config.n_routed_experts * expert if routed else 0
    return rank * (
        config.num_hidden_layers * attention + config.first_k_dense_replace * dense + moe * (shared + experts)
    )


def random_adapter(config: DeepseekV2Config, rank: int, routed: bool, seed: int) -> Adapter:
    """Seeded factors, B not zero, so that every gradient is non-trivial."""
    generator = torch.Generator().manual_seed(seed)
    adapter = {}
    for name, (out, inner) in adapted_shapes(config, routed).items():
        a = torch.randn(rank, inner, generator=generator) / inner**0.5
        b = 0.2 * torch.randn(out, rank, generator=generator) / rank**0.5
        adapter[name] = (a, b)
    count = sum(a.numel() + b.numel() for a, b in adapter.values())
    assert count == parameter_count(config, rank, routed), "adapter misses some targets"
    return adapter


def tensors(adapter: Adapter) -> dict[str, torch.Tensor]:
    """The adapter under the names of peft's adapter_model.safetensors."""
    out = {}
    for name, (a, b) in adapter.items():
        out[f"{PREFIX}{name}.lora_A.weight"] = a.detach().contiguous()
        out[f"{PREFIX}{name}.lora_B.weight"] = b.detach().contiguous()
    return out


def from_tensors(stored: dict[str, torch.Tensor]) -> Adapter:
    """The inverse of `tensors`."""
    names = sorted(key[len(PREFIX) : -len(".lora_A.weight")] for key in stored if key.endswith(".lora_A.weight"))
    return {
        name: (stored[f"{PREFIX}{name}.lora_A.weight"], stored[f"{PREFIX}{name}.lora_B.weight"]) for name in names
    }


def effective_parameters(
    model: DeepseekV2ForCausalLM, adapter: Adapter, scale: float
) -> dict[str, torch.Tensor]:
    """The adapted parameters of the model, as differentiable functions of the factors."""
    deltas = {name: scale * b @ a for name, (a, b) in adapter.items()}
    base = dict(model.named_parameters())
    effective = {f"{name}.weight": base[f"{name}.weight"] + d for name, d in deltas.items() if not EXPERT.match(name)}
    for container in sorted({match[1] for name in deltas if (match := EXPERT.match(name))}):
        experts = range(base[f"{container}.down_proj"].shape[0])
        gate_up = [
            torch.cat([deltas[f"{container}.{e}.gate_proj"], deltas[f"{container}.{e}.up_proj"]]) for e in experts
        ]
        down = [deltas[f"{container}.{e}.down_proj"] for e in experts]
        for name, delta in (("gate_up_proj", gate_up), ("down_proj", down)):
            effective[f"{container}.{name}"] = base[f"{container}.{name}"] + torch.stack(delta)
    return effective


def logits(model: DeepseekV2ForCausalLM, adapter: Adapter, scale: float, ids: list[int]) -> torch.Tensor:
    """Logits [tokens, vocabulary] of one sequence."""
    arguments = {"input_ids": torch.tensor([ids]), "use_cache": False}
    return functional_call(model, effective_parameters(model, adapter, scale), (), arguments).logits[0]
