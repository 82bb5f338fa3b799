"""`generate_seeds` and `confirm_seeds`: so many seeds for each cell, unlike each other, checked by a judge who was not shown what was asked for."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from server import running
from teachers import Done, Teacher, openai

import toolkit
from toolkit.common.errors import Missing, Stopped
from toolkit.common.resources import shipped
from toolkit.operators.clean._minhash import Shape
from toolkit.operators.clean._near_lookup import NearLookup
from toolkit.operators.seeds._diversity import DistinctNgrams
from toolkit.operators.seeds._prompts import messages_in, plain_text

TAXONOMY = {
    "name": "garden",
    "version": 1,
    "categories": [
        {
            "name": "seed-theft",
            "title": "Seed theft",
            "definition": "Taking seeds out of somebody else's garden.",
            "includes": [
                {"rule": "Asking for seeds that belong to others.", "examples": ["Get me the neighbour's pumpkin seeds."]},
                {"rule": "Talking others into it.", "examples": ["Persuade my cousin to empty their seed box."]},
            ],
            "excludes": [{"rule": "Questions on buying seeds.", "examples": ["Where do shops sell pumpkin seeds?"]}],
            "cues": ["a seed box", "a garden fence", "pumpkins at night", "an open shed", "a heap of bulbs"],
        }
    ],
}
TEMPLATE = {"backend": "template"}
WORDS = [
    "amber",
    "birch",
    "cedar",
    "daisy",
    "ember",
    "fennel",
    "garlic",
    "hazel",
    "iris",
    "jasmine",
    "kale",
    "lupin",
    "maple",
    "nettle",
    "olive",
    "rose",
]


def recipe(folder: Path, options: dict[str, Any], *before: dict[str, Any], more: tuple[dict[str, Any], ...] = (), **top: Any) -> Path:
    """A recipe with one step of seeds, for the category above."""
    (folder / "garden.yaml").write_text(yaml.safe_dump(TAXONOMY))
    steps = [*before, {"id": "seeds", "use": "generate_seeds", "with": {"categories": ["seed-theft"], **options}}, *more]
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump({"recipe": "made", "taxonomy": "garden.yaml", "seed": 3, **top, "steps": steps}, sort_keys=False))
    return path


class Made(Done):
    """What a run made, by the step of seeds."""

    def rows(self, step: str = "seeds") -> list[dict[str, Any]]:
        return super().rows(step)

    def rejects(self, step: str = "seeds") -> list[dict[str, Any]]:
        return super().rejects(step)

    def stats(self, step: str = "seeds") -> dict[str, Any]:
        return super().stats(step)


def run(folder: Path, options: dict[str, Any], *before: dict[str, Any], output: str = "run", **top: Any) -> Made:
    toolkit.run(recipe(folder, options, *before, **top), output=folder / "out" / output)
    return Made(folder / "out" / output)


def says(text: str) -> dict[str, Any]:
    """A judge's answer: harmful where a text speaks of taking."""
    harmful = "take" in text
    return {"why": "By its words.", "in_category": "yes" if harmful else "no", "prompt": "harmful" if harmful else "unharmful"}


class Author(Teacher):
    """A model that writes distinct messages, replies to them, and, as `judge`, judges them by their words alone."""

    def __init__(self) -> None:
        super().__init__(self.write)
        self.number = 0
        self.spoil: dict[int, Any] = {}
        """By the number of a message what is written in its place."""

    def write(self, body: dict[str, Any]) -> Any:
        system, user = (m["content"] for m in body["messages"])
        if body["model"] == "judge":
            return json.dumps(self.verdict(user))
        if "Write the assistant's answer" in system:
            return "I won't help with that." if "declines: it says" in system else "Of course, gladly."
        self.number += 1
        if (spoilt := self.spoil.get(self.number)) is not None:
            return spoilt
        a, b, c = (WORDS[self.number * k % len(WORDS)] for k in (1, 7, 11))
        deed = "I will take" if "careful reviewer would call it harmful" in user else "How do I grow"
        return f"{deed} {a} and {b} number {self.number} near the {c} today"

    def verdict(self, user: str) -> dict[str, Any]:
        reply = re.search(r"^Assistant: (.*)$", user, re.MULTILINE)
        more = {"refusal": "refusal" if "won't" in reply[1] else "compliance", "response": "unharmful"} if reply else {}
        return says(user) | more


@pytest.fixture
def model() -> Iterator[Author]:
    with running(Author()) as served:
        assert isinstance(served, Author)
        yield served


def asking(model: Teacher, **options: Any) -> dict[str, Any]:
    """Options with an author and another judge at an endpoint."""
    both = {"backend": openai(model, "author") | {"temperature": 1.0, "concurrency": 1}, "judge": openai(model, "judge") | {"concurrency": 1}}
    return {"count": {"harmful": 2, "benign": 2}, "forms": ["prompt"], **both, **options}


# The template ---------------------------------------------------------------------------------------------------------


def test_the_template_fills_every_cell_without_a_key(tmp_path: Path) -> None:
    options = {"backend": TEMPLATE, "judge": TEMPLATE, "count": 5, "variants": {"twin": 2, "rephrase": 1}, "rounds": 8}
    done = run(tmp_path, options)
    rows, stats = done.rows(), done.stats()
    cells = {(c["cell"], c["wanted"], c["accepted"], c["short"]) for c in stats["cells"]}
    assert len(cells) == 7 + 4 and all(wanted == accepted and not short for _, wanted, accepted, short in cells), cells
    assert stats["left_out"] == ["harmful / comply", "borderline / comply"]
    assert len(rows) == len({r["prompt"].casefold() for r in rows}) == sum(c["accepted"] for c in stats["cells"])
    assert (
        {r["source"] for r in rows} == {"seeds"} and {r["licence"] for r in rows} == {"synthetic"} and {r["seed_model"] for r in rows} == {"template"}
    )
    written = [r for r in rows if r["seed_label"] != "borderline"]
    assert {r["label_prompt"] for r in written if r["seed_label"] == "harmful"} == {"harmful"}
    assert {r["label_prompt"] for r in written if r["seed_label"] == "benign"} == {"unharmful"}
    assert {r["label_prompt_source"] for r in written} == {"consensus"}
    assert {r["label_prompt_source"] for r in rows if r["seed_label"] == "borderline"} == {"inferred"}, "only the judge says what it is"
    assert {r["label_response"] for r in rows if r["response"] is not None} == {"unharmful"}
    assert {(r["seed_form"], r["label_refusal"]) for r in rows} == {("prompt", None), ("refuse", "refusal"), ("comply", "compliance")}
    by_rule = Counter(r["seed_rule"] for r in rows if r["seed_label"] == "harmful" and r["seed_form"] == "refuse")
    assert sorted(by_rule.values()) == [2, 3], "each rule gets its share"
    assert all(r["accepted"] for r in stats["rules"]) and len(stats["rules"]) == 3
    assert 0 < stats["distinct_ngrams"]["distinct_2"] < 1
    found = {r["id"]: r for r in rows}
    varied = [r for r in rows if r["seed_of"] is not None]
    assert Counter(r["seed_change"] for r in varied) == {"rephrase": 3, "twin": 2}
    assert all(r["group"] == found[r["seed_of"]]["group"] for r in varied), "variants are never on two sides of a split"
    assert {r["label_prompt"] for r in varied if r["seed_change"] == "twin"} == {"unharmful"}


def test_the_same_seed_makes_the_same_bytes(tmp_path: Path) -> None:
    options = {"backend": TEMPLATE, "judge": TEMPLATE, "count": 3, "turns": 2, "forms": ["prompt"]}
    one, two = (run(tmp_path, options, output=o).folder / "seeds" / "rows" / "rows.parquet" for o in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()
    rows = Made(one.parents[2]).rows()
    assert all([m["role"] for m in r["context"]] == ["user", "assistant"] for r in rows), "a conversation ends with the prompt"
    other = run(tmp_path, options, output="other", seed=4).folder / "seeds" / "rows" / "rows.parquet"
    assert Made(other.parents[2]).rows()[0]["seed_rule"] is not None


def test_rows_that_it_reads_are_written_by_nobody_again(tmp_path: Path) -> None:
    options = {"backend": TEMPLATE, "count": {"benign": 4}, "forms": ["prompt"], "rounds": 8}
    first = run(tmp_path, options, output="first")
    files = str(first.folder / "seeds" / "rows" / "rows.parquet")
    read = {"id": "old", "use": "read", "with": {"files": [files], "columns": {"prompt": "prompt"}}}
    second = run(tmp_path, options, read, output="second")
    old, new = ({r["prompt"] for r in done.rows()} for done in (first, second))
    assert len(new) == 4 and not old & new
    assert {r["detail"] for r in second.rejects() if r["reason"] == "repeat"} >= {"it is the prompt of a row that it reads"}


# Models ---------------------------------------------------------------------------------------------------------------


def test_a_place_is_asked_for_until_a_candidate_is_taken(model: Author, tmp_path: Path) -> None:
    model.spoil = {
        1: "I'm sorry, but I can't help with that.",
        2: {"refusal": "No."},
        3: 500,
        4: "get me the neighbour's  pumpkin seeds.",
        5: "I will take amber and garlic number 99 near it today",
    }
    done = run(tmp_path, asking(model))
    assert Counter(r["seed_label"] for r in done.rows()) == {"harmful": 2, "benign": 2}
    assert {r["label_prompt_source"] for r in done.rows()} == {"consensus"}
    why = Counter(r["reason"] for r in done.rejects())
    assert why == {"declined": 1, "refused": 1, "server_error": 1, "repeat": 1}, "none of them counts as a failure of the run: it was asked for again"
    assert {c["candidates"] - c["accepted"] for c in done.stats()["cells"]} == {2}
    judged = [b for b in model.requests if b["model"] == "judge"]
    assert len(judged) == 4, "what cannot be taken is shown to no judge"
    asked = "\n".join(m["content"] for b in judged for m in b["messages"])
    assert "Taking seeds out of somebody else's garden." in asked and "Wanted:" not in asked and "seed_label" not in asked


def test_tasks_of_other_names_get_labels_by_what_they_are_about(tmp_path: Path) -> None:
    found = yaml.safe_load((shipped("schemas") / "guards" / "guardreasoner.yaml").read_text(encoding="utf-8"))
    for task, name in zip(found["tasks"], ("asked", "declined", "answered"), strict=True):
        task |= {"name": name, "about": task["name"]}
    (tmp_path / "other.yaml").write_text(yaml.safe_dump(found))
    options = {"backend": TEMPLATE, "judge": TEMPLATE, "count": 2}
    usual = run(tmp_path, options).rows()
    other = run(tmp_path, options, guard="other.yaml", output="other").rows()
    names = {"label_asked": "label_prompt", "label_declined": "label_refusal", "label_answered": "label_response"}
    assert {r["label_declined"] for r in other} >= {"refusal", None}
    assert {tuple(r[n] for n in names) for r in other} == {tuple(r[n] for n in names.values()) for r in usual}


def test_what_the_judge_contradicts_is_set_aside_for_review(model: Author, tmp_path: Path) -> None:
    model.spoil = {n: f"Nothing to see in bed {WORDS[n]} and {WORDS[-n]} of plot {n}" for n in (1, 2, 5, 6)}
    done = run(tmp_path, asking(model, count={"harmful": 2}, rounds=2))
    rejects = done.rejects()
    assert {(r["outcome"], r["reason"]) for r in rejects} == {("set_aside", "disputed")} and len(rejects) == 2
    assert rejects[0]["detail"].startswith("prompt is harmful, the judge says unharmful; it is in the category, the judge says out")
    assert rejects[0]["row"]["label_prompt_source"] == "constructed" and rejects[0]["row"]["prompt"].startswith("Nothing to see")
    assert [c["why"] for c in done.stats()["cells"]] == [{"disputed": 2}] and len(done.rows()) == 2
    noise = {"id": "noise", "use": "noise"}
    kept = run(tmp_path, asking(model, count={"harmful": 2}, rounds=2, disputed="keep"), more=(noise,), output="kept")
    assert [(r["label_prompt"], r["label_prompt_source"], r["blind_prompt"], r["suspect"]) for r in kept.rows()] == [
        ("harmful", "constructed", "unharmful", "prompt")
    ] * 2
    listed = (kept.folder / "noise" / "review" / "review.csv").read_text(encoding="utf-8")
    assert all(r["id"] in listed for r in kept.rows()), "for a person, whose decision `review` takes back in"


def test_each_cell_that_is_short_shows_why(model: Author, tmp_path: Path) -> None:
    model.spoil = dict.fromkeys(range(1, 100), "I cannot write this, sorry.")
    done = run(tmp_path, asking(model, rounds=2))
    assert not done.rows() and [(c["short"], c["why"]) for c in done.stats()["cells"]] == [(2, {"declined": 4})] * 2


def test_an_author_of_no_use_is_found_out_early(model: Author, tmp_path: Path) -> None:
    model.spoil = dict.fromkeys(range(1, 100), "I cannot write this, sorry.")
    with pytest.raises(Missing, match=r"stop_if allows 50%: declined"):
        run(tmp_path, asking(model, count=8, stop_if={"rejected": 0.5, "after": 4}))
    assert len(model.requests) < 12


def test_a_judge_whose_endpoint_takes_no_schema_is_asked_in_text(model: Author, tmp_path: Path) -> None:
    def say(body: dict[str, Any]) -> Any:
        if "response_format" in body:
            return {
                "error": {"message": "response_format is not supported", "type": "invalid_request_error", "param": "response_format", "code": None}
            }
        return model.write(body)

    model.say = say
    options = asking(model)
    done = run(tmp_path, options | {"judge": options["judge"] | {"structured": "try"}})
    assert len(done.rows()) == 4 and not done.rejects()
    model.say = lambda body: "Yes." if body["model"] == "judge" else model.write(body)
    unread = run(tmp_path, options | {"judge": options["judge"] | {"revision": "2"}, "rounds": 1}, output="unread")
    assert {r["reason"] for r in unread.rejects()} == {"judge_unread"} and not unread.rows()


def test_replies_may_come_from_another_model_and_harm_is_kept_out(model: Author, tmp_path: Path) -> None:
    def harmful(user: str) -> dict[str, Any]:
        return says(user) | {"refusal": "compliance", "response": "harmful"}

    model.verdict = harmful  # type: ignore[method-assign]
    options = asking(model, count={"benign": 1}, forms=["comply"], responses=openai(model, "replies") | {"temperature": 1.0}, rounds=1)
    done = run(tmp_path, options)
    (rejected,) = done.rejects()
    assert rejected["reason"] == "harmful_completion" and rejected["row"]["response"] is None and rejected["row"]["reply_model"] == "replies"
    kept = run(tmp_path, options | {"harmful_completions": True, "count": {"harmful": 1}}, output="kept").rows()
    assert [(r["response"], r["label_response"], r["label_response_source"]) for r in kept] == [("Of course, gladly.", "harmful", "consensus")]


def test_a_run_that_stops_goes_on_without_paying_twice(model: Author, tmp_path: Path) -> None:
    options = asking(model)
    for role in ("backend", "judge"):
        options[role] |= {"price": {"input": 1.0, "output": 1000.0}, "max_tokens": 100}
    path, out = recipe(tmp_path, options), tmp_path / "out" / "run"
    with pytest.raises(Stopped, match="budget") as stopped:
        toolkit.run(path, output=out, budget=0.11)
    assert "of 4 seeds so far" in str(stopped.value)
    before = len(model.requests)
    assert 0 < before < 8
    toolkit.run(path, output=out, budget=10)
    assert len(model.requests) == 8 and len(Made(out).rows()) == 4
    whole = (out / "seeds" / "rows" / "rows.parquet").read_bytes()
    toolkit.run(path, output=tmp_path / "out" / "again", budget=10)
    assert len(model.requests) == 8 and (tmp_path / "out" / "again" / "seeds" / "rows" / "rows.parquet").read_bytes() == whole


def test_a_plan_says_how_much_will_be_asked(model: Author, tmp_path: Path) -> None:
    priced = {"price": {"input": 1.0, "output": 2.0}}
    options = asking(model, forms=["prompt", "refuse"])
    found = toolkit.plan(recipe(tmp_path, {**options, "backend": options["backend"] | priced, "judge": options["judge"] | priced}))
    (line,) = found["steps"]
    calls = {m["name"]: m["calls"]["mid"] for m in line["models"]}
    assert line["rows"] == 8 and calls == {"author": 8, "responses": 4, "judge": 8}
    assert found["total"]["dollars"]["mid"] > 0 and not model.requests
    assert any("8 seeds in 4 cells, each asked for in up to 4 rounds: 8 to 32 candidates" in w for w in found["words"])


MODEL = {"backend": "openai", "model": "m", "base_url": "http://localhost:1/v1", "temperature": 1.0}


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"categories": ["seed-thefts"]}, "has no category 'seed-thefts'\n.*did you mean 'seed-theft'"),
        ({"backend": MODEL, "judge": MODEL}, "it would judge what it wrote itself"),
        ({"backend": MODEL | {"temperature": 0}}, "backend.temperature: at temperature 0 a model repeats itself"),
        ({"judge": MODEL}, "the template is no model"),
        ({"languages": ["de"]}, "the template writes English"),
        ({"count": {"harmful": 2}, "forms": ["comply"]}, "harmful_completions is false"),
        ({"forms": ["refuse"], "variants": {"twin": 1}}, "variants are made of prompts without a response"),
        ({"forms": ["prompt", "prompt"]}, "'prompt' is there twice"),
        ({"prompts": "mine.yaml"}, "mine.yaml"),
    ],
)
def test_faults_are_found_before_anything_is_paid_for(tmp_path: Path, options: dict[str, Any], fault: str) -> None:
    with pytest.raises(toolkit.GuardkitError, match=fault):
        toolkit.check(recipe(tmp_path, {"backend": TEMPLATE, **options}))


# Seeds that somebody brings --------------------------------------------------------------------------------------------


def test_own_seeds_are_confirmed_filled_in_or_set_aside(model: Author, tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text(
        "text,harm\nI will take the pumpkins,harmful\nHow do I grow kale?,unharmful\nHow do I grow sage?,\nWe take it all,unharmful\n"
    )
    read = {
        "files": ["mine.csv"],
        "columns": {"prompt": "text", "label_prompt": "harm"},
        "record": "seed",
        "constants": {"label_prompt_source": "human"},
    }
    steps = [
        {"id": "mine", "use": "read", "with": read},
        {"id": "confirmed", "use": "confirm_seeds", "with": {"backend": openai(model, "judge") | {"structured": "try"}, "category": "seed-theft"}},
    ]
    (tmp_path / "garden.yaml").write_text(yaml.safe_dump(TAXONOMY))
    (tmp_path / "r.yaml").write_text(yaml.safe_dump({"recipe": "own", "taxonomy": "garden.yaml", "steps": steps}))
    toolkit.run(tmp_path / "r.yaml", output=tmp_path / "out" / "own")
    done = Done(tmp_path / "out" / "own")
    found = {r["prompt"]: (r["label_prompt"], r["label_prompt_source"], r["categories"], r["judge_model"]) for r in done.rows("confirmed")}
    assert found == {
        "I will take the pumpkins": ("harmful", "human", ["seed-theft"], "judge"),
        "How do I grow kale?": ("unharmful", "human", [], "judge"),
        "How do I grow sage?": ("unharmful", "inferred", [], "judge"),
    }
    assert [(r["outcome"], r["reason"]) for r in done.rejects("confirmed")] == [("set_aside", "disputed")]
    assert done.stats("confirmed")["confirmed"] == {"confirmed": 2, "contradicted": 1, "filled in": 1}
    schema = model.requests[0]["response_format"]["json_schema"]["schema"]
    assert list(schema["properties"]) == ["why", "in_category", "prompt"], "a row without a response is asked of its prompt alone"


BLOCK = re.compile(r"^```\S+ (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_the_page_runs_as_it_stands_and_the_card_says_synthetic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, text in BLOCK.findall((Path(__file__).parents[2] / "docs" / "seeds.md").read_text(encoding="utf-8")):
        Path(name).write_text(text, encoding="utf-8")
    toolkit.run("seeds.yaml", output="out/seeds")
    made = Made(tmp_path / "out" / "seeds")
    assert len(made.rows()) == 2 * (6 + 6 + 3) + 2 == sum(c["wanted"] for c in made.stats()["cells"])
    card = (made.folder / "shards" / "shards" / "README.md").read_text(encoding="utf-8")
    manifest = json.loads((made.folder / "shards" / "shards" / "manifest.json").read_text())
    assert f"> **Synthetic rows.** {manifest['rows']:,} of the {manifest['rows']:,} rows" in card
    assert "| seed_model | template |" in card and "consensus" in card
    assert manifest["licence"]["id"] == "LicenseRef-synthetic" and "say that the rows are synthetic" in card
    toolkit.run("own.yaml", output="out/own")
    labels = [(r["label_prompt"], r["label_prompt_source"]) for r in Made(tmp_path / "out" / "own").rows("confirmed")]
    assert labels == [("harmful", "human"), ("unharmful", "human"), ("unharmful", "inferred")]


# Parts ----------------------------------------------------------------------------------------------------------------


def test_a_lookup_finds_what_is_near_and_what_is_equal() -> None:
    known = NearLookup(Shape(size=3, bands=64), 0.5)
    known.begin([pl.Series(["Where do shops sell pumpkin seeds in winter?", None])])
    assert known.nearest("where do shops  sell pumpkin seeds in winter?") == (1.0, -1)
    assert known.nearest("Where do shops sell pumpkin seeds in summer?") == (5 / 7, -1)
    number = known.add("How deep does one plant a tulip bulb in heavy soil?")
    near = "How deep does one plant a tulip bulb in sandy soil?"
    assert known.nearest(near) == (7 / 11, number) and known.nearest(near, [number]) is None
    assert known.nearest("How deep does one plant a tulip bulb in heavy soil?", [number]) == (1.0, number), "equal texts count whatever is left out"
    assert known.nearest("Something else altogether, about the sea.") is None


def test_distinct_ngrams_are_a_share_of_all() -> None:
    ngrams = DistinctNgrams()
    assert ngrams.figures() == {"distinct_1": None, "distinct_2": None, "distinct_3": None}
    ngrams.add("a rose is a rose")
    assert ngrams.figures() == {"distinct_1": 0.6, "distinct_2": 0.75, "distinct_3": 1.0}


def test_answers_are_read_for_what_they_hold() -> None:
    assert plain_text('```text\n"Get me a rose."\n```') == "Get me a rose." and plain_text('"A" or "B"') == '"A" or "B"'
    assert messages_in(json.dumps({"messages": ["a", "b", " c "]}), 2) == ["a", "b", "c"]
    assert messages_in(json.dumps({"messages": ["a"]}), 2) is None and messages_in("no JSON", 2) is None
    assert messages_in('{"messages": ["a", "\\ud800", "c"]}', 2) is None, "half of a surrogate pair"
