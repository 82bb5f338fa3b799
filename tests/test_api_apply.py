"""What `apply` takes and gives."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import datasets
import pandas
import polars as pl
import pytest

import toolkit
from toolkit.common.errors import BrokenContract, InputError
from toolkit.operators import Operator, operator_class

sys.path.insert(0, str(Path(__file__).parent / "generation"))
from server import Server, chat, running
from tiny import tiny_llama

ROWS = [
    {"prompt": "Hello", "label_prompt": "unharmful"},
    {"prompt": "Hello", "label_prompt": "unharmful"},
    {"prompt": "Insult me", "label_prompt": "harmful"},
]


@pytest.fixture(scope="module")
def rows() -> pl.DataFrame:
    return toolkit.seeds(ROWS, labelled_by="human")


def operators() -> dict[str, Any]:
    cls: Any = operator_class("normalise")
    return {"name": "normalise", "class": cls, "instance": cls(cls.config_class(max_chars=6))}


@pytest.mark.parametrize("kind", ["name", "class", "instance"])
def test_a_name_a_class_and_an_instance_do_the_same(kind: str, rows: pl.DataFrame) -> None:
    given = operators()[kind]
    options: dict[str, Any] = {} if kind == "instance" else {"max_chars": 6}
    found = toolkit.apply(given, rows, **options)
    kept, rejected = found
    assert (kept.height, rejected.height, found.operator) == (2, 1, "normalise")
    assert found.rejected.equals(rejected) and found.set_aside.height == found.merged.height == 0
    assert found.counts == {"kept": 2, "rejected": {"too_long": 1}, "set_aside": {}, "merged": 0}


@pytest.mark.parametrize("table", [pl.DataFrame.lazy, pl.DataFrame.to_arrow, pl.DataFrame.to_pandas, datasets.Dataset.from_polars])
def test_any_table_is_taken(table: Any, rows: pl.DataFrame) -> None:
    assert toolkit.apply("normalise", table(rows), max_chars=6).kept["id"].equals(toolkit.apply("normalise", rows, max_chars=6).kept["id"])


def test_what_left_is_kept_apart_and_figures_are_given(rows: pl.DataFrame) -> None:
    aside = toolkit.apply("select", rows, where={"label_prompt": "harmful"})
    assert aside.counts == {"kept": 1, "rejected": {}, "set_aside": {"not_selected": 2}, "merged": 0} and aside[1].equals(aside.set_aside)
    once = toolkit.apply("deduplicate", rows)
    assert once.merged.height == 1 and once.merged["_survivor"].to_list() == [once.kept["id"][0]] and once.figures


class Shout(operator_class("normalise")):  # type: ignore[misc]
    """An operator of somebody's notebook, which no registry knows."""

    name = "shout"

    def apply(self, rows: pl.LazyFrame, ctx: Any) -> pl.LazyFrame:
        return rows.with_columns(pl.col("prompt").str.to_uppercase())


def test_an_operator_that_no_registry_knows_is_tried_at_once(rows: pl.DataFrame) -> None:
    assert toolkit.apply(Shout, rows).kept["prompt"].to_list() == ["HELLO", "HELLO", "INSULT ME"]
    with pytest.raises(InputError, match="options of shout:max_char"):
        toolkit.apply(Shout, rows, max_char=3)


class Picky(Shout):
    """One that fails on a row, or loses one."""

    lose = False

    def apply(self, rows: pl.LazyFrame, ctx: Any) -> pl.LazyFrame:
        def shout(text: str) -> str:
            if "insult" in text:
                raise ValueError("no insults")
            return text.upper()

        done = rows.with_columns(pl.col("prompt").map_elements(shout, return_dtype=pl.String))
        return done.slice(1) if self.lose else done


def test_rows_fare_as_in_a_run(rows: pl.DataFrame) -> None:
    """A row that an operator fails on costs that row alone; one that loses rows is found."""
    found = toolkit.apply(Picky, rows.with_columns(prompt=pl.Series(["Hello", "Hello", "an insult"])))
    assert found.kept["prompt"].to_list() == ["HELLO", "HELLO"] and found.counts["rejected"] == {"operator_error": 1}
    assert found.rejected["prompt"].to_list() == ["an insult"] and "no insults" in found.rejected["_detail"][0]
    operator = Picky(Picky.config_class())
    operator.lose = True
    with pytest.raises(BrokenContract, match="lost, doubled or moved rows"):
        toolkit.apply(operator, rows)


def test_rows_keep_the_types_that_they_have(rows: pl.DataFrame) -> None:
    given = rows.with_columns(mine=pl.Series([1, 2, None], dtype=pl.Int32), day=pl.date(2024, 5, 1), prompt=pl.Series(["Hello", None, "Yes"]))
    found = toolkit.apply("select", given, where={"label_prompt": "harmful"})
    none = toolkit.apply("select", given, where={"source": "nobody"})
    assert found.kept.schema == none.kept.schema == given.select(found.kept.columns).schema and none.kept.height == 0


@pytest.mark.parametrize(
    ("operator", "table", "options", "message"),
    [
        (operators()["instance"], "rows", {"max_chars": 3}, "which has its own: max_chars"),
        (dict, "rows", {}, "no operator"),
        (3, "rows", {}, "no operator: 3"),
        (operator_class("train_sft"), "rows", {}, "run it in a recipe"),
        ("normalise", ["Hello"], {}, "no table of rows: list"),
        ("normalise", pandas.DataFrame({"prompt": ["a", 3]}), {}, "the table cannot be read"),
    ],
)
def test_what_is_neither_is_reported(operator: Any, table: Any, options: dict[str, Any], message: str, rows: pl.DataFrame) -> None:
    assert issubclass(Shout, Operator)
    with pytest.raises(InputError, match=message):
        toolkit.apply(operator, rows if isinstance(table, str) else table, **options)


def test_an_operator_that_asks_a_model_asks_once(rows: pl.DataFrame, tmp_path: Path) -> None:
    """Through the journal: the same call again asks for nothing; a failed row is rejected with the class of its failure."""
    server = Server()
    with running(server):
        backend = {"backend": "openai", "model": "m", "base_url": server.base_url}
        first = toolkit.apply("synthesise", rows, backend=backend, work=tmp_path)
        asked = len(server.requests)
        again = toolkit.apply("synthesise", rows, backend=backend, work=tmp_path)
        assert asked == 2 and len(server.requests) == asked, "two rows are of one text and share an answer"
        assert first.figures["asked"] == 3 and first.kept.height + first.left.height == 3 and first.kept.equals(again.kept)
        server.always = "400"
        failed = toolkit.apply("synthesise", rows.with_columns(prompt=pl.lit("Another")), backend=backend, work=tmp_path)
    assert failed.kept.height == 0 and failed.figures["failed"] == 3 and set(failed.rejected["_reason"]) == {"bad_request"}
    with pytest.raises(InputError, match=r"allow=\['api_key_env=MY_KEY'\]"):
        toolkit.apply("synthesise", rows, backend={**backend, "api_key_env": "MY_KEY"}, work=tmp_path)


def test_guards_are_sampled_and_what_they_answered_is_read(rows: pl.DataFrame, tmp_path: Path) -> None:
    """`sample` takes further inputs only where a recipe trained a guard: on a table it asks those under `models`, all draws or as many as it needs."""
    table = toolkit.seeds([{"prompt": f"Question {i}"} | {"label_prompt": "unharmful"} for i in range(20)], labelled_by="human")
    server = Server()
    server.script = lambda text, body: (200, {}, chat("Request: " + ("harmful" if body["model"] == "torn" and body["seed"] % 2 else "unharmful")))
    with running(server):
        models = {n: {"backend": "openai", "model": n, "base_url": server.base_url, "temperature": 1.0} for n in ("sure", "torn")}
        options: dict[str, Any] = {"k": 3, "models": models, "work": tmp_path}
        found = toolkit.apply("sample", table, **options)
        asked = len(server.requests)
        again = toolkit.apply("sample", table, **options)
        assert asked == len(server.requests) == 120 == found.kept.height == found.figures["asked"] and found.kept.equals(again.kept)
        fewer = toolkit.apply("sample", table, **options, adaptive={"in_full": 0.2, "screen": None})
        assert len(server.requests) == 120, "the draws are the same ones"
    assert fewer.counts["set_aside"]["settled"] == fewer.figures["adaptive"]["left_out"]["settled"] == 120 - fewer.kept.height > 0
    mined = [toolkit.apply("mine", toolkit.apply("verdicts", made.kept).kept, tasks=["prompt"]).kept["id"] for made in (found, fewer)]
    assert set(mined[0]) == set(mined[1]) and mined[0].len()
    with pytest.raises(InputError, match="of the input 'main' sample takes the model that a step of a recipe made"):
        toolkit.apply("sample", {"rows": table, "main": rows}, **options)


def test_a_model_in_a_folder_is_sampled(rows: pl.DataFrame, tmp_path: Path) -> None:
    guard = {"backend": "transformers", "model": str(tiny_llama(tmp_path / "model", positions=2048)), "device": "cpu", "max_tokens": 4}
    found = toolkit.apply("sample", rows, k=1, models={"tiny": guard}, work=tmp_path)
    assert found.kept.select("guard_model", "draw").rows() == [("tiny", 0)] * 3 and found.kept["parent"].equals(rows["id"])


def test_the_template_teacher_needs_no_journal(rows: pl.DataFrame, tmp_path: Path) -> None:
    found = toolkit.apply("synthesise", rows, backend={"backend": "template"}, work=tmp_path)
    assert found.kept.height == 3 and "steps" in found.kept.columns and not list(tmp_path.iterdir())
