"""Pre-trains the demo's base model, a 2.9 M parameter DeepSeek-V2, from scratch on the CPU.

Documents are packed into rows without seeing each other. The balance loss of DeepSeek-V2 is added
by hand, because transformers' forward pass has none. Writes the checkpoint in bf16 and a log with
the loss curve, the held-out perplexity beside a unigram model's, and the load of the experts.
"""

import argparse
import json
import math
import os
import platform
import time
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import torch
import transformers
from tokenizers import Tokenizer
from transformers import DeepseekV2Config, DeepseekV2ForCausalLM, GenerationConfig

import corpus

BOS, EOS, PAD, IGNORED = 0, 1, 2, -100
ROW = 128
OPEN_ROWS = 32


def model_config() -> DeepseekV2Config:
    """The shape of the base model."""
    return DeepseekV2Config(
        vocab_size=4096,
        hidden_size=128,
        intermediate_size=512,
        moe_intermediate_size=128,
        num_hidden_layers=4,
        first_k_dense_replace=1,
        num_attention_heads=4,
        num_key_value_heads=4,
        q_lora_rank=None,
        kv_lora_rank=64,
        qk_nope_head_dim=32,
        qk_rope_head_dim=16,
        v_head_dim=32,
        n_routed_experts=8,
        n_shared_experts=1,
        num_experts_per_tok=2,
        n_group=1,
        topk_group=1,
        topk_method="greedy",
        norm_topk_prob=False,
        routed_scaling_factor=1.0,
        scoring_func="softmax",
        moe_layer_freq=1,
        max_position_embeddings=512,
        rope_theta=10000.0,
        tie_word_embeddings=False,
        bos_token_id=BOS,
        eos_token_id=EOS,
        pad_token_id=PAD,
    )


def encode(tokenizer: Tokenizer, texts: list[str]) -> list[list[int]]:
    """Token ids of each text between its begin and end marks, cut to one row."""
    return [[BOS, *encoding.ids[: ROW - 2], EOS] for encoding in tokenizer.encode_batch(texts)]


def pack(documents: list[list[int]]) -> list[list[list[int]]]:
    """Puts whole documents into rows of ROW tokens, first fit among a few open rows."""
    done, rows = [], []
    for document in documents:
        row = next((row for row in rows if sum(map(len, row)) + len(document) <= ROW), None)
        if row is None:
            row = []
            rows.append(row)
        row.append(document)
        if len(rows) > OPEN_ROWS:
            fullest = max(range(len(rows)), key=lambda at: sum(map(len, rows[at])))
            done.append(rows.pop(fullest))
    return done + rows


def collate(rows: list[list[list[int]]]) -> dict[str, torch.Tensor]:
    """Model inputs of some rows: block-diagonal causal mask, positions from 0 in every document."""
    ids = torch.full((len(rows), ROW), PAD)
    owner = torch.full((len(rows), ROW), -1)
    positions = torch.arange(ROW).repeat(len(rows), 1)
    for at, row in enumerate(rows):
        start = 0
        for number, document in enumerate(row):
            end = start + len(document)
            ids[at, start:end] = torch.tensor(document)
            owner[at, start:end] = number
            positions[at, start:end] = torch.arange(len(document))
            start = end
    same = owner[:, :, None] == owner[:, None, :]
    mask = same & torch.ones(ROW, ROW, dtype=torch.bool).tril()
    labels = ids.masked_fill((ids == PAD) | (ids == BOS), IGNORED)
    return {"input_ids": ids, "position_ids": positions, "attention_mask": mask[:, None], "labels": labels}


class Router:
    """Records what the gates of all MoE layers did in the latest forward pass."""

    def __init__(self, model: DeepseekV2ForCausalLM):
        self.records: list[tuple[torch.Tensor, torch.Tensor]] = []
        gates = [layer.mlp.gate for layer in model.model.layers if hasattr(layer.mlp, "gate")]
        self.layers = len(gates)
        for gate in gates:
            gate.register_forward_hook(lambda _module, _inputs, out: self.records.append((out[0], out[2])))

    def take(self, ids: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Per layer (mean probability, share of the routed tokens) per expert, padding left out."""
        real = (ids != PAD).flatten()
        shares = []
        for logits, chosen in self.records:
            count = torch.bincount(chosen[real].flatten(), minlength=logits.shape[1]).float()
            shares.append((logits[real].softmax(-1).mean(0), count / count.sum()))
        self.records.clear()
        return shares


def balance_loss(shares: list[tuple[torch.Tensor, torch.Tensor]]) -> torch.Tensor:
    """Mean over layers of experts * sum(probability * share); 1 when the load is even."""
    return torch.stack([len(share) * (mean * share).sum() for mean, share in shares]).mean()


def optimiser(model: DeepseekV2ForCausalLM) -> torch.optim.AdamW:
    """AdamW with weight decay on matrices other than the embedding."""
    decayed = [p for name, p in model.named_parameters() if p.dim() >= 2 and "embed" not in name]
    plain = [p for name, p in model.named_parameters() if p.dim() < 2 or "embed" in name]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": plain, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, betas=(0.9, 0.95), fused=True)


def learning_rate(step: int, steps: int, peak: float) -> float:
    """Linear warm-up over 100 steps, then a cosine down to 5 %."""
    cosine = 0.5 * (1 + math.cos(math.pi * step / steps))
    return peak * min(1, (step + 1) / 100) * (0.05 + 0.95 * cosine)


@torch.no_grad()
def evaluate(model: DeepseekV2ForCausalLM, router: Router, rows: list) -> tuple[float, list[list[float]]]:
    """Held-out nats per token, and each MoE layer's load per expert relative to an even one."""
    model.eval()
    nats, tokens = 0.0, 0
    loads = torch.zeros(router.layers, model.config.n_routed_experts)
    for at in range(0, len(rows), 32):
        batch = collate(rows[at : at + 32])
        labelled = int((batch["labels"] != IGNORED).sum())
        nats += model(**batch, use_cache=False).loss.item() * labelled
        tokens += labelled
        loads += torch.stack([share for _, share in router.take(batch["input_ids"])]) * labelled
    model.train()
    relative = loads / loads.mean(1, keepdim=True)
    return nats / tokens, [[round(x, 3) for x in layer.tolist()] for layer in relative]


def unigram_nats(training: list[list[int]], held_out: list[list[int]], vocabulary: int) -> float:
    """Held-out nats per token of an add-one unigram model, the begin mark not counted."""
    counts = np.bincount(np.concatenate([d[1:] for d in training]), minlength=vocabulary) + 1.0
    return float(-np.log(counts / counts.sum())[np.concatenate([d[1:] for d in held_out])].mean())


def batches(documents: list[list[int]], size: int, seed: int):
    """Endless batches of packed rows, newly shuffled in every epoch."""
    rng = np.random.default_rng(seed)
    while True:
        rows = pack([documents[at] for at in rng.permutation(len(documents))])
        order = rng.permutation(len(rows))
        for at in range(0, len(rows) - size + 1, size):
            yield collate([rows[i] for i in order[at : at + size]])


def train(model, router, documents, held_rows, arguments) -> list[dict]:
    """The training loop; returns one log entry for every `--every` steps."""
    adamw = optimiser(model)
    source = batches(documents, arguments.rows, arguments.seed)
    curve, loss_sum, tokens, start = [], 0.0, 0, time.time()
    model.train()
    for step in range(arguments.steps):
        for group in adamw.param_groups:
            group["lr"] = learning_rate(step, arguments.steps, arguments.lr)
        batch = next(source)
        loss = model(**batch, use_cache=False).loss
        (loss + arguments.balance * balance_loss(router.take(batch["input_ids"]))).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        adamw.step()
        adamw.zero_grad()
        loss_sum += loss.item()
        tokens += int((batch["input_ids"] != PAD).sum())
        if (step + 1) % arguments.every == 0:
            nats, load = evaluate(model, router, held_rows)
            curve.append(
                {
                    "step": step + 1,
                    "tokens": tokens,
                    "train_loss": round(loss_sum / arguments.every, 4),
                    "held_out_loss": round(nats, 4),
                    "held_out_perplexity": round(math.exp(nats), 2),
                    "load_min": min(map(min, load)),
                    "load_max": max(map(max, load)),
                }
            )
            print(f"{time.time() - start:6.0f}s", json.dumps(curve[-1]), flush=True)
            loss_sum = 0.0
    return curve


def save(model: DeepseekV2ForCausalLM, out: Path) -> None:
    """Rounds the weights to bf16 and writes the checkpoint beside the tokenizer."""
    model.to(torch.bfloat16)
    model.generation_config = GenerationConfig(
        bos_token_id=BOS, eos_token_id=EOS, pad_token_id=PAD, do_sample=False, max_new_tokens=32
    )
    model.save_pretrained(out)


def parse_arguments() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    here = Path(__file__).parent
    parser.add_argument("--wordnet", type=Path, default=corpus.WORDNET)
    parser.add_argument("--out", type=Path, default=here / "icd-moe", help="folder with the tokenizer")
    parser.add_argument("--log", type=Path, default=here / "training_log.json")
    parser.add_argument("--steps", type=int, default=3300)
    parser.add_argument("--rows", type=int, default=16, help="rows of 128 tokens in a batch")
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--balance", type=float, default=0.01)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--every", type=int, default=250)
    return parser.parse_args()


def main() -> None:
    """Trains, evaluates the rounded weights and writes checkpoint and log."""
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    text = corpus.build(arguments.wordnet)
    tokenizer = Tokenizer.from_file(str(arguments.out / "tokenizer.json"))
    documents, held_out = encode(tokenizer, text.training), encode(tokenizer, text.held_out)
    held_rows = pack(held_out)
    model = DeepseekV2ForCausalLM(model_config())
    model.set_attn_implementation("sdpa")
    model.set_experts_implementation("grouped_mm")
    router = Router(model)
    unigram = unigram_nats(documents, held_out, model.config.vocab_size)
    parameters = sum(p.numel() for p in model.parameters())
    print(f"{parameters} parameters, unigram perplexity {math.exp(unigram):.1f}", flush=True)
    curve = train(model, router, documents, held_rows, arguments)
    save(model, arguments.out)
    nats, load = evaluate(model.float(), router, held_rows)
    log = {
        "parameters": parameters,
        "seed": arguments.seed,
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
        "unigram_perplexity": round(math.exp(unigram), 2),
        "held_out_perplexity": round(math.exp(nats), 2),
        "expert_load": load,
        "curve": curve,
    }
    arguments.log.write_text(json.dumps(log, indent=1) + "\n", encoding="utf-8")
    print(f"held-out perplexity in bf16 {math.exp(nats):.2f}")


if __name__ == "__main__":
    main()
