"""Turns WordNet 3.0 into the pre-training text of the demo's base model.

Every synset gives small facts (what it is, what kind it is, what it is part of, which field it
belongs to). Each fact is rendered in one of three layouts, so that the model knows plain text as
well as the question-and-answer form in which it will be fine-tuned:

    plain     Heart failure: inability of the heart to pump enough blood
    question  What is it?\nHeart failure: inability of the heart ...
    chat      <｜User｜>What is it?\nHeart failure<｜Assistant｜>inability of the heart ...

Medical synsets are repeated (each time in a freshly drawn layout), because the demo's task is
medical. No ICD text is read. Debian's package `wordnet-base` has the input files.
"""

import random
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

WORDNET = Path("/usr/share/wordnet")
USER, ASSISTANT = "<｜User｜>", "<｜Assistant｜>"
HELD_OUT_SYNSETS = 2000
MEDICAL_REPEATS = 3

# WordNet's lexicographer files, in the order of their numbers.
FIELDS = (
    "adjective relation-adjective adverb top act animal artifact attribute body cognition "
    "communication event feeling food group location motive object person phenomenon plant "
    "possession process quantity relation shape state substance time body-verb change cognition-verb "
    "communication-verb competition consumption contact creation emotion motion perception "
    "possession-verb social stative weather participle"
).split()
BODY_FIELD, PERSON_FIELD = FIELDS.index("body"), FIELDS.index("person")

MEDICAL_ROOTS = frozenset(
    "ill health|pathological state|physiological condition|symptom|injury|medicine|drug|"
    "medical procedure|body part|medical care|disorder|pathology|microorganism|medical specialty|"
    "accident|vehicle|poison|harm|surgery".split("|")
)
MEDICAL_DOMAINS = frozenset(
    "medicine anatomy pathology psychiatry surgery pharmacology psychology physiology obstetrics "
    "ophthalmology neurology cardiology genetics bacteriology epidemiology".split()
)
MEDICAL_GLOSS = re.compile(
    r"\b(disease|disorder|inflammation|patholog|medic|surg|symptom|patient|infection|congenital|"
    r"fracture|tumor|cancer|pregnan|childbirth|infant|blood|skin|bone|muscle|nerve|brain|kidney|"
    r"lung|stomach|intestin|liver|eye|ear|hormone|vitamin)\w*"
)

Key = tuple[str, str]


@dataclass(frozen=True)
class Synset:
    """One line of a WordNet data file."""

    part_of_speech: str
    lemmas: tuple[str, ...]
    field: int
    gloss: str
    pointers: tuple[tuple[str, Key], ...]

    def targets(self, *symbols: str) -> list[Key]:
        """Synsets reached by a pointer with one of `symbols` (see wninput(5))."""
        return [key for symbol, key in self.pointers if symbol in symbols]


@dataclass(frozen=True)
class Corpus:
    """Rendered documents: `training` with its repeats, `held_out` once and in plain layout."""

    training: list[str]
    held_out: list[str]


def parse_line(line: str) -> tuple[Key, Synset]:
    """Parses one synset line as described in wndb(5)."""
    data, gloss = line.split("|", 1)
    fields = data.split()
    pos = "a" if fields[2] == "s" else fields[2]
    words = int(fields[3], 16)
    lemmas = tuple(re.sub(r"\(.*?\)", "", word).replace("_", " ") for word in fields[4 : 4 + 2 * words : 2])
    first = 4 + 2 * words + 1
    pointers = tuple(
        (fields[at], (fields[at + 2], fields[at + 1]))
        for at in range(first, first + 4 * int(fields[first - 1]), 4)
    )
    return (pos, fields[0]), Synset(pos, lemmas, int(fields[1]), gloss.strip(), pointers)


def read_wordnet(folder: Path) -> dict[Key, Synset]:
    """Reads all synsets; licence lines begin with a space and are skipped."""
    synsets = {}
    for pos in ("noun", "verb", "adj", "adv"):
        with open(folder / f"data.{pos}", encoding="latin-1") as lines:
            synsets.update(parse_line(line) for line in lines if not line.startswith(" "))
    return synsets


def medical_keys(synsets: dict[Key, Synset]) -> set[Key]:
    """Synsets about bodies, illness and care: by field, ancestor, domain or a word of the gloss."""

    @cache
    def descends_from_root(key: Key) -> bool:
        synset = synsets[key]
        if synset.part_of_speech == "n":
            if synset.field == BODY_FIELD or MEDICAL_ROOTS.intersection(synset.lemmas):
                return True
        return any(descends_from_root(parent) for parent in synset.targets("@", "@i"))

    def medical(key: Key) -> bool:
        synset = synsets[key]
        if descends_from_root(key):
            return True
        if any(MEDICAL_DOMAINS.intersection(synsets[domain].lemmas) for domain in synset.targets(";c")):
            return True
        return synset.field != PERSON_FIELD and bool(MEDICAL_GLOSS.search(synset.gloss))

    return {key for key in synsets if medical(key)}


def ancestors(synsets: dict[Key, Synset], synset: Synset, depth: int = 4) -> list[str]:
    """First lemmas along the hypernym chain, nearest first."""
    chain = []
    while len(chain) < depth and (parents := synset.targets("@", "@i")):
        synset = synsets[parents[0]]
        chain.append(synset.lemmas[0])
    return chain


def facts(synsets: dict[Key, Synset], synset: Synset, medical: bool, rng: random.Random) -> list[tuple[str, str, str]]:
    """(question, head, answer) triples of one synset; side facts of general ones are thinned out."""
    out = [("What is it?", ", ".join(dict.fromkeys(synset.lemmas[:4])), synset.gloss)]
    chain = ancestors(synsets, synset) if synset.part_of_speech == "n" else []
    if chain and (medical or rng.random() < 0.3):
        out.append(("Which kind?", rng.choice(synset.lemmas), ", ".join(chain)))
    if medical:
        for whole in synset.targets("#p", "#s"):
            out.append(("Part of what?", synset.lemmas[0], f"part of {synsets[whole].lemmas[0]}"))
    if rng.random() < (0.5 if medical else 0.1):
        out.append(("Which field?", rng.choice(synset.lemmas), FIELDS[synset.field]))
    return out


def capitalised(text: str) -> str:
    """Upper-case first letter, the rest untouched."""
    return text[:1].upper() + text[1:]


def plain(head: str, answer: str) -> str:
    """The layout of a dictionary entry."""
    return f"{head}: {answer}"


def render(fact: tuple[str, str, str], rng: random.Random) -> str:
    """One fact in a randomly drawn layout (60 % plain, 10 % question, 30 % chat)."""
    question, head, answer = fact
    head = capitalised(head) if rng.random() < 0.5 else head
    draw = rng.random()
    if question != "Which field?" and draw < 0.6:
        return plain(head, answer)
    gap = rng.choice(("\n", "\n\n"))
    if draw < 0.7:
        return question + gap + plain(head, answer)
    return USER + question + gap + head + ASSISTANT + answer


def build(folder: Path = WORDNET, seed: int = 0) -> Corpus:
    """Reads WordNet and renders the whole corpus; the same seed gives the same text."""
    synsets = read_wordnet(folder)
    medical = medical_keys(synsets)
    rng = random.Random(seed)
    keys = sorted(synsets)
    held_out = set(rng.sample(keys, HELD_OUT_SYNSETS))
    training, reserved = [], []
    for key in keys:
        synset = synsets[key]
        triples = facts(synsets, synset, key in medical, rng)
        if key in held_out:
            reserved.append(plain(triples[0][1], triples[0][2]))
            continue
        for _ in range(MEDICAL_REPEATS if key in medical else 1):
            training.extend(render(triple, rng) for triple in triples)
    return Corpus(training, reserved)
