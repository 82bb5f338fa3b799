"""No regular expression of guardkit's runs away over a text of anybody's: each is tried at the beginning of long texts that repeat one thing."""

from __future__ import annotations

import subprocess
import sys

TRY = """
import importlib, pkgutil, re, sys
import toolkit

found = {}

def collect(value, name, depth=0):
    if isinstance(value, re.Pattern):
        found.setdefault((value.pattern, value.flags), (name, value))
    elif depth < 4 and isinstance(value, dict):
        [collect(v, name, depth + 1) for v in value.values()]
    elif depth < 4 and isinstance(value, list | tuple | set | frozenset):
        [collect(v, name, depth + 1) for v in value]
    elif depth < 4 and hasattr(value, "__dataclass_fields__"):
        [collect(getattr(value, f, None), name, depth + 1) for f in value.__dataclass_fields__]

for module in pkgutil.walk_packages(toolkit.__path__, "toolkit."):
    if "__main__" not in module.name and "_trainers" not in module.name:
        for name, value in list(vars(importlib.import_module(module.name)).items()):
            collect(value, f"{module.name}.{name}")

UNITS = ["a", "A", "1", " ", "\\n", "\\t", "#", "# ", "-", "*", "_", "\\\\", '"', "'", "<", "<think>", "/", "[", "]", "(", ".", ",", ":", "word ", "the user ",
    "a-", "1.", "Answers:\\n", "Request: ", "harmful ", "harmful or ", "- ", "é", "中", "http://", "\\\\u00", "{", "}", "%", "|", "a|", "$", "=", "step 1\\n",
    "## Reasoning Step 1\\n", "<|", "x\\n", " \\n", "\\n "]
for name, pattern in found.values():
    print(name, flush=True)
    for unit in UNITS:
        for end in ("", "!"):
            text = (unit * 20_000)[:20_000] + end
            text = text.encode("latin1", "replace") if isinstance(pattern.pattern, bytes) else text
            pattern.match(text), pattern.fullmatch(text)
print(len(found), "patterns")
"""


def test_no_pattern_runs_away() -> None:
    tried = subprocess.Popen([sys.executable, "-c", TRY], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        printed, errors = tried.communicate(timeout=120)
    except subprocess.TimeoutExpired:
        tried.kill()
        printed, errors = tried.communicate()
        raise AssertionError(f"{printed.splitlines()[-1]} does not come to an end") from None
    assert tried.returncode == 0, errors[-2000:]
    assert int(printed.splitlines()[-1].split()[0]) > 80
