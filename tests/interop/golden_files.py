"""Reading, writing and comparing of golden files: tensors in safetensors, everything else in JSON."""

import json
import platform
from importlib.metadata import version
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

GOLDEN = Path(__file__).parent / "golden"
BASE_MODEL = Path(__file__).resolve().parents[2] / "examples" / "base_model" / "icd-moe"
TOLERANCE = 5e-4
ROUGH = {"bf16_deviation"}  # Of rounding, which is another on other processors: only compared by its presence.


def versions(*packages: str) -> dict[str, str]:
    """Versions to record beside the results."""
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}


def write(folder: Path, name: str, facts: dict, tensors: dict[str, torch.Tensor]) -> None:
    """Writes `<name>.json` and `<name>.safetensors`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    save_file({key: value.detach().contiguous() for key, value in tensors.items()}, folder / f"{name}.safetensors")


def close(one, other) -> bool:
    """Equal structures whose numbers agree within TOLERANCE."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(close(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(close, one, other))
    if isinstance(one, float) or isinstance(other, float):
        return abs(one - other) <= TOLERANCE * max(1.0, abs(other))
    return one == other


def differences(folder: Path, name: str, facts: dict, tensors: dict[str, torch.Tensor]) -> list[str]:
    """What of freshly computed results is not as stored (the Python version may differ)."""
    stored_facts = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    stored = load_file(folder / f"{name}.safetensors")
    stored_facts["versions"]["python"] = facts["versions"]["python"]
    for key in ROUGH & facts.keys() & stored_facts.keys():
        stored_facts[key] = facts[key]
    out = [key for key in {*facts, *stored_facts} if not close(facts.get(key), stored_facts.get(key))]
    for key in {*tensors, *stored}:
        both = key in tensors and key in stored
        if not both or not torch.allclose(tensors[key], stored[key], rtol=TOLERANCE, atol=TOLERANCE):
            out.append(key)
    return sorted(out)
