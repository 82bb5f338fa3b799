"""A template that names another one can never be rendered: it is refused when it is read, with its line."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from toolkit.common.errors import InputError, InputErrors
from toolkit.guards import load_guard, template
from toolkit.guards._templates import check_template

PARTS = [
    ("{% include 'other.txt' %}", "include"),
    ("{% include name ignore missing %}", "include"),
    ("{% extends 'base' %}", "extends"),
    ("{% import 'macros' as m %}", "import"),
    ("{% from 'macros' import m %}", "from"),
    ("{% if true %}{% for x in [1] %}{% include 'deep' %}{% endfor %}{% endif %}", "include"),
]


@pytest.mark.parametrize(("part", "word"), PARTS)
def test_a_template_stands_alone(part: str, word: str) -> None:
    with pytest.raises(InputError, match=f"{{% {word} %}}") as e:
        template(f"{{{{ prompt }}}}\n{part}")
    assert e.value.where == "line 2 of it"
    with pytest.raises(ValueError, match="stands alone"):
        check_template(f"{{{{ prompt }}}} {part}", {"prompt", "name"})


def test_a_guard_with_one_is_refused_when_it_is_read(tmp_path: Path) -> None:
    from toolkit.common.resources import find

    definition = yaml.safe_load(find("guards", "guardreasoner").read_text())
    definition["input"] += "{% include 'more.txt' %}"
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(definition, sort_keys=False))
    with pytest.raises(InputErrors, match=r"own\.yaml:\d+:input.*\{% include %\} finds no other one"):
        load_guard(str(tmp_path / "own.yaml"))
