"""A small LoRA adapter trained and saved by peft itself, for the reader of our program.

It adapts attention, dense and shared MLPs of `golden/model_a`, with a rank of its own for o_proj and
for one shared projection. `expected.json` holds token ids and the logits that peft computes with the
adapter, in the form that `check_pulled_model.py` reads.
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
BASE = golden.GOLDEN / "model_a"
OUT = golden.GOLDEN / "peft_adapter"
SPECIAL = "model.layers.1.mlp.shared_experts.up_proj.weight"


def config(model) -> LoraConfig:
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


def make(folder: Path) -> None:
    """Trains a few steps from seeded factors, saves, and records the logits."""
    torch.manual_seed(SEED)
    model = tiny_models.load(BASE)
    model = get_peft_model(model, config(model)).eval()
    sequences = models.tiny_sequences(tiny_models.VOCABULARY)

    def run(ids: list[int]) -> torch.Tensor:
        return model(input_ids=torch.tensor([ids]), use_cache=False).logits[0]

    factors = [parameter for parameter in model.parameters() if parameter.requires_grad]
    models.train(factors, run, sequences, STEPS)
    model.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    stored = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    stored["base_model_name_or_path"] = "model_a"
    for key in ("target_modules", "target_parameters"):
        stored[key] = sorted(stored[key])
    (folder / "adapter_config.json").write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")
    with torch.no_grad():
        expected = {
            "versions": golden.versions("torch", "transformers", "peft"),
            "seed": SEED,
            "token_ids": [ids for ids, _ in sequences],
            "logits": [[[round(x, 7) for x in row] for row in run(ids).tolist()] for ids, _ in sequences],
        }
    (folder / "expected.json").write_text(json.dumps(expected) + "\n", encoding="utf-8")


def check() -> list[str]:
    """What a fresh run gives otherwise."""
    with tempfile.TemporaryDirectory() as name:
        fresh = Path(name)
        make(fresh)
        one, other = (load_file(folder / "adapter_model.safetensors") for folder in (fresh, OUT))
        wrong = [key for key in {*one, *other} if key not in one or key not in other]
        wrong += [key for key in one.keys() & other.keys() if not torch.allclose(one[key], other[key], atol=2e-3)]
        stored = json.loads((OUT / "expected.json").read_text(encoding="utf-8"))
        again = json.loads((fresh / "expected.json").read_text(encoding="utf-8"))
        difference = max(
            (torch.tensor(a) - torch.tensor(b)).abs().max().item() for a, b in zip(stored["logits"], again["logits"])
        )
        return sorted(wrong) + ([f"logits by {difference}"] if difference > 2e-3 else [])


def main() -> int:
    """Writes the adapter, or compares with it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    if not parser.parse_args().check:
        make(OUT)
        return 0
    wrong = check()
    print("peft_adapter:", f"differs in {', '.join(wrong)}" if wrong else "reproduced")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
