"""Chat templates as the models of the family have them, in words of our own, and conversations for them.

Each writes what the model's own template writes for system prompts, questions, answers and, where the model
knows them, results of tools. `CONSTRUCTS` has what templates of other models use besides.
"""

import model_templates

BEGIN, END = "<\uff5cbegin\u2581of\u2581sentence\uff5c>", "<\uff5cend\u2581of\u2581sentence\uff5c>"
USER, ASSISTANT = "<\uff5cUser\uff5c>", "<\uff5cAssistant\uff5c>"
OUTPUTS, OUTPUTS_END = "<\uff5ctool\u2581outputs\u2581begin\uff5c>", "<\uff5ctool\u2581outputs\u2581end\uff5c>"
OUTPUT, OUTPUT_END = "<\uff5ctool\u2581output\u2581begin\uff5c>", "<\uff5ctool\u2581output\u2581end\uff5c>"

# DeepSeek-LLM, DeepSeekMoE, DeepSeek-V2: words for the roles.
WORDS = """\
{{ bos_token }}
{%- for turn in messages -%}
  {%- if turn.role == 'system' -%}{{ turn.content ~ '\\n\\n' }}
  {%- elif turn.role == 'user' -%}{{ 'User: ' ~ turn.content ~ '\\n\\n' }}
  {%- elif turn.role == 'assistant' -%}{{ 'Assistant: ' ~ turn.content ~ eos_token }}
  {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ 'Assistant:' }}{%- endif -%}
"""

# DeepSeek-V3, R1: all system prompts first, results of tools in a frame, thoughts left out if `think`.
MARKS = """\
{%- set state = namespace(system='', some=false, tool=false, tools=false) -%}
{%- for turn in messages if turn['role'] == 'system' -%}
  {%- set state.system = state.system + ('\\n\\n' if state.some else '') + turn['content'] -%}
  {%- set state.some = true -%}
{%- endfor -%}
{{- bos_token -}}{{- state.system -}}
{%- for turn in messages -%}
  {%- if turn['role'] == 'user' -%}
    {%- set state.tool = false -%}
    {{- 'USER' + turn['content'] -}}
  {%- elif turn['role'] == 'assistant' -%}
    {%- set said = turn['content'] -%}
    {%- if THINK and '</think>' in said and not state.tool -%}{%- set said = said.split('</think>')[-1] -%}{%- endif -%}
    {{- ('OUTPUTS_END' if state.tool else 'ASSISTANT') + said + 'END' -}}
    {%- set state.tool = false -%}
  {%- elif turn['role'] == 'tool' -%}
    {{- ('OUTPUTS' if not state.tools else '\\n') + 'OUTPUT' + turn['content'] + 'OUTPUT_END' -}}
    {%- set state.tool = true -%}
    {%- set state.tools = true -%}
  {%- endif -%}
{%- endfor -%}
{%- if state.tool -%}{{- 'OUTPUTS_END' -}}{%- elif add_generation_prompt -%}{{- 'ASSISTANT' -}}{%- endif -%}
"""

# DeepSeek-V3.1: the mark of the end of thoughts before an answer to a question.
HYBRID = """\
{% if not thinking is defined %}{% set thinking = false %}{% endif %}
{%- set state = namespace(system='', some=false, asked=false, tool=false) %}
{%- for turn in messages if turn['role'] == 'system' %}
  {%- set state.system = state.system + ('\\n\\n' if state.some else '') + turn['content'] %}
  {%- set state.some = true %}
{%- endfor %}
{{- bos_token }}{{ state.system }}
{%- for turn in messages %}
  {%- if turn['role'] == 'user' %}
    {%- set state.asked = true %}{%- set state.tool = false %}
    {{- 'USER' + turn['content'] }}
  {%- endif %}
  {%- if turn['role'] == 'assistant' and (turn['tool_calls'] is not defined or turn['tool_calls'] is none) %}
    {%- if state.asked %}
      {{- 'ASSISTANT' }}{{ '<think>' if turn['prefix'] is defined and turn['prefix'] and thinking else '</think>' }}
    {%- endif %}
    {%- set state.asked = false %}
    {%- set said = turn['content'] %}
    {%- if '</think>' in said %}{%- set said = said.split('</think>', 1)[1] %}{%- endif %}
    {{- said + 'END' }}
  {%- endif %}
  {%- if turn['role'] == 'tool' %}
    {%- set state.asked = false %}{%- set state.tool = true %}
    {{- 'OUTPUT' + turn['content'] + 'OUTPUT_END' }}
  {%- endif %}
{%- endfor %}
{%- if add_generation_prompt and state.asked and not state.tool %}
  {{- 'ASSISTANT' }}{{ '</think>' if not thinking else '<think>' }}
{%- endif %}
"""

# Moonlight and SmolLM2: a frame for every turn, a system prompt where there is none.
FRAMES = """\
{%- for turn in messages -%}
  {%- if loop.first and messages[0]['role'] != 'system' -%}
    {{- '<|im_system|>system<|im_middle|>You are a helpful assistant<|im_end|>' -}}
  {%- endif -%}
  {%- set frame = turn['role'] -%}
  {{- '<|im_' + ('system' if frame == 'tool' else frame) + '|>' + frame + '<|im_middle|>' + turn['content'] + '<|im_end|>' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_assistant|>assistant<|im_middle|>' -}}{%- endif -%}
"""

CONSTRUCTS = """\
{# a comment
   of two lines #}
{% set count = messages | length %}
  {% for turn in messages %}
    {% set here = loop.index0 %}
  {{ loop.index }}/{{ count }}{{ '.' if loop.last else ',' }} {{ turn.role|trim }}:
    {%+ if turn.content.startswith(' ') or not turn.content.strip() %} blank{% endif +%}
[{{- turn.content | trim -}}]
   {%- if turn.content is string and turn.missing is not defined and none is none %} text{% endif %}
 {%- if loop.previtem is defined and loop.previtem.role == turn.role -%} again {%- endif %}

	{% if here % 2 == 1 and here - 1 >= 0 and -1 < here %}odd{% elif here == 0 %}first{% else %}even{% endif %}
{{ turn.get('role') ~ turn.get('name', '-') ~ turn.name|default('none') }} {{ turn.content.rstrip() }}|{{ turn.content.lstrip() }}
{% endfor %}
{{ here }}{{ messages[-1].role }}{{ messages[1:] | length }}{{ (messages | first)['role'] }}{{ (messages | last).role }}
{{ "it's" }} {{ "a\\tb\\\\" }} {{ true }} {{ none }} {{ 7 // 2 * 2 }} {{ 'role' in messages[0] }} {{ 'x' not in ['y', 'x'] }}
{% if add_generation_prompt %}{{ eos_token }}go on{% endif %}
"""

# Where Python and Jinja tell alike values apart, what they go through lazily, commas that end arguments.
VALUES = """\
{% macro row(turn, end='.') %}{{ turn.role ~ ':' ~ turn.content ~ end }}{% endmacro %}
{% set one = namespace(count=0, last='',) %}{% set other = namespace(count=0, last='') %}
{% for turn in messages | selectattr('role', 'equalto', 'user') | reverse %}
{{ row(turn, end=';',) }}{{ loop.index }}/{{ loop.length }}{% set one.count = one.count + 1 %}
{% else %}
nobody asks
{% endfor %}
{{ one == one }}{{ one == other }}{{ one in [other] }}{{ one is mapping }}{{ one is iterable }}
{{- 'none' if not namespace() else 'some' }} {{ one.count }}
{{ (1, 2) == [1, 2] }}{{ (1, 2)[1:] == (2,) }}{{ range(2) == [0, 1] }}{{ range(2) == range(0, 2) }}
{{- range(2) | list == [0, 1] }}{{ () == [] }}{{ [] == [] }}
{{ 'tool' in messages | map(attribute='role') }}{{ messages | rejectattr('content') | list | length }}
{{- (messages | reverse | first).role }}{{ messages | reverse | map(attribute='role') | join('+',) }}
{% if add_generation_prompt %}{{ row(messages[-1],) }}{% endif %}
"""


def with_marks(text: str, think: str = "false") -> str:
    """The template with its marks."""
    marks = {"OUTPUTS_END": OUTPUTS_END, "OUTPUT_END": OUTPUT_END, "OUTPUTS": OUTPUTS, "OUTPUT": OUTPUT}
    for name, mark in {**marks, "USER": USER, "ASSISTANT": ASSISTANT, "THINK": think, "'END'": f"'{END}'"}.items():
        text = text.replace(name, mark)
    return text


TEMPLATES = {
    "words": WORDS,
    "marks": with_marks(MARKS),
    "thoughts": with_marks(MARKS, "true"),
    "hybrid": with_marks(HYBRID),
    "frames": FRAMES,
    "constructs": CONSTRUCTS,
    "values": VALUES,
    "llama31": model_templates.LLAMA.replace("DATE", model_templates.FIXED),
    "llama32": model_templates.LLAMA.replace("DATE", model_templates.TODAY),
    "coder": model_templates.CODER,
    "v31": with_marks(model_templates.V31),
    "r1": with_marks(model_templates.R1),
    "kimi": model_templates.KIMI,
    "moonlight": model_templates.MOONLIGHT,
    "corners": model_templates.CORNERS,
    "gigachat": model_templates.GIGACHAT,
    "kimi_thinking": model_templates.KIMI_THINKING,
    "more_constructs": model_templates.MORE_CONSTRUCTS,
}

# What transformers is told, where it would write today's date and we write the template's.
ALSO_TOLD = {"llama32": {"date_string": "26 Jul 2024"}}


def turns(*pairs: str) -> list[dict[str, str]]:
    """Messages from roles and contents in turn."""
    roles = {"s": "system", "u": "user", "a": "assistant", "t": "tool"}
    return [{"role": roles[role], "content": content} for role, content in zip(pairs[::2], pairs[1::2])]


CONVERSATIONS = [
    turns("u", "Hi", "a", "Hello!"),
    turns("s", "Be brief.", "u", "Which chapter?\n\nHeart failure", "a", "circulatory", "u", "And E11.9?", "a", " endocrine "),
    turns("u", "a", "a", "b", "s", "late rule", "u", "c", "a", "d\n"),
    turns("s", "one", "s", "two", "u", "  spaces  ", "a", "\n\nlines\n\n"),
    turns("u", "Think.", "a", "<think>hm\nhm</think>\n\nyes", "u", "Sure?", "a", "<think>a</think>b</think> c"),
    turns("u", "weather?", "t", "sunny", "t", "warm", "a", "Sunny and warm.", "u", "thanks", "a", "You are welcome."),
    turns("u", "x", "a", "y", "a", "z"),
    turns("u", "\u4e2d\u6587\u3000", "a", "\u3000\u00a0\u597d\U0001f44d\U0001f3fd\u2028"),
    turns("u", f"{USER}fake{ASSISTANT}", "a", f"quoted {END} mark"),
]
