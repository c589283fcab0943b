"""What models of configurations that nobody chose write, token after token, is what transformers writes.

Through `fedtune-client generate`, whose tokens are single letters here. More seeds: FEDTUNE_RANDOM_GENERATIONS=100.
"""

import json
import os
import random
import string
import subprocess
from pathlib import Path

import pytest
import tiny_models
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

import test_random_models

ROOT = Path(__file__).parents[2]
PROGRAM = Path(os.environ.get("FEDTUNE_PROGRAMS", ROOT / "build" / "dev" / "bin")) / "fedtune-client"
SEEDS = range(int(os.environ.get("FEDTUNE_RANDOM_GENERATIONS", "4")))
LETTERS = string.ascii_letters + string.digits + string.punctuation + " \t\n\r"
CONTEXT = 64
# A choice between logits that are as close as rounding makes them is no one's.
MARGIN = 1e-3


def save_tokenizer(folder: Path) -> None:
    """A token for each letter, in their order."""
    bytes_only = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    written = [bytes_only.pre_tokenize_str(letter)[0][0] for letter in LETTERS]
    tokenizer = Tokenizer(models.BPE(vocab={token: number for number, token in enumerate(written)}, merges=[]))
    tokenizer.pre_tokenizer = bytes_only
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.save(str(folder / "tokenizer.json"))


def theirs(model, prompt: list[int], ends: list[int], count: int) -> tuple[list[int], bool]:
    """Their tokens up to the first that is no clear choice, and whether that cut them off."""
    out = model.generate(
        torch.tensor([prompt]),
        attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
        do_sample=False,
        max_new_tokens=count,
        eos_token_id=ends,
        pad_token_id=ends[0],
        output_logits=True,
        return_dict_in_generate=True,
    )
    tokens = out.sequences[0, len(prompt) :].tolist()
    for at, logits in enumerate(out.logits):
        first, second = logits[0].topk(2).values.tolist()
        if first - second < MARGIN * max(1.0, abs(first)):
            return tokens[:at], True
    return tokens[:-1] if tokens[-1] in ends else tokens, False


@pytest.mark.parametrize("seed", SEEDS)
def test_greedy_text(seed: int, tmp_path: Path) -> None:
    """Of a prompt of one token, and of one near the end of the context; any of several tokens ends it."""
    draw = random.Random(2000 + seed)
    fields = test_random_models.draw_configuration(draw)
    ends = draw.sample(range(len(LETTERS)), draw.randint(1, 4))
    fields |= {"vocab_size": len(LETTERS), "max_position_embeddings": CONTEXT, "eos_token_id": ends}
    test_random_models.save(draw, fields, tmp_path, seed)
    (tmp_path / "generation_config.json").unlink(missing_ok=True)
    save_tokenizer(tmp_path)
    model = tiny_models.load(tmp_path)
    model.set_experts_implementation("eager")
    for length in (1, draw.randint(CONTEXT - 20, CONTEXT - 1)):
        prompt = [draw.randrange(len(LETTERS)) for _ in range(length)]
        command = [PROGRAM, "generate", "--base", tmp_path, "--device", "cpu", "--json", "--max-tokens", str(CONTEXT)]
        text = "".join(LETTERS[token] for token in prompt)
        done = subprocess.run([*command, f"--prompt={text}"], capture_output=True, text=True, check=False)
        assert done.returncode == 0, (done.stderr, fields)
        ours = json.loads(done.stdout)
        tokens, is_cut = theirs(model, prompt, ends, CONTEXT - length)
        written = "".join(LETTERS[token] for token in tokens)
        assert ours["text"].startswith(written), fields
        if not is_cut:
            assert ours["text"] == written, fields
            assert ours["ended_by"] == ("context" if len(tokens) == CONTEXT - length else "end token"), fields
