"""`assign_categories`: categories by a vote of a model's answers, where they come from, and what was assigned against what was known."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
from frames import reasons, rows_of, run_steps, seeds
from server import running
from teachers import Teacher, openai

import toolkit
from toolkit.common.errors import GuardkitError, InputError
from toolkit.operators import operator_class
from toolkit.operators.figures import Table
from toolkit.operators.labels._category_figures import Confusion, voted
from toolkit.operators.labels.assign_categories import SOURCES
from toolkit.taxonomy import load_taxonomy

HARMFUL = {"label_prompt": "harmful"}
TEMPLATE = {"backend": "template"}


@pytest.fixture
def model() -> Iterator[Teacher]:
    with running(Teacher()) as served:
        assert isinstance(served, Teacher)
        yield served


def scripted(model: Teacher, answers: dict[str, list[Any]]) -> None:
    """Let the model answer by a word of the request: each time with the next of these (a number: a status)."""
    left = {word: iter(texts) for word, texts in answers.items()}

    def say(body: dict[str, Any]) -> str | int:
        found = next(word for word in left if word in body["messages"][-1]["content"])
        given = next(left[found])
        return given if isinstance(given, str | int) else json.dumps({"categories": given})

    model.say = say


def test_the_vote_of_k_answers_decides_and_says_how_far_they_agree(model: Teacher, tmp_path: Path) -> None:
    scripted(
        model,
        {
            "tracks": [["privacy"], ["privacy", "cybercrime"], ["cybercrime", "privacy"]],
            "quarrel": [["violence"], ["privacy"], ["fraud_theft"]],
            "garden": [["none"], [], ["privacy"]],
            "mumbled": ["well", "no", "so", "um", "ah", "oh"],
        },
    )
    rows = seeds(*({"prompt": f"It {word}.", **HARMFUL} for word in ("tracks", "quarrel", "garden", "mumbled")))
    options: dict[str, Any] = {"backend": openai(model, temperature=0.7), "k": 3, "at_least": 0.6, "work": tmp_path}
    kept = toolkit.apply("assign_categories", rows, **options).kept
    assert kept["categories"].to_list() == [["privacy", "cybercrime"], [], [], []]
    assert kept["categories_source"].to_list() == ["model", "undecided", "model", "unread"]
    assert kept["categories_agreement"].round(3).to_list() == [0.667, None, 0.667, None]
    assert kept["categories_votes"][0].to_list()[0] == {"category": "privacy", "share": 1.0, "n": 3}
    assert kept["categories_votes"][2].to_list()[0] == {"category": "none", "share": pytest.approx(2 / 3), "n": 2}
    assert [len(keys.split()) for keys in kept["categories_key"]] == [3, 3, 3, 6], "an answer that cannot be read is asked for again"
    shown = model.requests[0]["messages"][0]["content"]
    assert all(c.policy_text() in shown for c in load_taxonomy().categories)
    asked = len(model.requests)
    kept, rest = toolkit.apply("assign_categories", rows, **options, on_fault="reject")
    assert len(model.requests) == asked, "the journal has the answers"
    assert kept.height == 3 and reasons(rest) == {"categories_malformed": 1}


def test_an_answer_is_read_where_it_names_categories_and_nothing_else(model: Teacher, tmp_path: Path) -> None:
    taxonomy = tmp_path / "mine.yaml"
    taxonomy.write_text(
        "name: mine\nversion: 1\nextends: guardkit\ncategories:\n"
        "  - {name: vote-lies, title: Lies on votes, definition: False claims on how to vote., aliases: [ballots]}\n"
    )
    wrong = [
        '{"categories": ["votes"]}',
        '{"categories": "privacy"}',
        '{"categories": ["none", "privacy"]}',
        '{"categories": [], "why": ""}',
        "privacy",
    ]
    texts = ["```json\n" + json.dumps({"categories": ["ballots", "vote-lies"]}) + "\n```", *wrong]
    scripted(model, {f"number {n}.": [text] for n, text in enumerate(texts)})
    rows = seeds(*({"prompt": f"Question number {n}.", **HARMFUL} for n in range(len(texts))))
    kept = toolkit.apply("assign_categories", rows, backend=openai(model), attempts=1, taxonomy=taxonomy, work=tmp_path).kept
    assert kept["categories"].to_list() == [["vote-lies"], *[[]] * len(wrong)], "an alias is its category"
    assert kept["categories_source"].to_list() == ["model", *["unread"] * len(wrong)]


def test_rows_that_need_none_are_not_asked_about(model: Teacher, tmp_path: Path) -> None:
    scripted(model, {"new": [["violence"]], "open": [["privacy"]]})
    rows = seeds(
        {"prompt": "A new one.", **HARMFUL},
        {"prompt": "An old one.", **HARMFUL, "categories": ["fraud_theft"]},
        {"prompt": "A fine one.", "label_prompt": "unharmful"},
        {"prompt": "An open one."},
    )
    kept, rest = toolkit.apply("assign_categories", rows, backend=openai(model), work=tmp_path)
    assert rest.height == 0 and kept["id"].to_list() == rows["id"].to_list()
    assert kept["categories"].to_list() == [["violence"], ["fraud_theft"], [], ["privacy"]] and len(model.requests) == 2
    assert kept["categories_source"].to_list() == ["model", "source", "labels", "model"] and set(kept["categories_source"]) <= set(SOURCES)
    again = toolkit.apply("assign_categories", kept, backend=openai(model), work=tmp_path).kept
    assert again["categories_source"].to_list() == ["model", "source", "labels", "model"], "where a category came from first is kept"
    assert again["categories_votes"].to_list() == kept["categories_votes"].to_list() and len(model.requests) == 2

    scripted(model, {"old": [["privacy"]]})
    replaced = toolkit.apply("assign_categories", rows[1:2], backend=openai(model), known="again", work=tmp_path).kept
    assert replaced.select("categories", "categories_before", "categories_source").row(0) == (["privacy"], ["fraud_theft"], "model")


def test_a_failed_generation_is_rejected_with_its_class(model: Teacher, tmp_path: Path) -> None:
    scripted(model, {"good": [["privacy"]], "bad": [400]})
    rows = seeds({"prompt": "A bad one.", **HARMFUL}, {"prompt": "A good one.", **HARMFUL})
    kept, rest = toolkit.apply("assign_categories", rows, backend=openai(model), work=tmp_path)
    assert kept["categories"].to_list() == [["privacy"]] and reasons(rest) == {"bad_request": 1}


def test_a_picture_goes_along_whatever_the_guard_judges(model: Teacher, tmp_path: Path) -> None:
    (tmp_path / "cat.png").write_bytes(b"a picture")
    cat = {"kind": "image", "uri": "cat.png", "sha256": hashlib.sha256(b"a picture").hexdigest(), "mime": "image/png"}
    rows = seeds({"prompt": "What is that?", **HARMFUL})
    rows = rows.with_columns(media=pl.Series([[cat]], dtype=pl.List(pl.Struct(dict.fromkeys(cat, pl.String)))))
    model.say = lambda body: json.dumps({"categories": ["privacy" if "image_url" in str(body["messages"][-1]) else "none"]})
    kept = toolkit.apply("assign_categories", rows, backend=openai(model), media_folder=tmp_path, work=tmp_path / "work").kept
    assert kept["categories"].to_list() == [["privacy"]]
    with pytest.raises(InputError, match="cannot carry"):
        toolkit.apply("assign_categories", rows, backend={"backend": "vllm", "model": "x"}, media_folder=tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backend": {"backend": "openai", "model": "m", "temperature": 0}, "k": 3}, "3 answers at temperature 0 are 3 times the same"),
        ({"backend": TEMPLATE, "harm_tasks": ["promt"]}, "has no task 'promt'\n.*did you mean 'prompt'"),
        ({"backend": TEMPLATE, "prompt": "grade"}, "unknown variable"),
    ],
)
def test_options_that_cannot_be(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(GuardkitError, match=message):
        toolkit.apply("assign_categories", seeds({}), **options, work=tmp_path)


# Against what is known ------------------------------------------------------------------------------------------------

FLAGS = ("animal_abuse", "financial_crime,property_crime,theft", "privacy_violation", "violence,aiding_and_abetting,incitement")


def beavertails(prompt: str, *flags: str) -> dict[str, Any]:
    """A row with the columns that BeaverTails has on the hub."""
    return {"prompt": prompt, "response": "So it goes.", "category": {f: f in flags for f in FLAGS}, "is_safe": not flags}


def aegis(text: str, *labels: str) -> dict[str, Any]:
    """The same of Aegis 1.0."""
    return {"text": text, "num_annotations": len(labels), **{f"labels_{i}": labels[i] if i < len(labels) else None for i in range(5)}}


FILES: dict[str, list[dict[str, Any]]] = {
    "beavertails_30k_train": [
        beavertails("The cat one", "animal_abuse"),
        beavertails("The purse one", "financial_crime,property_crime,theft", "privacy_violation"),
        beavertails("The diary one", "privacy_violation"),
        beavertails("The tea one"),
    ],
    "aegis_train": [
        aegis("The shouting one", "Threat", "Violence", "Safe"),
        aegis("The address one", "PII/Privacy", "PII/Privacy, Harassment", "PII/Privacy"),
        aegis("The morning one", "Safe", "Safe", "Safe"),
    ],
}
SAYS = {"cat": ["animal_cruelty"], "purse": ["fraud_theft", "cybercrime"], "diary": [], "tea": ["violence"], "shouting": ["violence"],
        "address": ["privacy"], "morning": []}  # fmt: skip


def test_what_is_assigned_is_held_against_the_categories_that_two_sources_gave(model: Teacher, tmp_path: Path) -> None:
    for name, lines in FILES.items():
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    scripted(model, {word: [answer] for word, answer in SAYS.items()})
    loads = [{"id": name.partition("_")[0], "use": "load", "with": {"source": name}} for name in FILES]
    both = {"id": "both", "use": "concat", "from": {"rows": "beavertails", "more": "aegis"}}
    step = {"id": "assigned", "use": "assign_categories", "with": {"backend": openai(model), "known": "measure", "harmless": "ask"}}
    done = run_steps(tmp_path, [*loads, both, step], sources={name: [tmp_path / f"{name}.jsonl"] for name in FILES})["assigned"]
    rows = rows_of(done)
    assert set(rows["categories_source"]) == {"source", "model"}
    assert rows.filter(pl.col("prompt") == "The purse one")["categories"].item().to_list() == ["fraud_theft", "privacy"], "it keeps its own"
    stats = done.manifest["stats"]
    assert stats["compared"] == 7 and stats["outcomes"] == {"model": 5, "none": 2}
    assert stats["confusion"] == {
        "violence": {"violence": 1},
        "threats": {"none": 1},
        "animal_cruelty": {"animal_cruelty": 1},
        "harassment": {"none": 1},
        "fraud_theft": {"fraud_theft": 1},
        "privacy": {"cybercrime": 1, "privacy": 1, "none": 1},
        "none": {"violence": 1, "none": 1},
    }
    assert stats["scores"]["violence"] == {"given": 1, "assigned": 2, "both": 1, "precision": 50.0, "recall": 100.0, "f1": 66.67}
    assert stats["scores"]["privacy"] == {"given": 3, "assigned": 1, "both": 1, "precision": 100.0, "recall": 33.33, "f1": 50.0}
    assert stats["scores"]["harassment"]["precision"] is None
    of: Any = SimpleNamespace(step="assigned", stats=stats)
    tables = [part for f in operator_class("assign_categories").figures for part in f.shown(of, f, f.value(of)) if isinstance(part, Table)]
    assert ["privacy", "cybercrime", 1] in tables[2].rows and ["violence", 1, 2, 1, 50.0, 100.0, 66.67] in tables[3].rows


def test_the_embedded_teacher_goes_by_the_taxonomys_words(tmp_path: Path) -> None:
    """Without a key, on the bundled seeds: it finds far more than a draw would, and says of every row where its category comes from."""
    load = {"id": "seeds", "use": "load", "with": {"source": "quickstart", "parts": ["core"]}}
    step = {"id": "assigned", "use": "assign_categories", "with": {"backend": TEMPLATE, "known": "again"}}
    done = run_steps(tmp_path, [load, step])["assigned"]
    rows, stats = rows_of(done), done.manifest["stats"]
    known = rows.filter(pl.col("categories_before").list.len() > 0)
    found = known.filter(pl.col("categories_before").list.set_intersection("categories").list.len() > 0)
    assert stats["compared"] == known.height and sum(line["both"] for c, line in stats["scores"].items() if c != "none") == found.height
    assert found.height > 2 * known.height / len(load_taxonomy().names)
    left = rows.filter(pl.col("categories_before").list.len() == 0)
    assert dict(Counter(left["categories_source"])) == {"labels": left.height} and stats["outcomes"]["labels"] == left.height
    assert set(known["categories_model"].str.split("/").list.first()) == {"template"}


def test_a_vote_needs_its_share_and_a_row_may_be_known_to_be_harmless() -> None:
    assert voted([["a"], ["b"]], 0.5).categories == ["a", "b"] and voted([["a"], ["b"]], 0.6).outcome == "undecided"
    assert voted([[], ["a"], []], 0.5).agreement == pytest.approx(2 / 3) and voted([], 0.5).outcome == "unread"
    confusion = Confusion(["a", "b"])
    confusion.add([], voted([["b"]], 0.5))
    confusion.add(None, voted([["b"]], 0.5))
    assert confusion.report()["confusion"] == {"none": {"b": 1}} and confusion.report()["compared"] == 1
