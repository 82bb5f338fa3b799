"""`shards` with `extends`: the old version stays as it is, the new one has its rows and the new ones, and what does not fit is refused in words."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from frames import seeds
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import toolkit
from toolkit.common.errors import InputError
from toolkit.common.files import tree_digests
from toolkit.guards import load_guard, render_input
from toolkit.operators import Columns, Context, operator_class
from toolkit.pipeline import LOCAL, Counts, FrameInput, FrameOutput, Work, build_step
from toolkit.records import Column, to_polars
from toolkit.shards import read_manifest, verify
from toolkit.taxonomy import load_taxonomy

GUARD, TAXONOMY = load_guard("guardreasoner"), load_taxonomy()
HARM = TAXONOMY.names[0]
COLUMNS: Columns = {
    c.name: c
    for c in (
        *(Column(n, "string") for n in ("id", "prompt", "completion", "source", "licence")),
        *(Column(n, "string", nullable=True) for n in ("split", "label_prompt")),
        Column("label_prompt_source", "string"),
        Column("categories", {"list": "string"}),
    )
}


def row(number: int, split: str | None = "train", *, label: str | None = "unharmful", words: str | None = None, **more: Any) -> dict[str, Any]:
    prompt = render_input(GUARD, {"prompt": words or f"How deep does seed {number} go?", "response": None})
    given: dict[str, Any] = {"label_prompt": label, "label_prompt_source": "human" if label else "absent", "categories": []}
    return {"id": f"r{number}", "prompt": prompt, "completion": f"Deep, {number}.", "source": "s", "licence": "MIT", "split": split, **given, **more}


def write(folder: Path, rows: Sequence[dict[str, Any]], have: Columns = COLUMNS, block: int = 7, **options: Any) -> dict[str, Any]:
    """The step on these rows: the manifest of what it wrote, verified, with its figures under `stats` and its rejects under `left`."""
    cls = operator_class("shards")
    op: Any = cls(cls.config_class(**options))
    ctx = Context(GUARD, TAXONOMY, 0, "out", Path())
    op.columns({"rows": have}, ctx.guard)
    ctx = Context(GUARD.only({f.removeprefix("guard.") for f in op.used() if f.startswith("guard.")}), TAXONOMY, 0, "out", Path())
    op.look(ctx)
    counts = Counts("out", "shards", op.shape)
    out = FrameOutput([counts], {}, folder)
    frame = pl.DataFrame(rows, schema=to_polars(tuple(have.values())))
    build_step(LOCAL, [Work(op, ctx, {}, counts)], {"rows": FrameInput("rows", *frame.iter_slices(block))}, out)
    out.check()
    assert counts.kept + sum(counts.set_aside.values()) == len(rows)
    return {**verify(folder / "shards"), "stats": out.stats, "left": dict(counts.set_aside)}


def read(folder: Path) -> dict[str, list[str]]:
    """Ids by split, in the order of the files."""
    found: dict[str, list[str]] = {}
    for name, about in sorted(read_manifest(folder / "shards")["files"].items()):
        found.setdefault(about["split"], []).extend(pl.read_parquet(folder / "shards" / name)["id"])
    return found


def fault(folder: Path, rows: Sequence[dict[str, Any]], have: Columns = COLUMNS, **options: Any) -> str:
    with pytest.raises(InputError) as e:
        write(folder, rows, have, **options)
    assert not (folder / "shards").exists()
    return str(e.value)


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("old")
    rows = [row(i, "test" if i % 5 == 0 else "train", categories=[HARM] if i % 3 == 0 else []) for i in range(20)]
    write(folder, rows, title="Gardens", rows_per_shard=6)
    return folder


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    old=st.lists(st.sampled_from(["train", "test", "more"]), min_size=1, max_size=20),
    new=st.lists(st.tuples(st.integers(-5, 20), st.sampled_from(["train", "test"])), min_size=1, max_size=15, unique_by=lambda pair: pair[0]),
    per_shard=st.tuples(st.integers(1, 8), st.integers(1, 8)),
)
def test_the_new_version_is_the_old_one_and_the_new_rows(
    tmp_path_factory: pytest.TempPathFactory, old: list[str], new: list[tuple[int, str]], per_shard: tuple[int, int]
) -> None:
    folder = tmp_path_factory.mktemp("e")
    write(folder / "old", [row(i, split) for i, split in enumerate(old)], rows_per_shard=per_shard[0])
    before = tree_digests(folder / "old")
    rows = [row(len(old) + i, split) for i, split in new]
    known = [r["id"] for r in rows if int(r["id"][1:]) < len(old) and int(r["id"][1:]) >= 0]
    options: dict[str, Any] = {"extends": str(folder / "old"), "clashing": "leave_out", "rows_per_shard": per_shard[1], "straddling": "move"}
    if len(known) == len(rows):
        assert "no rows to add: all " in fault(folder / "new", rows, **options)
        return
    made = write(folder / "new", rows, **options)
    assert tree_digests(folder / "old") == before, "the old version is not touched"
    wanted = read(folder / "old")
    for r in rows:
        if r["id"] not in known:
            wanted.setdefault(r["split"], []).append(r["id"])
    assert read(folder / "new") == wanted, "the old rows in their order, then the new ones"
    assert made["left"] == made["stats"]["left_out"] == made["extends"]["left_out"] == ({"known_id": len(known)} if known else {})
    for name, theirs in made["extends"]["files"].items():
        assert (folder / "new" / "shards" / name).samefile(folder / "old" / "shards" / theirs)
    write(folder / "again", rows, block=2, **options)
    assert tree_digests(folder / "again") == tree_digests(folder / "new"), "the same bytes, whatever the blocks"


def test_a_chain_of_versions_says_what_came_with_each(old: Path, tmp_path: Path) -> None:
    write(tmp_path / "two", [row(30, licence="CC-BY-4.0")], title="More gardens", extends=str(old))
    third = write(tmp_path / "three", [row(40, "test"), row(41)], title="All gardens", extends=str(tmp_path / "two"))
    assert third["rows"] == 23 and read(tmp_path / "three")["train"][-2:] == ["r30", "r41"]
    assert third["counts"]["licence"] == {"CC-BY-4.0": 1, "MIT": 22} and third["extends"]["manifest"]["extends"]["manifest"]["title"] == "Gardens"
    text = (tmp_path / "three" / "shards" / "README.md").read_text()
    assert "| All gardens (this one) |  | 2 | 23 | CC-BY-4.0 | CC-BY-4.0, MIT |  |" in text
    assert "| More gardens |  | 1 | 21 | CC-BY-4.0 | CC-BY-4.0, MIT |" in text and "| Gardens |  | 20 | 20 | MIT | MIT |" in text


def test_a_file_that_cannot_be_linked_is_copied(old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*paths: Path, **options: Any) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refused)
    made = write(tmp_path, [row(30)], extends=str(old))
    for name, theirs in made["extends"]["files"].items():
        assert not (tmp_path / "shards" / name).samefile(old / "shards" / theirs)
    assert made["rows"] == 21


def test_rows_that_clash_are_refused_with_their_numbers_or_left_out(old: Path, tmp_path: Path) -> None:
    rows = [
        row(3),  # an id that is there
        row(31, label="harmful", words="How deep does seed 4 go?"),  # another label for an input that is there
        row(32, words="How deep does seed 4 go?"),  # the same label: no clash
        row(33, "train", words="How deep does seed 5 go?"),  # of a group that is in test
        row(34, None, label=None, words="How deep does seed 6 go?"),  # no label contradicts none
    ]
    message = fault(tmp_path / "a", rows, extends=str(old))
    assert "1 new row has the id of one that is there: r3" in message and "1 new row has an input that is there with another label: r31" in message
    assert "1 new row is of a group that is there in another split: r33" in message and "straddling: move" in message and "'Gardens'" in message
    made = write(tmp_path / "b", rows, extends=str(old), clashing="leave_out", straddling="move")
    assert made["left"] == made["extends"]["left_out"] == {"known_id": 1, "other_label": 1} and made["extends"]["moved"] == 1
    assert read(tmp_path / "b")["test"] == [*read(old)["test"], "r33"] and read(tmp_path / "b")["train"][-2:] == ["r32", "r34"]


def test_a_group_of_its_own_column_stays_together(tmp_path: Path) -> None:
    columns = {**COLUMNS, "group": Column("group", "string", nullable=True)}
    write(tmp_path / "old", [row(1, "test", group="g"), row(2, "train", group=None)], columns)
    rows = [row(11, "train", group="g"), row(12, "train", group="h"), row(13, "test", group=None, words="How deep does seed 2 go?")]
    assert "2 new rows are of groups that are there in another split: r11, r13" in fault(tmp_path / "a", rows, columns, extends=str(tmp_path / "old"))


OTHER_COLUMNS = {n: c for n, c in COLUMNS.items() if n != "categories"} | {"weight": Column("weight", "float64")}
PAIRS = {n: c for n, c in COLUMNS.items() if n != "completion"} | {n: Column(n, "string") for n in ("chosen", "rejected")}


@pytest.mark.parametrize(
    ("rows", "columns", "options", "words"),
    [
        ([row(30)], {**COLUMNS, "completion": Column("completion", "string"), "source": Column("source", "int64")}, {}, "its column 'source' holds large_string, that of the new rows int64"),
        ([], OTHER_COLUMNS, {}, "the new rows lack its column categories"),
        ([], OTHER_COLUMNS, {}, "it lacks the new rows' column weight"),
        ([], PAIRS, {}, "it holds supervised rows (sft), the new rows are preference pairs (preference)"),
        ([row(30)], COLUMNS, {"licence": "CC0-1.0"}, "20 of its rows are under MIT, which may not go into CC0-1.0"),
        ([row(30)], COLUMNS, {"extends": "nowhere"}, "no such folder"),
        ([row(30)], COLUMNS, {"extends": None, "clashing": "leave_out"}, "name it: extends: FOLDER"),
        ([row(30, source=None)], COLUMNS | {"source": Column("source", "string", nullable=True)}, {}, "1 of the new rows have no 'source'"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(
    old: Path, tmp_path: Path, rows: list[dict[str, Any]], columns: Columns, options: dict[str, Any], words: str
) -> None:
    rows = [{n: v for n, v in r.items() if n != "source" or columns["source"].type == "string"} for r in rows]
    assert words in fault(tmp_path, rows, columns, **{"extends": str(old), **options})


def test_new_rows_are_written_with_the_columns_of_before_where_that_is_asked_for(old: Path, tmp_path: Path) -> None:
    """A synthetic row has columns that older shards lack: which models wrote it is not lost with them."""
    columns = {n: c for n, c in COLUMNS.items() if n != "split"} | {n: Column(n, "string") for n in ("seed_form", "seed_model")}
    rows = [row(i, seed_form="question", seed_model="writer", words=f"How deep does seed {i - 25} go?") for i in (30, 31, 32)]
    rows = [{n: v for n, v in r.items() if n != "split"} for r in rows]
    options: dict[str, Any] = {"extends": str(old), "columns": "as_before"}
    assert "of a group that is there in another split: r30" in fault(tmp_path / "a", rows, columns, **options)
    made = write(tmp_path / "b", rows, columns, straddling="move", **options)
    assert made["columns"] == read_manifest(old / "shards")["columns"] and made["rows"] == 23 and read(tmp_path / "b")["test"][-1] == "r30"
    assert made["extends"]["columns_left_out"] == made["stats"]["columns_left_out"] == {"seed_form": {}, "seed_model": {"writer": 3}}
    text = (tmp_path / "b" / "shards" / "README.md").read_text()
    assert "as the versions before lack them: seed_form, seed_model." in text and "written by a model for this set: writer 3." in text
    assert "the new rows lack its column source" in fault(tmp_path / "c", [], {n: c for n, c in COLUMNS.items() if n != "source"}, **options)


def test_another_guard_or_a_taxonomy_that_lacks_a_category_is_refused(old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = globals()
    lacking = TAXONOMY.replaced(categories=[c for c in TAXONOMY.categories if c.name != HARM])
    for name, value, words in (
        ("GUARD", GUARD.replaced(version=7), "it is for the guard guardreasoner 1, the new rows are for guardreasoner 7"),
        ("GUARD", GUARD.replaced(instruction="Look closely."), "reads another input (instruction or template) than when it was made"),
        ("GUARD", GUARD.replaced(tasks=GUARD.tasks[:1]), "has other tasks or another output than when it was made"),
        ("TAXONOMY", lacking, "its rows have categories that the taxonomy 'guardkit' lacks: " + HARM),
    ):
        with monkeypatch.context() as now:
            now.setitem(here, name, value)
            assert words in fault(tmp_path, [row(30)], extends=str(old))


def test_seeds_that_are_in_older_shards_are_found_before_anything_is_asked_about_them(old: Path, tmp_path: Path) -> None:
    long = " ".join(f"word{i}" for i in range(20))
    write(tmp_path / "two", [row(30, words=long)], title="Long", extends=str(old))
    rows = seeds({"prompt": "How deep does SEED 4 go"}, {"prompt": f"Well: {long}"}, {"prompt": "How deep does seed 77 go?"})
    kept, left = toolkit.apply("decontaminate", rows, shards=[str(tmp_path / "two")])
    assert kept["prompt"].to_list() == ["How deep does seed 77 go?"]
    assert left["_reason"].to_list() == ["contaminated_exact", "contaminated_ngram"] and "Long, row r4" in left["_detail"][0]
    with pytest.raises(InputError, match="two shards of this title: a match could not say which"):
        toolkit.apply("decontaminate", rows, shards=[str(old), str(old / "shards")])


def test_an_old_version_that_is_damaged_is_not_extended(old: Path, tmp_path: Path) -> None:
    import shutil

    other = shutil.copytree(old, tmp_path / "other")
    name = next(iter(read_manifest(other / "shards")["files"]))
    (other / "shards" / name).unlink()
    assert f"{name}: missing" in fault(tmp_path / "new", [row(30)], extends=str(other)).replace(f"{other}/shards/", "")
    assert Counter(read(old)["test"])["r0"] == 1
