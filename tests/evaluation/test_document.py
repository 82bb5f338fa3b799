"""The folder of an evaluation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from toolkit.common.errors import InputError
from toolkit.evaluation import ROWS, read_evaluation, write_evaluation

DOCUMENT: dict[str, Any] = {"models": [{"name": "a"}], "benchmarks": [], "results": [{"f1": 1.5}], "means": []}


def rows(n: int) -> pl.DataFrame:
    lines = [{"benchmark": "own", "id": str(i), "model": "a", "draw": 0, "task": "prompt", "gold": "harmful", "verdict": "harmful"} for i in range(n)]
    return pl.DataFrame(lines, schema_overrides={"draw": pl.Int64})


def test_what_was_written_is_read_and_absent_columns_are_null(tmp_path: Path) -> None:
    made = write_evaluation(tmp_path / "e", DOCUMENT, [rows(3), rows(2)])
    found = read_evaluation(tmp_path / "e")
    assert found == made
    assert found.document["results"] == [{"f1": 1.5}]
    assert (found.document["kind"], found.document["format"], found.document["rows"]["rows"]) == ("evaluation", 1, 5)
    table = found.rows().collect()
    assert dict(table.schema) == ROWS
    assert table["id"].to_list() == ["0", "1", "2", "0", "1"]
    assert table["categories"].null_count() == 5


def test_the_document_can_be_made_of_the_rows_on_disk_and_bytes_do_not_depend_on_blocks(tmp_path: Path) -> None:
    def document(table: pl.LazyFrame) -> dict[str, Any]:
        return {**DOCUMENT, "results": [{"n": table.select(pl.len()).collect().item()}]}

    write_evaluation(tmp_path / "a", document, rows(50))
    write_evaluation(tmp_path / "b", document, (rows(50)[i : i + 7] for i in range(0, 50, 7)))
    write_evaluation(tmp_path / "c", document, rows(50).lazy())
    assert read_evaluation(tmp_path / "a").document["results"] == [{"n": 50}]
    for name in ("evaluation.json", "rows.parquet"):
        assert len({(tmp_path / folder / name).read_bytes() for folder in "abc"}) == 1


def test_it_takes_the_place_of_an_evaluation_alone(tmp_path: Path) -> None:
    write_evaluation(tmp_path / "e", DOCUMENT, rows(1))
    write_evaluation(tmp_path / "e", DOCUMENT, rows(2))
    assert read_evaluation(tmp_path / "e").rows().collect().height == 2

    (tmp_path / "e" / "mine.txt").write_text("x")
    with pytest.raises(InputError, match=r"something else is in this evaluation: mine\.txt"):
        write_evaluation(tmp_path / "e", DOCUMENT, rows(1))
    assert read_evaluation(tmp_path / "e").rows().collect().height == 2
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").write_text("x")
    with pytest.raises(InputError, match="no evaluation that guardkit made"):
        write_evaluation(tmp_path / "other", DOCUMENT, rows(1))


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    write_evaluation(tmp_path / "e", DOCUMENT, rows(1))

    def torn() -> Any:
        yield rows(1)
        raise InputError("no more")

    with pytest.raises(InputError, match="no more"):
        write_evaluation(tmp_path / "e", DOCUMENT, torn())
    assert [p.name for p in tmp_path.iterdir()] == ["e"]
    assert read_evaluation(tmp_path / "e").rows().collect().height == 1


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda v: v.clear(), "not an evaluation"),
        (lambda v: v.update(format=2), "another version"),
        (lambda v: v.update(results={}), "results"),
        (lambda v: v["rows"].update(file="../rows.parquet"), "rows.file"),
        (lambda v: v["rows"].update(sha256="0" * 64), "sha256"),
    ],
)
def test_a_document_that_is_none_is_an_error(tmp_path: Path, change: Any, says: str) -> None:
    write_evaluation(tmp_path / "e", DOCUMENT, rows(1))
    path = tmp_path / "e" / "evaluation.json"
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))
    with pytest.raises(InputError, match=says):
        read_evaluation(tmp_path / "e").rows()


def test_no_folder_no_document_no_rows_and_other_columns(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no evaluation\.json"):
        read_evaluation(tmp_path / "nothing")
    (tmp_path / "evaluation.json").write_text("{")
    with pytest.raises(InputError, match="not JSON"):
        read_evaluation(tmp_path)
    write_evaluation(tmp_path / "e", DOCUMENT, rows(1))
    (tmp_path / "e" / "rows.parquet").unlink()
    with pytest.raises(InputError, match=r"rows\.parquet"):
        read_evaluation(tmp_path / "e").rows()
