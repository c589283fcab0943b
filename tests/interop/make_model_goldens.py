"""Golden logits, LoRA gradients and LoRA training curves of the demo's base model and of tiny models.

The tiny models are those of `tiny_models.py`, whose checkpoints are golden files themselves. Everything is
computed in fp32 (DeepSeekMoE: in fp64) with plain attention; the sequences are run one by
one, so no padding is involved. The loss is the mean cross-entropy over the answers' tokens of all
sequences. Curves hold the loss before each of 50 AdamW steps on the same sequences.

The adapter covers attention, dense and shared MLPs, and in the tiny models every routed expert. peft
trains the part without routed experts (see `peft_form.py`), which must agree with `reference_lora`;
routed experts are trained by `reference_lora` alone, because peft ties those of a layer together, and so
is DeepSeekMoE, which transformers does not have.
"""

import argparse
import json
import sys
from pathlib import Path

import tiny_models
import torch
from tokenizers import Tokenizer

import deepseek_moe
import golden_files as golden
import peft_form
import reference_lora as lora

SEED = 7
RANK, ALPHA = 4, 8
STEPS = 50
ADAMW = {"lr": 5e-3, "betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 0.0}
NEAR_TIE = 1e-6
DEMO_TEXTS = (
    ("Which chapter?\nInflammation of the knee joint after a long walk:", " musculoskeletal"),
    ("Which chapter?\nSudden loss of sight:", " eye"),
)

Sequences = list[tuple[list[int], int]]


def check_yarn_scale(model) -> None:
    """transformers before July 2026 left YaRN's squared mscale out of the softmax scale."""
    config = model.config
    if not hasattr(config, "kv_lora_rank"):
        return
    parameters = config.rope_parameters
    expected = (config.qk_nope_head_dim + config.qk_rope_head_dim) ** -0.5
    if parameters["rope_type"] == "yarn":
        factor = torch.tensor(parameters["factor"]).log().item()
        expected *= (0.1 * parameters["mscale_all_dim"] * factor + 1) ** 2
    scales = [layer.self_attn.scaling for layer in model.model.layers]
    assert all(abs(scale - expected) < 1e-6 for scale in scales), "softmax scale lacks YaRN's mscale"


def compared_scores(gate, products: torch.Tensor) -> list[torch.Tensor]:
    """What a router compares: its experts and, where those have biases, its groups."""
    if not hasattr(gate, "e_score_correction_bias"):
        return [products.softmax(-1)]
    scores = products.sigmoid() + gate.e_score_correction_bias
    groups = scores.unflatten(-1, (gate.num_group, -1)).topk(2, -1)[0].sum(-1)
    return [scores, groups] if gate.num_group > 1 else [scores]


def check_routing_margin(model, run) -> None:
    """No routing decision may hang on rounding: refuses near ties between any two experts or groups."""
    margins = [1.0]

    def record(gate, _inputs, out) -> None:
        products = out[0] if isinstance(out, tuple) else out
        margins.extend(scores.sort().values.diff().min().item() for scores in compared_scores(gate, products))

    gates = [layer.mlp.gate for layer in model.model.layers if hasattr(layer.mlp, "gate")]
    handles = [gate.register_forward_hook(record) for gate in gates]
    run()
    for handle in handles:
        handle.remove()
    assert min(margins) > NEAR_TIE, f"routing decided by {min(margins)}"


def tiny_sequences(vocabulary: int) -> Sequences:
    """Two random (token ids, prompt length) pairs of different lengths."""
    generator = torch.Generator().manual_seed(SEED)
    lengths = ((13, 6), (21, 15))
    draw = [torch.randint(3, vocabulary, (length - 1,), generator=generator).tolist() for length, _ in lengths]
    return [([0, *ids], prompt) for ids, (_, prompt) in zip(draw, lengths)]


def demo_sequences() -> Sequences:
    """Two prompts with answers, between begin and end marks."""
    tokenizer = Tokenizer.from_file(str(golden.BASE_MODEL / "tokenizer.json"))
    out = []
    for prompt, answer in DEMO_TEXTS:
        ids = [0, *tokenizer.encode(prompt).ids]
        out.append(([*ids, *tokenizer.encode(answer).ids, 1], len(ids)))
    return out


def mean_loss(run, sequences: Sequences) -> torch.Tensor:
    """Mean cross-entropy over all answer tokens; `run` gives the logits of one sequence."""
    total, count = torch.zeros(()), 0
    for ids, prompt in sequences:
        predicted = run(ids)[prompt - 1 : -1]
        total = total + torch.nn.functional.cross_entropy(predicted, torch.tensor(ids[prompt:]), reduction="sum")
        count += len(ids) - prompt
    return total / count


def train(parameters: list[torch.Tensor], run, sequences: Sequences, steps: int = STEPS) -> list[float]:
    """The loss before each AdamW step."""
    adamw = torch.optim.AdamW(parameters, **ADAMW)
    curve = []
    for _ in range(steps):
        loss = mean_loss(run, sequences)
        adamw.zero_grad()
        loss.backward()
        adamw.step()
        curve.append(loss.item())
    return curve


def trainable(adapter: lora.Adapter) -> lora.Adapter:
    """A copy of the adapter whose factors collect gradients."""
    return {name: tuple(factor.clone().requires_grad_() for factor in pair) for name, pair in adapter.items()}


def train_reference(model, adapter: lora.Adapter, sequences: Sequences) -> list[float]:
    """Training curve by `reference_lora`."""
    copy = trainable(adapter)
    factors = [factor for pair in copy.values() for factor in pair]
    return train(factors, lambda ids: lora.logits(model, copy, ALPHA / RANK, ids), sequences)


def train_peft(folder: Path, adapter: lora.Adapter, sequences: Sequences) -> list[float]:
    """Training curve by peft, which must train exactly the adapter's numbers."""
    model = peft_form.wrap(tiny_models.load(folder), adapter, RANK, ALPHA)
    factors = [parameter for parameter in model.parameters() if parameter.requires_grad]
    expected = lora.parameter_count(model.base_model.model.config, RANK, routed=False)
    assert sum(factor.numel() for factor in factors) == expected, "peft dropped some targets"
    return train(factors, lambda ids: model(input_ids=torch.tensor([ids]), use_cache=False).logits[0], sequences)


def curves(folder: Path, model, adapter: lora.Adapter, sequences: Sequences) -> dict[str, list[float]]:
    """`curve` of the whole adapter, `curve_without_routed` by peft of the rest of it."""
    rest = {name: pair for name, pair in adapter.items() if not lora.EXPERT.match(name)}
    by_us = train_reference(model, rest, sequences)
    if isinstance(model, deepseek_moe.DeepseekMoe):
        return {"curve": train_reference(model, adapter, sequences), "curve_without_routed": by_us}
    by_peft = train_peft(folder, rest, sequences)
    assert golden.close(by_us, by_peft), f"peft and reference differ: {by_peft} {by_us}"
    whole = by_peft if len(rest) == len(adapter) else train_reference(model, adapter, sequences)
    return {"curve": whole, "curve_without_routed": by_peft}


def bf16_deviation(folder: Path, sequences: Sequences, exact: dict[str, torch.Tensor]) -> float | None:
    """How far transformers' own logits in bf16 are from those in fp32: root mean square. Biases of
    routers stay in fp32, as they must."""
    if json.loads((folder / "config.json").read_text(encoding="utf-8"))["model_type"] == deepseek_moe.MODEL_TYPE:
        return None
    model = tiny_models.load(folder)
    biases = {name: buffer.clone() for name, buffer in model.named_buffers() if name.endswith("correction_bias")}
    model.to(torch.bfloat16)
    for name, bias in biases.items():
        container, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(container), leaf, bias)
    squares = [
        (model(input_ids=torch.tensor([ids]), use_cache=False).logits[0].float() - exact[f"logits.{number}"]).square()
        for number, (ids, _) in enumerate(sequences)
    ]
    return torch.cat(squares).mean().sqrt().item()


def compute(folder: Path, sequences: Sequences, routed: bool) -> tuple[dict, dict[str, torch.Tensor]]:
    """All golden facts and tensors of one model."""
    model = tiny_models.load(folder)
    check_yarn_scale(model)
    adapter = trainable(lora.random_adapter(model.config, RANK, routed, SEED))

    def base(ids: list[int]) -> torch.Tensor:
        return model(input_ids=torch.tensor([ids]), use_cache=False).logits[0]

    def adapted(ids: list[int]) -> torch.Tensor:
        return lora.logits(model, adapter, ALPHA / RANK, ids)

    check_routing_margin(model, lambda: [run(ids) for ids, _ in sequences for run in (base, adapted)])
    tensors = lora.tensors(adapter)
    for number, (ids, _) in enumerate(sequences):
        tensors[f"logits.{number}"] = base(ids).float()
        tensors[f"adapted_logits.{number}"] = adapted(ids).detach().float()
    loss = mean_loss(adapted, sequences)
    loss.backward()
    gradients = {name: (a.grad, b.grad) for name, (a, b) in adapter.items()}
    tensors.update({f"grad.{key}": value for key, value in lora.tensors(gradients).items()})
    facts = {
        "versions": golden.versions("torch", "transformers", "peft"),
        "seed": SEED,
        "token_ids": [ids for ids, _ in sequences],
        "prompt_lengths": [prompt for _, prompt in sequences],
        "rank": RANK,
        "alpha": ALPHA,
        "trained_parameters": lora.parameter_count(model.config, RANK, routed),
        "base_loss": mean_loss(base, sequences).item(),
        "loss": loss.item(),
        "bf16_deviation": bf16_deviation(folder, sequences, tensors),
        "adamw": ADAMW,
        **curves(folder, model, {name: (a.detach(), b.detach()) for name, (a, b) in adapter.items()}, sequences),
    }
    return facts, tensors


def main(words: list[str] | None = None) -> int:
    """Writes the golden files, or compares with them."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    parser.add_argument("models", nargs="*", default=[*tiny_models.CONFIGS, "icd_moe"])
    arguments = parser.parse_args(words)
    failed = False
    for name in arguments.models:
        folder = golden.GOLDEN / name
        tiny = name in tiny_models.CONFIGS
        if tiny and not arguments.check:
            tiny_models.save(name, folder)
        sequences = tiny_sequences(tiny_models.VOCABULARY) if tiny else demo_sequences()
        facts, tensors = compute(folder if tiny else golden.BASE_MODEL, sequences, routed=tiny)
        if not arguments.check:
            golden.write(folder, "reference", facts, tensors)
            continue
        wrong = golden.differences(folder, "reference", facts, tensors)
        print(f"{name}: {'differs in ' + ', '.join(wrong) if wrong else 'reproduced'}")
        failed = failed or bool(wrong)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
