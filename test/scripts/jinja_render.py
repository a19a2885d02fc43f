"""Standard input: a list of {source, vars}; standard output: what Jinja2 makes of each (jinja_env.py)."""
import json, sys
from jinja_env import render

json.dump([render(job["source"], job["vars"]) for job in json.load(sys.stdin)], sys.stdout)
