/**
 * Chat templates of the kinds that models in use have, written for these tests: how turns are marked, what of earlier answers is
 * trimmed, stripped, dropped, moved, changed or said again, and where tools stand.
 */

export interface Shape {
  name: string
  source: string
  /** It takes content apart into parts. */
  parts?: true
  /** It knows the role `developer`. */
  developer?: true
  /** It looks for <think> and </think> in the content of an answer, of one without reasoning_content or of any, and shows neither. */
  splits?: 'plain answers' | 'answers'
}

const start = `{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{%- endif %}`
const chatml = (content: string) =>
  `{%- for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + ${content} + '<|im_end|>\\n' }}{%- endfor %}${start}`

/** Whether an earlier answer's reasoning is shown; the last one's is. */
const thoughts = (shown: string) => `
{%- macro answer(m, shown) %}
  {%- set content = m.content or '' %}
  {%- set thought = '' %}
  {%- if m.reasoning_content is string %}
    {%- set thought = m.reasoning_content %}
  {%- elif '</think>' in content %}
    {%- set thought = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
    {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
  {%- endif %}
  {{- '<|im_start|>assistant\\n' }}
  {%- if shown %}{{ '<think>\\n' + thought.strip('\\n') + '\\n</think>\\n\\n' + content.lstrip('\\n') }}{%- else %}{{ content }}{%- endif %}
  {%- for call in m.tool_calls or [] %}
    {%- if not loop.first or content %}{{ '\\n' }}{%- endif %}
    {{- '<tool_call>\\n{"name": "' + call.function.name + '", "arguments": ' + (call.function.arguments | tojson) + '}\\n</tool_call>' }}
  {%- endfor %}
  {{- '<|im_end|>\\n' }}
{%- endmacro %}
{%- set ns = namespace(last=-1) %}
{%- for m in messages %}{%- if ${shown} %}{%- set ns.last = loop.index0 %}{%- endif %}{%- endfor %}`

const results = `
    {%- if loop.first or messages[loop.index0 - 1].role != 'tool' %}{{ '<|im_start|>user' }}{%- endif %}
    {{- '\\n<tool_response>\\n' + m.content + '\\n</tool_response>' }}
    {%- if loop.last or messages[loop.index0 + 1].role != 'tool' %}{{ '<|im_end|>\\n' }}{%- endif %}`

export const shapes: Shape[] = [
  { name: 'chatml', source: chatml('(m.content or "")') },
  {
    name: 'headers',
    developer: true,
    source: `{{- bos_token }}
{%- for m in messages %}{{ '<|start_header_id|>' + m.role + '<|end_header_id|>\\n\\n' + m.content + '<|eot_id|>' }}{% endfor %}
{%- if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}{# developer #}`,
  },
  {
    name: 'instructions',
    source: `{{- bos_token }}
{%- for m in messages %}
  {%- if m.role == 'assistant' %}{{ ' ' + m.content + eos_token }}
  {%- elif m.role == 'system' %}{{ '[SYSTEM_PROMPT]' + m.content + '[/SYSTEM_PROMPT]' }}
  {%- else %}{{ '[INST] ' + m.content + ' [/INST]' }}{%- endif %}
{%- endfor %}`,
  },
  { name: 'trims', source: chatml('(m.content | trim)') },
  {
    name: 'strips',
    splits: 'answers',
    source: `{{- bos_token }}
{%- for m in messages %}
  {%- if m.role == 'assistant' %}
    {%- set content = m.content %}
    {%- if '</think>' in content %}{% set content = content.split('</think>')[-1] %}{% endif %}
    {{- '<|assistant|>' + content + '<|end|>' }}
  {%- else %}{{ '<|' + m.role + '|>' + m.content }}{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|assistant|><think>\\n' }}{%- endif %}`,
  },
  {
    name: 'last query',
    splits: 'plain answers',
    source: `${thoughts("m.role == 'user' and not m.content.startswith('<tool_response>')")}
{%- if tools %}{{ '<|im_start|>system\\n# Tools\\n' }}{%- for tool in tools %}{{ (tool | tojson) + '\\n' }}{%- endfor %}{{ '<|im_end|>\\n' }}{%- endif %}
{%- for m in messages %}
  {%- if m.role == 'assistant' %}{{ answer(m, loop.index0 > ns.last and (loop.last or m.reasoning_content)) }}
  {%- elif m.role == 'tool' %}${results}
  {%- else %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}
  {%- if enable_thinking is defined and enable_thinking is false %}{{ '<think>\\n\\n</think>\\n\\n' }}{%- endif %}
{%- endif %}`,
  },
  {
    name: 'last user',
    splits: 'plain answers',
    source: `${thoughts("m.role == 'user'")}
{%- set thinks = not (messages[-1].role == 'user' and '/no_think' in messages[-1].content) %}
{%- for m in messages %}
  {%- if m.role == 'assistant' %}{{ answer(m, loop.index0 > ns.last) }}
  {%- else %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' + ('<think>\\n' if thinks else '') }}{%- endif %}`,
  },
  {
    name: 'merges',
    source: `{{- bos_token }}
{%- if messages[0].role == 'system' %}{% set before = messages[0].content + '\\n\\n' %}{% set turns = messages[1:] %}
{%- else %}{% set before = '' %}{% set turns = messages %}{% endif %}
{%- for m in turns %}
  {%- set role = 'model' if m.role == 'assistant' else m.role %}
  {{- '<start_of_turn>' + role + '\\n' + (before if loop.first else '') + m.content | trim + '<end_of_turn>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{%- endif %}`,
  },
  {
    name: 'says again',
    source: `{%- set ns = namespace(last='', asked='') %}
{%- for m in messages %}
  {%- if m.role == 'assistant' %}{% set ns.last = m.content %}{% elif m.role == 'user' %}{% set ns.asked = m.content %}{% endif %}
  {{- '<|im_start|>' + m.role + (' (' + mood + ')' if mood is defined else '') + '\\n' + m.content + '<|im_end|>\\n' }}
{%- endfor %}
{%- if ns.last %}{{ '<|im_start|>system\\nYou said: "' + ns.last + '", and before: ' + ns.last[:20] + '.\\n> ' + ns.last.split('\\n') | join('\\n> ') + '<|im_end|>\\n' }}{%- endif %}
{{- '<|im_start|>user\\n' + ns.asked + '<|im_end|>\\n' }}${start}`,
  },
  {
    name: 'tools',
    source: `{%- if tools %}{{ '<|im_start|>system\\n' + (messages[0].content + '\\n' if messages[0].role == 'system' else '') + 'Tools: ' + (tools | tojson(indent=1)) + '<|im_end|>\\n' }}{%- endif %}
{%- for m in messages %}
  {%- if m.role == 'tool' %}${results}
  {%- elif m.role == 'assistant' %}
    {{- '<|im_start|>assistant' + ('\\n' + m.content if m.content else '') }}
    {%- for call in m.tool_calls or [] %}{{ '\\n<tool_call>\\n' + {'name': call.function.name, 'arguments': call.function.arguments} | tojson + '\\n</tool_call>' }}{%- endfor %}
    {{- '<|im_end|>\\n' }}
  {%- elif not (tools and loop.first and m.role == 'system') %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{%- endif %}
{%- endfor %}${start}`,
  },
  {
    name: 'changes',
    source: `{%- for m in messages %}
  {%- if m.role == 'user' %}{% set content = m.content | upper %}
  {%- elif m.role == 'assistant' %}{% set content = m.content[:60] | replace(' a ', ' one ') %}
  {%- else %}{% set content = m.content | truncate(24) %}{% endif %}
  {{- '<|im_start|>' + m.role + '\\n' + content + '<|im_end|>\\n' }}
{%- endfor %}${start}`,
  },
  {
    name: 'forgets',
    source: `{%- set ns = namespace(skip=0) %}
{%- if messages[0].role == 'system' %}{{ '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}{% set ns.skip = 1 %}{% endif %}
{%- for m in messages[ns.skip:][-5:] %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{%- endfor %}${start}`,
  },
  {
    name: 'parts',
    parts: true,
    source: `{%- for m in messages %}
  {{- '<|' + m.role + '|>\\n' }}
  {%- if m.content is string %}{{ m.content }}
  {%- else %}{%- for part in m.content %}{{ part.text }}{% if not loop.last %}{{ ' / ' }}{% endif %}{%- endfor %}{%- endif %}
  {{- '<|end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|assistant|>\\n' }}{%- endif %}`,
  },
]
