"""Categories in doubt are reviewed like labels, and what was decided is what the operator `review` sets."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
import yaml

import toolkit
from toolkit.common.errors import InputError, InputErrors

STEPS = [
    {"id": "seeds", "use": "load", "with": {"source": "quickstart", "limit": 4}},
    {"id": "assigned", "use": "assign_categories", "with": {"backend": {"backend": "template"}, "known": "again"}},
]


def test_categories_that_a_model_named_otherwise_are_decided_and_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("small.yaml").write_text(yaml.safe_dump({"recipe": "small", "steps": STEPS}))
    toolkit.run("small.yaml")
    rows = toolkit.read_run("outputs/small")["assigned"].polars()
    with toolkit.review("outputs/small", reviewer="anna") as review:
        first, second, third, fourth = review.queue.items[:4]
        assert review.queue.kind == "categories" and first.task == "categories" and "none" in first.words(review.queue.guard)
        doubted = rows.filter(pl.col("id") == first.id).row(0, named=True)
        assert sorted(doubted["categories_before"]) != sorted(doubted["categories"]) and first.may_harm(review.queue.guard)
        assert {e.name for e in first.evidence} >= {"where they come from", "it came with"}
        assert review.decide(first, "violence, Privacy".lower(), "two rules") == "privacy violence"
        assert review.decide(second, "none") == "none"
        assert review.decide(third, "keep") == (third.label or "none")
        assert review.decide(fourth, "drop") == "drop"
        with pytest.raises(InputError, match="unknown decision 'privcy'") as e:
            review.decide(first, "privcy")
        assert e.value.hint == "did you mean 'privacy'?"
        assert [line["decision"] for line in review.settled()][2] == "keep" and review.figures()["decided"] == 4
        review.export("decisions.csv")
        assert toolkit.send_review(review, "sent", "argilla") == [], "other tools get labels alone"
    kept, rest = toolkit.apply("review", rows, decisions="decisions.csv", artefacts=tmp_path / "made")
    assert rest["id"].to_list() == [fourth.id] and kept.columns == [*rows.columns, "label_trail"]
    found = {row["id"]: row for row in kept.iter_rows(named=True)}
    assert [found[i.id]["categories"] for i in (first, second, third)] == [["privacy", "violence"], [], (third.label or "").split()]
    assert {found[i.id]["categories_source"] for i in (first, second, third)} == {"reviewed"}
    (trail,) = json.loads(found[first.id]["label_trail"])
    assert (trail["task"], trail["label"], trail["new_label"], trail["why"]) == ("categories", first.label, "privacy violence", "two rules")
    decided = [i.id for i in (first, second, third, fourth)]
    same = [c for c in rows.columns if not c.startswith("categories") or c in ("categories_votes", "categories_before")]
    assert kept.select(same).equals(rows.filter(pl.col("id") != fourth.id).select(same))
    rest_of_them = ~pl.col("id").is_in(decided)
    assert kept.filter(rest_of_them).select(rows.columns).equals(rows.filter(rest_of_them)), "rows that nobody decided about are as they were"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("r0,categories,privacy,none", "the decision is about 'privacy', and the label is 'violence' by now"),
        ("r0,categories,violence,<b>", "unknown decision '<b>'"),
    ],
)
def test_decisions_about_other_categories_are_refused(line: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text(f"id,task,label,decision\n{line}\n")
    labels = {f"label_{t}{s}": None if not s else "absent" for t in ("prompt", "refusal", "response") for s in ("", "_source")}
    rows = pl.DataFrame([{"id": "r0", "prompt": "Q?", "categories": ["violence"], **labels}], schema_overrides=dict.fromkeys(labels, pl.String))
    with pytest.raises((InputError, InputErrors), match=message):
        toolkit.apply("review", rows, decisions=str(tmp_path / "d.csv"))
    with pytest.raises((InputError, InputErrors), match=r"no column 'categories'|unknown decision"):
        toolkit.apply("review", rows.drop("categories"), decisions=str(tmp_path / "d.csv"))
