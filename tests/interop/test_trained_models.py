"""What real federations trained and `fedtune model pull` wrote is, for peft and transformers, what our model computes.

The programs are those of the build that `run.sh` makes, or of FEDTUNE_PROGRAMS.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import tiny_models
from tokenizers import Tokenizer

import golden_files as golden

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PROGRAMS = Path(os.environ.get("FEDTUNE_PROGRAMS", ROOT / "build" / "dev" / "bin"))
sys.path.insert(0, str(ROOT / "tests" / "end_to_end"))

from federation import DATA, Federation

SITES = ["cardiology-hospital", "oncology-hospital"]
TEXTS = ("Which chapter?\nAcute inflammation of the middle ear, left side:", "Fracture of the lower end of the radius")
ADAPTER = "rank = 4\nalpha = 16"


@dataclass(frozen=True)
class Run:
    """A base model and the LoRA targets of a plan."""

    base: Path
    targets: tuple[str, ...]

    def plan(self) -> str:
        """Three rounds at a high rate, so that the adapter matters."""
        return f"""
name = "interop"
base_model = "{self.base}"
[adapter]
{ADAPTER}
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


@pytest.fixture(name="model_b", scope="module")
def fixture_model_b(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Model B (query compression, groups, YaRN), stored in fp32, with the demo's vocabulary and tokenizer."""
    folder = tmp_path_factory.mktemp("base") / "model-b"
    vocabulary = json.loads((golden.BASE_MODEL / "config.json").read_text(encoding="utf-8"))["vocab_size"]
    tiny_models.save("model_b", folder, vocab_size=vocabulary)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((golden.BASE_MODEL / name).read_bytes())
    return folder


@pytest.fixture(
    name="run",
    params=[
        ("icd_moe", ("attention", "shared_experts", "dense_mlp")),
        ("icd_moe", ("all-linear",)),
        ("model_b", ("all-linear",)),
    ],
    ids=["icd_moe", "icd_moe with routed experts", "model_b with routed experts"],
)
def fixture_run(request: pytest.FixtureRequest, model_b: Path) -> Run:
    """Every run that is tried."""
    name, targets = request.param
    return Run(golden.BASE_MODEL if name == "icd_moe" else model_b, targets)


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
    command = [sys.executable, HERE / "check_pulled_model.py", "--base", base, "--adapter", adapter]
    command += ["--expected", folder / "expected.json", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_pulled_models_compute_what_ours_does(federation: Federation, run: Run) -> None:
    """Adapter and merged checkpoint of a finished run."""
    state = federation.wait_for_end(federation.start_run(run.plan()))
    assert state["state"] == "finished", state["reason"]
    folder = federation.folder
    for form in ("peft", "hf"):
        federation.fedtune("model", "pull", state["run_id"], "--format", form, "--base", run.base, "--out", folder / form)
    print(check(run.base, folder / "peft", folder, "--merged", folder / "hf"))


@pytest.mark.parametrize("targets", ["attention,shared_experts,dense_mlp", "all-linear"])
def test_locally_trained_adapters_compute_what_ours_do(tmp_path: Path, model_b: Path, targets: str) -> None:
    """The adapter that `fedtune-client train` writes."""
    command = [PROGRAMS / "fedtune-client", "train", "--base", model_b, "--data", DATA / SITES[0] / "train.jsonl"]
    command += ["--out", tmp_path / "adapter", "--rank", "4", "--steps", "10", "--learning-rate", "1e-2"]
    command += ["--targets", targets, "--sequence-length", "128", "--device", "cpu"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    print(check(model_b, tmp_path / "adapter", tmp_path))
