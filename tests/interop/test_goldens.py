"""The golden files can be reproduced with the pinned versions, within rounding."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import tiny_models

HERE = Path(__file__).parent


def reproduce(script: str, *arguments: str) -> None:
    """Runs a golden script in its comparing mode."""
    command = [sys.executable, "-W", "ignore", HERE / script, "--check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("model", [*tiny_models.CONFIGS, "icd_moe"])
def test_model(model: str) -> None:
    """Logits, LoRA gradients and training curves."""
    reproduce("make_model_goldens.py", model)


def test_tokenizer() -> None:
    """Encodings; at least 300 texts, none lost by decoding."""
    reproduce("make_tokenizer_goldens.py")
    lines = (HERE / "golden" / "demo_tokenizer.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines[1:]]
    assert len(records) >= 300
    assert all(record["decoded"] == record["text"] for record in records)


def test_peft_adapter() -> None:
    """The adapter that peft trained and saved."""
    reproduce("make_peft_golden.py")
