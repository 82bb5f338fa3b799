"""What operators show of a finished step: names and words of guardkit's own, and how a plain value is shown."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from toolkit.operators import operator_class
from toolkit.operators.figures import Figure, Table, stat
from toolkit.operators.registry import BUILT_IN


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_figure_has_a_name_of_its_own_and_words(name: str) -> None:
    figures = operator_class(name).figures
    assert len({f.name for f in figures}) == len(figures)
    assert all(f.name.isidentifier() and len(f.doc) > 10 for f in figures)


def shown(value: Any) -> list[Any]:
    step: Any = SimpleNamespace(step="mine", stats={"n": value})
    figure = Figure("n", "what there is", stat("n"))
    return list(figure.shown(step, figure, figure.value(step)))


def test_a_plain_value_is_a_line_and_dicts_are_tables() -> None:
    assert shown(1234) == ["what there is (mine): 1,234"] and shown(0.25) == ["what there is (mine): 0.25"]
    assert shown({"a": 1, "b": "x"}) == [Table("what there is (mine)", ["b"], ["a"], [["x", 1]])]
    assert shown([{"who": "a", "n": 1}, {"who": "b"}]) == [Table("what there is (mine)", ["who"], ["n"], [["a", 1], ["b", None]])]
    assert shown({"prompt": {"yes": 1}, "reply": {"no": 2}}) == [
        Table("what there is (mine)", [""], ["yes", "no"], [["prompt", 1, None], ["reply", None, 2]])
    ]


@pytest.mark.parametrize(
    ("name", "stats"),
    [
        ("grade", {"grades": {"grounded": {"5": 3, "unread": 1}}}),
        ("rederive", {"rederived": {"prompt": {"reached": 3, "another": 1}}, "by_the_teacher_itself": 0}),
        ("swap_labels", {"swapped": {"prompt": {"asked": 4, "followed": 1}}, "followed_share": 0.25}),
    ],
)
def test_what_a_measurement_found_is_shown(name: str, stats: dict[str, Any]) -> None:
    step: Any = SimpleNamespace(step="m", stats=stats)
    parts = [part for f in operator_class(name).figures for part in f.shown(step, f, f.value(step))]
    assert isinstance(parts[0], Table) and parts[0].rows[0][0] in ("grounded", "prompt")
