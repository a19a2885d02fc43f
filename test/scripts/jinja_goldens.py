"""Writes test/goldens/jinja.json: what Jinja2 3.1.6, set up as transformers does (jinja_env.py), makes of each template in
jinja_probes.txt. There a line is a template (\u23ce stands for a line feed, \u240d for a carriage return) and a line with ## names
the construct that follows.

    python jinja_goldens.py OUT_FOLDER
"""
import json, sys
from pathlib import Path

import jinja2
from jinja_env import render

assert jinja2.__version__ == "3.1.6", jinja2.__version__
VARIABLES = {
    "l": ["b", "a", "C"], "ls": ["p", "q", "r"], "n": 7, "f": 2.5, "big": 1e17, "nil": None, "t": True, "yes": True, "e": [],
    "d": {"k": 1, "items": 2, "x y": [1, None, True]}, "nums": [3, 1.5, 2, -4], "s": "a b  C\u00e9\U0001f600 d\u017d", "crlf": "a\r\nb",
    "ms": [{"role": "user", "o": {"p": 1}, "content": "Hi <b>", "n": None, "c": 3}, {"role": "tool", "o": {"p": 2}, "content": "q\r\nw", "c": 4}],
    "html": "<a href=\"x\">'&amp;</a>", "emoji": "a\U0001f44d\u00dfz",
    "long": "The quick brown-fox jumped over the lazy dog; co-operate -- well\u2014done and antidisestablishmentarianism.",
    "chat": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Which?"}, {"role": "assistant", "content": "hm|That."},
             {"role": "user", "content": "Why?"}],
    "tool": {"name": "fetch", "parameters": {"properties": {"items": {"type": "array"}, "get": {"type": "string", "values": ["\u00e9", "<"]},
             "keys": {"type": ["null", "number"]}}, "required": []}, "limit": 1.5, "strict": None},
}
cases, construct = [], ""
for line in Path(__file__).with_name("jinja_probes.txt").read_text().splitlines():
    if line.startswith("## "):
        construct = line[3:]
    elif line:
        source = line.replace("\u23ce", "\n").replace("\u240d", "\r")
        result = render(source, VARIABLES)
        result.pop("limit", None)
        assert " at 0x" not in result.get("text", ""), source
        cases.append({"construct": construct, "source": source, **result})
print(len(cases), "templates,", sum("error" in case for case in cases), "refused")
out = Path(sys.argv[1]) / "jinja.json"
out.write_text(json.dumps({"jinja2": jinja2.__version__, "variables": VARIABLES, "cases": cases}, separators=(",", ":")))
