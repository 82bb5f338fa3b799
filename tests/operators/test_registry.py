"""Operators by name: their descriptions, and how another package brings its own."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from frames import run_steps, seeds

import toolkit
from toolkit.common.errors import InputError
from toolkit.operators import describe_operator, operator_class, operator_names
from toolkit.operators.describe import as_step
from toolkit.operators.registry import BUILT_IN
from toolkit.pipeline import RecipeSpec

NAMES = list(BUILT_IN)


@pytest.mark.parametrize("name", NAMES)
def test_every_operator_documents_itself(name: str) -> None:
    cls = operator_class(name)
    found = describe_operator(name)
    assert found["name"] == name == cls.name
    assert len(found["doc"]) > 60 and found["version"] >= 1
    assert all(o["doc"] for o in found["options"]), "every option says what it does"
    cls.config_class.model_validate(found["example"])
    step = RecipeSpec.model_validate({"recipe": "r", "steps": [yaml.safe_load(as_step(found))]}).steps[0]
    assert step.use == name and step.with_ == found["example"]


def test_an_operators_columns_are_those_that_it_reads_writes_and_drops() -> None:
    verdicts, mine, load, render = (describe_operator(n) for n in ("verdicts", "mine", "load", "render_dpo"))
    assert verdicts["reads"] == ["output"] and "verdict_refusal" in verdicts["writes"] and verdicts["drops"] == []
    assert "status_prompt" in mine["writes"] and "label_prompt" in mine["reads"] and mine["drops"] == ["all others"]
    assert load["reads"] == [] and "label_prompt_source" in load["writes"]
    assert render["writes"][:9] == ["id", "prompt", "chosen", "rejected", "weight", "task", "source", "licence", "split"]
    assert describe_operator("train_dpo")["takes"] == {"shards": "shards", "model": "model"}
    types = {o["name"]: o["type"] for o in describe_operator("deduplicate")["options"]}
    wanted = {"on": "interaction | prompt", "methods": "list of exact | normalised | near | semantic | pictures", "fill": "boolean"}
    assert types | wanted == types


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean 'normalise'"):
        operator_class("normalize")


# Another package's ----------------------------------------------------------------------------------------------------

MODULE = '''
import polars as pl
from toolkit.operators import Config, RowOperator, mark


class DropShortConfig(Config):
    """Options of `drop_short`."""

    min_chars: int
    """Shortest prompt that is kept."""


class DropShort(RowOperator):
    """Reject rows whose prompt is shorter than `min_chars`."""

    name = "drop_short"
    config_class = DropShortConfig

    def reads(self, guard):
        return ["prompt"]

    def apply(self, rows, ctx):
        return mark(rows, pl.col("prompt").str.len_chars() < self.config.min_chars, "too_short")


class NoOperator:
    pass
'''


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package as pip would have installed it: a module, and a dist-info with entry points."""
    site = tmp_path / "site"
    info = site / "my_operators-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "my_operators.py").write_text(MODULE)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-operators\nVersion: 1.0\n")
    entries = ["drop_short = my_operators:DropShort", "nothing = my_operators:NoOperator", "gone = not_there:X", "normalise = my_operators:DropShort"]
    (info / "entry_points.txt").write_text("[guardkit.operators]\n" + "\n".join(entries) + "\n")
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.delitem(sys.modules, "my_operators", raising=False)
    return site


def test_one_file_and_an_entry_point_make_an_operator(package: Path, tmp_path: Path) -> None:
    assert operator_names() == [*NAMES, "drop_short", "gone", "nothing"]
    found = describe_operator("drop_short")
    assert found["doc"].startswith("Reject rows") and found["options"][0]["name"] == "min_chars" and found["options"][0]["required"]
    kept, rest = toolkit.apply("drop_short", seeds({"prompt": "long enough"}, {"prompt": "no"}), min_chars=5)
    assert kept["prompt"].to_list() == ["long enough"] and rest["_reason"].to_list() == ["too_short"]
    steps: list[dict[str, Any]] = [
        {"id": "s", "use": "load", "with": {"source": "quickstart"}},
        {"id": "clean", "use": "normalise"},
        {"id": "long", "use": "drop_short", "with": {"min_chars": 60}},
    ]
    counts = {c["step"]: c for c in run_steps(tmp_path, steps)["long"].manifest["counts"]}
    assert counts["long"]["in"] == 640 == counts["long"]["rejected"]["too_short"] + counts["long"]["kept"]
    steps[-1]["with"] = {"min_char": 40}
    with pytest.raises(InputError, match="did you mean 'min_chars'"):
        run_steps(tmp_path, steps)


def test_a_broken_package_is_named_and_breaks_nothing_else(package: Path) -> None:
    with pytest.raises(InputError, match="'gone' of my-operators cannot be loaded: ModuleNotFoundError"):
        operator_class("gone")
    with pytest.raises(InputError, match="'nothing' of my-operators is no Operator"):
        operator_class("nothing")
    assert operator_class("normalise").__module__.startswith("toolkit."), "guardkit's own names cannot be taken"


def test_columns_of_another_type_are_a_fault_of_the_rows() -> None:
    rows = seeds({"prompt": "long enough"})
    assert toolkit.apply("normalise", rows.with_columns(context=None)).kept.height == 1, "nulls have no type: that of the record is theirs"
    with pytest.raises(InputError, match="the rows do not fit 'normalise'"):
        toolkit.apply("normalise", rows.with_columns(context=pl.lit(3)))
