"""Small LoRA adapters trained and saved by peft itself, for the reader of our program.

`peft_adapter` adapts attention, dense and shared MLPs of `golden/model_a`, with a rank of its own for o_proj
and for one shared projection. `peft_experts` (of `model_b`) and `peft_rslora` (of `v3_b`) adapt attention and
the routed experts, as the fused parameters that transformers holds: peft saves one pair of factors for all
experts of a layer, gate and up with a common A. The latter scales with the root of the rank, and its ranks
and alphas come from regular expressions. `peft_moved` names gate_proj, up_proj and down_proj in
`target_modules`, which peft makes into the routed experts' parameters.

`expected.json` holds token ids and the logits that peft computes with the adapter, in the form that
`check_pulled_model.py` reads.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

import tiny_models
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file

import golden_files as golden
import make_model_goldens as models
import peft_form
import reference_lora as lora

SEED = 13
STEPS = 20
SPECIAL = "model.layers.1.mlp.shared_experts.up_proj.weight"
FUSED = ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]


def plain(model) -> LoraConfig:
    """Ranks 4, alpha 8, apart from two patterns."""
    names = list(lora.adapted_shapes(model.config, routed=False))
    stored = peft_form.adapter_config(names, rank=4, alpha=8)
    return LoraConfig(
        task_type="CAUSAL_LM",
        r=4,
        lora_alpha=8,
        target_modules=stored["target_modules"],
        target_parameters=stored["target_parameters"],
        rank_pattern={"o_proj": 6, SPECIAL: 2},
        alpha_pattern={"o_proj": 6},
    )


def experts(_model) -> LoraConfig:
    """The fused parameters, one rank for all."""
    return LoraConfig(
        task_type="CAUSAL_LM", r=2, lora_alpha=6, target_modules=["o_proj"], target_parameters=FUSED[::-1]
    )


def rslora(_model) -> LoraConfig:
    """The same with rsLoRA and patterns; of the experts gate and up only."""
    return LoraConfig(
        task_type="CAUSAL_LM",
        r=2,
        lora_alpha=3,
        use_rslora=True,
        target_modules=["o_proj", "q_b_proj"],
        target_parameters=FUSED[:1],
        rank_pattern={r"layers\.[12]\..*\.gate_up_proj": 3, "o_proj": 4},
        alpha_pattern={r".*_up_proj": 5, r"(.*\.1\..*)\.o_proj": 6},
    )


def moved(_model) -> LoraConfig:
    """As a user of transformers 4 wrote it."""
    return LoraConfig(
        task_type="CAUSAL_LM", r=2, lora_alpha=4, target_modules=["gate_proj", "up_proj", "down_proj", "o_proj"]
    )


CASES = {
    "peft_adapter": ("model_a", plain),
    "peft_experts": ("model_b", experts),
    "peft_rslora": ("v3_b", rslora),
    "peft_moved": ("v3_a", moved),
}


def make(name: str, folder: Path) -> None:
    """Trains a few steps from seeded factors, saves, and records the logits."""
    torch.manual_seed(SEED)
    base, config = CASES[name]
    model = tiny_models.load(golden.GOLDEN / base)
    model = get_peft_model(model, config(model)).eval()
    sequences = models.tiny_sequences(tiny_models.VOCABULARY)

    def run(ids: list[int]) -> torch.Tensor:
        return model(input_ids=torch.tensor([ids]), use_cache=False).logits[0]

    factors = [parameter for parameter in model.parameters() if parameter.requires_grad]
    models.train(factors, run, sequences, STEPS)
    model.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    stored = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    stored["base_model_name_or_path"] = base
    for key in ("target_modules", "target_parameters"):
        stored[key] = sorted(stored[key] or [])
    (folder / "adapter_config.json").write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")
    with torch.no_grad():
        expected = {
            "versions": golden.versions("torch", "transformers", "peft"),
            "seed": SEED,
            "token_ids": [ids for ids, _ in sequences],
            "logits": [[[round(x, 7) for x in row] for row in run(ids).tolist()] for ids, _ in sequences],
        }
    (folder / "expected.json").write_text(json.dumps(expected) + "\n", encoding="utf-8")


def check(name: str) -> list[str]:
    """What a fresh run gives otherwise."""
    out = golden.GOLDEN / name
    with tempfile.TemporaryDirectory() as folder:
        fresh = Path(folder)
        make(name, fresh)
        one, other = (load_file(place / "adapter_model.safetensors") for place in (fresh, out))
        wrong = [key for key in {*one, *other} if key not in one or key not in other]
        wrong += [key for key in one.keys() & other.keys() if not torch.allclose(one[key], other[key], atol=2e-3)]
        stored = json.loads((out / "expected.json").read_text(encoding="utf-8"))
        again = json.loads((fresh / "expected.json").read_text(encoding="utf-8"))
        difference = max(
            (torch.tensor(a) - torch.tensor(b)).abs().max().item() for a, b in zip(stored["logits"], again["logits"])
        )
        return sorted(wrong) + ([f"logits by {difference}"] if difference > 2e-3 else [])


def main(words: list[str] | None = None) -> int:
    """Writes the adapters, or compares with them."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these adapters")
    arguments = parser.parse_args(words)
    failed = False
    for name in arguments.names or CASES:
        if not arguments.check:
            make(name, golden.GOLDEN / name)
            continue
        wrong = check(name)
        print(f"{name}: {'differs in ' + ', '.join(wrong) if wrong else 'reproduced'}")
        failed = failed or bool(wrong)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
