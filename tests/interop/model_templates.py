"""Chat templates of published models, in words of our own: what each is made of, with its quirks.

They have what the models' own templates have: branches for tools that plain conversations never reach,
loops over pairs, a mark behind a line end after an answer, dates.
"""

# Llama-3.1-Instruct, with `DATE` where 3.2 asks for today.
LLAMA = """\
{{- bos_token }}
{%- if custom_tools is defined %}
    {%- set tools = custom_tools %}
{%- endif %}
{%- if not tools_in_user_message is defined %}
    {%- set tools_in_user_message = true %}
{%- endif %}
{%- if not date_string is defined %}
    DATE
{%- endif %}
{%- if not tools is defined %}
    {%- set tools = none %}
{%- endif %}

{#- The system prompt has a place of its own. #}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}

{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{%- if builtin_tools is defined or tools is not none %}
    {{- "Environment: ipython\\n" }}
{%- endif %}
{%- if builtin_tools is defined %}
    {{- "Tools: " + builtin_tools | reject('equalto', 'code_interpreter') | join(", ") + "\\n\\n"}}
{%- endif %}
{{- "Knowledge ends in December 2023\\n" }}
{{- "Today: " + date_string + "\\n\\n" }}
{%- if tools is not none and not tools_in_user_message %}
    {%- for t in tools %}
        {{- t | tojson(indent=4) }}
        {{- "\\n\\n" }}
    {%- endfor %}
{%- endif %}
{{- system_message }}
{{- "<|eot_id|>" }}

{%- if tools_in_user_message and not tools is none %}
    {%- if messages | length != 0 %}
        {%- set first_user_message = messages[0]['content']|trim %}
        {%- set messages = messages[1:] %}
    {%- else %}
        {{- raise_exception("There is no message of the user for the tools.") }}
{%- endif %}
    {{- '<|start_header_id|>user<|end_header_id|>\\n\\n' -}}
    {%- for t in tools %}
        {{- t | tojson(indent=4) }}
        {{- "\\n\\n" }}
    {%- endfor %}
    {{- first_user_message + "<|eot_id|>"}}
{%- endif %}

{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' }}
    {%- elif 'tool_calls' in message %}
        {%- if not message.tool_calls|length == 1 %}
            {{- raise_exception("One call at a time.") }}
        {%- endif %}
        {%- set tool_call = message.tool_calls[0].function %}
        {%- if builtin_tools is defined and tool_call.name in builtin_tools %}
            {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' -}}
            {{- "<|python_tag|>" + tool_call.name + ".call(" }}
            {%- for arg_name, arg_val in tool_call.arguments | items %}
                {{- arg_name + '="' + arg_val + '"' }}
                {%- if not loop.last %}
                    {{- ", " }}
                {%- endif %}
                {%- endfor %}
            {{- ")" }}
        {%- else  %}
            {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' -}}
            {{- '{"name": "' + tool_call.name + '", ' }}
            {{- '"parameters": ' }}
            {{- tool_call.arguments | tojson }}
            {{- "}" }}
        {%- endif %}
        {{- "<|eom_id|>" if builtin_tools is defined else "<|eot_id|>" }}
    {%- elif message.role == "tool" or message.role == "ipython" %}
        {{- "<|start_header_id|>ipython<|end_header_id|>\\n\\n" }}
        {%- if message.content is mapping or message.content is iterable %}
            {{- message.content | tojson }}
        {%- else %}
            {{- message.content }}
        {%- endif %}
        {{- "<|eot_id|>" }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""
FIXED = '{%- set date_string = "26 Jul 2024" %}'
TODAY = """{%- if strftime_now is defined %}
        {%- set date_string = strftime_now("%d %b %Y") %}
    {%- else %}
        {%- set date_string = "26 Jul 2024" %}
    {%- endif %}"""

# DeepSeek-Coder-instruct: the mark of the end is on a line of its own.
CODER = """\
{% if not add_generation_prompt is defined %}
{% set add_generation_prompt = false %}
{% endif %}
{%- set ns = namespace(found=false) -%}
{%- for message in messages -%}
    {%- if message['role'] == 'system' -%}
        {%- set ns.found = true -%}
    {%- endif -%}
{%- endfor -%}
{{bos_token}}{%- if not ns.found -%}
{{'You help with programs, and refuse the rest.\\n'}}
{%- endif %}
{%- for message in messages %}
    {%- if message['role'] == 'system' %}
{{ message['content'] }}
    {%- else %}
        {%- if message['role'] == 'user' %}
{{'### Instruction:\\n' + message['content'] + '\\n'}}
        {%- else %}
{{'### Response:\\n' + message['content'] + '\\n<|EOT|>\\n'}}
        {%- endif %}
    {%- endif %}
{%- endfor %}
{% if add_generation_prompt %}
{{'### Response:'}}
{% endif %}
"""

# DeepSeek-V3.1 and V3.2: tools in the system prompt, calls, thoughts left out.
V31 = """\
{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}\
{% if not thinking is defined %}{% set thinking = false %}{% endif %}\
{% set ns = namespace(is_first=false, is_tool=false, system_prompt='', is_first_sp=true, is_last_user=false) %}\
{%- for message in messages %}{%- if message['role'] == 'system' %}{%- if ns.is_first_sp %}\
{% set ns.system_prompt = ns.system_prompt + message['content'] %}{% set ns.is_first_sp = false %}\
{%- else %}{% set ns.system_prompt = ns.system_prompt + '\\n\\n' + message['content'] %}{%- endif %}{%- endif %}{%- endfor %}
{#- V3.2 writes the tools here. #}
{%- if tools is defined and tools is not none %}{% set tool_ns = namespace(text='## Tools\\n') %}{% for tool in tools %}\
{% set tool_ns.text = tool_ns.text + '\\n### ' + tool.function.name + '\\n' + (tool.function.parameters | tojson) + '\\n' %}{% endfor %}\
{% set ns.system_prompt = ns.system_prompt + '\\n\\n' + tool_ns.text %}{% endif %}
{{- bos_token }}{{ ns.system_prompt }}\
{%- for message in messages %}{%- if message['role'] == 'user' %}{%- set ns.is_tool = false -%}{%- set ns.is_first = false -%}\
{%- set ns.is_last_user = true -%}{{'USER' + message['content']}}{%- endif %}\
{%- if message['role'] == 'assistant' and message['tool_calls'] is defined and message['tool_calls'] is not none %}\
{%- if ns.is_last_user %}{{'ASSISTANT</think>'}}{%- endif %}{%- set ns.is_last_user = false -%}{%- set ns.is_first = false %}\
{%- set ns.is_tool = false -%}{%- for tool in message['tool_calls'] %}{%- if not ns.is_first %}\
{%- if message['content'] is none %}{{ '<calls><call>' + tool['function']['name'] + '<sep>' + tool['function']['arguments'] + '</call>' }}\
{%- else %}{{ message['content'] + '<calls><call>' + tool['function']['name'] + '</call>' }}{%- endif %}{%- set ns.is_first = true -%}\
{%- else %}{{ '<call>' + tool['function']['name'] + '</call>' }}{%- endif %}{%- endfor %}{{ '</calls>END' }}{%- endif %}\
{%- if message['role'] == 'assistant' and (message['tool_calls'] is not defined or message['tool_calls'] is none) %}\
{%- if ns.is_last_user %}{{'ASSISTANT'}}{%- if message['prefix'] is defined and message['prefix'] and thinking %}{{'<think>'}}\
{%- else %}{{'</think>'}}{%- endif %}{%- endif %}{%- set ns.is_last_user = false -%}\
{%- if ns.is_tool %}{{ message['content'] + 'END' }}{%- set ns.is_tool = false -%}\
{%- else %}{%- set content = message['content'] -%}{%- if '</think>' in content %}{%- set content = content.split('</think>', 1)[1] -%}{%- endif %}\
{{ content + 'END' }}{%- endif %}{%- endif %}\
{%- if message['role'] == 'tool' %}{%- set ns.is_last_user = false -%}{%- set ns.is_tool = true -%}\
{{ 'OUTPUT' + message['content'] + 'OUTPUT_END' }}{%- endif %}{%- endfor -%}\
{%- if add_generation_prompt and ns.is_last_user and not ns.is_tool %}{{'ASSISTANT'}}\
{%- if not thinking %}{{'</think>'}}{%- else %}{{'<think>'}}{%- endif %}{% endif %}
"""

# DeepSeek-R1: the last system prompt alone, thoughts left out, and asked for.
R1 = """\
{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}\
{% set ns = namespace(is_first=false, is_tool=false, is_output_first=true, system_prompt='') %}\
{%- for message in messages %}{%- if message['role'] == 'system' %}{% set ns.system_prompt = message['content'] %}{%- endif %}{%- endfor %}\
{{bos_token}}{{ns.system_prompt}}\
{%- for message in messages %}{%- if message['role'] == 'user' %}{%- set ns.is_tool = false -%}{{'USER' + message['content']}}{%- endif %}\
{%- if message['role'] == 'assistant' and message['content'] is none %}{%- set ns.is_tool = false -%}\
{%- for tool in message['tool_calls']%}{%- if not ns.is_first %}{{'ASSISTANT<calls>' + tool['type'] + '\\n```json\\n'}}\
{%- set ns.is_first = true -%}{%- else %}{{'\\n' + tool['type']}}{{'</calls>END'}}{%- endif %}{%- endfor %}{%- endif %}\
{%- if message['role'] == 'assistant' and message['content'] is not none %}{%- if ns.is_tool %}\
{{'OUTPUTS_END' + message['content'] + 'END'}}{%- set ns.is_tool = false -%}\
{%- else %}{% set content = message['content'] %}{% if '</think>' in content %}{% set content = content.split('</think>')[-1] %}{% endif %}\
{{'ASSISTANT' + content + 'END'}}{%- endif %}{%- endif %}\
{%- if message['role'] == 'tool' %}{%- set ns.is_tool = true -%}{%- if ns.is_output_first %}\
{{'OUTPUTS' + 'OUTPUT' + message['content'] + 'OUTPUT_END'}}{%- set ns.is_output_first = false %}\
{%- else %}{{'\\nOUTPUT' + message['content'] + 'OUTPUT_END'}}{%- endif %}{%- endif %}{%- endfor -%}\
{% if ns.is_tool %}{{'OUTPUTS_END'}}{% endif %}\
{% if add_generation_prompt and not ns.is_tool %}{{'ASSISTANT<think>\\n'}}{% endif %}
"""

# Kimi-K2-Instruct: contents may be lists, and a tool's result without the id of its call is an error.
KIMI = """\
{% if tools -%}
    {{ '<|im_system|>tool_declare<|im_middle|>' -}}
    {{- tools | tojson -}}
    {{ '<|im_end|>' -}}
{%- endif -%}

{%- for message in messages -%}
    {%- if loop.first and messages[0]['role'] != 'system' -%}
        {{ '<|im_system|>system<|im_middle|>Help.<|im_end|>' }}
    {%- endif -%}
    {%- if message['role'] == 'system' -%}
        {{ '<|im_system|>system<|im_middle|>' }}
    {%- elif message['role'] == 'user' -%}
        {{ '<|im_user|>user<|im_middle|>' }}
    {%- elif message['role'] == 'assistant' -%}
        {{ '<|im_assistant|>assistant<|im_middle|>' }}
    {%- elif message['role'] == 'tool' -%}
        {{ '<|im_system|>tool<|im_middle|>' }}
    {%- endif -%}

    {%- if message['role'] == 'assistant' and message.get('tool_calls') -%}
        {%- if message['content'] -%}{{ message['content'] }}{%- endif -%}
        {{ '<|tool_calls_section_begin|>' }}
        {%- for tool_call in message['tool_calls'] -%}
            {%- set func_name = tool_call['function']['name'] -%}
            {%- set formatted_id = 'functions.' + func_name + ':' + loop.index0|string -%}
            {{ '<|tool_call_begin|>' + formatted_id + '<|tool_call_end|>' }}
        {%- endfor -%}
        {{ '<|tool_calls_section_end|>' }}
    {%- elif message['role'] == 'tool' -%}
        {{ '## Return of ' + message.tool_call_id + '\\n' + message['content'] }}
    {%- elif message['content'] is string -%}
        {{ message['content'] }}
    {%- elif message['content'] is not none -%}
        {% for content in message['content'] -%}
            {% if content['type'] == 'image' or 'image' in content or 'image_url' in content -%}
                {{ '<|media_start|>image<|media_content|><|media_pad|><|media_end|>' }}
            {% else -%}
                {{ content['text'] }}
            {%- endif -%}
        {%- endfor -%}
    {%- endif -%}
    {{ '<|im_end|>' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{ '<|im_assistant|>assistant<|im_middle|>' }}
{%- endif -%}
"""

# Moonlight-Instruct: text outside of expressions, all in one line.
MOONLIGHT = (
    "{%- for message in messages -%}{%- if loop.first and messages[0]['role'] != 'system' -%}"
    "<|im_system|>system<|im_middle|>Help.<|im_end|>{%- endif -%}"
    "{%- if message['role'] == 'system' -%}<|im_system|>{%- endif -%}"
    "{%- if message['role'] == 'user' -%}<|im_user|>{%- endif -%}"
    "{%- if message['role'] == 'assistant' -%}<|im_assistant|>{%- endif -%}"
    "{{ message['role'] }}<|im_middle|>{{message['content']}}<|im_end|>{%- endfor -%}"
    "{%- if add_generation_prompt -%}<|im_assistant|>assistant<|im_middle|>{%- endif -%}"
)

# Corners in which Python and Jinja have their own mind.
CORNERS = """\
{%- set bare = messages[0].content -%}\u3000
{%- for turn in messages -%}\u00a0
{{- turn.role[0] ~ turn.role[-1] ~ (turn.role[99] is defined) }} {{ true == 1 }} {{ 0 == false }} {{ 1 in [true] }}
    \u3000{% if turn == messages[-1] %}last{% endif %}
{{ turn.content | tojson }}
{%- endfor -%}\u00a0
"""

# GigaChat3: macros with defaults, names and themselves in them, a system prompt in a block, objects.
GIGACHAT = """\
{#- Tools: never reached. -#}
{%- macro schema_text(schema, indent="", step=2) -%}
    {%- set kind = schema.get("type") -%}
    {%- if kind == "object" -%}
        {{- "{\\n" -}}
        {%- for key, value in schema.get("properties", {}).items() -%}
            {{- indent + key + ': ' + schema_text(
                value,
                indent + (' ' * step),
                step
            ) -}}
        {%- endfor -%}
        {{- indent[:-step] + '}' -}}
    {%- elif kind in ["number", "integer"] -%}
        {{- schema.enum | join(' | ') -}}
    {%- else -%}
        {%- set ns = namespace(names=[]) -%}
        {%- for name in schema['enum'] -%}{%- set ns.names = ns.names + ['"' ~ name ~ '"'] -%}{%- endfor -%}
        {{- ns.names | join(' | ') -}}
    {%- endif -%}
{%- endmacro -%}

{%- macro turn_text(turn, role=None) -%}
    {%- if not role -%}
        {%- set role = turn["role"] -%}
    {%- endif -%}
    {%- set said = turn['content'] or '' -%}
    {%- if said is not string -%}
        {%- set said = said | tojson(ensure_ascii=False) -%}
    {%- endif -%}
    {{- role + marks.role + said + marks.turn -}}
{%- endmacro -%}

{# The marks, below the macros that write them. #}
{%- set marks = namespace(
    role="<|role_sep|>\\n",
    turn="<|message_sep|>\\n\\n"
) -%}

{%- set RULES -%}
<rules>
Some rules.

Help.
{%- endset -%}

{{- bos_token -}}
{{- turn_text({"role": "developer system", "content": RULES}) -}}
{%- if messages and messages[0]['role'] == 'system' -%}
    {{- turn_text(messages[0]) -}}
    {%- set messages = messages[1:] -%}
{%- endif -%}
{%- if tools -%}
    {{- turn_text({'role': 'functions', 'content': schema_text(tools)}) -}}
{%- endif -%}
{%- for message in messages -%}
    {%- if message['role'] == 'tool' -%}
        {{- turn_text(message, role='function result') -}}
    {%- elif message['role'] == 'assistant' -%}
        {%- if message.tool_calls is defined and message.tool_calls -%}
            {%- set call = message.tool_calls[0] -%}
        {%- else -%}
            {%- set call = None -%}
        {%- endif -%}
        {{- turn_text({'role': 'assistant', 'content': message.content}) -}}
    {%- else -%}
        {{- turn_text(message) -}}
    {%- endif -%}
    {%- if loop.last and add_generation_prompt and message['role'] != 'assistant' -%}
        {{- 'assistant' + marks.role -}}
    {%- endif -%}
{%- endfor -%}
"""

# Kimi-K2-Thinking: turns up to the last answer without thoughts, found by counting backwards.
KIMI_THINKING = """\
{%- macro content_text(turn) -%}
    {%- set c = turn.get('content') -%}
    {%- if c is string -%}
      {{ c }}
    {%- elif c is not none -%}
      {% for part in c -%}
        {{ part['text'] }}
      {%- endfor -%}
    {%- endif -%}
{%- endmacro -%}

{% macro frame(turn) -%}
  {%- set name = turn.get('name') or turn['role'] -%}
  {%- if turn['role'] == 'user' -%}
    <|im_user|>{{name}}<|im_middle|>
  {%- elif turn['role'] == 'assistant' -%}
    <|im_assistant|>{{name}}<|im_middle|>
  {%- else -%}
    <|im_system|>{{name}}<|im_middle|>
  {%- endif -%}
{%- endmacro -%}

{%- set queue = namespace(ids=[]) -%}
{%- set last = namespace(answer=-1) -%}
{%- for index in range(messages|length-1, -1, -1) -%}
    {%- if messages[index]['role'] == 'assistant' and not messages[index].get('tool_calls') -%}
        {%- set last.answer = index -%}
        {%- break -%}
    {%- endif -%}
{%- endfor -%}
{%- if messages|length == 0 or messages[0]['role'] != 'system' -%}
  <|im_system|>system<|im_middle|>Help.<|im_end|>
{%- endif -%}
{%- for turn in messages[:last.answer+1] -%}
  {{frame(turn)}}
  {%- if turn['role'] == 'assistant' -%}
    <think></think>{{content_text(turn)}}
  {%- elif turn['role'] == 'tool' -%}
    {%- if queue.ids -%}
      {%- set id = queue.ids.pop(0) -%}
    {%- else -%}
      {%- set id = 'functions.' + turn.get('name', 'unknown') + ':' + (loop.index0 | string) -%}
    {%- endif -%}
    ## Return of {{ id }}
{{content_text(turn)}}
  {%- elif turn['content'] is not none -%}
    {{content_text(turn)}}
  {%- endif -%}
  <|im_end|>
{%- endfor -%}
{%- for turn in messages[last.answer+1:] -%}
  {{frame(turn)}}{{content_text(turn)}}<|im_end|>
{%- else -%}
  <|nothing|>
{%- endfor -%}
{%- if add_generation_prompt -%}
  <|im_assistant|>assistant<|im_middle|>
{%- endif -%}
"""

# What else templates do with plain conversations.
MORE_CONSTRUCTS = """\
{%- set talk = messages | selectattr('role', 'in', ('user', 'assistant')) | list %}
{%- for turn in (messages + talk)[::-1] if turn.role is ne 'tool' %}
{%- if loop.index0 is divisibleby 5 and loop.index0 is not eq 0 %}{% continue %}{% endif %}
{{ turn.role | capitalize }} {{ turn.role.upper() }} {{ turn['role'].title() }} {{ turn.content | length }}
{{ (turn.content | replace('\\n', '|')).strip(' .') ~ turn.content.replace('think', 'thought') }}
{{ turn.name | default('nobody', true) }}{{ turn.role is in ['system'] }}{{ loop.index is odd }} {{ 'a' 'b' }}
{%- else %}
nobody
{%- endfor %}
{% set header %}
[{{ messages | map(attribute='role') | join(', ') }}]
{% endset %}
{{ header | trim }} {{ range(2, 9, 3) | join('-') }} {{ {'a': 1, 'b': 'c'}.b }} {{ messages[0] is sequence }}
{% generation %}{% set header = 1 %}{{ header }}{% endgeneration %}{{ header }}
"""
