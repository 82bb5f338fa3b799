"""`toolkit.review`: what is in the queue, whose turn a label is, agreement and adjudication, and the way back into the next build."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from reviewed_run import make

import toolkit
from toolkit.common.errors import InputError
from toolkit.common.locks import Busy, Lock
from toolkit.guards import load_guard
from toolkit.reviewing import KINDS, Item, instructions, item_lines
from toolkit.taxonomy import load_taxonomy

H, U = "harmful", "unharmful"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("reviewed"))


@pytest.fixture
def run(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run of its own to review."""
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(made, tmp_path / "run"))


@pytest.fixture
def rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of forty labelled rows."""
    monkeypatch.chdir(tmp_path)
    table = pl.DataFrame(
        {"id": [f"r{n}" for n in range(40)], "prompt": "Q?", "label_prompt": H, "label_prompt_source": "human", "categories": [["violence"]] * 40}
    )
    table.write_parquet(tmp_path / "rows.parquet")
    return tmp_path / "rows.parquet"


def ids(review: Any) -> list[str]:
    return [item.id for item in review.queue.items]


# The queue ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "step", "found"),
    [
        ("noise", "noisy", ["r1", "r2"]),
        ("blind", "faulty", ["r1", "r2"]),
        ("flags", "faulty", [f"r{n}" for n in range(8)]),
        ("rejects", "valid", [f"r{n}" for n in range(8)]),
        ("labels", "faulty", [f"r{n}" for n in range(8)]),
        ("disputes", None, []),
    ],
)
def test_each_kind_of_doubt_is_a_queue(kind: Any, step: str | None, found: list[str], made: Path) -> None:
    review = toolkit.review(made, kind=kind)
    assert (review.queue.step, ids(review)) == (step, found)
    if found:
        item = next(i for i in review.queue.items if i.id == "r1")
        assert (item.label, item.suggested, dict(item.texts)) == (H, U, {"prompt": "Question 1?"})
        assert bool(item.evidence) == (kind != "labels")


def test_without_a_step_the_first_kind_that_there_is(made: Path) -> None:
    assert toolkit.review(made).queue.kind == "noise"
    assert toolkit.review(made, step="valid").queue.kind == "rejects" and toolkit.review(made / "rows").queue.kind == "blind"
    assert len(toolkit.review(made, kind="labels", most=3).queue.items) == 3
    assert "disputed" in toolkit.review(made, kind="disputes").figures()["notes"][0], "an empty queue says why"


def test_what_guards_dispute_comes_with_their_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from workspace import furnish

    monkeypatch.chdir(tmp_path)
    furnish(tmp_path)
    toolkit.mine({"anna": "anna.jsonl", "berta": "berta.jsonl"}, output="mined")
    review = toolkit.review("mined")
    assert review.queue.kind == "disputes"
    first = review.queue.items[0]
    evidence = {e.name: e.text for e in first.evidence}
    assert evidence["anna"] == f"{H} 1" and evidence["why"].startswith("1 of 2 votes") and "Reasoning." in evidence["anna writes"]
    assert (first.label, first.suggested) == (U, H)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"kind": "nois"}, "did you mean 'noise'"),
        ({"step": "noisi"}, "did you mean 'noisy'"),
        ({"most": 0}, "from 1"),
        ({"double": 2}, "from 0 to 1"),
        ({"reviewer": "../anna"}, "cannot name a reviewer"),
        ({"guard": "nosuch"}, "no guard"),
    ],
)
def test_what_cannot_be_reviewed_says_so(given: dict[str, Any], message: str, made: Path) -> None:
    with pytest.raises(InputError, match=message):
        toolkit.review(made, **given)
    assert not made.with_name("run.review").exists()


def test_places_that_are_none(rows: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        toolkit.review("nowhere")
    with pytest.raises(InputError, match="of a run's step"):
        toolkit.review(rows, kind="noise")
    pl.DataFrame({"label_prompt": [H]}).write_parquet("without.parquet")
    with pytest.raises(InputError, match="no column 'id'"):
        toolkit.review("without.parquet")


def test_a_run_that_is_being_built_is_refused(run: Path) -> None:
    lock = Lock(run / ".guardkit.lock", "the run's folder")
    try:
        with pytest.raises(InputError, match="is being built by process") as e:
            toolkit.review(run)
    finally:
        lock.release()
    assert "wait until it ends" in str(e.value.hint) and toolkit.review(run).queue.items


# Decisions ------------------------------------------------------------------------------------------------------------


def test_ten_decisions_go_into_the_next_build_with_their_trail(rows: Path) -> None:
    with toolkit.review(rows, reviewer="anna") as review:
        for n, word in enumerate(["keep", "flip", U, "drop", "unsure", H, "Flip", "keep", U, "keep"]):
            review.decide(review.queue.items[n], word, "as the policy says" if n == 1 else None)
        assert review.figures()["decided"] == 10 and review.next() == review.queue.items[10]
        assert review.export("decisions.csv") == {"output": "decisions.csv", "lines": 10}
    table = pl.read_parquet(rows).with_columns(
        **{f"label_{t}{s}": pl.lit(v, pl.String) for t in ("refusal", "response") for s, v in (("", None), ("_source", "absent"))}
    )
    kept, rest = toolkit.apply("review", table, decisions="decisions.csv")
    assert rest["id"].to_list() == ["r3"]
    labels = dict(zip(kept["id"], zip(kept["label_prompt"], kept["label_prompt_source"], strict=True), strict=True))
    assert [labels[f"r{n}"] for n in (0, 1, 2, 4, 10)] == [(H, "reviewed"), (U, "reviewed"), (U, "reviewed"), (H, "human"), (H, "human")]
    (trail,) = json.loads(kept.filter(pl.col("id") == "r1")["label_trail"][0])
    assert (trail["label"], trail["new_label"], trail["reviewer"], trail["why"]) == (H, U, "anna", "as the policy says") and trail["when"].endswith(
        "Z"
    )


def test_skip_undo_and_a_second_thought(rows: Path) -> None:
    with toolkit.review(rows, reviewer="anna", most=3) as review:
        first, second, third = review.queue.items
        review.skip(first)
        assert review.next() == second, "what is skipped comes last"
        review.decide(second, U)
        review.decide(third, U)
        assert review.undo() == third and review.left() == [third, first]
        review.decide(second, H)
        assert [(line["id"], line["decision"]) for line in review.settled()] == [("r1", "keep")]
        review.undo()
        assert review.undo() is None and review.settled() == []
    assert len((rows.parent / "rows.parquet.review/decisions/anna.jsonl").read_text().splitlines()) == 5, "lines are only ever added"


@pytest.mark.parametrize(
    ("word", "message"), [("harmfull", "did you mean 'harmful'"), ("", "unknown decision"), ("yes", "known: drop, flip, harmful")]
)
def test_an_unknown_label_is_refused_and_nothing_recorded(word: str, message: str, rows: Path) -> None:
    with toolkit.review(rows, reviewer="anna") as review, pytest.raises(InputError, match=message):
        review.decide(review.queue.items[0], word)
    assert toolkit.review(rows).figures()["decided"] == 0


def test_a_label_that_is_gone_cannot_be_decided(rows: Path) -> None:
    with toolkit.review(rows, reviewer="anna") as review:
        with pytest.raises(InputError, match="no label of the row 'r99'"):
            review.decide(Item("r99", "prompt", H), U)
        with pytest.raises(InputError, match="has changed since"):
            review.decide(Item("r1", "prompt", U), U)
    with pytest.raises(InputError, match="nobody reviews"):
        toolkit.review(rows).decide(Item("r1", "prompt", H), U)


def test_decisions_about_rows_that_are_gone_or_labels_that_changed_are_counted(rows: Path) -> None:
    with toolkit.review(rows, reviewer="anna") as review:
        for item in review.queue.items[:4]:
            review.decide(item, U)
    table = pl.read_parquet(rows).filter(pl.col("id") != "r0")
    table.with_columns(label_prompt=pl.when(pl.col("id") == "r1").then(pl.lit(U)).otherwise("label_prompt")).write_parquet(rows)
    later = toolkit.review(rows)
    figures = later.figures()
    assert (figures["decided"], figures["gone"], figures["stale"]) == (2, 1, 1)
    assert [line["id"] for line in later.settled()] == ["r2", "r3", "r0"], "what is stale is asked about again; the operator says which row is gone"


def test_two_reviewers_under_one_name_are_refused(rows: Path) -> None:
    with toolkit.review(rows, reviewer="anna") as review:
        with pytest.raises(Busy, match="the review by 'anna' is in use"):
            toolkit.review(rows, reviewer="anna")
        with pytest.raises(InputError, match="differs in case alone"):
            toolkit.review(rows, reviewer="Anna")
        toolkit.review(rows, reviewer="berta").close()
        review.decide(review.next() or review.queue.items[0], U)
    toolkit.review(rows, reviewer="anna").close()


# Several reviewers ----------------------------------------------------------------------------------------------------


def test_who_decides_what_depends_on_ids_and_seed_alone(rows: Path) -> None:
    with toolkit.review(rows, reviewer="anna", team=["berta", "carla"], double=0.5, seed=3) as review:
        team = review.reviewers()
        assert team == ["anna", "berta", "carla"]
        meant = {item.id: review.meant(item, team) for item in review.queue.items}
        doubled = [i for i, names in meant.items() if len(names) == 2]
        assert 10 < len(doubled) < 30 and {n for names in meant.values() for n in names} == set(team)
        fewer = {item.id: review.meant(item, ["anna", "berta"]) for item in review.queue.items}
        assert all(name in fewer[i] for i, names in meant.items() for name in names if name != "carla"), (
            "who joins takes over, and no others change hands"
        )
        assert {item.id for item in review.left()} == {i for i, names in meant.items() if "anna" in names}
    again = toolkit.review(rows, reviewer="berta")
    assert (again.double, again.seed) == (0.5, 3)
    assert {item.id for item in again.left()} == {i for i, names in meant.items() if "berta" in names}
    again.close()
    with pytest.raises(InputError, match=r"was begun with double 0\.5, not 0\.25"):
        toolkit.review(rows, double=0.25)


def test_agreement_and_adjudication(rows: Path) -> None:
    words = {"anna": [H, H, U, U, H, U, "unsure"], "berta": [H, U, U, U, H, H, H]}
    for name, decided in words.items():
        with toolkit.review(rows, reviewer=name, double=1, most=7) as review:
            for item, word in zip(review.queue.items, decided, strict=True):
                review.decide(item, word, f"{name} thinks so")
    (agreement,) = toolkit.review(rows, most=7).figures()["agreement"]
    assert (agreement["rows"], agreement["same"]) == (6, 4)
    (pair,) = agreement["pairs"]
    assert (pair["a"], pair["b"], pair["rows"], pair["kappa"]) == ("anna", "berta", 6, round((4 / 6 - 0.5) / 0.5, 6))
    with toolkit.review(rows, reviewer="carla", adjudicate=True, most=7) as review:
        assert [item.id for item in review.left()] == ["r1", "r5", "r6"]
        item = review.left()[0]
        assert [(e.name, e.text) for e in item.evidence] == [
            ("anna", f"{H}: anna thinks so"),
            ("berta", f"{U}: berta thinks so"),
        ]
        assert len(review.settled()) == 4, "what is disagreed on is not in the list"
        review.decide(item, U, "rule 2")
        assert [item.id for item in review.left()] == ["r5", "r6"]
        (line,) = (line for line in review.settled() if line["id"] == "r1")
        assert (line["decision"], line["reviewer"], line["note"]) == (U, "carla", f"rule 2: adjudicated (anna: {H}; berta: {U})")
        assert review.reviewers() == ["anna", "berta"]
    figures = toolkit.review(rows, most=7).figures()
    assert (figures["disagreements"], figures["adjudicated"], figures["double"]) == (2, 1, {"share": 1.0, "labels": 7, "decided": 7})


def test_a_label_that_two_decide_waits_for_the_second(rows: Path) -> None:
    with toolkit.review(rows, reviewer="anna", double=1, most=2) as review:
        review.decide(review.queue.items[0], U)
        assert review.settled() == [] and review.figures()["decided"] == 0
        assert toolkit.review(rows, most=1).settled() == [], "nor in another queue of the folder"
    with toolkit.review(rows, reviewer="berta", most=2) as review:
        review.decide(review.queue.items[0], U)
        (line,) = review.settled()
        assert (line["decision"], line["reviewer"]) == (U, "anna, berta")


# What is shown --------------------------------------------------------------------------------------------------------


def test_text_that_may_harm_is_hidden_until_it_is_asked_for_and_nothing_in_it_is_obeyed() -> None:
    guard, taxonomy = load_guard("guardreasoner"), load_taxonomy("guardkit")
    text = "\x1b[31mred\x07 \u202ereversed" + "x" * 100
    item = Item("a", "prompt", H, "human", U, (("prompt", text),), ("violence", "nosuch"))
    hidden, start, everything = ("\n".join(item_lines(item, guard, taxonomy, shown=how)) for how in ("hidden", "start", "all"))
    assert "red" not in hidden and "letters hidden" in hidden
    assert "\\x1b[31mred" in start and "letters hidden" in start and "x" * 100 not in start
    assert "x" * 100 in everything and not {"\x1b", "\x07", "\u202e"} & set(everything)
    assert (
        "is the human user's request harmful or unharmful" in hidden and "Hurting, threatening" in hidden and "nosuch: not in the taxonomy" in hidden
    )
    harmless = Item("a", "prompt", U, "human", None, (("prompt", "Hello."),))
    assert "prompt: Hello." in item_lines(harmless, guard, taxonomy)


def test_the_instructions_name_each_task_and_key() -> None:
    page = "\n".join(instructions(load_guard("guardreasoner"), {"1": "unharmful", "q": "quit"}))
    assert "refusal or compliance" in page and "q  quit" in page and "hidden until you ask" in page


def test_every_kind_is_explained() -> None:
    from toolkit.reviewing import _queue

    assert all(f"\n{kind} " in str(_queue.__doc__) for kind in KINDS)
