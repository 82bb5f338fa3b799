"""What a dataset covers: counts that are those of the rows, gaps in words, and what to generate next, of runs, shards and files."""

from __future__ import annotations

import json
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

import toolkit
from toolkit.common.errors import InputError, Missing
from toolkit.operators.seeds._seed_options import GenerateSeedsConfig
from toolkit.report._coverage_tables import coverage_picture

H, U = "harmful", "unharmful"
TAXONOMY = {
    "name": "ours",
    "version": 1,
    "categories": [{"name": n, "title": n.title(), "definition": f"{n}."} for n in ("fraud", "privacy", "votes")],
}


def row(n: int, label: str | None, categories: list[str], source: str = "a", **more: Any) -> dict[str, Any]:
    response = more.pop("response", None)
    refusal = more.pop("refusal", None)
    labels = {"label_prompt": label, "label_refusal": refusal, "label_response": None}
    return {"id": f"r{n}", "prompt": f"prompt {n}", "response": response, **labels, "categories": categories, "source": source, **more}


ROWS = [
    *(row(n, H, ["fraud"], source="ab"[n % 2]) for n in range(6)),
    *(row(n, H, ["fraud", "privacy"], response="No.", refusal="refusal") for n in range(6, 9)),
    *(row(n, U, [], response="Yes.", refusal="compliance") for n in range(9, 13)),
    row(13, U, [], seed_category="fraud", seed_label="benign", seed_form="prompt"),
    row(14, None, ["privacy"], response="Who knows."),
]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("ours.yaml").write_text(yaml.safe_dump(TAXONOMY))
    pl.DataFrame(ROWS, infer_schema_length=None).write_parquet("rows.parquet")
    return tmp_path


def covered(where: str = "rows.parquet", **more: Any) -> Any:
    return toolkit.coverage(where, taxonomy="ours.yaml", **{"minimum": 4, **more})


def test_every_row_is_counted_in_each_of_its_categories_and_its_form(place: Path) -> None:
    found = covered()
    by = {line["category"]: line for line in found.categories}
    assert found.rows == 15 and {c: line["rows"] for c, line in by.items()} == {"fraud": 10, "privacy": 4, "(none)": 4}
    assert {n: by["fraud"][n] for n in ("harmful", "benign", "prompt", "refuse", "comply", "sources")} == {
        "harmful": 9, "benign": 1, "prompt": 7, "refuse": 3, "comply": 0, "sources": 2,
    }  # fmt: skip
    assert by["privacy"]["unlabelled"] == 1 and by["privacy"]["response"] == 1, "neither refused nor complied, as far as is known"
    assert found.together == [{"a": "fraud", "b": "privacy", "rows": 3}]
    assert sum(c["rows"] for c in found.cells) == 15 + 3, "three rows have two categories"
    assert found.notes == ["1 rows have no label that tells harmful from benign"]


def test_what_is_missing_stands_in_words_and_as_steps_that_generate_it(place: Path) -> None:
    found = covered(output=["next.yaml", "found.md", "found.json"])
    words = [g["words"] for g in found.gaps]
    assert words[0] == "no rows in votes"
    assert {"no benign look-alikes in privacy", "privacy has only one source, a", "no responses that comply in fraud"} <= set(words)
    assert "fewer than 4 in fraud: benign look-alikes 1, refusals 3" in words
    missing = {(c["category"], c["label"], c["form"]): c["missing"] for c in found.missing}
    assert missing["fraud", "benign", "prompt"] == 3 and missing["votes", "harmful", "prompt"] == 4 and ("fraud", "harmful", "prompt") not in missing
    steps = yaml.safe_load(Path("next.yaml").read_text())
    assert [s["with"] for s in steps] == found.steps and {s["use"] for s in steps} == {"generate_seeds"}
    assert sum(n * len(s["categories"]) for s in found.steps for n in s["count"].values()) == sum(missing.values()), "each missing row once"
    assert all(not (label == "harmful" and form == "comply") for s in found.steps for label in s["count"] for form in s["forms"])
    for options in found.steps:
        GenerateSeedsConfig.model_validate({"backend": {"backend": "template"}, **options})
    assert json.loads(Path("found.json").read_text())["rows"] == 15 and "no rows in votes" in Path("found.md").read_text()


def test_languages_that_are_wanted_are_cells_of_their_own(place: Path) -> None:
    rows = [row(n, H, ["votes"], language="de" if n else "en") for n in range(9)]
    pl.DataFrame(rows, infer_schema_length=None).write_ndjson("rows.jsonl")
    found = covered("rows.jsonl", categories="votes", languages=["de", "fr"])
    assert {(c["language"], c["label"]): c["missing"] for c in found.missing} == {("fr", H): 4, ("de", "benign"): 4, ("fr", "benign"): 4}
    assert {(s["languages"][0], *s["count"]) for s in found.steps} == {("fr", H, "benign"), ("de", "benign")}


def test_verdicts_say_how_hard_a_category_is(place: Path) -> None:
    lines = [{"parent": f"r{n}", "label_prompt": H, "verdict_prompt": H if n % 3 else None} for n in range(6) for _ in range(2)]
    pl.DataFrame(lines).write_parquet("verdicts.parquet")
    by = {line["category"]: line for line in covered(verdicts="verdicts.parquet").categories}
    assert (by["fraud"]["judged"], by["fraud"]["error"]) == (12, 33.33) and by["privacy"]["error"] is None, "an unread verdict is a wrong one"
    pl.DataFrame(ROWS[:6]).with_columns(error_rate_prompt=pl.Series([0.5, None, 1.0, 0, 0, 0])).write_parquet("hard.parquet")
    assert covered("hard.parquet").categories[0]["error"] == 30


def test_given_and_assigned_categories_are_held_against_each_other(place: Path) -> None:
    before = [{**row(n, H, ["privacy"] if n else ["fraud", "votes"]), "categories_before": ["fraud"]} for n in range(3)]
    pl.DataFrame(before, infer_schema_length=None).write_parquet("again.parquet")
    expected = [("fraud", "privacy", 2), ("fraud", "fraud", 1), ("fraud", "votes", 1)]
    assert [tuple(p.values()) for p in covered("again.parquet").assigned] == expected
    votes = [{"category": "privacy", "share": 1.0, "n": 2}, {"category": "votes", "share": 0.4, "n": 1}]
    measured = [{**row(0, H, ["fraud"]), "categories_votes": votes}, {**row(1, H, []), "categories_votes": votes}]
    pl.DataFrame(measured, infer_schema_length=None).write_parquet("measured.parquet")
    assert [tuple(p.values()) for p in covered("measured.parquet").assigned] == [("fraud", "privacy", 1)], (
        "what a model gave a row that had none is no confusion"
    )


def test_lines_that_are_no_rows_are_counted_as_such(place: Path) -> None:
    Path("torn.jsonl").write_text(json.dumps(row(0, H, ["fraud"])) + "\n" + json.dumps({"label_prompt": U}) + '\n{"id": "r9", "pro\n')
    found = covered("torn.jsonl")
    assert (found.rows, found.unread, found.notes) == (3, 1, ["1 rows could not be read"])
    assert {line["category"]: line["rows"] for line in found.categories} == {"fraud": 1, "(none)": 1}


def test_blocks_of_rows_add_up(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import toolkit.pipeline._coverage_places as reading
    import toolkit.pipeline._covered_rows as counting

    whole = covered()
    monkeypatch.setattr(reading, "BLOCK", 2)
    for module in (reading, counting):
        monkeypatch.setattr(module, "SUMMED", 2)
    assert covered() == whole


def test_of_a_run_the_last_step_with_categories_is_meant_and_its_shards_say_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sys.path.insert(0, str(Path(__file__).parent))
    from workspace import furnish

    monkeypatch.chdir(tmp_path)
    furnish(tmp_path)
    toolkit.run("small.yaml")
    last, shards = toolkit.coverage("outputs/small"), toolkit.coverage("outputs/small/shards/shards")
    assert last.of == "outputs/small/rendered" and last.categories == shards.categories and last.rows == shards.rows == 11
    seeds = toolkit.coverage("outputs/small", step="seeds")
    assert seeds.rows == 20 and seeds.categories == toolkit.coverage("outputs/small/seeds").categories
    with pytest.raises(InputError, match=r"no step 'sedes' with rows(.|\n)*did you mean 'seeds'"):
        toolkit.coverage("outputs/small", step="sedes")


def test_the_picture_has_a_field_for_each_category_label_and_form(place: Path) -> None:
    found = covered()
    values = coverage_picture(found)["data"]["values"]
    assert {"category": "fraud", "what": "harmful, prompt", "rows": 6} in values and sum(v["rows"] for v in values) == 18
    if find_spec("vl_convert") is None:
        with pytest.raises(Missing, match="a picture needs the package 'vl_convert'"):
            covered(output="found.svg")
    else:
        covered(output="found.svg")
        assert "harmful, prompt" in Path("found.svg").read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"categories": "frud"}, "no category 'frud' in the taxonomy 'ours' or the rows\n  did you mean 'fraud'?"),
        ({"step": "seeds"}, "a step is one of a run, and this is none"),
        ({"verdicts": "rows.parquet"}, "no verdicts: neither id, gold and verdict"),
        ({"verdicts": "ours.yaml"}, "no verdicts there"),
        ({"verdicts": "torn.parquet"}, "torn.parquet: cannot be read as parquet"),
        ({"output": "found.pdf"}, "the output must end in .txt, .md, .json, .svg, .yaml"),
        ({"minimum": 0}, "minimum is a number of rows from 1"),
        ({"where": "rwos.parquet"}, "no such file or folder"),
        ({"where": "empty.parquet"}, "no row to count"),
        ({"where": "other.jsonl"}, "neither a column 'categories' nor a label ('label_prompt')"),
    ],
)
def test_what_cannot_be_counted_is_reported(place: Path, options: dict[str, Any], message: str) -> None:
    pl.DataFrame(ROWS[:1]).clear().write_parquet("empty.parquet")
    Path("torn.parquet").write_bytes(Path("empty.parquet").read_bytes()[:-9])
    Path("other.jsonl").write_text('{"text": "a", "y": 1}\n')
    with pytest.raises(InputError) as e:
        covered(**options)
    assert message in str(e.value)
