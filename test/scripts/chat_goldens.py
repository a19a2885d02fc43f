"""Writes test/goldens/chat-templates.json: templates in the manner of several model families, conversations, and what
Jinja2 makes of them with the settings that `transformers` uses; the ids of its apply_chat_template with the tokenizer of stories.

    python chat_goldens.py OUT_FOLDER
"""
import json, sys
from datetime import datetime
from transformers import PreTrainedTokenizerFast
from transformers.utils.chat_template_utils import _compile_jinja_template

out = sys.argv[1]
stories = PreTrainedTokenizerFast(tokenizer_file=f"{out}/stories-tokenizer.json", bos_token="<|endoftext|>", eos_token="<|im_end|>")
im = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
SMOLLM2 = """{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system
You are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>
' }}{% endif %}{{'<|im_start|>' + message['role'] + '
' + message['content'] + '<|im_end|>' + '
'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant
' }}{% endif %}"""
STORIES = "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
LLAMA3 = """{{- bos_token }}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{%- if system_message != "" or tools is not none %}
    {{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
    {%- if tools is not none %}
        {{- "Environment: ipython\\n" }}
    {%- endif %}
    {{- system_message }}
    {{- "<|eot_id|>" }}
{%- endif %}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' }}
    {%- elif 'tool_calls' in message %}
        {%- if not message.tool_calls|length == 1 %}
            {{- raise_exception("one tool call at a time") }}
        {%- endif %}
        {%- set tool_call = message.tool_calls[0].function %}
        {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
        {{- '{"name": "' + tool_call.name + '", ' }}
        {{- '"parameters": ' }}
        {{- tool_call.arguments | tojson }}
        {{- "}" }}
        {{- "<|eot_id|>" }}
    {%- else %}
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
QWEN25 = """{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages[0]['role'] == 'system' %}
        {{- messages[0]['content'] }}
    {%- else %}
        {{- 'You are Qwen, created by Alibaba Cloud. You are a helpful assistant.' }}
    {%- endif %}
    {{- "\\n\\n# Tools\\n<tools>" }}
    {%- for tool in tools %}
        {{- "\\n" }}
        {{- tool | tojson }}
    {%- endfor %}
    {{- "\\n</tools><|im_end|>\\n" }}
{%- else %}
    {%- if messages[0]['role'] == 'system' %}
        {{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}
    {%- else %}
        {{- '<|im_start|>system\\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\\n' }}
    {%- endif %}
{%- endif %}
{%- for message in messages %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) or (message.role == "assistant" and not message.tool_calls) %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {{- '<|im_start|>' + message.role }}
        {%- for tool_call in message.tool_calls %}
            {%- if tool_call.function is defined %}
                {%- set tool_call = tool_call.function %}
            {%- endif %}
            {{- '\\n<tool_call>\\n{"name": "' }}
            {{- tool_call.name }}
            {{- '", "arguments": ' }}
            {{- tool_call.arguments | tojson }}
            {{- '}\\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role == "tool" %}
        {%- if (loop.index0 == 0) or (messages[loop.index0 - 1].role != "tool") %}
            {{- '<|im_start|>user' }}
        {%- endif %}
        {{- '\\n<tool_response>\\n' }}
        {{- message.content }}
        {{- '\\n</tool_response>' }}
        {%- if loop.last or (messages[loop.index0 + 1].role != "tool") %}
            {{- '<|im_end|>\\n' }}
        {%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""
QWEN3 = """{%- set ns = namespace(multi_step_tool=true, last_query_index=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.multi_step_tool and message.role == "user" and message.content is string and not(message.content.startswith('<tool_response>') and message.content.endswith('</tool_response>')) %}
        {%- set ns.multi_step_tool = false %}
        {%- set ns.last_query_index = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.content is string %}
        {%- set content = message.content %}
    {%- else %}
        {%- set content = '' %}
    {%- endif %}
    {%- if (message.role == "user") or (message.role == "system") %}
        {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {%- set reasoning_content = '' %}
        {%- if message.reasoning_content is string %}
            {%- set reasoning_content = message.reasoning_content %}
        {%- else %}
            {%- if '</think>' in content %}
                {%- set reasoning_content = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
                {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
            {%- endif %}
        {%- endif %}
        {%- if loop.index0 > ns.last_query_index %}
            {%- if loop.last or (not loop.last and reasoning_content) %}
                {{- '<|im_start|>' + message.role + '\\n<think>\\n' + reasoning_content.strip('\\n') + '\\n</think>\\n\\n' + content.lstrip('\\n') }}
            {%- else %}
                {{- '<|im_start|>' + message.role + '\\n' + content }}
            {%- endif %}
        {%- else %}
            {{- '<|im_start|>' + message.role + '\\n' + content }}
        {%- endif %}
        {{- '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}"""
MISTRAL = """{%- if messages[0]["role"] == "system" %}
    {%- set system_message = messages[0]["content"] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set loop_messages = messages %}
{%- endif %}
{{- bos_token }}
{%- for message in loop_messages %}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
        {{- raise_exception('roles must alternate user/assistant') }}
    {%- endif %}
    {%- if message["role"] == "user" %}
        {%- if loop.first and system_message is defined %}
            {{- " [INST] " + system_message + "\\n\\n" + message["content"] + " [/INST]" }}
        {%- else %}
            {{- " [INST] " + message["content"] + " [/INST]" }}
        {%- endif %}
    {%- elif message["role"] == "assistant" %}
        {{- " " + message["content"] + eos_token}}
    {%- endif %}
{%- endfor %}
"""
GEMMA = """{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Conversation roles must alternate') }}{% endif %}{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}{% set role = message['role'] %}{% endif %}{{ '<start_of_turn>' + role + '
' + message['content'] | trim + '<end_of_turn>
' }}{% endfor %}{% if add_generation_prompt %}{{'<start_of_turn>model
'}}{% endif %}"""
PHI3 = """{% for message in messages %}
    {% if message['role'] == 'system' and message['content'] %}
{{'<|system|>\\n' + message['content'] + '<|end|>\\n'}}
    {% else %}
{{'<|' + message['role'] + '|>\\n' + message['content'] + '<|end|>\\n'}}
    {% endif %}
{% endfor %}
{% if add_generation_prompt %}
<|assistant|>
{% endif %}"""
METHODS = """{# what chat templates use of Python #}{% for m in messages %}
[{{ m.content.strip() }}|{{ m.content.lstrip('\\n ') }}|{{ m.content.rstrip('!') }}|{{ m.content | trim }}|{{ m.content.replace('o', '00') }}]
[{{ m.content | replace('l', 'L', 1) }}|{{ m.content.upper() }}|{{ m.content.title() }}|{{ m.content.capitalize() }}|{{ m.content.split()|join('+') }}]
[{{ m.content | tojson }}|{{ {'a': m.content, 'b': [1, 2.5, true, none]} | tojson(indent=2) }}|{{ m.content|length }}|{{ m.content[1:4] }}|{{ loop.index }}]
    {% if loop.last %}
  indented {{ '%' }}
    {%- else -%}
        next
    {%- endif %}
{% endfor %}"""

templates = {
    "smollm2": (SMOLLM2, {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>"}, im),
    "stories": (STORIES, {"bos_token": "<|endoftext|>", "eos_token": "<|im_end|>"}, im),
    "llama3": (LLAMA3, {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"},
               ["<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|eom_id|>", "<|python_tag|>"]),
    "qwen2.5": (QWEN25, {"eos_token": "<|im_end|>"}, im),
    "qwen3": (QWEN3, {"eos_token": "<|im_end|>"}, im),
    "mistral": (MISTRAL, {"bos_token": "<s>", "eos_token": "</s>"}, ["<s>", "</s>", "[INST]", "[/INST]"]),
    "gemma": (GEMMA, {"bos_token": "<bos>", "eos_token": "<eos>"}, ["<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>"]),
    "phi3": (PHI3, {"eos_token": "<|endoftext|>"}, ["<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"]),
    "methods": (METHODS, {}, ["<|x|>"]),
}
say = lambda role, content, **more: {"role": role, "content": content, **more}
call = {"type": "function", "function": {"name": "look_up", "arguments": {"q": "owls & \"kites\" é", "n": 3, "deep": [1, {"x": None}]}}}
conversations = [
    [say("user", "Hi")],
    [say("system", "  You are terse.\n"), say("user", " Hello there! \n\n")],
    [say("user", "Tell me\n\n"), say("assistant", "  Once upon a time\u2026  "), say("user", "\tmore <b>please</b> 😀")],
    [say("system", "S"), say("user", "a"), say("assistant", "b"), say("user", "c"), say("assistant", "d"), say("user", "")],
    [say("user", "q"), say("assistant", "<think>\n\n  deep\n thought \n</think>\n\n    code\n"), say("user", "r")],
    [say("user", "q"), say("assistant", "<think>\nlast</think>\n\n  answer")],
    [say("user", "use it"), {"role": "assistant", "content": "", "tool_calls": [call]}, say("tool", "42 owls"), say("user", "thanks")],
    [say("user", "hello world! it's O'NEIL\u00a0\u3000"), say("assistant", "\n\nÉCOLE straße !!"), say("user", "\u001c x \u0085")],
]
tools = [{"type": "function", "function": {"name": "look_up", "description": "Finds \"things\" <now>", "parameters": {"type": "object", "properties": {"q": {"type": "string"}}, "required": ["q"]}}}]

cases = []
for name, (source, named, control) in templates.items():
    compiled = _compile_jinja_template(source)
    for i, messages in enumerate(conversations):
        for with_tools in ([False, True] if name in ("qwen2.5", "llama3") else [False]):
            for prompt in (True, False):
                row = {"template": name, "conversation": i, "tools": with_tools, "prompt": prompt}
                try:
                    row["text"] = compiled.render(messages=messages, tools=tools if with_tools else None, documents=None, add_generation_prompt=prompt, **named)
                    if name in ("smollm2", "stories"):
                        row["ids"] = stories.apply_chat_template(messages, chat_template=source, add_generation_prompt=prompt, return_dict=False)
                except Exception as e:
                    row["error"] = str(e)
                cases.append(row)

moment = datetime(2024, 2, 5, 3, 7, 9)
formats = ["%d %b %Y", "%Y-%m-%d %H:%M:%S", "%A %B %-d, %y", "%a %j %I %p %% %e", "%F %T"]
json.dump({"templates": {k: {"source": s, "named": n, "control": c} for k, (s, n, c) in templates.items()}, "conversations": conversations, "tools": tools,
           "cases": cases, "strftime": [[f, moment.strftime(f)] for f in formats]},
          open(f"{out}/chat-templates.json", "w"), ensure_ascii=True, separators=(",", ":"))
