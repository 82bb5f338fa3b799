"""`relabel`: what a consensus may set, what it may not, and that every label that changed is recorded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from frames import TASKS, rows_of, run_steps, seed, seeds, verdict, verdicts
from hypothesis import given, settings
from hypothesis import strategies as st
from test_noise import predictions

import toolkit
from toolkit.common.errors import InputError, InputErrors

GUARDS = ("a", "b", "c")


def votes(row: dict[str, Any], *words: str | None, task: str = "prompt") -> list[dict[str, Any]]:
    """One verdict of each guard; None could not be read."""
    return [verdict(row, g, 0, **{task: w}) for g, w in zip(GUARDS, words, strict=False)]


def relabel(rows: pl.DataFrame, verdicts: pl.DataFrame, **options: Any) -> pl.DataFrame:
    kept, rest = toolkit.apply("relabel", {"rows": rows, "verdicts": verdicts}, **options)
    assert rest.height == 0 and kept["id"].to_list() == rows["id"].to_list()
    return kept


def labels(rows: pl.DataFrame) -> list[tuple[str | None, str]]:
    return rows.select("label_prompt", "label_prompt_source").rows()


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ("missing", [("harmful", "consensus"), ("harmful", "human"), (None, "absent"), ("harmful", "reviewed"), ("unharmful", "human")]),
        ("contradicted", [(None, "to_infer"), ("unharmful", "consensus"), (None, "absent"), ("harmful", "reviewed"), ("unharmful", "human")]),
        ("both", [("harmful", "consensus"), ("unharmful", "consensus"), (None, "absent"), ("harmful", "reviewed"), ("unharmful", "human")]),
    ],
)
def test_what_a_consensus_sets(change: str, wanted: list[Any], tmp_path: Path) -> None:
    given_ = [
        seed(0, prompt="missing", label_prompt_source="to_infer"),
        seed(1, prompt="contradicted", label_prompt="harmful"),
        seed(2, prompt="missing, and they differ"),
        seed(3, prompt="reviewed", label_prompt="harmful", label_prompt_source="reviewed"),
        seed(4, prompt="agreed", label_prompt="unharmful"),
    ]
    verdict_rows = [
        *votes(given_[0], "harmful", "harmful", "harmful"), *votes(given_[1], "unharmful", "unharmful", None),
        *votes(given_[2], "harmful", "unharmful", "harmful"), *votes(given_[3], "unharmful", "unharmful", "unharmful"),
        *votes(given_[4], "unharmful", "unharmful", "unharmful"),
    ]  # fmt: skip
    rows, table = seeds(*given_), verdicts(*verdict_rows)
    kept = relabel(rows, table, change=change, artefacts=tmp_path / "made")
    assert labels(kept) == wanted
    changes = pl.read_parquet(tmp_path / "made" / "changes" / "changes.parquet")
    assert changes["id"].to_list() == [r["id"] for r, (_, source) in zip(given_, wanted, strict=True) if source == "consensus"]
    assert changes["applied"].all() and set(changes["new_source"]) <= {"consensus"}
    for r, line in zip(kept.iter_rows(named=True), [*wanted], strict=True):
        assert (r["label_trail"] is not None) == (line[1] == "consensus")
    flagged = relabel(rows, table, change=change, mode="flag", artefacts=tmp_path / "flagged")
    assert labels(flagged) == labels(rows) and "label_trail" not in flagged.columns, "it suggests only"
    assert flagged["consensus_prompt"].to_list() == ["harmful", "unharmful", None, "unharmful", "unharmful"] == kept["consensus_prompt"].to_list()
    suggested = pl.read_parquet(tmp_path / "flagged" / "changes" / "changes.parquet")
    assert suggested.drop("applied").equals(changes.drop("applied")) and not suggested["applied"].any()


def test_the_trail_keeps_what_was_before() -> None:
    row = seed(0, label_prompt="harmful", label_prompt_source="vote")
    kept = relabel(seeds(row), verdicts(*votes(row, "unharmful", "unharmful", "unharmful")), change="both")
    assert json.loads(kept["label_trail"][0]) == [
        {"task": "prompt", "label": "harmful", "source": "vote", "new_label": "unharmful", "new_source": "consensus", "by": "relabel (relabel)",
         "decision": "consensus", "why": "a: unharmful 1; b: unharmful 1; c: unharmful 1"}
    ]  # fmt: skip


def test_quorum_voters_votes_and_margin() -> None:
    row = seed(0)

    def consensus(*words: str | None, **options: Any) -> str | None:
        return relabel(seeds(row), verdicts(*votes(row, *words)), **options)["consensus_prompt"][0]  # type: ignore[no-any-return]

    assert consensus("harmful", "harmful", "unharmful") is None
    assert consensus("harmful", "harmful", "unharmful", quorum=0.6) == "harmful"
    assert consensus("harmful", "harmful", "unharmful", quorum=2 / 3) == "harmful", "two of three are two thirds"
    assert consensus("harmful", "harmful", "unharmful", quorum=0.6, margin=0.5) is None
    assert consensus("harmful", None, None) is None and consensus("harmful", None, None, min_voters=1) == "harmful"
    assert consensus("harmful", "harmful", min_votes=3) is None
    assert consensus("harmful", "harmful", "unharmful", weights={"c": 0}) == "harmful"
    assert consensus("harmful", "unharmful", weights={"a": 3}, quorum=0.75) == "harmful"
    # Draws of one guard are one voice.
    many = [verdict(row, "a", d, prompt="harmful") for d in range(9)] + [verdict(row, "b", 0, prompt="unharmful")]
    assert relabel(seeds(row), verdicts(*many), quorum=0.51)["consensus_share_prompt"].to_list() == [0.5]


def test_no_label_is_invented_where_the_task_does_not_apply() -> None:
    row = seed(0, label_response_source="not_applicable")
    kept = relabel(seeds(row), verdicts(*votes(row, "harmful", "harmful", "harmful", task="response")), change="both")
    assert kept.select("label_response", "label_response_source").row(0) == (None, "not_applicable")


def test_bad_options_are_named() -> None:
    row = seed(0)
    verdict_rows = verdicts(*votes(row, "harmful"))
    with pytest.raises(InputError, match=r"no source of labels is called 'humans'; did you mean 'human'"):
        relabel(seeds(row), verdict_rows, protect=["humans"])
    with pytest.raises(InputError, match="no votes of a guard 'd'"):
        relabel(seeds(row), verdict_rows, weights={"d": 1})
    with pytest.raises(InputError, match="relabel has no votes to go by"):
        toolkit.apply("relabel", seeds(row))


WORD = st.sampled_from([None, "harmful", "unharmful"])


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(WORD, st.sampled_from(["human", "reviewed", "vote"]), st.lists(WORD, min_size=3, max_size=3)), min_size=1, max_size=10),
    st.sampled_from(["missing", "contradicted", "both"]),
    st.sampled_from([0.6, 1.0]),
)
def test_every_label_that_changed_stands_in_the_changes(
    tmp_path_factory: pytest.TempPathFactory, given_: list[Any], change: str, quorum: float
) -> None:
    folder = tmp_path_factory.mktemp("relabel")
    made = [seed(n, label_prompt=w, label_prompt_source=s if w else "absent") for n, (w, s, _) in enumerate(given_)]
    rows, verdict_rows = seeds(*made), verdicts(*(v for row, (_, _, words) in zip(made, given_, strict=True) for v in votes(row, *words)))
    kept = relabel(rows, verdict_rows, change=change, quorum=quorum, artefacts=folder / "made")
    changes = pl.read_parquet(folder / "made" / "changes" / "changes.parquet")
    before, after = labels(rows), labels(kept)
    different = [r["id"] for r, a, b in zip(made, before, after, strict=True) if a != b]
    assert different == changes["id"].to_list() == kept.filter(pl.col("label_trail").is_not_null())["id"].to_list()
    for line in changes.iter_rows(named=True):
        n = next(i for i, r in enumerate(made) if r["id"] == line["id"])
        assert (line["label"], line["source"]) == before[n] and (line["new_label"], line["new_source"]) == after[n]
        assert line["source"] != "reviewed" and line["label"] != line["new_label"]
    assert kept.select(c for c in rows.columns if not c.startswith("label_prompt")).equals(
        rows.select(c for c in rows.columns if not c.startswith("label_prompt"))
    )


def test_predictions_are_relabelled_in_a_recipe(tmp_path: Path) -> None:
    steps, wrong = predictions(tmp_path)
    steps[-1] = {"id": "r", "use": "relabel", "from": {"rows": "v"}, "with": {"change": "contradicted", "tasks": ["prompt"]}}
    step = run_steps(tmp_path, steps)["r"]
    rows, stats = rows_of(step), step.manifest["stats"]["task_prompt"]
    changed = rows.filter(pl.col("label_prompt_source") == "consensus")
    assert changed.height == stats["changed"] and stats["filled"] == 0 and set(changed["source_row"]) & wrong
    assert rows.height == 40 and step.manifest["counts"][0]["merged"] == 80
    assert {f"label_{t}" for t in TASKS} <= set(rows.columns) and "output" not in rows.columns


def ensemble(
    folder: Path, *given_: tuple[str | None, str, list[str | None]], **options: Any
) -> tuple[list[str], list[tuple[str, str, str]], pl.DataFrame]:
    """What becomes of rows with a label, its source and the votes of three guards: prompts kept; prompt, reason and detail of the others; the list."""
    made = [seed(n, prompt=f"p{n}", label_prompt=w, label_prompt_source=s) for n, (w, s, _) in enumerate(given_)]
    table = verdicts(*(v for row, (_, _, words) in zip(made, given_, strict=True) for v in votes(row, *words)))
    kept, rest = toolkit.apply("relabel", {"rows": seeds(*made), "verdicts": table}, tasks=["prompt"], artefacts=folder, **options)
    left = rest.select("prompt", "_reason", "_detail").rows() if rest.height else []
    return kept["prompt"].to_list(), left, pl.read_parquet(folder / "review" / "review.parquet")


H, U = "harmful", "unharmful"


def test_what_voters_do_not_settle_leaves_with_every_vote_and_is_listed_for_review(tmp_path: Path) -> None:
    rows: list[tuple[str | None, str, list[str | None]]] = [
        (H, "human", [H, H, H]), (U, "human", [H, H, H]), (H, "vote", [H, U, H]), (None, "to_infer", [H, H, H]),
        (None, "absent", [H, U, None]), (U, "reviewed", [H, H, H]), (H, "human", [None, None, None]),
    ]  # fmt: skip
    kept, left, listed = ensemble(tmp_path / "a", *rows, disputed="reject")
    assert kept == ["p0", "p3", "p5"], "unanimous with the label, or filled in by all, or decided by a person"
    assert left == [
        ("p1", "contradicted", "prompt: unharmful; a: harmful 1; b: harmful 1; c: harmful 1"),
        ("p2", "no_consensus", "prompt: harmful; a: harmful 1; b: unharmful 1; c: harmful 1"),
        ("p4", "no_consensus", "prompt: no label; a: harmful 1; b: unharmful 1; c: unread 1"),
        ("p6", "no_consensus", "prompt: harmful; a: unread 1; b: unread 1; c: unread 1"),
    ]
    assert listed.select("rank", "prompt", "suggested", "votes").row(0) == (1, "p1", H, "a: harmful 1; b: harmful 1; c: harmful 1")
    assert listed["prompt"].to_list() == ["p1", "p2", "p4", "p6"] and {"decision", "reviewer", "note"} <= set(listed.columns)
    kept, left, listed = ensemble(tmp_path / "b", *rows, disputed="set_aside", quorum=0.6, change="both", most=1)
    assert kept == ["p0", "p1", "p2", "p3", "p5"] and [p for p, _, _ in left] == ["p4", "p6"], "by majority, and the label changes"
    assert listed.height == 1


def test_a_decision_about_what_was_listed_lets_the_row_pass(tmp_path: Path) -> None:
    row = seed(0, label_prompt=U)
    table = verdicts(*votes(row, H, H, H))
    first = toolkit.apply("relabel", {"rows": seeds(row), "verdicts": table}, tasks=["prompt"], disputed="set_aside", artefacts=tmp_path / "made")
    assert not first.kept.height and first.figures["disputed"] == [{"task": "prompt", "reason": "contradicted", "labels": 1}]
    sheet = pl.read_csv(tmp_path / "made" / "review" / "review.csv").with_columns(decision=pl.lit("keep"))
    sheet.write_csv(tmp_path / "decided.csv")
    reviewed = toolkit.apply("review", seeds(row), decisions=str(tmp_path / "decided.csv")).kept
    again = toolkit.apply("relabel", {"rows": reviewed, "verdicts": table}, tasks=["prompt"], disputed="set_aside").kept
    assert again.select("label_prompt", "label_prompt_source").rows() == [(U, "reviewed")]
    with pytest.raises(InputErrors, match="none can be settled"):
        toolkit.apply("relabel", {"rows": seeds(row), "verdicts": table}, mode="flag", disputed="reject")
