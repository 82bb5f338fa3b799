"""`shards` in a run: what the manifest says of how the rows were made, and what stays when the step does not end well."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from server import running
from teachers import Small, Teacher, openai

import toolkit
from toolkit.common.errors import InputError
from toolkit.guards import load_guard
from toolkit.operators import Columns, Context, operator_class
from toolkit.pipeline import LOCAL, Counts, FrameInput, FrameOutput, Work, build_step
from toolkit.records import Column
from toolkit.report import summarise
from toolkit.shards import verify
from toolkit.taxonomy import load_taxonomy


@pytest.fixture
def teacher() -> Iterator[Teacher]:
    with running(Teacher()) as server:
        assert isinstance(server, Teacher)
        yield server


MORE: list[dict[str, Any]] = [{"id": "rendered", "use": "render_sft"}, {"id": "shards", "use": "shards", "with": {"title": "Gardens"}}]


def manifest(folder: Path) -> dict[str, Any]:
    return verify(folder / "shards" / "shards")


def test_what_the_answers_took_is_the_same_from_the_journal(teacher: Teacher, tmp_path: Path) -> None:
    """Tokens and dollars of the answers, also of one that was not taken, in a first run and in one that asks nothing.

    The endpoint counts seven tokens of prompts that have thousands of letters: what was read is charged at its worst case, and the log says so.
    """
    asked: list[str] = []

    def say(body: dict[str, Any]) -> Any:
        from teachers import number, sound

        asked.append(str(number(body)))
        return "No answers here." if number(body) == 1 and asked.count("1") == 1 else sound(body)

    teacher.say = say
    world = Small(tmp_path, [{}] * 4)
    options = {"backend": openai(teacher, price={"input": 2.0, "output": 10.0}), "attempts": 2}
    world.run(options, *MORE)
    first = manifest(tmp_path / "out" / "run")
    (line,) = [s for s in first["made_from"]["steps"] if s["step"] == "asked"]
    dollars = line["stats"]["usage"]["first"]["dollars"]
    assert line["stats"]["usage"] == {"first": {"answers": 5, "prompt_tokens": 35, "completion_tokens": 15, "dollars": dollars}}
    (asked_of,) = summarise(tmp_path / "out" / "run")["generations"]
    assert 5 * 0.004 < dollars == pytest.approx(asked_of["cost"], abs=1e-6) and 0.9 * dollars < asked_of["estimated"] < dollars
    assert f"| asked | first | 5 | 35 | 15 | {dollars:.2f} |" in (tmp_path / "out" / "run" / "shards" / "shards" / "README.md").read_text()
    shutil.rmtree(tmp_path / "out" / "run")
    before = len(asked)
    world.run(options, *MORE)
    assert len(asked) == before and manifest(tmp_path / "out" / "run") == first


def test_the_manifest_names_what_changes_it(teacher: Teacher, tmp_path: Path) -> None:
    """A renamed recipe or step is in the manifest, so the step is made again; a moved folder is not in it."""
    world = Small(tmp_path, [{}] * 3)
    options = {"backend": openai(teacher)}
    world.run(options, *MORE)
    one = manifest(tmp_path / "out" / "run")
    assert str(tmp_path) not in json.dumps(one)
    renamed = yaml.safe_load((tmp_path / "recipe.yaml").read_text())
    renamed["steps"][2]["id"] = "written"
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(renamed, sort_keys=False))
    toolkit.run(tmp_path / "recipe.yaml", output=tmp_path / "out" / "run")
    two = manifest(tmp_path / "out" / "run")
    assert [s["step"] for s in one["made_from"]["steps"]][-1] == "rendered" and [s["step"] for s in two["made_from"]["steps"]][-1] == "written"
    assert one["files"] == two["files"]


def run(folder: Path, *frames: pl.DataFrame, **options: Any) -> tuple[int, dict[str, Any]]:
    """The step on blocks of rows whose number is not known before: how many it used, and its figures."""
    cls = operator_class("shards")
    op: Any = cls(cls.config_class(**options))
    ctx = Context(load_guard("guardreasoner"), load_taxonomy(), 0, "out", Path())
    columns: Columns = {n: Column(n, "string", nullable=n != "id") for n in frames[0].columns}
    op.columns({"rows": columns}, ctx.guard)
    counts = Counts("out", "shards", op.shape)
    out = FrameOutput([counts], {}, folder)
    build_step(LOCAL, [Work(op, ctx, {}, counts)], {"rows": FrameInput("rows", *frames, counted=False)}, out)
    out.check()
    return counts.kept, out.stats


def block(n: int, licence: str = "MIT", split: Sequence[str | None] | None = None, start: int = 0) -> pl.DataFrame:
    data = {"id": [f"r{i}" for i in range(start, start + n)], "source": ["s"] * n, "licence": [licence] * n, "split": split or [None] * n}
    return pl.DataFrame(data, schema=dict.fromkeys(data, pl.String))


def test_rows_whose_number_is_not_known(tmp_path: Path) -> None:
    used, stats = run(tmp_path, block(3, split=["test", None, "train"]), block(0), block(2, start=3))
    made = verify(tmp_path / "shards")
    assert (made["rows"], used, stats) == (5, 5, {"rows": 5}) and made["counts"]["split"] == {"test": 1, "train": 4}
    assert pl.read_parquet(tmp_path / "shards" / "data" / "train-*.parquet")["id"].to_list() == ["r1", "r2", "r3", "r4"]


def test_a_stream_without_rows(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no rows to write"):
        run(tmp_path, block(0))
    assert run(tmp_path, block(0), block(0), empty=True) == (0, {"rows": 0})
    assert not list(tmp_path.iterdir())


def test_a_row_that_is_refused_late_leaves_nothing(tmp_path: Path) -> None:
    late = [block(3000), block(2, "CC-BY-4.0", start=3000), block(3000, start=3002), block(1, "mine", start=6002)]
    with pytest.raises(InputError, match=r"3 rows may not go into a set under MIT") as e:
        run(tmp_path, *late, licence="MIT")
    assert "2 rows of s under CC-BY-4.0: r3000, r3001" in str(e.value) and "1 row of s under mine (not known): r6002" in str(e.value)
    assert not list(tmp_path.iterdir())


def test_a_failure_on_the_way_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot name a split"):
        run(tmp_path, block(3000), block(1, split=["../up"], start=3000))
    assert not list(tmp_path.iterdir())
