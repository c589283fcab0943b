"""LoRA by the definition W + (alpha / r) B A, differentiable, for any linear map of the family.

transformers holds the routed experts as fused three-dimensional parameters, which peft can only
adapt as a whole. Here every expert's gate, up and down projection has factors of its own, named as
in checkpoints (`model.layers.1.mlp.experts.0.gate_proj`), so an adapter is just name -> (A, B).
"""

import re

import torch
from torch.func import functional_call

PREFIX = "base_model.model."
EXPERT = re.compile(r"(.*\.mlp\.experts)\.(\d+)\.(gate|up|down)_proj")

Adapter = dict[str, tuple[torch.Tensor, torch.Tensor]]


def attention_shapes(config) -> dict[str, tuple[int, int]]:
    """(out, in) of the projections of one attention layer."""
    heads, hidden = config.num_attention_heads, config.hidden_size
    if not hasattr(config, "kv_lora_rank"):
        size = getattr(config, "head_dim", None) or hidden // heads
        keys = (config.num_key_value_heads * size, hidden)
        return {"q_proj": (heads * size, hidden), "k_proj": keys, "v_proj": keys, "o_proj": (hidden, heads * size)}
    query = heads * (config.qk_nope_head_dim + config.qk_rope_head_dim)
    shapes = {
        "kv_a_proj_with_mqa": (config.kv_lora_rank + config.qk_rope_head_dim, hidden),
        "kv_b_proj": (heads * (config.qk_nope_head_dim + config.v_head_dim), config.kv_lora_rank),
        "o_proj": (hidden, heads * config.v_head_dim),
    }
    if config.q_lora_rank is None:
        return {"q_proj": (query, hidden), **shapes}
    return {"q_a_proj": (config.q_lora_rank, hidden), "q_b_proj": (query, config.q_lora_rank), **shapes}


def is_sparse(config, number: int) -> bool:
    """Whether the layer has experts."""
    if not getattr(config, "n_routed_experts", None):
        return False
    return number >= config.first_k_dense_replace and number % getattr(config, "moe_layer_freq", 1) == 0


def mlp_shapes(hidden: int, width: int) -> dict[str, tuple[int, int]]:
    """(out, in) of the projections of one gated MLP."""
    return {"gate_proj": (width, hidden), "up_proj": (width, hidden), "down_proj": (hidden, width)}


def adapted_shapes(config, routed: bool) -> dict[str, tuple[int, int]]:
    """(out, in) of all adapted maps: attention, dense and shared MLPs, and the routed experts."""
    hidden = config.hidden_size
    parts: dict[str, dict[str, tuple[int, int]]] = {}
    for number in range(config.num_hidden_layers):
        layer = f"model.layers.{number}"
        parts[f"{layer}.self_attn"] = attention_shapes(config)
        if not is_sparse(config, number):
            parts[f"{layer}.mlp"] = mlp_shapes(hidden, config.intermediate_size)
            continue
        width = config.moe_intermediate_size
        parts[f"{layer}.mlp.shared_experts"] = mlp_shapes(hidden, width * config.n_shared_experts)
        for expert in range(config.n_routed_experts if routed else 0):
            parts[f"{layer}.mlp.experts.{expert}"] = mlp_shapes(hidden, width)
    return {f"{part}.{name}": shape for part, shapes in parts.items() for name, shape in shapes.items()}


def parameter_count(config, rank: int, routed: bool) -> int:
    """Trained numbers, by formula, to notice silently dropped targets."""
    hidden, layers = config.hidden_size, config.num_hidden_layers
    sparse = sum(is_sparse(config, number) for number in range(layers))
    attention = sum(out + inner for out, inner in attention_shapes(config).values())
    count = layers * attention + (layers - sparse) * 3 * (hidden + config.intermediate_size)
    if sparse:
        width = config.moe_intermediate_size
        experts = config.n_routed_experts * 3 * (hidden + width) if routed else 0
        count += sparse * (experts + 3 * (hidden + width * config.n_shared_experts))
    return rank * count


def random_adapter(config, rank: int, routed: bool, seed: int) -> Adapter:
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


def effective_parameters(model, adapter: Adapter, scale: float) -> dict[str, torch.Tensor]:
    """The adapted parameters of the model, as differentiable functions of the factors."""
    base = dict(model.named_parameters())
    deltas = {name: scale * b @ a for name, (a, b) in adapter.items()}
    fused = {name for name in deltas if f"{name}.weight" not in base}
    effective = {f"{name}.weight": base[f"{name}.weight"] + deltas[name] for name in deltas if name not in fused}
    for container in sorted({EXPERT.match(name)[1] for name in fused}):
        experts = range(base[f"{container}.down_proj"].shape[0])
        gate_up = [
            torch.cat([deltas[f"{container}.{e}.gate_proj"], deltas[f"{container}.{e}.up_proj"]]) for e in experts
        ]
        down = [deltas[f"{container}.{e}.down_proj"] for e in experts]
        for name, delta in (("gate_up_proj", gate_up), ("down_proj", down)):
            effective[f"{container}.{name}"] = base[f"{container}.{name}"] + torch.stack(delta)
    return effective


def logits(model, adapter: Adapter, scale: float, ids: list[int]) -> torch.Tensor:
    """Logits [tokens, vocabulary] of one sequence."""
    arguments = {"input_ids": torch.tensor([ids]), "use_cache": False}
    effective = effective_parameters(model, adapter, scale)
    # A tied head follows the embedding by itself, which no adapter touches.
    return functional_call(model, effective, (), arguments).logits[0]
