"""What real federations trained and `fedtune model pull` wrote is, for peft and transformers, what our model computes.

The programs are those of the build that `run.sh` makes, or of FEDTUNE_PROGRAMS.
"""

import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import tiny_models
import torch
from tokenizers import Tokenizer

import check_pulled_model
import golden_files as golden
import make_peft_golden

ROOT = Path(__file__).parents[2]
PROGRAMS = Path(os.environ.get("FEDTUNE_PROGRAMS", ROOT / "build" / "dev" / "bin"))
sys.path.insert(0, str(ROOT / "tests" / "end_to_end"))

from federation import DATA, Federation

pytestmark = pytest.mark.filterwarnings("ignore")

SITES = ["cardiology-hospital", "oncology-hospital"]
TEXTS = ("Which chapter?\nAcute inflammation of the middle ear, left side:", "Fracture of the lower end of the radius")
ADAPTER = "rank = 4\nalpha = 16"
MIXED_RANKS = ADAPTER + """
rslora = true
dropout = 0.05
routed_rank = 2
routed_experts = [0, 3, 4]
rank_pattern = { "o_proj" = 6, 'layers\\.1\\..*down_proj' = 3 }"""


@dataclass(frozen=True)
class Run:
    """A base model and the LoRA targets of a plan."""

    base: Path
    targets: tuple[str, ...]
    adapter: str = ADAPTER

    def plan(self) -> str:
        """Three rounds at a high rate, so that the adapter matters."""
        return f"""
name = "interop"
base_model = "{self.base}"
[adapter]
{self.adapter}
targets = {json.dumps(self.targets)}
[training]
steps = 4
batch_size = 4
learning_rate = 1e-2
sequence_length = 128
seed = 5
[rounds]
count = 3
[aggregation]
mode = "plain"
method = "fedit"
"""


def base_model(folder: Path, name: str) -> Path:
    """A tiny model stored in fp32, with the demo's vocabulary and tokenizer."""
    folder = folder / name.replace("_", "-")
    vocabulary = json.loads((golden.BASE_MODEL / "config.json").read_text(encoding="utf-8"))["vocab_size"]
    tiny_models.save(name, folder, vocab_size=vocabulary)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        (folder / file).write_bytes((golden.BASE_MODEL / file).read_bytes())
    return folder


@pytest.fixture(name="bases", scope="module")
def fixture_bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The demo's base model, and those of DeepSeek-V2 and V3 with query compression, groups and YaRN."""
    folder = tmp_path_factory.mktemp("base")
    return {"icd_moe": golden.BASE_MODEL, **{name: base_model(folder, name) for name in ("model_b", "v3_b")}}


@pytest.fixture(
    name="run",
    params=[
        ("icd_moe", ("attention", "shared_experts", "dense_mlp")),
        ("icd_moe", ("all-linear",)),
        ("model_b", ("all-linear",)),
        ("model_b", ("all-linear",), MIXED_RANKS),
    ],
    ids=["icd_moe", "icd_moe with routed experts", "model_b with routed experts", "model_b with mixed ranks"],
)
def fixture_run(request: pytest.FixtureRequest, bases: dict[str, Path]) -> Run:
    """Every run that is tried."""
    name, *rest = request.param
    return Run(bases[name], *rest)


@pytest.fixture(name="federation")
def fixture_federation(tmp_path: Path, run: Run) -> Iterator[Federation]:
    """A coordinator and two clients with the run's base model."""
    with Federation(PROGRAMS, tmp_path) as federation:
        federation.make_authority()
        federation.start_coordinator()
        for site in SITES:
            federation.start_client(site, base_model=run.base)
        federation.wait_for_clients(len(SITES))
        yield federation


def write_tokens(path: Path) -> None:
    """Token ids of two texts of different lengths."""
    tokenizer = Tokenizer.from_file(str(golden.BASE_MODEL / "tokenizer.json"))
    path.write_text(json.dumps({"token_ids": [[0, *tokenizer.encode(text).ids] for text in TEXTS]}), encoding="utf-8")


def our_logits(out: Path, tokens: Path, base: Path, *arguments: str | Path) -> None:
    """Writes the logits of our program."""
    command = [PROGRAMS / "model_logits", "--base", base, "--tokens", tokens, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    out.write_text(done.stdout, encoding="utf-8")


def check(base: Path, adapter: Path, folder: Path, *arguments: str | Path) -> str:
    """Runs check_pulled_model.py on an adapter, against our logits with it, and returns its lines."""
    write_tokens(folder / "tokens.json")
    our_logits(folder / "expected.json", folder / "tokens.json", base, "--adapter", adapter)
    words = ["--base", base, "--adapter", adapter, "--expected", folder / "expected.json", *arguments]
    with contextlib.redirect_stdout(io.StringIO()) as lines:
        status = check_pulled_model.main(list(map(str, words)))
    assert status == 0, lines.getvalue()
    return lines.getvalue()


def test_pulled_models_compute_what_ours_does(federation: Federation, run: Run) -> None:
    """Adapter and merged checkpoint of a finished run."""
    state = federation.wait_for_end(federation.start_run(run.plan()))
    assert state["state"] == "finished", state["reason"]
    folder = federation.folder
    for form in ("peft", "hf"):
        federation.fedtune("model", "pull", state["run_id"], "--format", form, "--base", run.base, "--out", folder / form)
    write_tokens(folder / "tokens.json")
    our_logits(folder / "expected_merged.json", folder / "tokens.json", folder / "hf")
    merged = ("--merged", folder / "hf", "--expected-merged", folder / "expected_merged.json")
    print(check(run.base, folder / "peft", folder, *merged))
    federation.fedtune("model", "pull", state["run_id"], "--fused-experts", "--out", folder / "fused")
    print(check(run.base, folder / "fused", folder, *merged))


MIXED = ["--rslora", "--rank-pattern", r"o_proj=6,layers\.1\..*down_proj=3", "--alpha-pattern", "o_proj=5"]
SUBSET = ["--routed-experts", "1,4", "--routed-layers", "2", "--routed-rank", "2", "--dropout", "0.1"]
ADAPTERS = {
    "default": ["--targets", "attention,shared_experts,dense_mlp"],
    "all-linear": ["--targets", "all-linear"],
    "fused": ["--targets", "all-linear", "--fused-experts"],
    "mixed": ["--targets", "all-linear", *MIXED],
    "mixed-fused": ["--targets", "all-linear", *MIXED, "--fused-experts"],
    "subset": ["--targets", "attention,routed_experts", *SUBSET],
    "subset-fused": ["--targets", "attention,routed_experts", *SUBSET, "--fused-experts"],
    "up": ["--targets", "up_proj"],
    "up-fused": ["--targets", "up_proj", "--fused-experts"],
    "gate": ["--targets", "gate_proj"],
}


@pytest.mark.parametrize("name", ["model_b", "v3_b"])
@pytest.mark.parametrize("form", ADAPTERS)
def test_locally_trained_adapters_compute_what_ours_do(
    bases: dict[str, Path], tmp_path: Path, name: str, form: str
) -> None:
    """The adapter that `fedtune-client train` writes, for DeepSeek-V2 and V3."""
    command = [PROGRAMS / "fedtune-client", "train", "--base", bases[name], "--data", DATA / SITES[0] / "train.jsonl"]
    command += ["--out", tmp_path / "adapter", "--rank", "4", "--steps", "10", "--learning-rate", "1e-2"]
    command += [*ADAPTERS[form], "--sequence-length", "128", "--device", "cpu"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    print(check(bases[name], tmp_path / "adapter", tmp_path))


@pytest.mark.parametrize("adapter", make_peft_golden.CASES)
def test_adapters_of_peft_compute_what_peft_says(tmp_path: Path, adapter: str) -> None:
    """Adapters that peft trained and saved, read by our program."""
    folder = golden.GOLDEN / adapter
    expected = json.loads((folder / "expected.json").read_text(encoding="utf-8"))
    (tmp_path / "tokens.json").write_text(json.dumps({"token_ids": expected["token_ids"]}), encoding="utf-8")
    base = golden.GOLDEN / make_peft_golden.CASES[adapter][0]
    our_logits(tmp_path / "ours.json", tmp_path / "tokens.json", base, "--adapter", folder)
    ours = json.loads((tmp_path / "ours.json").read_text(encoding="utf-8"))
    pairs = zip(ours["logits"], expected["logits"], strict=True)
    difference = max((torch.tensor(a) - torch.tensor(b)).abs().max().item() for a, b in pairs)
    print(f"{adapter}: logits within {difference:.2e}")
    assert difference <= 1e-4
