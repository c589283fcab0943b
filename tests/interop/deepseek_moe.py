"""DeepSeekMoE (`model_type` "deepseek"), which transformers does not have, written down from its paper
(arXiv 2401.06066) and its configuration, in float64 and as plainly as possible: an oracle, not a model to use.

A Llama (grouped-query attention, rotary positions whose pairs are the halves of a head) whose MLPs, from
layer `first_k_dense_replace` on, are a shared MLP plus the `num_experts_per_tok` best of the routed experts.
Their softmax scores are the weights, divided by their sum if `norm_topk_prob`.
"""

import json
import math
from pathlib import Path
from types import SimpleNamespace

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional

MODEL_TYPE = "deepseek"


def linear(inner: int, out: int) -> nn.Linear:
    """A linear map without bias."""
    return nn.Linear(inner, out, bias=False, dtype=torch.float64)


class Norm(nn.Module):
    """x / rms(x) * weight."""

    def __init__(self, config) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(config.hidden_size, dtype=torch.float64))
        self.epsilon = config.rms_norm_eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.weight * x / (x.square().mean(-1, keepdim=True) + self.epsilon).sqrt()


class Mlp(nn.Module):
    """down(silu(gate(x)) * up(x))."""

    def __init__(self, config, width: int) -> None:
        super().__init__()
        self.gate_proj = linear(config.hidden_size, width)
        self.up_proj = linear(config.hidden_size, width)
        self.down_proj = linear(width, config.hidden_size)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down_proj(functional.silu(self.gate_proj(x)) * self.up_proj(x))


class Mixture(nn.Module):
    """Shared MLP plus routed experts, token by token."""

    def __init__(self, config) -> None:
        super().__init__()
        self.config = config
        self.gate = linear(config.hidden_size, config.n_routed_experts)
        self.experts = nn.ModuleList(Mlp(config, config.moe_intermediate_size) for _ in range(config.n_routed_experts))
        if config.n_shared_experts:
            self.shared_experts = Mlp(config, config.moe_intermediate_size * config.n_shared_experts)

    def token(self, x: torch.Tensor, products: torch.Tensor) -> torch.Tensor:
        """The routed part of one token."""
        weights, chosen = products.softmax(-1).topk(self.config.num_experts_per_tok)
        if self.config.num_experts_per_tok > 1 and self.config.norm_topk_prob:
            weights = weights / (weights.sum() + 1e-20)
        return sum(weight * self.experts[int(expert)](x) for weight, expert in zip(weights, chosen))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        # The gate is called once on all tokens, for hooks on it to see them all.
        routed = torch.stack([self.token(row, products) for row, products in zip(x, self.gate(x))])
        return routed + self.shared_experts(x) if self.config.n_shared_experts else routed


class Attention(nn.Module):
    """Causal attention, one head after the other."""

    def __init__(self, config) -> None:
        super().__init__()
        self.config = config
        self.size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        self.q_proj = linear(config.hidden_size, config.num_attention_heads * self.size)
        self.k_proj = linear(config.hidden_size, config.num_key_value_heads * self.size)
        self.v_proj = linear(config.hidden_size, config.num_key_value_heads * self.size)
        self.o_proj = linear(config.num_attention_heads * self.size, config.hidden_size)

    def rotate(self, x: torch.Tensor) -> torch.Tensor:
        """[tokens, heads, size], turned by position; value i pairs with value i + size / 2."""
        half = self.size // 2
        frequencies = self.config.rope_theta ** (-torch.arange(half, dtype=torch.float64) / half)
        angles = torch.arange(len(x), dtype=torch.float64)[:, None, None] * frequencies
        first, second = x[..., :half], x[..., half:]
        return torch.cat([first * angles.cos() - second * angles.sin(), second * angles.cos() + first * angles.sin()], -1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q = self.rotate(self.q_proj(x).unflatten(-1, (-1, self.size)))
        k = self.rotate(self.k_proj(x).unflatten(-1, (-1, self.size)))
        v = self.v_proj(x).unflatten(-1, (-1, self.size))
        later = torch.ones(len(x), len(x), dtype=torch.bool).triu(1)
        group = self.config.num_attention_heads // self.config.num_key_value_heads
        values = []
        for head in range(self.config.num_attention_heads):
            scores = q[:, head] @ k[:, head // group].T / math.sqrt(self.size)
            values.append(scores.masked_fill(later, -torch.inf).softmax(-1) @ v[:, head // group])
        return self.o_proj(torch.cat(values, -1))


class Layer(nn.Module):
    """Attention and MLP, each behind a norm and beside a residual."""

    def __init__(self, config, number: int) -> None:
        super().__init__()
        self.input_layernorm, self.post_attention_layernorm = Norm(config), Norm(config)
        self.self_attn = Attention(config)
        sparse = number >= config.first_k_dense_replace and number % config.moe_layer_freq == 0
        self.mlp = Mixture(config) if sparse else Mlp(config, config.intermediate_size)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.self_attn(self.input_layernorm(x))
        return x + self.mlp(self.post_attention_layernorm(x))


class Body(nn.Module):
    """All but the head."""

    def __init__(self, config) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size, dtype=torch.float64)
        self.layers = nn.ModuleList(Layer(config, number) for number in range(config.num_hidden_layers))
        self.norm = Norm(config)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.embed_tokens(ids)
        for layer in self.layers:
            x = layer(x)
        return self.norm(x)


class DeepseekMoe(nn.Module):
    """The whole model, called as models of transformers are, with one sequence."""

    def __init__(self, config) -> None:
        super().__init__()
        self.config = config
        self.model = Body(config)
        self.lm_head = linear(config.hidden_size, config.vocab_size)
        if config.tie_word_embeddings:
            self.lm_head.weight = self.model.embed_tokens.weight

    def forward(self, input_ids: torch.Tensor, use_cache: bool = False) -> SimpleNamespace:
        return SimpleNamespace(logits=self.lm_head(self.model(input_ids[0]))[None])


def stored(model: DeepseekMoe) -> dict[str, torch.Tensor]:
    """The tensors of its checkpoint, in fp32."""
    tied = model.config.tie_word_embeddings
    return {
        name: value.float().contiguous()
        for name, value in model.state_dict().items()
        if not (tied and name == "lm_head.weight")
    }


def save(model: DeepseekMoe, folder: Path) -> None:
    """Writes model.safetensors."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(stored(model), folder / "model.safetensors", {"format": "pt"})


def load(folder: Path) -> DeepseekMoe:
    """A checkpoint with its config.json."""
    model = DeepseekMoe(SimpleNamespace(**json.loads((folder / "config.json").read_text(encoding="utf-8"))))
    missing, unexpected = model.load_state_dict(load_file(folder / "model.safetensors"), strict=False)
    assert not unexpected and set(missing) <= {"lm_head.weight"}, (missing, unexpected)
    return model.eval().requires_grad_(False)
