"""`render_sft`, `render_dpo` and `shards`: what a trainer gets to read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest
from frames import run_steps, seeds

import toolkit
from toolkit.common.errors import InputError
from toolkit.guards import load_guard, parse, render_input
from toolkit.shards import verify

GUARD = load_guard("guardreasoner")
LABELS = [f"label_{t}{s}" for t in GUARD.task_names for s in ("", "_source")]
COUNTS = ["steps", "step_chars"]
TURNS = [{"role": "system", "content": "Be <b>brief</b>."}, {"role": "user", "content": "Hi {{ prompt }}"}, {"role": "assistant", "content": "Hello"}]


def reasoned(*rows: dict[str, Any]) -> pl.DataFrame:
    frame = seeds(*rows)
    return frame.with_columns(reasoning=pl.Series([f"reasoning {i}" for i in range(frame.height)]), teacher=pl.lit("template"))


def preferences(*rows: dict[str, Any]) -> pl.DataFrame:
    return seeds(*rows).with_columns(chosen=pl.lit("right"), rejected=pl.lit("wrong"), weight=pl.lit(1.2), task=pl.lit("prompt"))


ROWS: list[dict[str, Any]] = [
    {"prompt": "a {{ 7 * 7 }} \x1b[31m", "response": None},
    {"prompt": "b", "response": "None", "context": TURNS},
    {"prompt": "c", "response": "", "split": "test"},
]


def test_sft_rows_hold_the_same_input_that_sampling_renders() -> None:
    rows = reasoned(*ROWS)
    kept, rest = toolkit.apply("render_sft", rows)
    assert not rest.height
    assert kept.columns == ["id", "prompt", "completion", "source", "licence", "split", "teacher", *LABELS, "categories", "language", *COUNTS]
    assert kept.select(LABELS, "categories").equals(rows.select(LABELS, "categories"))
    for row, made in zip(rows.iter_rows(named=True), kept.iter_rows(named=True), strict=True):
        assert made["prompt"] == [{"role": "user", "content": render_input(GUARD, row)}]
        assert made["completion"] == [{"role": "assistant", "content": row["reasoning"]}]
    assert "{{ 7 * 7 }} \x1b[31m" in kept["prompt"][0][0]["content"], "text is inserted as it is, never interpreted"
    text, _ = toolkit.apply("render_sft", rows, format="text")
    assert text["prompt"].to_list() == [render_input(GUARD, r) for r in rows.iter_rows(named=True)]
    assert text["completion"].to_list() == rows["reasoning"].to_list()


def test_further_columns_are_kept_by_name() -> None:
    for use, rows in (("render_sft", reasoned(*ROWS)), ("render_dpo", preferences(*ROWS))):
        assert toolkit.apply(use, rows, keep=["group"]).kept["group"].to_list() == rows["group"].to_list()
        assert "group" not in toolkit.apply(use, rows).kept.columns
        with pytest.raises(InputError, match=r"no earlier step writes the column 'grup'(?s:.*)did you mean 'group'"):
            toolkit.apply(use, rows, keep=["grup"])
        with pytest.raises(InputError, match="'prompt' is rendered, and cannot stay as it is"):
            toolkit.apply(use, rows, keep=["prompt"])


def test_dpo_rows_hold_the_pair_and_its_weight() -> None:
    rows = preferences(*ROWS)
    kept, _ = toolkit.apply("render_dpo", rows)
    assert kept.columns == ["id", "prompt", "chosen", "rejected", "weight", "task", "source", "licence", "split", *LABELS, "categories", "language"]
    models = rows.with_columns(chosen_model=pl.lit("a"), rejected_model=pl.lit("b"))
    assert toolkit.apply("render_dpo", models)[0].columns == [*kept.columns, "chosen_model", "rejected_model"]
    assert kept["chosen"].to_list() == [[{"role": "assistant", "content": "right"}]] * 3
    assert kept["rejected"][0].to_list() == [{"role": "assistant", "content": "wrong"}]
    assert [m[0]["content"] for m in kept["prompt"].to_list()] == [render_input(GUARD, r) for r in rows.iter_rows(named=True)]
    assert kept["weight"].to_list() == [1.2] * 3
    text, _ = toolkit.apply("render_dpo", rows, format="text")
    assert text["rejected"].to_list() == ["wrong"] * 3


def test_steps_and_their_characters_are_counted() -> None:
    text = "# Task 1\n## Reasoning Step 1\nOne é.\n## Reasoning Step 2\nTwo.\n## Conclusion\nx\n\n# Task 2\n## Reasoning Step 1\nThree\n---\nAnswers: \nRequest: harmful"
    rows = reasoned(*ROWS).with_columns(reasoning=pl.lit(text), steps=pl.lit(None, pl.Int64))
    kept, _ = toolkit.apply("render_sft", rows)
    assert kept["steps"].to_list() == [3] * 3 and kept["step_chars"].to_list() == [len("One é.") + len("Two.") + len("Three")] * 3


def test_a_twin_without_reasoning_is_trained_on_the_same_rows_and_answers() -> None:
    rows = reasoned(*ROWS).with_columns(
        reasoning=pl.Series(
            "# Task 1\n\n## Reasoning Step 1\nRequest: harmful, one may think.\n\n"
            f"Answers: \nRequest: {request}\nCompletion: {completion}\nResponse: None"
            for request, completion in (("unharmful", "None"), ("harmful", "refusal"), ("harmful", "compliance"))
        )
    )
    whole, twin = (toolkit.apply("render_sft", rows, reasoning=keeps, format="text")[0] for keeps in (True, False))
    assert twin.drop("completion", *COUNTS).equals(whole.drop("completion", *COUNTS))
    assert twin["completion"][1] == "---\n\nAnswers: \nRequest: harmful\nCompletion: refusal\nResponse: None"
    for long, short in zip(whole["completion"], twin["completion"], strict=True):
        assert parse(GUARD, short, "strict").labels == parse(GUARD, long, "strict").labels and not parse(GUARD, short, "strict").problems
    assert twin["steps"].to_list() == [0] * 3
    chat = toolkit.apply("render_sft", rows, reasoning=False)[0]
    assert [m[0]["content"] for m in chat["completion"].to_list()] == twin["completion"].to_list()


def test_shards_are_verified_folders_with_a_card(tmp_path: Path) -> None:
    rendered, _ = toolkit.apply("render_sft", reasoned(*ROWS))
    kept, rest = toolkit.apply("shards", rendered, artefacts=tmp_path, title="Three | rows")
    assert not kept.height and not rest.height
    manifest = verify(tmp_path / "shards")
    assert manifest["rows"] == 3
    assert sorted(f["split"] for f in manifest["files"].values()) == ["test", "train"], "rows without a split go to train"
    train = pq.read_table(tmp_path / "shards" / "data" / "train-00000-of-00001.parquet")
    assert train.column_names == rendered.columns
    assert train["id"].to_pylist() == rendered["id"].to_list()[:2]
    card = (tmp_path / "shards" / "README.md").read_text()
    assert "# Three \\| rows" in card and "emplate" in card, "template reasoning is marked in the card"
    assert manifest["licence"]["id"] == "CC0-1.0" and manifest["models"] == [{"role": "teacher", "model": "template", "rows": 3, "terms": None}]


def test_rows_need_no_more_than_an_id(tmp_path: Path) -> None:
    toolkit.apply("shards", pl.DataFrame({"id": [3, 1], "text": ["a", "b"]}), artefacts=tmp_path)
    manifest = verify(tmp_path / "shards")
    assert manifest["counts"] == {"licence": {"unknown": 2}, "split": {"train": 2}} and manifest["licence"]["id"] is None
    assert pq.read_table(tmp_path / "shards" / "data" / "train-00000-of-00001.parquet")["id"].to_pylist() == [3, 1]


def licensed(*licences: str | None) -> pl.DataFrame:
    rows = {"id": [f"r{i}" for i in range(len(licences))], "source": [f"s-{x}" for x in licences], "licence": licences}
    return pl.DataFrame(rows, schema=dict.fromkeys(rows, pl.String))


def test_a_target_that_is_laxer_than_a_row_is_refused_with_the_rows_named(tmp_path: Path) -> None:
    rows = licensed("MIT", *["CC-BY-NC-4.0"] * 7, "MIT", None)
    with pytest.raises(InputError) as e:
        toolkit.apply("shards", rows, licence="MIT", artefacts=tmp_path)
    assert "8 rows may not go into a set under MIT" in str(e.value)
    assert "7 rows of s-CC-BY-NC-4.0 under CC-BY-NC-4.0: r1, r2, r3, r4, r5, …" in str(e.value)
    assert "1 row of s-None under unknown (not known): r9" in str(e.value)
    assert not list(tmp_path.iterdir()), "nothing is left of it"
    toolkit.apply("shards", rows.head(1), licence="mit", artefacts=tmp_path / "fine")
    assert verify(tmp_path / "fine" / "shards")["licence"] | {"rows": []} == {
        "id": "MIT", "target": "mit", "name": "MIT License", "text": "https://spdx.org/licenses/MIT.html", "hub": "mit", "rows": [],
    }  # fmt: skip


def test_a_refusal_after_rows_were_written_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    rows = pl.concat([licensed(*["MIT"] * 50), licensed("CC-BY-4.0")]).with_columns(id=pl.int_range(51).cast(pl.String))
    rows.write_parquet(folder / "rows.parquet")
    with pytest.raises(InputError, match="1 row of s-CC-BY-4"):
        toolkit.apply("shards", rows, licence="MIT", artefacts=tmp_path / "out")
    assert not (tmp_path / "out" / "shards").exists()


def test_a_target_that_is_not_known_is_refused_before_the_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"the licence 'CC-BY-5\.0' is not known") as e:
        toolkit.apply("shards", licensed("MIT"), licence="CC-BY-5.0", artefacts=tmp_path)
    assert "CC-BY-4.0" in str(e.value) and "schemas/licences/mine.yaml" in str(e.value)


def test_a_column_called_labels_is_refused_before_the_run() -> None:
    with pytest.raises(InputError, match="column called 'labels'"):
        toolkit.apply("shards", pl.DataFrame({"id": ["a"], "labels": ["x"]}))


def test_the_manifest_says_how_the_rows_were_made(tmp_path: Path) -> None:
    steps: list[dict[str, Any]] = [
        {"id": "seeds", "use": "load", "with": {"source": "quickstart", "limit": 20}},
        {"id": "all", "use": "select"},
        {"id": "reasoning", "use": "synthesise", "with": {"backend": {"backend": "template"}}},
        {"id": "few", "use": "select", "with": {"share": 0.5}},
        {"id": "rendered", "use": "render_sft"},
        {"id": "elsewhere", "use": "select", "from": "seeds", "with": {"share": 0.1}},
        {"id": "shards", "use": "shards", "from": "rendered"},
    ]
    made = run_steps(tmp_path, steps)
    folder = made["shards"].artefact("shards")
    manifest = verify(folder)
    came = manifest["made_from"]
    assert [s["step"] for s in came["steps"]] == ["seeds", "all", "reasoning", "few", "rendered"], "and not what the rows do not come from"
    assert came["recipe"] and came["digest"] and came["steps"][2]["use"] == "synthesise"
    for before, after in zip(came["steps"], came["steps"][1:], strict=False):
        assert before["kept"] == after["in"]
    few = came["steps"][3]
    assert few["in"] == few["kept"] + sum(few["set_aside"].values()) and manifest["rows"] == came["steps"][-1]["kept"]
    text = (folder / "README.md").read_text()
    assert f"| few | select {few['version']} | {few['in']} | {few['kept']} |" in text
    labels = [line for line in manifest["tables"]["labels"] if line["task"] == "prompt"]
    assert sum(line["rows"] for line in labels) == manifest["rows"] and {line["origin"] for line in labels} <= {"written", "human"}
    (length,) = [line for line in [*manifest["tables"]["lengths"]] if line["rows"]][:1]
    assert length["steps"] >= length["rows"] and length["chars"] > length["steps"]


def test_shards_have_the_same_bytes_at_any_block_size(tmp_path: Path) -> None:
    steps: list[dict[str, Any]] = [
        {"id": "seeds", "use": "load", "with": {"source": "quickstart", "limit": 40}},
        {"id": "reasoning", "use": "synthesise", "with": {"backend": {"backend": "template"}}},
        {"id": "rendered", "use": "render_sft"},
        {"id": "shards", "use": "shards", "with": {"rows_per_shard": 100}},
    ]
    manifests = []
    for size in (8192, 7):
        folder = tmp_path / str(size)
        folder.mkdir()
        made = run_steps(folder, steps, block_rows=size)
        manifests.append(json.loads((made["shards"].artefact("shards") / "manifest.json").read_text()))
        assert made["shards"].manifest["counts"][-1]["kept"] == 160
    assert manifests[0] == manifests[1]


def test_nothing_to_write_is_an_error_unless_it_was_expected(tmp_path: Path) -> None:
    rendered, _ = toolkit.apply("render_sft", reasoned(*ROWS))
    with pytest.raises(InputError, match="no rows to write"):
        toolkit.apply("shards", rendered.clear())
    kept, _ = toolkit.apply("shards", rendered.clear(), empty=True, artefacts=tmp_path)
    assert not kept.height and not (tmp_path / "shards").exists()


def test_a_column_that_is_missing_is_named() -> None:
    with pytest.raises(InputError, match="render_sft reads the column 'reasoning'"):
        toolkit.apply("render_sft", seeds(*ROWS))
    with pytest.raises(InputError, match="weight"):
        toolkit.apply("render_dpo", preferences(*ROWS).drop("weight"))
