"""What Jinja2 makes of messages with calls by the templates of test/goldens/tool-templates -> test/goldens/tool-calls.json."""
import json, pathlib
from jinja_env import render

goldens = pathlib.Path(__file__).parent.parent / "goldens"
arguments = [
    {},
    {"city": "Rome", "days": 3},
    {"text": 'a "quoted" \\ text\n\twith lines', "flag": True, "none": None, "half": 0.5},
    {"nested": {"list": [1, [2, {"deep": "é 😀 ｜"}]], "empty": {}}, "big": 12345678901},
    {"marks": "</tool_call> <tool_call> [TOOL_CALLS] <|call|> ```<｜tool▁call▁end｜> }]} {\"name\""},
]
call = lambda i, args: {"id": f"call{i:05}", "type": "function", "function": {"name": ["weather", "get_time"][i % 2], "arguments": args}}
conversations = [
    [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": text, "tool_calls": [call(i, args) for i, args in enumerate(group)]}]
    for text, group in [*(("", [args]) for args in arguments), ("", arguments), ("Let me look.", arguments)]
]
result = []
for path in sorted((goldens / "tool-templates").glob("*.jinja")):
    source = path.read_text()
    for messages in conversations:
        result.append({"template": path.stem, "messages": messages, "text": render(source, {"messages": messages})["text"]})
(goldens / "tool-calls.json").write_text(json.dumps(result, ensure_ascii=False, indent=0) + "\n")
