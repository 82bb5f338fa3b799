"""`evaluate` over benchmarks: figures of each, the folder of an evaluation, and old recipes as they were."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from frames import seed, seeds, verdict, verdicts

import toolkit
from toolkit.common.errors import InputError
from toolkit.evaluation import ROWS, read_evaluation, results
from toolkit.guards import Reasoning, load_guard, render_output
from toolkit.operators import operator_class

GUARD = load_guard("guardreasoner")
H, U, R, C = "harmful", "unharmful", "refusal", "compliance"


def output(**labels: str | None) -> str:
    """What a guard writes that says these labels."""
    known = {t: labels.get(t) for t in GUARD.task_names}
    return render_output(GUARD, {t: Reasoning(["It is read."], f"It is {v}." if v else "There is none.") for t, v in known.items()}, known)


def asked_rows() -> pl.DataFrame:
    """Two benchmarks, of prompts and of refusals; one row of the second has no label."""
    rows = [seed(n, label_prompt=v, categories=["insults"] if v == H else []) for n, v in enumerate([H, H, U, U])]
    rows += [seed(n, response="No.", label_refusal=v) for n, v in zip((4, 5, 6), (R, C, None), strict=True)]
    names = ["toy_prompt"] * 4 + ["toy_refusal"] * 3
    return seeds(*rows).with_columns(benchmark=pl.Series(names))


WORDS = {
    "a": [H, None, U, H, R, R, C],
    "b": [H, H, U, U, None, C, C],
}
"""By guard the verdict on each row's task."""


def draws_on(asked: pl.DataFrame) -> pl.DataFrame:
    made = []
    for guard, words in WORDS.items():
        for n, row in enumerate(asked.drop("benchmark").iter_rows(named=True)):
            task = "prompt" if n < 4 else "refusal"
            if guard == "b" and n == 4:  # the generation failed, and there is no row of it
                continue
            made.append(verdict(row, guard, 0, output(**{task: words[n]}) if words[n] else "I do not know.", **{task: words[n]}))
    return verdicts(*made)


def evaluated(folder: Path, **options: Any) -> Any:
    asked = asked_rows()
    toolkit.apply("evaluate", {"rows": draws_on(asked), "asked": asked}, artefacts=folder, **options)
    return read_evaluation(folder / "evaluation")


def by(found: list[dict[str, Any]], *names: str) -> dict[tuple[Any, ...], dict[str, Any]]:
    return {tuple(line[n] for n in names): line for line in found}


def test_each_benchmark_has_figures_of_its_own(tmp_path: Path) -> None:
    found = evaluated(tmp_path, names={"a": "R-SFT"}, policies=["clean", "drop"])
    lines = by(found.document["results"], "benchmark", "model", "policy")
    assert len(lines) == 8 and {line["task"] for line in lines.values()} == {"prompt", "refusal"}
    cells = {key: tuple(line[n] for n in ("n", "tp", "fp", "fn", "tn", "unparsable")) for key, line in lines.items()}
    assert cells["toy_prompt", "R-SFT", "clean"] == (4, 1, 1, 1, 1, 1), "the one that was not read counts once, as wrong"
    assert cells["toy_prompt", "R-SFT", "drop"][1:5] == (1, 1, 0, 1)
    assert cells["toy_prompt", "b", "clean"] == (4, 2, 0, 0, 2, 0)
    assert cells["toy_refusal", "R-SFT", "clean"] == (2, 1, 1, 0, 0, 0), "the row without a label is not scored"
    assert cells["toy_refusal", "b", "clean"] == (2, 0, 0, 1, 1, 1), "a row that a guard failed on counts too"
    assert [(b["name"], b["task"], b["positive"], b["n"], b["unlabelled"]) for b in found.document["benchmarks"]] == [
        ("toy_prompt", "prompt", H, 4, 0),
        ("toy_refusal", "refusal", R, 2, 1),
    ]
    scores = json.loads((tmp_path / "scores" / "scores.json").read_text())
    assert by(scores, "benchmark", "guard")["toy_prompt", "b"]["f1"] == 100.0, "the artefact of before, benchmark by benchmark"
    means = by(found.document["means"], "model", "policy", "mean", "task")
    assert means["b", "clean", "macro", "prompt"]["f1"] == 100.0


def test_every_figure_comes_out_of_the_rows_again(tmp_path: Path) -> None:
    found = evaluated(tmp_path, policies=["clean", "drop", "fail-closed", "reference"])
    rows = found.rows()
    assert rows.collect_schema() == ROWS
    table = rows.collect()
    assert table.height == 14 and table.filter(pl.col("benchmark") == "toy_refusal", pl.col("model") == "b")["unread"].to_list()[0] == "not_there"
    assert set(table.filter(pl.col("gold") == H)["categories"].list.join(",")) == {"insults"}
    assert table["output"].null_count() == 1 and table["prompt"].null_count() == 0
    again = by(results(rows, {"prompt": H, "refusal": R}, policies=["clean", "drop", "fail-closed", "reference"]), "benchmark", "model", "policy")
    for key, line in by(found.document["results"], "benchmark", "model", "policy").items():
        assert {n: line[n] for n in again[key]} == again[key]


def test_rows_of_no_benchmark_go_by_their_step_and_only_where_policies_are_given(tmp_path: Path) -> None:
    asked = asked_rows()
    rows, bare = draws_on(asked), asked.drop("benchmark")
    toolkit.apply("evaluate", {"rows": rows, "asked": bare}, artefacts=tmp_path / "old")
    assert sorted(p.name for p in (tmp_path / "old").iterdir()) == ["scores"], "as it was"
    toolkit.apply("evaluate", {"rows": rows, "asked": bare}, artefacts=tmp_path / "new", policies=["clean"])
    document = read_evaluation(tmp_path / "new" / "evaluation").document
    assert {(b["name"], b["task"]) for b in document["benchmarks"]} == {("asked", "prompt"), ("asked", "refusal")}
    old, new = ((tmp_path / p / "scores" / "scores.json").read_text() for p in ("old", "new"))
    assert old == new


def test_what_finished_steps_count_by_is_what_it_was() -> None:
    cls = operator_class("evaluate")
    assert cls(cls.config_class()).identity() == {"names": {}}
    assert cls(cls.config_class.model_validate({"names": {"a": "A"}, "reading": "strict"})).identity() == {"names": {"a": "A"}, "reading": "strict"}
    assert cls.version == 2 and cls(cls.config_class()).makes == ("scores",)


def test_a_guard_of_which_too_little_is_read_has_no_figure(tmp_path: Path) -> None:
    asked = asked_rows()
    rows = draws_on(asked).with_columns(verdict_prompt=pl.lit(None, pl.String), unread_prompt=pl.lit("field_missing"))
    toolkit.apply("evaluate", {"rows": rows, "asked": asked}, artefacts=tmp_path)
    lines = by(read_evaluation(tmp_path / "evaluation").document["results"], "benchmark", "model")
    assert lines["toy_prompt", "a"]["f1"] is None and lines["toy_prompt", "a"]["withheld"]["parse_rate"] == 0
    assert lines["toy_refusal", "a"]["f1"] is not None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"policies": ["cleen"]}, "no policy 'cleen'; did you mean 'clean'?"),
        ({"policies": []}, "at least 1 item"),
        ({"names": {"a": "b"}}, "two guards are called 'b'"),
        ({"min_parse_rate": 2}, "less than or equal to 1"),
    ],
)
def test_an_option_that_is_none_is_refused(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as e:
        evaluated(tmp_path, **options)
    assert message in str(e.value)


def test_the_reference_needs_what_guards_wrote(tmp_path: Path) -> None:
    asked = asked_rows()
    with pytest.raises(InputError, match="the policy 'reference' reads the column 'output'"):
        toolkit.apply("evaluate", {"rows": draws_on(asked).drop("output"), "asked": asked}, policies=["reference"])


def test_a_benchmark_without_any_label_is_reported(tmp_path: Path) -> None:
    asked = asked_rows().with_columns(label_refusal=pl.lit(None, pl.String))
    toolkit.apply("evaluate", {"rows": draws_on(asked_rows()), "asked": asked}, artefacts=tmp_path)
    document = read_evaluation(tmp_path / "evaluation").document
    assert {b["name"] for b in document["benchmarks"]} == {"toy_prompt"}
    assert "toy_refusal: none of its 3 rows has a label of a task that guard 'guardreasoner' judges, and it is not scored" in document["remarks"]


def test_a_row_of_no_benchmark_among_those_of_some_is_an_error(tmp_path: Path) -> None:
    asked = asked_rows()
    some = asked.with_columns(benchmark=pl.when(pl.col("label_prompt") == H).then("benchmark"))
    with pytest.raises(InputError, match="5 of the 7 rows say of no benchmark"):
        toolkit.apply("evaluate", {"rows": draws_on(asked), "asked": some})
    with pytest.raises(InputError, match="the column 'benchmark' holds no text"):
        toolkit.apply("evaluate", {"rows": draws_on(asked), "asked": asked.with_columns(benchmark=pl.lit(1))})


def test_columns_of_another_kind_are_left_alone(tmp_path: Path) -> None:
    asked = asked_rows()
    odd = asked.with_columns(categories=pl.lit(7), source=pl.lit(None, pl.String))
    toolkit.apply("evaluate", {"rows": draws_on(asked).with_columns(output=pl.lit(1)), "asked": odd}, artefacts=tmp_path)
    rows = read_evaluation(tmp_path / "evaluation").rows().collect()
    assert rows.height == 14 and rows["categories"].null_count() == 14 and rows["output"].null_count() == 14
