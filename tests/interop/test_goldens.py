"""The golden files can be reproduced with the pinned versions, within rounding."""

import json

import pytest
import tiny_models

import golden_files as golden
import make_model_goldens
import make_peft_golden
import make_tokenizer_goldens

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize("model", [*tiny_models.CONFIGS, "icd_moe"])
def test_model(model: str) -> None:
    """Logits, LoRA gradients and training curves."""
    assert make_model_goldens.main(["--check", model]) == 0


def test_tokenizer() -> None:
    """Encodings; at least 300 texts, none lost by decoding."""
    assert make_tokenizer_goldens.main(["--check"]) == 0
    lines = (golden.GOLDEN / "demo_tokenizer.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines[1:]]
    assert len(records) >= 300
    assert all(record["decoded"] == record["text"] for record in records)


@pytest.mark.parametrize("adapter", make_peft_golden.CASES)
def test_peft_adapter(adapter: str) -> None:
    """The adapters that peft trained and saved."""
    assert make_peft_golden.main(["--check", adapter]) == 0
