"""check_pulled_model.py accepts what is right and refuses what is not."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import tiny_models
import torch

import check_pulled_model
import golden_files as golden
import make_model_goldens as models
import peft_form
import reference_lora as lora

pytestmark = pytest.mark.filterwarnings("ignore")

HERE = Path(__file__).parent
BASE = golden.GOLDEN / "model_b"
RANK, ALPHA = 3, 9


@pytest.fixture(name="adapter", params=[False, True], ids=["without routed", "with routed"])
def fixture_adapter(request: pytest.FixtureRequest) -> lora.Adapter:
    """A random adapter of model B."""
    return lora.random_adapter(tiny_models.load(BASE).config, RANK, request.param, seed=3)


def write_all(folder: Path, adapter: lora.Adapter) -> None:
    """Adapter, merged checkpoint and expected logits, as our program would write them."""
    model = tiny_models.load(BASE)
    sequences = [ids for ids, _ in models.tiny_sequences(tiny_models.VOCABULARY)]
    logits = [lora.logits(model, adapter, ALPHA / RANK, ids).tolist() for ids in sequences]
    (folder / "expected.json").write_text(json.dumps({"token_ids": sequences, "logits": logits}), encoding="utf-8")
    peft_form.write(folder / "adapter", adapter, RANK, ALPHA)
    merged = lora.effective_parameters(model, adapter, ALPHA / RANK)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(merged.get(name, parameter))
    model.save_pretrained(folder / "merged")


def words(folder: Path) -> list[str]:
    """The script's arguments for a folder made by `write_all`."""
    paths = {"--adapter": folder / "adapter", "--base": BASE, "--merged": folder / "merged"}
    paths["--expected"] = folder / "expected.json"
    return [str(x) for pair in paths.items() for x in pair]


def test_right_files_pass(tmp_path: Path, adapter: lora.Adapter) -> None:
    """The documented form is loaded completely by plain peft."""
    write_all(tmp_path, adapter)
    assert check_pulled_model.main(words(tmp_path)) == 0


def test_dropped_factors_are_noticed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Shared and dense projections in `target_modules` are lost by peft; that must fail."""
    adapter = lora.random_adapter(tiny_models.load(BASE).config, RANK, routed=False, seed=3)
    write_all(tmp_path, adapter)
    path = tmp_path / "adapter" / "adapter_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config.update(target_modules=list(adapter), target_parameters=None)
    path.write_text(json.dumps(config), encoding="utf-8")
    assert check_pulled_model.main(words(tmp_path)) == 1
    assert "FAIL adapter" in capsys.readouterr().out


def test_a_wrong_merge_is_noticed(tmp_path: Path) -> None:
    """A merged checkpoint that lacks the adapter; told by the script's exit status, too."""
    write_all(tmp_path, lora.random_adapter(tiny_models.load(BASE).config, RANK, routed=False, seed=3))
    tiny_models.load(BASE).save_pretrained(tmp_path / "merged")
    command = [sys.executable, HERE / "check_pulled_model.py", *words(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "FAIL merged" in done.stdout, done.stdout + done.stderr
