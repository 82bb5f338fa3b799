"""No template runs for ever: turns of loops, calls and filters are counted, and the same template ends at the same place on every machine."""

from __future__ import annotations

import subprocess
import sys

import pytest
from jinja2.exceptions import SecurityError

from toolkit.guards import template

ENDLESS = [
    "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
    "{% for i in l %}{% for j in l %}{% for k in l %}{% if k == 0 %}x{% endif %}{% endfor %}{% endfor %}{% endfor %}",
    "{% for i in l %}{% for j in l | map('int') %}{% endfor %}{% endfor %}",
    "{% for i in l if i > 5 %}{% for j in l if j < 0 %}{% endfor %}{% endfor %}",
    "{% for i in l %}{{ loop.index }}{% for j in l %}{% set x = loop.last %}{% endfor %}{% endfor %}",
    "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}",
    "{% for x in [[]] recursive %}{% if loop.depth < 40 %}{{ loop([[], []]) }}{% endif %}{% endfor %}",
    "{% for i in l %}{% if l | sort | map('string') | map('upper') | list | length %}{% endif %}{% endfor %}",
    "{% for i in l %}{% set x = text | upper | lower | trim %}{% endfor %}",
    "{% for i in l %}{% set x = dict(l | map('string') | batch(2) | list) %}{% endfor %}",
    "{% set ns = namespace(x=0) %}{% for i in l %}{% for j in l %}{% set ns.x = ns.x + 1 %}{% endfor %}{% endfor %}{{ ns.x }}",
]

FEWER = 40_000
"""Steps that most of these are given here, so that the test itself ends soon."""


@pytest.mark.parametrize("source", ENDLESS)
def test_what_would_not_end_is_refused(source: str) -> None:
    steps = 1_000_000 if source == ENDLESS[0] else FEWER
    fewer = "" if steps > FEWER else f"import toolkit.guards._sandbox as sandbox\nsandbox.STEPS = {steps}\n"
    code = f"{fewer}from toolkit.guards import template\ntemplate({source!r}).render(l=list(range(20_000)), text='word ' * 100_000)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert f"takes too long: more than {steps:,} turns of loops, calls and filters" in done.stderr, done.stderr[-500:]


def test_each_rendering_is_counted_by_itself_and_ends_at_the_same_place() -> None:
    loop = template("{% for i in l %}{% for j in range(n) %}{% endfor %}{% endfor %}ok")
    for _ in range(3):
        assert loop.render(l=range(100), n=9_000) == "ok"
        with pytest.raises(SecurityError, match="too long"):
            loop.render(l=range(100), n=10_000)


def test_loops_mean_what_they_meant() -> None:
    text = (
        "{% for k, v in d.items() %}{{ loop.index }}/{{ loop.length }} {{ k }}={{ v }}{{ '' if loop.last else ', ' }}{% endfor %}"
        "{% for x in [] %}{% else %}; none{% endfor %}{% for x in l | select('odd') %}; {{ x }} of {{ loop.length }}{% endfor %}"
        "{% for x in tree recursive %}; {{ x.n }}{{ loop(x.c) }}{% endfor %}{% for c in 'ab' %}{{ c }}{% endfor %}"
        "{% for x in l if x > 2 %}; {{ loop.index }}:{{ x }}{% endfor %}"
    )
    tree = [{"n": 1, "c": [{"n": 2, "c": []}]}, {"n": 3, "c": []}]
    found = template(text).render(d={"a": 1, "b": 2}, l=[1, 2, 3, 5], tree=tree)
    assert found == "1/2 a=1, 2/2 b=2; none; 1 of 3; 3 of 3; 5 of 3; 1; 2; 3ab; 1:3; 2:5"
