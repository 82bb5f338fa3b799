"""No two rows of a step have one id, through any chain of operators and whatever the ids are; parents are there; no row vanishes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import toolkit
from toolkit.common.errors import InputError, InputErrors
from toolkit.pipeline import ConservationError, Counts, StepFolder
from toolkit.pipeline._counts import Ids
from toolkit.pipeline._store import StepWriter
from toolkit.records import Column, child_id

NASTY = ["", " ", "a", " a", "a ", "A", "ä", "a\u0308", "a:more:2", "a:more:3", "a:more:2:more:2", ":more:2", "a:more:02", "x:swapped", "007", "7", "1e5", "=1", "'a", "a\nb", "\u2028", "%3A", "a%3Amore:2"]  # fmt: skip
COLUMNS = {"id": "id", "prompt": "prompt", "label_prompt": "label"}
SOURCES = {"label_prompt_source": "human", "label_refusal_source": "absent", "label_response_source": "absent"}


def write(path: Path, rows: Sequence[tuple[str, str]]) -> Path:
    path.write_text("".join(json.dumps({"id": i, "prompt": f"q {n}", "label": label}) + "\n" for n, (i, label) in enumerate(rows)))
    return path


def read(file: str) -> dict[str, Any]:
    return {"id": "rows", "use": "read", "with": {"files": [file], "record": "seed", "columns": COLUMNS, "constants": SOURCES}}


def run(folder: Path, *steps: dict[str, Any], output: str = "o", **more: Any) -> dict[str, StepFolder]:
    recipe = folder / "r.yaml"
    recipe.write_text(yaml.safe_dump({"recipe": "r", "seed": 3, "steps": list(steps)}, allow_unicode=True))
    return toolkit.read_run(toolkit.run(recipe, output=folder / output, **more).folder)


def rows_of(step: StepFolder) -> pl.DataFrame:
    return pl.read_parquet(step.path / "rows" / "rows.parquet")


MORE = {"use": "balance", "with": {"by": "label_prompt", "to": 7, "replacement": "random", "short": "fewer"}}
EVEN = {"use": "balance", "with": {"by": "label_prompt", "to": "largest", "replacement": "even"}}


def test_a_balance_over_an_earlier_ones_rows_makes_no_two_rows_one(tmp_path: Path) -> None:
    write(tmp_path / "in.jsonl", [("a", "harmful"), ("b", "unharmful"), ("c", "unharmful"), ("d", "unharmful")])
    first = rows_of(run(tmp_path, read("in.jsonl"), {"id": "more", **EVEN})["more"])
    assert sorted(first["id"]) == ["a", "a:more:2", "a:more:3", "b", "c", "d"], "as ever where no such id is taken"
    first.with_columns(pl.col("label_prompt").alias("label")).select("id", "prompt", "label").write_ndjson(tmp_path / "again.jsonl")
    write(tmp_path / "more.jsonl", [("e", "unharmful"), ("f", "unharmful"), ("g", "unharmful")])
    steps = read("again.jsonl")
    steps["with"]["files"] = ["again.jsonl", "more.jsonl"]
    again = rows_of(run(tmp_path, steps, {"id": "more", **EVEN})["more"])
    assert again["id"].n_unique() == again.height == 12
    assert set(again.filter(pl.col("label_prompt") == "harmful")["parent"]) == {"a", "a:more:2", "a:more:3"}
    assert set(again["parent"]) <= {*first["id"], "e", "f", "g"}


@pytest.mark.parametrize("blocks", [1, 3])
def test_the_ids_of_copies_depend_on_no_block(tmp_path: Path, blocks: int) -> None:
    write(tmp_path / "in.jsonl", [(i, "harmful" if n % 3 else "unharmful") for n, i in enumerate(NASTY)])
    made = [rows_of(run(tmp_path, read("in.jsonl"), {"id": "more", **MORE}, output=f"o{n}", block_rows=n)["more"]) for n in (blocks, 8192)]
    assert made[0].equals(made[1])


CHAIN = st.lists(st.sampled_from(["more", "even", "mix", "part", "cap", "unique", "split", "pick"]), min_size=3, max_size=6)
STEPS: dict[str, dict[str, Any]] = {
    "more": MORE,
    "even": EVEN,
    "mix": {"use": "mix", "with": {"by": "label_prompt", "parts": {"harmful": 1, "unharmful": 1}, "total": 9, "replacement": "random"}},
    "part": {"use": "stratify", "with": {"by": ["label_prompt"], "share": 0.8}},
    "cap": {"use": "cap", "with": {"by": "label_prompt", "most": 6}},
    "unique": {"use": "deduplicate", "with": {"on_find": "flag"}},
    "split": {"use": "split", "with": {}},
    "pick": {"use": "select", "with": {"where": {"id": "not_null"}}},
}


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.sampled_from(NASTY), min_size=3, max_size=12, unique=True), CHAIN, st.integers(1, 9))
def test_ids_stay_unique_through_any_chain(tmp_path_factory: pytest.TempPathFactory, ids: list[str], chain: list[str], block: int) -> None:
    folder = tmp_path_factory.mktemp("chain")
    write(folder / "in.jsonl", [(i, "harmful" if n % 2 else "unharmful") for n, i in enumerate(ids)])
    # Steps are called like one that made ids of earlier rows, or `more.1`, …
    names = [("more" if n == 0 else f"more.{n}") for n in range(len(chain))]
    steps = [{"id": name, **STEPS[kind]} for name, kind in zip(names, chain, strict=True)]
    made = run(folder, read("in.jsonl"), *steps, block_rows=block)
    before: set[str] | None = set(ids)
    for step in steps:
        if step["id"] not in made:
            before = None
            continue
        rows = rows_of(made[step["id"]])
        counts = made[step["id"]].manifest["counts"][-1]
        assert rows["id"].n_unique() == rows.height == counts["kept"], (step, rows["id"].to_list())
        if counts["shape"] == "pick":
            assert before is None or set(rows["parent"]) <= before, "every parent is there"
            assert rows["parent"].n_unique() + sum(counts["set_aside"].values()) == counts["in"]
        before = set(rows["id"])


@given(st.lists(st.tuples(st.sampled_from(NASTY), st.sampled_from(["a", "b:a", "a:0", "%3A", "a%3Ab", ""]), st.integers(0, 3)), unique=True))
def test_other_parents_or_parts_give_other_ids(found: list[tuple[str, str, int]]) -> None:
    assert len({child_id(*one) for one in found}) == len(found)
    assert child_id("x", "main", 0) == "x:main:0"


def test_rows_of_generations_are_not_drawn_twice(tmp_path: Path) -> None:
    """`parent` would say what a generation is a copy of, and `mine` would take each for a row of its own."""
    (tmp_path / "p.jsonl").write_text("")
    predictions = {"id": "said", "use": "load_predictions", "with": {"files": {"a": "p.jsonl"}, "task": "prompt"}}
    with pytest.raises(InputErrors, match="`parent` says which row each generation is about"):
        run(tmp_path, predictions, {"id": "verdicts", "use": "verdicts"}, {"id": "more", **MORE})


def test_a_step_that_gives_two_rows_one_id_is_refused() -> None:
    counts = Counts("s", "op", "one_to_one")
    ids = Ids()
    blocks = [pl.Series(["a", "b"]), pl.Series(["c", None]), pl.Series([None, "b "])]
    for block in blocks:
        ids.add(block)
    ids.check(counts, lambda: blocks)
    blocks.append(pl.Series(["x", "b"]))
    ids.add(blocks[-1])
    with pytest.raises(ConservationError, match="step 's' \\(op\\): 2 of its rows share an id with another, 'b' say"):
        ids.check(counts, lambda: blocks)


def test_a_step_is_not_closed_over_two_rows_of_one_id(tmp_path: Path) -> None:
    counts = Counts("s", "op", "one_to_one", came=4)
    with StepWriter(tmp_path, {"id": Column("id", "string")}, [counts]) as writer:
        writer.keep(pl.DataFrame({"id": ["a", "b"]}))
        writer.keep(pl.DataFrame({"id": ["c", "b"]}))
        with pytest.raises(ConservationError, match="2 of its rows share an id with another, 'b' say"):
            writer.close({})
    assert not (tmp_path / "manifest.json").exists()


def test_ids_that_only_hash_alike_are_kept_apart() -> None:
    class Alike(Ids):
        def add(self, ids: pl.Series) -> None:
            self._hashes.append(pl.Series([1] * ids.len(), dtype=pl.UInt64))

    ids = Alike()
    ids.add(pl.Series(["a", "b"]))
    looked_at: list[list[str]] = []

    def blocks() -> Iterator[pl.Series]:
        looked_at.append(["a", "b"])
        yield pl.Series(["a", "b"])

    ids.check(Counts("s", "op", "one_to_one"), blocks)
    assert looked_at == [["a", "b"]], "the ids themselves were compared"


def test_a_caller_s_rows_with_one_id_are_refused() -> None:
    rows = pl.DataFrame({"id": ["a", "b", "a"], "label_prompt": ["harmful"] * 3})
    with pytest.raises(InputError, match="2 rows share an id with another, 'a' say"):
        toolkit.apply("stratify", rows, by=["label_prompt"], share=0.5)


def test_two_sources_of_one_name_are_refused(tmp_path: Path) -> None:
    text = "name: twin\nversion: 1\ndescription: d\nlicence: MIT\nobtain: here\ncolumns: {prompt: p}\nlabels: {prompt: {column: l, source: human}}\n"
    for name in "ab":
        (tmp_path / f"{name}.yaml").write_text(text)
        (tmp_path / f"{name}.jsonl").write_text('{"p": "one text", "l": "harmful"}\n')
    files = {"a.yaml": ["a.jsonl"], "b.yaml": ["b.jsonl"]}
    with pytest.raises(InputErrors, match="two of the sources are called 'twin'"):
        run(tmp_path, {"id": "seeds", "use": "load", "with": {"source": ["a.yaml", "b.yaml"], "files": files}})


def test_an_id_is_no_constant(tmp_path: Path) -> None:
    write(tmp_path / "in.jsonl", [("a", "harmful"), ("b", "harmful")])
    step = {"id": "rows", "use": "read", "with": {"files": ["in.jsonl"], "columns": {"prompt": "prompt"}, "constants": {"id": "x"}}}
    with pytest.raises(InputErrors, match="it is no constant"):
        run(tmp_path, step)
