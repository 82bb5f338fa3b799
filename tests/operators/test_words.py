"""Labels are words of the task: another word is rejected where rows enter, refused where it would be counted, and reported with the nearest known one.
Rows and verdicts that share no id, and steps that no row reaches, are errors that say what became of the rows.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from frames import reasons, rows_of, run_steps, seed, seeds, verdict, verdicts

import toolkit
from toolkit.common.errors import InputError, InputErrors
from toolkit.guards import load_guard, render_input
from toolkit.report import summarise

COLUMNS = {"id": "id", "prompt": "prompt", "label_prompt": "l"}
SOURCES = {"label_prompt_source": "human", "label_refusal_source": "absent", "label_response_source": "absent"}


def lines(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    return path


def read(path: Path, **options: Any) -> tuple[pl.DataFrame, pl.DataFrame]:
    given = {"record": "seed", "columns": COLUMNS, "constants": SOURCES} | options
    return toolkit.apply("read", None, files=[str(path)], **given)


@pytest.mark.parametrize("record", ["seed", "none"])
def test_a_label_that_is_no_word_of_its_task_is_rejected_where_it_enters(tmp_path: Path, record: str) -> None:
    words = ["harmful", "Harmful", None, "harmfull", " harmful", "unharmful", "yes"]
    path = lines(tmp_path / "rows.jsonl", *({"id": f"r{n}", "prompt": "p", "l": w} for n, w in enumerate(words)))
    kept, rest = read(path, record=record)
    assert kept["id"].to_list() == ["r0", "r2", "r5"]
    assert reasons(rest) == {"unknown_label": 4}
    found = [d.split(": ", 2)[2] for d in rest["_detail"]]
    assert found[:3] == [f"label not of the task: {w!r} (did you mean 'harmful'?)" for w in ("Harmful", "harmfull", " harmful")]
    assert found[3] == "label not of the task: 'yes' (known: harmful, unharmful)"
    assert rest["_detail"][0].startswith("rows.jsonl, row 2: label_prompt: ")


def test_so_is_a_verdict_and_who_gave_a_label(tmp_path: Path) -> None:
    path = lines(tmp_path / "rows.jsonl", {"id": "a", "p": "p", "v": "Refusal", "l": None, "s": "human"}, {"id": "b", "p": "p", "v": None, "l": "harmful", "s": "humen"},
                 {"id": "c", "p": "p", "v": "refusal", "l": "harmful", "s": "vote"})  # fmt: skip
    columns = {"id": "id", "prompt": "p", "verdict_refusal": "v", "label_prompt": "l", "label_prompt_source": "s"}
    kept, rest = read(path, columns=columns, constants={}, record="none")
    assert kept["id"].to_list() == ["c"] and reasons(rest) == {"unknown_label": 1, "unknown_label_source": 1}
    assert rest["_detail"][1].endswith("label_prompt_source: no source of labels: 'humen' (did you mean 'human'?)")


def test_a_constant_that_is_no_such_word_is_a_fault_of_the_recipe(tmp_path: Path) -> None:
    path = lines(tmp_path / "rows.jsonl", {"id": "a", "prompt": "p", "l": "harmful"})
    with pytest.raises(InputError, match=r"label_prompt_source: no source of labels: 'Human' \(did you mean 'human'\?\)"):
        read(path, constants=SOURCES | {"label_prompt_source": "Human"})
    with pytest.raises(InputError, match="label_refusal: label not of the task"):
        read(path, constants=SOURCES | {"label_refusal": "refuse"})


def test_predictions_and_sources_say_the_nearest_word(tmp_path: Path) -> None:
    guard = load_guard("guardreasoner")
    rendered = [
        {"prompt": render_input(guard, {"prompt": f"p{n}", "response": None}), "label": w, "predict": "x"}
        for n, w in enumerate(["Harmfull", "harmful"])
    ]
    path = lines(tmp_path / "p.jsonl", *rendered)
    kept, rest = toolkit.apply("load_predictions", None, files={"a": str(path)}, task="prompt")
    assert kept.height == 1 and rest["_detail"][0].endswith("label not of the task: 'Harmfull' (did you mean 'harmful'?)")
    (tmp_path / "own.yaml").write_text(
        "name: own\nversion: 1\ndescription: d\nlicence: MIT\nobtain: here\ncolumns: {prompt: p}\nlabels: {prompt: {column: l, source: human}}\n"
    )
    path = lines(tmp_path / "s.jsonl", {"p": "a", "l": "Harmful"}, {"p": "b", "l": "harmful"})
    kept, rest = toolkit.apply("load", None, source=str(tmp_path / "own.yaml"), files=[str(path)], max_rejected=1, empty=True)
    assert kept.height == 1 and "'Harmful' is not in the map (did you mean 'harmful'?)" in rest["_detail"][0]


BAD = seed(0, id="r0", label_prompt="Harmful")


@pytest.mark.parametrize(
    ("operator", "rows", "options"),
    [
        ("mine", verdicts(verdict(BAD, prompt="harmful")), {}),
        ("noise", verdicts(verdict(BAD, prompt="harmful")), {}),
        ("relabel", verdicts(verdict(BAD, prompt="harmful")), {}),
        ("evaluate", verdicts(verdict(seed(0, label_prompt="harmful"), prompt="Harmful")), {}),
        ("evaluate", {"rows": verdicts(verdict(seed(0, id="r0", label_prompt="harmful"), prompt="harmful")), "asked": seeds(BAD)}, {}),
        ("balance", seeds(BAD), {"by": "label_prompt"}),
    ],
)
def test_what_counts_labels_refuses_others(operator: str, rows: Any, options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"1 row of 1: (label|verdict)_prompt: label not of the task: 'Harmful' \(did you mean 'harmful'\?\)"):
        toolkit.apply(operator, rows, **options)


def test_a_recipe_that_asks_for_a_word_that_no_row_can_have_is_refused() -> None:
    with pytest.raises(InputError, match=r"select.where: label_prompt: label not of the task: 'Harmful' \(did you mean 'harmful'\?\)"):
        toolkit.apply("select", seeds({"label_prompt": "harmful"}), where={"label_prompt": ["unharmful", "Harmful"]})
    with pytest.raises(InputError, match=r"cap.most: label_prompt: label not of the task: 'Harmful'"):
        toolkit.apply("cap", seeds({"label_prompt": "harmful"}), by="label_prompt", most={"Harmful": 3})
    kept, _ = toolkit.apply("select", seeds({"label_prompt": "harmful"}), where={"label_prompt": "harmful"}, where_not={"label_prompt": "null"})
    assert kept.height == 1


def test_no_model_writes_into_a_column_of_such_words(tmp_path: Path) -> None:
    lines(tmp_path / "rows.jsonl", {"id": "a", "prompt": "p"})
    steps = [
        {"id": "rows", "use": "read", "with": {"files": ["rows.jsonl"], "columns": {"id": "id", "prompt": "prompt"}}},
        {"id": "said", "use": "generate", "with": {"backend": {"backend": "openai", "model": "m"}, "user": "{{ prompt }}", "column": "label_prompt"}},
    ]
    with pytest.raises(InputErrors, match="the column 'label_prompt' holds words that the guard knows"):
        run_steps(tmp_path, steps)


# Rows that verdicts are about -------------------------------------------------------------------------------------------


def world(n: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    rows = [seed(i, id=f"r{i}", label_prompt="harmful") for i in range(n)]
    return rows, [verdict(r, prompt="harmful") for r in rows]


def test_verdicts_of_other_rows_are_an_error_that_says_how_many_match() -> None:
    rows, result = world(3)
    others = seeds(*(r | {"id": f" {r['id']}"} for r in rows))
    with pytest.raises(InputError, match=r"none of the 3 verdicts of 'rows, guard a' is about one of the 3 rows: no id matches"):
        toolkit.apply("evaluate", {"rows": verdicts(*result), "asked": others})
    hard = toolkit.apply("mine", verdicts(*result, *(verdict(r, "b", prompt="unharmful") for r in rows)))[0]
    moved = hard.with_columns(pl.col("id") + "x")
    with pytest.raises(InputError, match=r"none of the 3 verdicts of 'verdicts' is about one of the 3 rows"):
        toolkit.apply("pair", {"rows": moved, "verdicts": verdicts(*result)})


def test_verdicts_of_some_rows_are_reported_in_numbers(tmp_path: Path) -> None:
    prompts = [f"question {i}" for i in range(6)]
    shown = load_guard("guardreasoner")
    rendered = [
        {"prompt": render_input(shown, {"prompt": p, "response": None}), "label": "harmful", "predict": "Answers: \nRequest: harmful"}
        for p in prompts
    ]
    lines(tmp_path / "a.jsonl", *rendered)
    lines(tmp_path / "b.jsonl", *rendered[:2])
    predictions = {"id": "pred", "use": "load_predictions", "with": {"files": {"a": "a.jsonl", "b": "b.jsonl"}, "task": "prompt"}}
    first = run_steps(tmp_path, [predictions, {"id": "verd", "use": "verdicts"}])
    ids = rows_of(first["verd"]).filter(pl.col("guard_model") == "a").select("parent", "prompt")
    some = [{"id": i, "prompt": p, "l": "harmful"} for i, p in ids.rows()[:4]] + [{"id": "new", "prompt": "new", "l": "harmful"}]
    lines(tmp_path / "asked.jsonl", *some)
    rows = {"id": "rows", "use": "read", "with": {"files": ["asked.jsonl"], "record": "seed", "columns": COLUMNS, "constants": SOURCES}}
    score = {"id": "ev", "use": "evaluate", "from": {"rows": "verd", "asked": "rows"}}
    made = run_steps(tmp_path, [predictions, {"id": "verd", "use": "verdicts"}, rows, score])
    assert made["ev"].manifest["stats"]["matched"] == {
        "a": {"asked": 5, "verdicts": 4, "without": 1, "of_other_rows": 2},
        "b": {"asked": 5, "verdicts": 2, "without": 3, "of_other_rows": 0},
    }
    assert summarise(made["ev"].path.parent)["matched"]["ev"]["a"]["without"] == 1


def test_a_draw_that_comes_twice_is_refused_and_not_counted_twice() -> None:
    rows, result = world(2)
    for operator in ("mine", "evaluate"):
        twice = verdicts(*result, result[0] | {"id": "another"})
        with pytest.raises(InputError, match=r"2 generations are the same draw of a guard for one row: draw 0 of 'a' for 'r0'"):
            toolkit.apply(operator, twice)
    with pytest.raises(InputError, match=r"no verdict to score \(2 are of further draws: only draw 0 counts\)"):
        toolkit.apply("evaluate", verdicts(*(verdict(r, draw=1, prompt="harmful") for r in rows)))


# Steps that no row reaches ----------------------------------------------------------------------------------------------


def test_no_rows_says_where_they_went(tmp_path: Path) -> None:
    lines(tmp_path / "rows.jsonl", *({"id": f"r{n}", "prompt": f"p {n}", "l": "harmful" if n < 2 else "Harmful", "reasoning": "x"} for n in range(9)))
    rows: dict[str, Any] = {"id": "seeds", "use": "read", "with": {"files": ["rows.jsonl"], "record": "reasoned", "columns": COLUMNS | {"reasoning": "reasoning"}, "constants": SOURCES}}  # fmt: skip
    render: dict[str, Any] = {"id": "rendered", "use": "render_sft"}
    pick: dict[str, Any] = {"id": "pick", "use": "select", "with": {"where": {"split": "train"}}}
    steps: list[dict[str, Any]]
    for steps, answer in (
        ([rows, pick, render, {"id": "out", "use": "shards"}], "no rows to write"),
        ([rows, pick, {"id": "out", "use": "mix", "with": {"parts": {"seeds": 1}}}], "there are no rows"),
        ([rows, pick, {"id": "out", "use": "leave_out", "with": {"sources": ["seeds"]}}], "there are no rows"),
    ):
        with pytest.raises(InputError) as e:
            run_steps(tmp_path, steps)
        assert f"{answer}: of 9 rows seeds rejected 7 (unknown_label 7); of 2 rows pick set aside 2 (not_selected 2)" in str(e.value)


def test_a_training_without_a_train_split_names_the_splits_that_are_there(tmp_path: Path) -> None:
    pytest.importorskip("trl")
    from toolkit.training._shared import read_shards

    (tmp_path / "data").mkdir()
    for split in ("dev.a", "test"):
        (tmp_path / "data" / f"{split}-00000-of-00001.parquet").write_text("")
    with pytest.raises(InputError, match=r"no data/train-.*\n  all of its rows are in the splits dev.a, test"):
        read_shards(tmp_path, [], [], tmp_path / "cache")


def test_what_asks_for_shards_that_no_row_came_to_is_reported(tmp_path: Path) -> None:
    lines(tmp_path / "rows.jsonl", {"id": "a", "prompt": "p", "l": "Harmful", "reasoning": "x"})
    rows: dict[str, Any] = {"id": "seeds", "use": "read", "with": {"files": ["rows.jsonl"], "empty": True, "record": "reasoned", "columns": COLUMNS | {"reasoning": "reasoning"}, "constants": SOURCES}}  # fmt: skip
    made = run_steps(tmp_path, [rows, {"id": "rendered", "use": "render_sft"}, {"id": "out", "use": "shards", "with": {"empty": True}}])
    with pytest.raises(InputError, match=r"the step 'out' made no 'shards'\n  no row came to it"):
        made["out"].artefact("shards")
