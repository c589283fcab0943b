"""Checks a fine-tuned model that our program wrote against transformers and peft.

The adapter is loaded with peft on the base model, as a user would, and the merged checkpoint with
transformers alone; both must give the expected logits, which come from our program:

    {"token_ids": [[...], ...], "logits": [[[...], ...], ...]}

One list of logits per sequence and position, in fp32. A merged checkpoint that is stored in a narrower
type than fp32 has been rounded, which moves logits by more than the tolerance. Its weights must then be
those of peft's own merge after the same rounding, but for a few that lie between two values and go to
the other one; and its logits those that our program has with it. What rounding costs is printed.
peft drops factors silently when an adapter is
not in the form that `peft_form.py` describes, so the number of loaded factors is compared with the
file, and every loaded factor with the file's tensor.
"""

import argparse
import json
import sys
import warnings
from pathlib import Path

import tiny_models
import torch
from peft import PeftModel
from safetensors.torch import load_file

warnings.filterwarnings("ignore", category=FutureWarning)
warnings.filterwarnings("ignore", message=".*did not match any targeted module.*")

TOLERANCE = 1e-4


class Report:
    """Prints one line per check and remembers failures."""

    def __init__(self) -> None:
        self.failures = 0

    def line(self, passed: bool, text: str) -> None:
        """One check's result."""
        self.failures += not passed
        print(f"{'ok  ' if passed else 'FAIL'} {text}")


@torch.no_grad()
def logits_of(model, token_ids: list[list[int]]) -> list[torch.Tensor]:
    """Logits of each sequence on its own."""
    return [model(input_ids=torch.tensor([ids]), use_cache=False).logits[0] for ids in token_ids]


def largest_difference(one: list[torch.Tensor], other: list[torch.Tensor]) -> float:
    """Largest absolute difference over all sequences; infinite if the shapes differ."""
    if [x.shape for x in one] != [x.shape for x in other]:
        return float("inf")
    return max((x - y).abs().max().item() for x, y in zip(one, other))


def is_fused(key: str) -> bool:
    """Factors of routed experts, which peft stacks and transformers fuses."""
    return ".mlp.experts." in key


def check_loaded_factors(report: Report, model: PeftModel, folder: Path) -> None:
    """Every factor of the file is in the model, and no other."""
    stored = load_file(folder / "adapter_model.safetensors")
    loaded = {
        key.replace(".default.weight", ".weight"): value for key, value in model.state_dict().items() if ".lora_" in key
    }
    plain = {key for key in stored if not is_fused(key)}
    same = plain == {key for key in loaded if not is_fused(key)}
    report.line(bool(stored) and same, f"adapter: {len(plain)} of {len(stored)} factors are plain and all are loaded")
    equal = same and all(torch.equal(stored[key].float(), loaded[key].float()) for key in plain)
    report.line(equal, "adapter: loaded factors equal the file's")
    used = any(value.abs().max() > 0 for key, value in loaded.items() if "lora_B" in key)
    report.line(used, "adapter: B is not zero")


def check_adapter(report: Report, arguments: argparse.Namespace, token_ids, expected) -> None:
    """Base model with the adapter, by peft."""
    base = tiny_models.load(arguments.base)
    untouched = logits_of(base, token_ids)
    effect = largest_difference(untouched, expected)
    report.line(effect > 10 * arguments.tolerance, f"expected logits differ from the base model's by {effect:.2e}")
    model = PeftModel.from_pretrained(base, arguments.adapter).eval()
    check_loaded_factors(report, model, arguments.adapter)
    difference = largest_difference(logits_of(model, token_ids), expected)
    report.line(difference <= arguments.tolerance, f"base + adapter by peft: logits within {difference:.2e}")


def stored_type(folder: Path) -> torch.dtype:
    """The one type of a checkpoint's weights."""
    types = {value.dtype for path in folder.glob("*.safetensors") for value in load_file(path).values()}
    assert len(types) == 1, f"{folder} has weights of {types}"
    return types.pop()


@torch.no_grad()
def merged_by_peft(arguments: argparse.Namespace, rounded_to: torch.dtype):
    """Base model with the adapter merged by peft, its weights rounded."""
    merged = PeftModel.from_pretrained(tiny_models.load(arguments.base), arguments.adapter).merge_and_unload()
    for parameter in merged.parameters():
        parameter.copy_(parameter.to(rounded_to).float())
    return merged.eval()


def check_rounding(report: Report, merged, by_peft) -> None:
    """Both have rounded the same sums, up to what fp32 makes of their order."""
    total = neighbours = others = 0
    theirs = dict(by_peft.named_parameters())
    for name, weight in merged.named_parameters():
        difference = (weight.float() - theirs[name]).abs()
        others += int((difference > 2**-7 * theirs[name].abs() + 1e-7).sum())
        neighbours += int((difference > 0).sum())
        total += weight.numel()
    report.line(
        others == 0 and neighbours < total / 10_000,
        f"merged checkpoint: {neighbours} of {total} weights are rounded to the other neighbour",
    )


def check_merged(report: Report, arguments: argparse.Namespace, token_ids, expected) -> None:
    """The merged checkpoint, by transformers alone."""
    model = tiny_models.load(arguments.merged)
    merged = logits_of(model, token_ids)
    dtype = stored_type(arguments.merged)
    if dtype != torch.float32:
        rounded = merged_by_peft(arguments, dtype)
        cost = largest_difference(logits_of(rounded, token_ids), expected)
        effect = largest_difference(logits_of(tiny_models.load(arguments.base), token_ids), expected)
        report.line(cost < 0.01 * effect, f"rounding peft's merge to {dtype} moves logits by {cost:.2e}")
        check_rounding(report, model, rounded)
        expected = read_logits(arguments.expected_merged)[1]
    difference = largest_difference(merged, expected)
    report.line(difference <= arguments.tolerance, f"merged checkpoint by transformers: logits within {difference:.2e}")


def read_logits(path: Path) -> tuple[list[list[int]], list[torch.Tensor]]:
    """Token ids and logits that our program wrote."""
    content = json.loads(path.read_text(encoding="utf-8"))
    return content["token_ids"], [torch.tensor(rows) for rows in content["logits"]]


def parse_arguments(words: list[str] | None) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--adapter", type=Path, required=True, help="folder with adapter_config.json")
    parser.add_argument("--base", type=Path, required=True, help="folder of the base checkpoint")
    parser.add_argument("--merged", type=Path, help="folder of the merged checkpoint")
    parser.add_argument("--expected", type=Path, required=True, help="token ids and logits by our program")
    parser.add_argument(
        "--expected-merged", type=Path, help="the same with the merged checkpoint; needed where that has been rounded"
    )
    parser.add_argument("--tolerance", type=float, default=TOLERANCE)
    return parser.parse_args(words)


def main(words: list[str] | None = None) -> int:
    """Runs all checks; the exit status says whether all passed."""
    arguments = parse_arguments(words)
    token_ids, expected = read_logits(arguments.expected)
    report = Report()
    check_adapter(report, arguments, token_ids, expected)
    if arguments.merged:
        check_merged(report, arguments, token_ids, expected)
    print(f"{report.failures} checks failed" if report.failures else "all checks passed")
    return int(report.failures > 0)


if __name__ == "__main__":
    sys.exit(main())
