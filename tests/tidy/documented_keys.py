#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fails where a key that a parser of ours reads is not in the table of its page, or a
page has one that no parser reads; and where the chapter of docs/COMMANDS.md that is about a
command has not a key of its --json.

Runs from the repository root; ctest runs it as tidy.documented_keys.
"""

import pathlib
import re
import sys

# What reads a key: Optional("rank", ...), OptionalName("eval", ...),
# ReadWhole(section, "rank", ...), and settings that are flags, too:
# {device, "kind", "--device"}.
READ = re.compile(
    r'\b(?:Optional(?:Name)?|Required(?:Name)?|Path|Read\w+(?:<\w+>)?)\(\s*(?:\w+,\s*){0,2}\{?"(\w+)"'
    r'|\{(?:reader\.root\(\)|\w+), "(\w+)", "--'
    r'|\bReadPatterns\(section\.Section\("(\w+)"')
FUNCTION = re.compile(r"^\w[^\n;]* (\w+)\(([^;{]*\) \{$.*?)^\}$", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^##+ (.*)$", re.MULTILINE)
ROW = re.compile(r"^\| `(\w+)`(?: in `\[+(\w+)\]+`)? \|", re.MULTILINE)

# Each page with the files whose keys it has; of each file the functions that read keys,
# with the section that they are given. None: it reads flags, for keys that another reads.
PLAN = {
    "plan/parse_plan.cpp": {
        "ReadHead": "", "ReadTraining": "training", "ReadRounds": "rounds",
        "ReadInstitutions": "rounds", "ReadAggregation": "aggregation", "ReadServer": "server",
        "ParsePlan": "evaluation"},
    "plan/parse_adapter_plan.cpp": {"ReadTargets": "adapter", "ReadAdapter": "adapter"},
    "plan/parse_secure_plan.cpp": {"ReadKeys": "secure", "ReadRing": "secure"},
}
POLICY = {"client/policy/policy.cpp": {
    "ReadBaseModels": "", "ReadHours": "", "ParsePolicy": ""}}
COORDINATOR = {"coordinator/coordinator_config.cpp": {"ParseCoordinatorConfig": ""}}
CLIENT = {"client/config.cpp": {
    "ReadConnection": "", "ReadPaths": "", "ReadBaseModels": "", "ReadDatasets": "datasets",
    "ReadDatasetFlags": None, "ReadDevice": "device", "ReadMemory": "training",
    "ReadTraining": "training", "ReadLogFormat": "log"}}
ADMINISTRATOR = {"cli/configuration.cpp": {"ParseConfiguration": ""}}

# A key that is written: {"run_id", ...}, json["accuracy"] = ...
WRITTEN = re.compile(r'\{"([a-z]\w*)",|\["([a-z]\w*)"\](?:\.push_back|\s=)')
# The chapters with what writes their JSON; of each file the words that are written for
# people, or are a command's.
JSON_WRITERS = {
    ("Runs", "Clients and models"): {"cli/run_json.cpp": set()},
    ("Clients and models",): {"cli/verification.cpp": set()},
    ("Plans",): {"cli/plan_command.cpp": {"check"}, "simulation/report.cpp": set()},
    ("The coordinator's commands",): {
        "coordinator/storage_commands.cpp": {"backup", "check", "restore"}},
    ("An institution's commands",): {
        "client/commands/check.cpp": set(),
        "client/commands/train.cpp": {"adamw", "auto", "constant"},
        "client/commands/evaluate.cpp": set(), "client/commands/generate.cpp": set()},
    ("The authority's commands",): {
        "ca/presentation.cpp": {"until", "key", "signed", "signature"}},
}


def functions(file):
    """The names and bodies of a file's functions."""
    return FUNCTION.findall(pathlib.Path(file).read_text())


def keys_read(file, sections):
    """The pairs of section and key that a parser reads."""
    for name, body in functions(file):
        for found in READ.findall(body):
            key = "".join(found)
            if name not in sections:
                sys.exit(f"{file}: {name}() reads {key}; name its section in {sys.argv[0]}")
            if sections[name] is not None:
                yield sections[name], key


def chapters(page):
    """A page's headings with the text below each."""
    parts = HEADING.split(pathlib.Path(page).read_text())
    return dict(zip(parts[1::2], parts[2::2]))


def keys_of_plan_page():
    for heading, text in chapters("docs/PLAN.md").items():
        section = re.fullmatch(r"`\[(\w+)\]`", heading)
        for key, _ in ROW.findall(text):
            yield section[1] if section else "", key


def keys_of_chapter(file):
    text = chapters("docs/OPERATIONS.md")[f"`{file}`"]
    return [(section, key) for key, section in ROW.findall(text)]


def keys_of_policy_page():
    return [(section, key) for key, section in
            ROW.findall(pathlib.Path("docs/POLICY.md").read_text())]


def problems(page, documented, parsers):
    read = {pair for file, sections in parsers.items() for pair in keys_read(file, sections)}
    if not read:
        yield f"{page}: no parser of it reads a key"
    for file, sections in parsers.items():
        for name in sorted(sections.keys() - {name for name, _ in functions(file)}):
            yield f"{file} has no {name}(), which {sys.argv[0]} names"
    for section, key in sorted(read - set(documented)):
        yield f"{page} does not have [{section}] {key}"
    for section, key in sorted(set(documented) - read):
        yield f"{page} has [{section}] {key}, which no parser reads"
    if len(documented) != len(set(documented)):
        yield f"{page} has a key twice"


def undescribed(page):
    """What of --json the page does not have in the chapters about it."""
    texts = chapters(page)
    for headings, files in JSON_WRITERS.items():
        described = set(re.findall(r"`(\w+)`", "".join(texts[heading] for heading in headings)))
        for file, others in files.items():
            keys = {"".join(key) for key in WRITTEN.findall(pathlib.Path(file).read_text())}
            if not keys:
                yield f"{page}: {file} writes no key"
            for key in sorted(keys - others - described):
                yield f"{page} does not have {key}, which {file} writes, in {', '.join(headings)}"


def main():
    found = [
        *problems("docs/PLAN.md", list(keys_of_plan_page()), PLAN),
        *problems("docs/POLICY.md", keys_of_policy_page(), POLICY),
        *problems("docs/OPERATIONS.md", keys_of_chapter("coordinator.toml"), COORDINATOR),
        *problems("docs/OPERATIONS.md", keys_of_chapter("client.toml"), CLIENT),
        *problems("docs/OPERATIONS.md", keys_of_chapter("fedtune.toml"), ADMINISTRATOR),
        *undescribed("docs/COMMANDS.md"),
    ]
    print("\n".join(found) or "every key is on its page")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
