"""No template fills the memory, whatever filter, method, loop or block it uses: each is tried in a process that may take 1.5 GB."""

from __future__ import annotations

import json
import subprocess
import sys

TRY = """
import json, resource, sys
from pathlib import Path
from toolkit.guards import template

resource.setrlimit(resource.RLIMIT_AS, (3 << 29, 3 << 29))
big = "a" * 900_000
given = {"a": "a" * 1000, "b": big, "l": list(range(20_000)), "m": [big] * 20_000, "lines": "\\n" * 100_000, "tabs": "\\t" * 900_000}
outcomes = {}
for source in json.loads(sys.argv[1]):
    try:
        outcomes[source] = f"{len(template(source).render(**given)):,} characters"
    except Exception as e:
        outcomes[source] = f"{type(e).__name__}: {e}"
print(json.dumps([outcomes, int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) >> 10]))
"""

HUGE = [
    "{{ a | replace('a', b) }}",
    "{{ a | replace('', b) }}",
    "{{ a.replace('a', b) }}",
    "{{ l | join(b) }}",
    "{{ b.join(m) }}",
    "{{ m | join }}",
    "{{ m | map('replace', 'a', b) | join }}",
    "{{ l | map('string') | map('center', 900000) | list | length }}",
    "{{ m }}",
    "{{ {'k': m} }}",
    "{{ m | string | length }}",
    "{{ m | tojson | length }}",
    "{{ l | tojson(indent=900000) }}",
    "{{ m | pprint | length }}",
    "{{ [b] * 900000 }}",
    "{{ l | batch(999999999, 'x') | list | length }}",
    "{{ l | slice(999999999) | list | length }}",
    "{{ 2.5 | round(999999999, 'ceil') }}",
    "{{ lines | indent(900000) }}",
    "{{ lines | indent(b) }}",
    "{{ b | wordwrap(1, true, b) }}",
    "{{ '%s%s' | format(m, m) }}",
    "{{ ('%s' * 1000) % (b,) }}",
    "{{ '{0}{0}'.format(m) }}",
    "{{ ('{0}' * 1000).format(b) }}",
    "{{ tabs.expandtabs(1000) }}",
    "{{ b.translate({97: b}) }}",
    "{{ b ~ b ~ b ~ b ~ b ~ b ~ b ~ b ~ b ~ b ~ b ~ b ~ b ~ b ~ b ~ b ~ b ~ b ~ b }}",
    "{% for i in l %}{{ b }}{% endfor %}",
    "{% set ns = namespace(x=a) %}{% for i in l %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
    "{% set ns = namespace(x=a) %}{% for i in l %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
    "{% set ns = namespace(x=[a]) %}{% for i in l %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x }}",
    "{% set x %}{% for i in l %}{% for j in l %}{{ b }}{% endfor %}{% endfor %}{% endset %}",
    "{% set x %}{% for i in l %}{% for j in l %}a{% endfor %}{% endfor %}{% endset %}",
    "{% macro f() %}{% for i in l %}{{ b }}{% endfor %}{% endmacro %}{{ f() | length }}",
    "{{ b.encode().replace('a'.encode(), b.encode()) | length }}",
    "{{ a.encode().center(10**9) | length }}",
    "{{ '%1000000000d'.encode() % 5 }}",
    "{{ (5).to_bytes(10**9, 'big') | length }}",
    "{% set ns = namespace(x=[]) %}{% for i in l %}{% set ns.x = [ns.x, b ~ i] %}{% endfor %}",
    "{% filter upper %}{% for i in l %}{{ b }}{% endfor %}{% endfilter %}",
]


def test_what_would_be_too_large_is_refused_before_it_is_made() -> None:
    done = subprocess.run([sys.executable, "-c", TRY, json.dumps(HUGE)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    printed, megabytes = json.loads(done.stdout)
    assert {s: words for s, words in printed.items() if "too large at once" not in words and "takes too long" not in words} == {}
    assert megabytes < 400


def test_long_rows_are_rendered_whole() -> None:
    from toolkit.guards import template

    text = "é" * 3_000_000
    whole = template("{{ a | upper | replace('É', 'é') }}{{ '\n' ~ a }}{% set x %}{{ a | indent }}{% endset %}{{ x | trim }}").render(a=text)
    assert whole == f"{text}\n{text}{text}"
    found = template("{{ [1, 2] + [3] }}{{ 'a' + 'b' }}{{ 'x' | center(3) }}{{ {'a': [1]} | tojson }}{{ 2.5 | round(0, 'ceil') }}").render()
    assert found == '[1, 2, 3]ab x {"a": [1]}3.0'
