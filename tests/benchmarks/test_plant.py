"""Planted faults are what they say, the same every time, and planted by code that knows no validator."""

from __future__ import annotations

import ast
import sys
from collections import Counter
from pathlib import Path

import plant
import pytest
import released_text
from fault_rows import own_labels, templates
from faults_bench import DUE, FOLLOWS
from hypothesis import given
from hypothesis import strategies as st
from plant import KINDS, ONLY, Row
from released_text import cut

HERE = Path(__file__).parent
PIECES = [
    "# Task 1",
    "## Reasoning Step 1",
    "## Reasoning Step 2: x",
    "## Conclusion",
    "# Task 2 Conclusion: y",
    "Answers: ",
    "Request: harmful",
    "---",
    "",
    "z",
]


@pytest.fixture(scope="module")
def made() -> list[Row]:
    return templates(1)


def imported(module: str, seen: set[str]) -> set[str]:
    """Everything that a module here imports, through its neighbours."""
    tree = ast.parse((HERE / f"{module}.py").read_text())
    for node in ast.walk(tree):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        for name in {n.partition(".")[0] for n in names} - seen:
            seen.add(name)
            if (HERE / f"{name}.py").is_file():
                imported(name, seen)
    return seen


def test_what_plants_imports_no_validator_nor_anything_of_the_toolkit() -> None:
    neighbours = {"planted_draw", "planted_form", "planted_voice", "planted_words", "released_text"}
    assert imported("plant", set()) - set(sys.stdlib_module_names) == neighbours
    assert not {"importlib", "builtins", "runpy", "subprocess"} & imported("plant", set())


@given(st.text(), st.lists(st.sampled_from(PIECES)))
def test_a_text_is_cut_and_put_together_again(text: str, lines: list[str]) -> None:
    for each in (text, "\n".join(lines), f"# Task 1\n{text}\n## Conclusion\n" + "\n".join(lines)):
        assert cut(each).text == each


def test_released_outputs_are_cut_and_put_together_again(real_data: Path) -> None:
    from fault_rows import released

    rows = released(real_data)
    assert len(rows) == 3441 and all(cut(r.reasoning).text == r.reasoning for r in rows)
    assert sum(cut(r.reasoning).whole for r in rows) > 3000


def test_every_kind_is_planted_at_its_rate_and_the_same_every_time(made: list[Row]) -> None:
    kinds = {k for k in KINDS if k not in ONLY}
    only = {k: KINDS.pop(k) for k in ONLY}
    try:
        one, two = (list(plant.plant({"template": made}, 800, 7)) for _ in range(2))
        other = list(plant.plant({"template": made}, 800, 8))
    finally:
        KINDS.update(only)
    assert one == two and one != other
    assert Counter(r.kind for r in one) == dict.fromkeys(kinds, 10)
    base = {r.origin: r for r in made}
    for row in one:
        sound = base[row.origin]
        assert (row.reasoning, row.finish) != (sound.reasoning, sound.finish)
        assert (row.prompt, row.response, row.labels) == (sound.prompt, sound.response, sound.labels)


def test_a_kind_that_cannot_be_planted_often_enough_says_so(made: list[Row]) -> None:
    with pytest.raises(ValueError, match="could not be planted"):
        list(plant.plant({"template": made[:3]}, 10_000, 1))


def test_a_released_conclusion_is_edited_where_it_stands() -> None:
    text = "# Task 1\n\n## Reasoning Step 1: A. \n\n# Task 1 Conclusion: unharmful\n\n## Conclusion for Task 1\nIt is so.\n"
    doc = released_text.cut(text)
    first, second = (p for p in doc.sections[0].pieces if p.kind == "conclusion")
    first.say("harmful")
    second.say("It is not.")
    doc.sections[0].steps[0].number(4)
    doc.sections[0].steps[0].say("B.")
    assert doc.text == "# Task 1\n\n## Reasoning Step 4: B.\n\n# Task 1 Conclusion: harmful\n\n## Conclusion for Task 1\nIt is not.\n"
    assert own_labels(text) == (None, None, None)


def test_every_kind_has_a_code_that_is_due() -> None:
    assert DUE.keys() == KINDS.keys() and FOLLOWS.keys() <= KINDS.keys()
    assert all(DUE.values()) and not any(set(DUE[k]) & set(FOLLOWS.get(k, ())) for k in KINDS)
