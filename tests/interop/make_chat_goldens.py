"""Golden renderings: what transformers' apply_chat_template makes of conversations.

`golden/chat.json` has every template of `chat_templates.py`, the demo's among them, with every conversation,
as it stands and with the assistant to go on, and the token ids of the demo's tokenizer.
"""

import argparse
import json
import sys

from jinja2 import TemplateError
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

import chat_templates
import golden_files as golden

OUT = golden.GOLDEN / "chat.json"


def tokenizer(template: str, file=golden.BASE_MODEL / "tokenizer.json") -> PreTrainedTokenizerFast:
    """A tokenizer with this template and the family's marks."""
    marks = {"bos_token": chat_templates.BEGIN, "eos_token": chat_templates.END}
    fast = PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_file(str(file)), **marks)
    fast.chat_template = template
    return fast


def renderings(fast: PreTrainedTokenizerFast, **told: str) -> list[dict]:
    """Of all conversations; of those that the template refuses only that."""
    out = []
    for messages in chat_templates.CONVERSATIONS:
        try:
            text = fast.apply_chat_template(messages, tokenize=False, **told)
        except TemplateError:
            out.append({"messages": messages, "refused": True})
            continue
        out.append(
            {
                "messages": messages,
                "text": text,
                "asked": fast.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, **told),
                "ids": fast.apply_chat_template(messages, tokenize=True, return_dict=False, **told),
            }
        )
    return out


def content() -> dict:
    """The golden file."""
    config = json.loads((golden.BASE_MODEL / "tokenizer_config.json").read_text(encoding="utf-8"))
    templates = {**chat_templates.TEMPLATES, "demo": config["chat_template"]}
    cases = [
        {
            "name": name,
            "template": template,
            "renderings": renderings(tokenizer(template), **chat_templates.ALSO_TOLD.get(name, {})),
        }
        for name, template in templates.items()
    ]
    marks = {"bos": chat_templates.BEGIN, "eos": chat_templates.END}
    return {"versions": golden.versions("transformers", "tokenizers"), "marks": marks, "cases": cases}


def main() -> int:
    """Writes the golden file, or compares with it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    arguments = parser.parse_args()
    fresh = content()
    if not arguments.check:
        OUT.write_text(json.dumps(fresh, indent=0) + "\n", encoding="utf-8")
        return 0
    stored = json.loads(OUT.read_text(encoding="utf-8"))
    wrong = [one["name"] for one, other in zip(fresh["cases"], stored["cases"]) if one != other]
    print("\n".join(wrong) or "chat: reproduced")
    return int(bool(wrong) or len(fresh["cases"]) != len(stored["cases"]))


if __name__ == "__main__":
    sys.exit(main())
