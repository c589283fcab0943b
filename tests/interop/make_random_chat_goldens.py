"""Golden renderings: what transformers' apply_chat_template makes of templates that are drawn at random.

`golden/random_chat.json` has templates of `random_chat_templates.py` with what they write of one conversation,
or that transformers refuses them. The program writes the same, or refuses them.
"""

import argparse
import json
import sys

from jinja2 import TemplateError
from transformers.utils.chat_template_utils import render_jinja_template

import chat_templates
import golden_files as golden
import random_chat_templates

OUT = golden.GOLDEN / "random_chat.json"
SEED, COUNT = 7, 150
MESSAGES = [
    {"role": "system", "content": "Be brief. "},
    {"role": "user", "content": "Which\n7?"},
    {"role": "assistant", "content": "hm</t> \u00e9t\u00e9"},
    {"role": "user", "content": " And? "},
    {"role": "assistant", "content": "Yes"},
]
LONGEST = 1000


def rendering(template: str) -> dict:
    """What the template writes, or that it writes nothing."""
    marks = {"bos_token": chat_templates.BEGIN, "eos_token": chat_templates.END}
    try:
        texts = [
            render_jinja_template([MESSAGES], chat_template=template, add_generation_prompt=ask, **marks)[0][0]
            for ask in (False, True)
        ]
    except (TemplateError, TypeError, ValueError, KeyError, IndexError, AttributeError, OverflowError, ZeroDivisionError):
        return {"template": template, "refused": True}
    return {"template": template, "text": texts[0], "asked": texts[1]}


def content(seed: int, count: int) -> dict:
    """The golden file."""
    templates = random_chat_templates.Templates(seed)
    cases: list[dict] = []
    while len(cases) < count:
        case = rendering(templates.draw())
        # What is refused says little, and a long text no more than a short one.
        if "refused" in case and len(cases) % 8:
            continue
        if len(case.get("text", "")) <= LONGEST:
            cases.append(case)
    marks = {"bos": chat_templates.BEGIN, "eos": chat_templates.END}
    versions = golden.versions("transformers", "jinja2")
    return {"versions": versions, "seed": seed, "marks": marks, "messages": MESSAGES, "cases": cases}


def main() -> int:
    """Writes the golden file, or compares with it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    parser.add_argument("--seed", type=int, default=SEED, help="draw other templates")
    parser.add_argument("--count", type=int, default=COUNT, help="so many")
    arguments = parser.parse_args()
    fresh = content(arguments.seed, arguments.count)
    if not arguments.check:
        OUT.write_text(json.dumps(fresh, indent=0) + "\n", encoding="utf-8")
        return 0
    same = json.loads(OUT.read_text(encoding="utf-8"))["cases"] == fresh["cases"]
    print("random_chat: reproduced" if same else "random_chat: differs")
    return int(not same)


if __name__ == "__main__":
    sys.exit(main())
