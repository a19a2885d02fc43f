"""Jinja2 as transformers sets it up for chat templates, at a fixed moment."""
import json
from datetime import datetime

import jinja2.ext
from jinja2 import nodes
from jinja2.exceptions import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

MOMENT = datetime(2025, 3, 4, 5, 6, 7)


class Generation(jinja2.ext.Extension):
    """{% generation %}: what is inside is shown as it is."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return nodes.CallBlock(self.call_method("_show"), [], [], body).set_lineno(line)

    def _show(self, caller):
        return caller()


def raise_exception(message):
    raise TemplateError(message)


def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


environment = ImmutableSandboxedEnvironment(
    trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols, jinja2.ext.do]
)
environment.filters["tojson"] = tojson
environment.globals["raise_exception"] = raise_exception
environment.globals["strftime_now"] = lambda form: MOMENT.strftime(form)


def render(source, variables):
    """{"text"} or {"error"}; "limit" where Python itself gave up."""
    try:
        return {"text": environment.from_string(source).render(**variables)}
    except (RecursionError, MemoryError, OverflowError) as error:
        return {"error": f"{type(error).__name__}: {error}", "limit": True}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}
