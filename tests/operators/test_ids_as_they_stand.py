"""An id is taken as it stands: no blank is stripped, no case folded, nothing normalised. What comes back from a spreadsheet is about the same row, or
is refused with its place.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path

import polars as pl
import pytest
from frames import rows_of, run_steps, seeds
from hypothesis import given, settings
from hypothesis import strategies as st
from server import Server

import toolkit
from toolkit.cli._journal import _lines_of
from toolkit.common.csvfile import write_sheet
from toolkit.common.errors import InputError
from toolkit.guards import load_guard
from toolkit.operators.labels._decisions import read_decisions

ODD = [" a", "a", "a ", "A", "\u00e4", "a\u0308", "=1+1", "1e5", "0012", "12", "'a", "''a", 'say "a"', "a,b", "a;b", "a\nb", "\ta", "\u00a0a", "", " ", "-", "TRUE", "1/2", "\u2028"]  # fmt: skip


def decided(path: Path, rows: list[tuple[str, str]]) -> Path:
    """As guardkit's own list has it."""
    write_sheet(pl.DataFrame(rows, schema=["id", "decision"], orient="row").with_columns(pl.lit("prompt").alias("task")), path)
    return path


def test_a_decision_is_about_the_row_of_that_id_and_no_other(tmp_path: Path) -> None:
    """` a` and `a` are two rows: a decision about one never falls on the other."""
    rows = seeds(*({"prompt": f"q{n}", "label_prompt": "harmful", "id": i} for n, i in enumerate(ODD)))
    for chosen in ODD:
        path = decided(tmp_path / "d.csv", [(chosen, "flip")])
        kept, _ = toolkit.apply("review", rows, decisions=str(path))
        assert kept.filter(pl.col("label_prompt") == "unharmful")["id"].to_list() == [chosen]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(ODD) | st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=6), min_size=1, max_size=8, unique=True))
def test_any_ids_come_back_from_the_list_as_they_went(tmp_path_factory: pytest.TempPathFactory, ids: list[str]) -> None:
    path = decided(tmp_path_factory.mktemp("sheet") / "d.csv", [(i, "keep") for i in ids])
    assert list(read_decisions(path, load_guard("guardreasoner")).by_row) == ids


def test_a_sheet_of_another_tool_says_ids_as_they_stand(tmp_path: Path) -> None:
    """It puts no apostrophe before a text; one that is there is the id's own."""
    path, ids = tmp_path / "d.csv", [i for i in ODD if i not in ("", "''a")]  # guardkit writes the id 'a so
    with path.open("w", newline="") as f:
        csv.writer(f, quoting=csv.QUOTE_ALL).writerows([["id", "task", "decision"], *([i, "prompt", "keep"] for i in ids)])
    assert [d.id for d in read_decisions(path, load_guard("guardreasoner")).every] == ids


def test_an_id_that_a_spreadsheet_changed_is_refused_with_its_place(tmp_path: Path) -> None:
    rows = seeds(*({"prompt": f"q{n}", "label_prompt": "harmful", "id": i} for n, i in enumerate(["0012", " a", "1e5", "true"])))
    for changed in ("12", "a", "100000", "1.00E+05", "TRUE"):
        path = decided(tmp_path / "d.csv", [("0012", "keep"), (changed, "drop")])
        with pytest.raises(InputError, match=rf"d.csv:3: no row has the id '{changed.replace('+', '.')}'"):
            toolkit.apply("review", rows, decisions=str(path))
    path.write_text('"id","task","decision"\n"","prompt","drop"\n')
    with pytest.raises(InputError, match=r"d.csv:2: a decision without an id"):
        toolkit.apply("review", rows, decisions=str(path))


def test_rows_of_files_keep_their_ids(tmp_path: Path) -> None:
    ids = [i for i in ODD if i]
    with (tmp_path / "rows.csv").open("w", newline="", encoding="utf-8") as f:
        csv.writer(f).writerows([["id", "p"], *([i, "x"] for i in ids)])
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps({"id": i, "p": "x"}) + "\n" for i in ids))
    pl.DataFrame({"id": ids, "p": ["x"] * len(ids)}).write_parquet(tmp_path / "rows.parquet")
    for name in ("rows.csv", "rows.jsonl", "rows.parquet"):
        kept, rest = toolkit.apply("read", None, files=[str(tmp_path / name)], columns={"id": "id", "prompt": "p"})
        assert kept["id"].to_list() == ids and not rest.height


def test_the_rows_of_a_purge_are_named_as_they_stand(tmp_path: Path) -> None:
    path = tmp_path / "rows.txt"
    path.write_bytes(" a\nb \r\n\nc\u2028d\n \ne".encode())
    assert _lines_of(path) == [" a", "b ", "c\u2028d", " ", "e"]


def test_generations_of_any_guards_about_any_rows_have_ids_of_their_own(tmp_path: Path, server: Server) -> None:
    """Row `x` of guard `b:a` and row `x:b` of guard `a` were one id; guards are asked twice in a row, the second time about generations."""
    rows = ["x", "x:b", "x:b:a", "x:b:a:0", "x%3Ab", ""]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps({"id": i, "p": f"q {n}", "l": "harmful"}) + "\n" for n, i in enumerate(rows)))
    sources = {"label_prompt_source": "human", "licence": "CC0-1.0"}
    columns = {"id": "id", "prompt": "p", "label_prompt": "l"}
    guards = {
        "k": 2,
        "models": {n: {"backend": "openai", "model": "m", "base_url": server.base_url, "temperature": 1.0} for n in ("a", "b:a", "b%3Aa")},
    }
    made = run_steps(
        tmp_path,
        [
            {"id": "rows", "use": "read", "with": {"files": ["rows.jsonl"], "record": "seed", "columns": columns, "constants": sources}},
            {"id": "once", "use": "sample", "with": guards},
            {"id": "again", "use": "sample", "with": guards},
        ],
    )
    once, again = rows_of(made["once"]), rows_of(made["again"])
    assert once["id"].n_unique() == once.height == 36 and set(once["parent"]) == set(rows)
    assert again["id"].n_unique() == again.height == 216 and set(again["parent"]) == set(once["id"])
    assert {"x:a:0", "x:a:1"} <= set(once["id"]), "as ever"
