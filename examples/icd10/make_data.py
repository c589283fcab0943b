"""Builds the demo's data: ICD-10-CM diagnoses and their chapters, at six hospital departments.

Every department owns some chapters and has no row of any other, so the label skew is extreme. Whole
three-character categories are held out: no two splits share a category, a code or an input text.
The source is the PyPI package named in VERSION; the same version gives the same bytes.
"""

import argparse
import json
import random
from collections import Counter
from importlib.metadata import version
from pathlib import Path

import simple_icd_10_cm as icd

PACKAGE, VERSION = "simple-icd-10-cm", "1.5.0"
SEED = 0
ROWS_PER_CHAPTER = 400
HELD_OUT_SHARE = 0.195
VALIDATION_SHARE = 0.1
INSTRUCTION = "Which chapter?"

# Department -> {chapter number of ICD-10-CM: answer}
DEPARTMENTS = {
    "cardiology-hospital": {3: "blood and immune", 9: "circulatory", 10: "respiratory"},
    "general-clinic": {
        1: "infectious and parasitic",
        4: "endocrine, nutritional, metabolic",
        12: "skin",
        18: "symptoms and abnormal findings",
        21: "factors influencing health status",
    },
    "neuro-psychiatric": {5: "mental and behavioural", 6: "nervous system", 7: "eye", 8: "ear"},
    "oncology-hospital": {2: "neoplasms", 11: "digestive", 14: "genitourinary"},
    "trauma-centre": {13: "musculoskeletal", 19: "injury and poisoning", 20: "external causes"},
    "womens-and-childrens": {15: "pregnancy and childbirth", 16: "perinatal", 17: "congenital"},
}

Row = dict[str, str]


def codes_of_chapter(chapter: int) -> list[str]:
    """All codes of a chapter, categories included, blocks left out."""
    return [code for code in icd.get_descendants(str(chapter)) if not icd.is_block(code)]


def category(row: Row) -> str:
    """The three-character category of a row's code."""
    return row["code"][:3]


def choose_rows(chapter: int, answer: str, seen: set[str], rng: random.Random) -> list[Row]:
    """A sample of a chapter's codes whose texts, letter case aside, occur nowhere else in the data."""
    codes = codes_of_chapter(chapter)
    rng.shuffle(codes)
    rows = []
    for code in codes:
        text = icd.get_description(code)
        if text.lower() in seen:
            continue
        seen.add(text.lower())
        rows.append({"instruction": INSTRUCTION, "input": text, "output": answer, "code": code})
        if len(rows) == ROWS_PER_CHAPTER:
            break
    return rows


def split_off(rows: list[Row], share: float, rng: random.Random) -> tuple[list[Row], list[Row]]:
    """Takes whole categories, in random order, that fit into `share` of the rows; (rest, taken)."""
    sizes = Counter(category(row) for row in rows)
    names = sorted(sizes)
    rng.shuffle(names)
    taken: set[str] = set()
    room = int(share * len(rows))
    for name in names:
        if sizes[name] <= room:
            taken.add(name)
            room -= sizes[name]
    rest = [row for row in rows if category(row) not in taken]
    return rest, [row for row in rows if category(row) in taken]


def build() -> dict[str, list[Row]]:
    """All files of the data set, as relative path -> rows."""
    rng = random.Random(SEED)
    seen: set[str] = set()
    files: dict[str, list[Row]] = {"heldout.jsonl": []}
    for department, chapters in DEPARTMENTS.items():
        train, validation = [], []
        for chapter, answer in chapters.items():
            rows = choose_rows(chapter, answer, seen, rng)
            rows, held_out = split_off(rows, HELD_OUT_SHARE, rng)
            rows, own = split_off(rows, VALIDATION_SHARE, rng)
            train += rows
            validation += own
            files["heldout.jsonl"] += held_out
        rng.shuffle(train)
        files[f"{department}/train.jsonl"] = train
        files[f"{department}/eval.jsonl"] = validation
    return files


def main() -> None:
    """Writes the files and prints their sizes."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    out = parser.parse_args().out
    if version(PACKAGE) != VERSION:
        raise SystemExit(f"{PACKAGE} {VERSION} is needed, {version(PACKAGE)} is installed")
    for name, rows in build().items():
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        path.write_text("".join(lines), encoding="utf-8")
        print(f"{len(rows):6} {name}")


if __name__ == "__main__":
    main()
