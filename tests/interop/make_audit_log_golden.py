"""An audit log with its roots and proofs, and a checkpoint, made by `audit_log.py` alone.

`golden/audit_log.json` has the entries of a short run, in the bytes that a coordinator must write for the same events,
and the root of every size. The proofs of all entries and sizes are there as one digest each for every size: of the
hashes, one behind the other. The note is signed without OpenSSL, with the key of a certificate that `audit_log_sample`
has issued; the key is forgotten. `--check` makes everything anew but the signature, which is verified.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import audit_log as log

GOLDEN = Path(__file__).parent / "golden" / "audit_log.json"
ROOT = Path(__file__).parents[2]
SAMPLE = Path(os.environ.get("FEDTUNE_PROGRAMS", ROOT / "build" / "dev" / "bin")) / "audit_log_sample"
ROUNDS = 12
INSTITUTIONS = ["charite", "st-anna", "uke"]


def digest(text: str) -> str:
    """The name of something by its content."""
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def entries() -> list[str]:
    """The lines of a log with one run: begun, with a pause, a second attempt, a burnt round, an end."""
    lines = []

    def tell(event: str, **keys) -> None:
        at = f"2026-03-14T09:{len(lines) // 60:02}:{len(lines) % 60:02}.{len(lines) * 7:03}Z"
        keys = {"at": at, "event": event, **keys}
        lines.append(json.dumps(keys, ensure_ascii=False, separators=(",", ":")))

    run = {"run": "run-7f3a"}
    tell("log begun", id="9f86d081884c7d659a2feaa0c55ad015")
    tell(
        "run started",
        **run,
        plan=digest("plan"),
        layout=digest("layout"),
        base_digest=digest("base"),
        adapter=digest("adapter 0"),
        started_by="lena",
    )
    adapter = digest("adapter 0")
    for number in range(1, ROUNDS + 1):
        attempt = 2 if number == 4 else 1
        for which in range(1, attempt + 1):
            tell("round opened", **run, round=number, attempt=which, adapter=adapter)
        burnt = number == 9
        adapter = adapter if burnt else digest(f"adapter {number}")
        for name in [] if burnt else INSTITUTIONS:
            tell("contribution counted", **run, round=number, institution=name, contribution=digest(f"{name} {number}"))
        tell(
            "round released",
            **run,
            round=number,
            attempt=attempt,
            contributions=0 if burnt else len(INSTITUTIONS),
            adapter=adapter,
            **({"burnt": 'the sum is "too large"'} if burnt else {}),
        )
        if number == 6:
            tell("pause asked", **run, reason="Umbau im Rechenzentrum, bis Samstag früh \\o/")
            tell("run resumed", **run)
    tell("stop asked", **run)
    tell("run ended", **run, state="stopped", reason="stop asked")
    tell("run reopened", **run)
    tell("run ended", **run, state="finished")
    return lines


def of_all(proofs: list[list[bytes]]) -> str:
    """One digest for the proofs of one size."""
    return hashlib.sha256(b"".join(hash for proof in proofs for hash in proof)).hexdigest()


def make() -> dict:
    """All but the note."""
    lines = entries()
    leaves = [log.leaf(line.encode()) for line in lines]
    sizes = []
    for size in range(len(leaves) + 1):
        part = leaves[:size]
        sizes.append(
            {
                "root": log.root(part).hex(),
                "inclusion": of_all([log.inclusion(index, part) for index in range(size)]),
                "consistency": of_all([log.consistency(old, part) for old in range(size + 1)]),
            }
        )
    return {"entries": lines, "sizes": sizes}


def sign(golden: dict) -> dict:
    """Adds a note, with certificates for it."""
    sample = json.loads(subprocess.run([SAMPLE], check=True, capture_output=True).stdout)
    secret, spki = log.secret_of(sample["key"]), log.spki_of(sample["certificate"])
    root = bytes.fromhex(golden["sizes"][-1]["root"])
    note = log.write_note("north", len(golden["entries"]), root, secret, spki)
    return {**golden, "note": note, "certificate": sample["certificate"], "authority": sample["authority"]}


def check() -> bool:
    """Whether the file has what comes out now."""
    stored, fresh = json.loads(GOLDEN.read_text(encoding="utf-8")), make()
    head = log.read_note(stored["note"], stored["certificate"])
    expected = ("north", len(fresh["entries"]), bytes.fromhex(fresh["sizes"][-1]["root"]))
    return head == expected and all(stored[key] == fresh[key] for key in fresh)


def main(words: list[str] | None = None) -> int:
    """Writes the file, or compares with it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    if parser.parse_args(words).check:
        good = check()
        print(f"audit_log.json: {'reproduced' if good else 'differs'}")
        return int(not good)
    GOLDEN.write_text(json.dumps(sign(make()), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
