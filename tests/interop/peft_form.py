"""The form of a LoRA adapter on disk that plain peft loads completely.

peft 0.21 with transformers 5 takes gate_proj, up_proj and down_proj in `target_modules`, however they
are written, for the routed experts, which transformers holds fused: it silently drops the factors of
the shared experts and the dense MLP, and adds untrained ones to the routed experts. What it loads
completely, and what this module writes, is

- `target_modules`: full names of the attention projections, and of the routed experts' projections
  if all experts of all layers are adapted;
- `target_parameters`: `<full name>.weight` of the dense and shared projections (they need
  `lora_dropout` 0);
- `rank_pattern` and `alpha_pattern`, where a rank differs: the full name for attention, the name
  with `.weight` for dense and shared; for routed experts the fused parameter, with rank and alpha
  doubled for `gate_up_proj`. peft warns that such keys match no module, but honours them;
- tensors per expert, as `reference_lora.tensors` names them.
"""

import json
import tempfile
from pathlib import Path

from peft import PeftModel
from safetensors.torch import save_file

import reference_lora as lora


def is_parameter_target(name: str) -> bool:
    """Dense and shared projections have to be named in `target_parameters`."""
    return ".mlp." in name and not lora.EXPERT.match(name)


def adapter_config(names: list[str], rank: int, alpha: float) -> dict:
    """adapter_config.json for the named maps, all of one rank."""
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": None,
        "r": rank,
        "lora_alpha": alpha,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": [name for name in names if not is_parameter_target(name)],
        "target_parameters": [f"{name}.weight" for name in names if is_parameter_target(name)],
        "rank_pattern": {},
        "alpha_pattern": {},
    }


def write(folder: Path, adapter: lora.Adapter, rank: int, alpha: float) -> None:
    """Writes the two files of an adapter."""
    folder.mkdir(parents=True, exist_ok=True)
    config = json.dumps(adapter_config(list(adapter), rank, alpha), indent=1)
    (folder / "adapter_config.json").write_text(config + "\n", encoding="utf-8")
    save_file(lora.tensors(adapter), folder / "adapter_model.safetensors")


def wrap(model, adapter: lora.Adapter, rank: int, alpha: float) -> PeftModel:
    """A trainable peft model holding the adapter, by way of its files."""
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), adapter, rank, alpha)
        return PeftModel.from_pretrained(model, folder, is_trainable=True).eval()
