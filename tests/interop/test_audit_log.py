"""The audit log's tree, proofs and notes are what `audit_log.py` makes of their documents."""

import json
import subprocess

import audit_log as log
import pytest

import make_audit_log_golden


@pytest.fixture(scope="module")
def sample() -> dict:
    """A log of the program's, with all that it proves of it."""
    return json.loads(subprocess.run([make_audit_log_golden.SAMPLE], check=True, capture_output=True).stdout)


def hashes(proof: list[str]) -> list[bytes]:
    """A proof's hashes."""
    return [bytes.fromhex(hash) for hash in proof]


def test_roots_and_proofs(sample: dict) -> None:
    """Of every size, every entry and every earlier size."""
    leaves = [log.leaf(entry.encode()) for entry in sample["entries"]]
    assert len(sample["sizes"]) == len(leaves) + 1 > 32
    for size, proven in enumerate(sample["sizes"]):
        part = leaves[:size]
        assert proven["root"] == log.root(part).hex()
        assert [hashes(proof) for proof in proven["inclusion"]] == [log.inclusion(i, part) for i in range(size)]
        assert [hashes(proof) for proof in proven["consistency"]] == [log.consistency(i, part) for i in range(size + 1)]


def test_note(sample: dict) -> None:
    """The signature is good, and of nothing else."""
    root = bytes.fromhex(sample["sizes"][-1]["root"])
    assert log.read_note(sample["note"], sample["certificate"]) == ("north", len(sample["entries"]), root)
    with pytest.raises(AssertionError):
        log.read_note(sample["note"].replace("\n40\n", "\n41\n"), sample["certificate"])
    with pytest.raises(AssertionError):
        log.read_note(sample["note"], sample["authority"])


def test_golden() -> None:
    """The file for the C++ test can be made again."""
    assert make_audit_log_golden.main(["--check"]) == 0
