"""Checkpoints whose linear layers are 8-bit floats (E4M3), each block of them with a scale, as DeepSeek-V3's is.

A weight W becomes `W.weight`, and `W.weight_scale_inv`, by which the block's values are multiplied. Routers,
embeddings, norms and the head stay as they are.
"""

import json
import math
import re
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

QUANTISED = re.compile(r"model\.layers\..*_proj(_with_mqa)?\.weight$")
LARGEST = torch.finfo(torch.float8_e4m3fn).max


def spread(scales: torch.Tensor, block: list[int], shape: torch.Size) -> torch.Tensor:
    """The scale of each value; the last blocks may be cut off."""
    rows = scales.repeat_interleave(block[0], 0)[: shape[0]]
    return rows.repeat_interleave(block[1], 1)[:, : shape[1]]


def scales_of(weight: torch.Tensor, block: list[int]) -> torch.Tensor:
    """What makes the largest value of each block the largest that there is."""
    shape = [math.ceil(size / part) for size, part in zip(weight.shape, block)]
    padded = torch.zeros(shape[0] * block[0], shape[1] * block[1])
    padded[: weight.shape[0], : weight.shape[1]] = weight.abs()
    return padded.view(shape[0], block[0], shape[1], block[1]).amax((1, 3)) / LARGEST


def quantise(file: Path, block: list[int]) -> None:
    """Rewrites a file of weights."""
    out = {}
    for name, weight in load_file(file).items():
        if not QUANTISED.match(name):
            out[name] = weight
            continue
        scales = scales_of(weight, block)
        out[name] = (weight / spread(scales, block, weight.shape)).to(torch.float8_e4m3fn)
        out[f"{name}_scale_inv"] = scales
    save_file(out, file, {"format": "pt"})


def widen(source: Path, target: Path) -> None:
    """The same checkpoint in fp32."""
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    block = config.pop("quantization_config")["weight_block_size"]
    (target / "config.json").write_text(json.dumps(config), encoding="utf-8")
    stored = load_file(source / "model.safetensors")
    out = {name: value.float() for name, value in stored.items() if not name.endswith("_scale_inv")}
    for name in out:
        if f"{name}_scale_inv" in stored:
            out[name] *= spread(stored[f"{name}_scale_inv"], block, out[name].shape)
    save_file(out, target / "model.safetensors", {"format": "pt"})
