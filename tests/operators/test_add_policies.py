"""`add_policies`: which policies are beside a row, what its labels become, and whether a guard follows them when it is asked."""

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
from frames import reasons, rows_of, seed, seeds
from server import running
from teachers import Teacher, openai

import toolkit
from toolkit.common.errors import GuardkitError, InputError
from toolkit.guards import Reasoning, load_guard, render_input, render_output
from toolkit.pipeline import StepFolder
from toolkit.taxonomy import find_policy, load_taxonomy, policies_text

GUARD, TAXONOMY = load_guard("policyreasoner"), load_taxonomy()
BROAD = {"other", "dangerous_content", "illegal_activity", "unethical_conduct", "jailbreak"}


def harmful(*categories: str, **more: Any) -> dict[str, Any]:
    return {"label_prompt": "harmful", "categories": list(categories), **more}


def test_a_row_is_shown_its_own_policies_and_others_that_do_not_cover_it() -> None:
    rows = seeds(*(harmful("malware", "privacy", prompt=f"Question {n}") for n in range(60)), {"prompt": "Fine", "label_prompt": "unharmful"})
    kept, rest = toolkit.apply("add_policies", rows, distractors=3, absent=0, seed=4)
    assert rest.height == 0 and kept.drop("policy", "policy_categories", "policy_rules", "label_trail").equals(rows), "all else is as it was"
    shown = kept["policy_categories"].to_list()
    assert all({"malware", "privacy"} <= set(s) and len(set(s)) == 5 for s in shown[:-1]) and len(shown[-1]) == 4
    others = {c for s in shown for c in s} - {"malware", "privacy"}
    assert not others & {"cybercrime", *BROAD}, "neither what is above a category nor what covers everything"
    assert len(others) > 15 and len({s.index("malware") for s in shown[:-1]}) == 5, "others and their order are drawn for each row"
    assert kept["policy"][0] == policies_text(TAXONOMY.category(c) for c in shown[0])
    assert Counter(kept["policy_rules"]) == {"present": 60, "none": 1} and kept["label_trail"].null_count() == 61
    again = toolkit.apply("add_policies", rows.reverse(), distractors=3, absent=0, seed=4).kept
    assert again.reverse().equals(kept), "by id and seed alone"
    assert not toolkit.apply("add_policies", rows, distractors=3, absent=0, seed=5).kept.equals(kept)


def test_every_row_may_have_the_same_policies_whatever_its_categories() -> None:
    rows = seeds(harmful(prompt="One"), {"prompt": "Two", "label_prompt": "unharmful"}, harmful("privacy", prompt="Three"))
    kept, rest = toolkit.apply("add_policies", rows, distractors=1, absent=0)
    assert kept["prompt"].to_list() == ["Two", "Three"] and reasons(rest) == {"no_category": 1}
    same = toolkit.apply("add_policies", rows, same=["malware", "privacy"]).kept
    assert same["policy_categories"].to_list() == [["malware", "privacy"]] * 3 and set(same["policy_rules"]) == {"same"}
    assert same["label_prompt"].to_list() == ["harmful", "unharmful", "harmful"]
    every = toolkit.apply("add_policies", rows, same="all", hide=["privacy"]).kept["policy_categories"].to_list()
    assert every == [[name for name in TAXONOMY.names if name not in {"privacy", *BROAD}]] * 3
    with pytest.raises(InputError, match="no category 'privcy'"):
        toolkit.apply("add_policies", rows, same=["privcy"])


@pytest.mark.parametrize("use", ["synthesise", "swap_labels"])
def test_a_recipe_whose_rows_have_no_policy_is_refused_before_it_runs(use: str) -> None:
    seeds_step: dict[str, Any] = {"id": "seeds", "use": "load", "with": {"source": "quickstart", "limit": 2}}
    asked = {"id": "asked", "use": use, "with": {"backend": {"backend": "openai", "model": "m", "base_url": "http://localhost:9/v1"}}}
    recipe = {"recipe": "r", "guard": "policyreasoner", "steps": [seeds_step, asked]}
    with pytest.raises(InputError, match="judges by the policy between <policy> and </policy>, and there is none"):
        toolkit.check(recipe)
    given = {"id": "given", "use": "add_policies"}
    assert toolkit.check({**recipe, "steps": [seeds_step, given, asked]})["steps"] == 3
    if use == "synthesise":  # the template is shown no policy
        asked["with"] = {"backend": {"backend": "template"}}
        assert toolkit.check({**recipe, "steps": [seeds_step, asked]})["steps"] == 2


def test_where_its_own_policy_is_left_out_a_harmful_label_becomes_what_the_others_say() -> None:
    more = {"response": "Sure.", "label_response": "unharmful", "label_refusal": "compliance"}
    rows = seeds(*(harmful("privacy", prompt=f"Question {n}", label_prompt_source="human", **more) for n in range(100)))
    kept = toolkit.apply("add_policies", rows, distractors=2, absent=0.4).kept
    left = kept.filter(pl.col("policy_rules") == "absent")
    assert 25 <= left.height <= 55 and not any("privacy" in s for s in left["policy_categories"])
    assert {len(s) for s in kept["policy_categories"]} == {3}, "how many there are says nothing"
    assert set(left["label_prompt"]) == {"unharmful"} and set(left["label_prompt_source"]) == {"policy"}
    assert set(left["label_response_source"]) == {"human"} and set(left["label_refusal"]) == {"compliance"}, "no other label changes"
    (entry,) = json.loads(left["label_trail"][0])
    was = {"task": "prompt", "label": "harmful", "source": "human", "new_label": "unharmful", "new_source": "policy", "decision": "policy"}
    assert entry.items() >= was.items() and "privacy" in entry["why"]
    present = kept.filter(pl.col("policy_rules") == "present")
    assert set(present["label_prompt"]) == {"harmful"} and present["label_trail"].null_count() == present.height


def test_hidden_policies_are_shown_to_nobody_and_rows_that_nothing_decides_are_rejected() -> None:
    rows = seeds(
        harmful("privacy", prompt="One"), harmful("privacy", "cybercrime", prompt="Two"), harmful(prompt="Three"), harmful("spying", prompt="Four")
    )
    kept, rest = toolkit.apply("add_policies", rows, distractors=30, absent=0, hide=["privacy", "hate_harassment"])
    assert kept["policy_rules"].to_list() == ["absent", "present"] and kept["label_prompt"].to_list() == ["unharmful", "harmful"]
    assert not {c for s in kept["policy_categories"] for c in s} & {"privacy", "hate_harassment", "hate_speech", "profanity"}, "nor what is below one"
    assert reasons(rest) == {"no_category": 1, "unknown_category": 1}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"distractors": 0}, "would have none"),
        ({"hide": ["privat"]}, "has no category 'privat'"),
        ({"harm_tasks": ["promt"]}, "has no task 'promt'"),
    ],
)
def test_options_that_cannot_be(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(GuardkitError, match=message):
        toolkit.apply("add_policies", pl.DataFrame([seed()]), **options)


def test_policies_are_put_there_once() -> None:
    with pytest.raises(InputError, match="would write over it"):
        toolkit.apply("add_policies", seeds({}).with_columns(policy=pl.lit("x")))


def test_a_policy_is_a_taxonomy_some_of_its_categories_or_a_text(tmp_path: Path) -> None:
    both = policies_text([TAXONOMY.category("privacy"), TAXONOMY.category("malware")])
    assert find_policy("guardkit:privacy,malware") == find_policy(["privacy", "malware"]) == both
    assert all(c.title in find_policy("guardkit") for c in TAXONOMY.categories)
    (tmp_path / "mine.md").write_text("No tulips.")
    assert find_policy(tmp_path / "mine.md") == find_policy("mine.md", tmp_path) == "No tulips."
    (tmp_path / "empty.txt").write_text(" ")
    wrong = {"guardkit:privat": "no category 'privat'", "guardkit:": "no category is named", "gone.txt": "no such file"}
    for named, words in {**wrong, str(tmp_path / "empty.txt"): "the policy is empty"}.items():
        with pytest.raises(InputError, match=words):
            find_policy(named)


# From rows to a measure ---------------------------------------------------------------------------------------------------


def text(verdict: str) -> str:
    labels = {"prompt": verdict, "refusal": "compliance", "response": verdict}
    return render_output(GUARD, {t: Reasoning(["It is about a garden."], f"The answer is {v}.") for t, v in labels.items()}, labels)


def follows(body: dict[str, Any]) -> str:
    """A guard for which that is harmful which stands beside the policy on privacy; `all` takes no notice of it, `gullible` believes what a prompt
    says of policies, `torn` says now this and now that."""
    asked = body["messages"][-1]["content"]
    block = re.search(r"<policy>\n(.*?)\n</policy>", asked, re.DOTALL)
    assert block is not None
    model, believed = body["model"], re.search("allowed|harmless", asked.partition("Human user:")[2])
    if model == "torn":
        return text("harmful" if body["seed"] % 2 else "unharmful")
    return text("harmful" if model == "all" or (": Privacy\n" in block[1] and not (model == "gullible" and believed)) else "unharmful")


@pytest.fixture
def model() -> Iterator[Teacher]:
    with running(Teacher(follows)) as served:
        assert isinstance(served, Teacher)
        yield served


def run(folder: Path, *steps: dict[str, Any]) -> dict[str, StepFolder]:
    """The seeds of one category, half of them without its policy, and what further steps make of them."""
    first = [
        {"id": "seeds", "use": "load", "with": {"source": "quickstart", "parts": ["core"]}},
        {"id": "of-it", "use": "select", "with": {"any_of": {"categories": ["privacy"]}, "where": {"label_prompt": "harmful"}}},
        {"id": "policies", "use": "add_policies", "with": {"distractors": 2, "absent": 0.5}},
    ]
    recipe = {"recipe": "small", "seed": 5, "guard": "policyreasoner", "steps": [*first, *steps]}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False))
    return toolkit.read_run(toolkit.run(folder / "recipe.yaml", output=folder / "out" / "run").folder)


def test_a_guard_that_ignores_the_policy_scores_no_better_than_always_harmful(model: Teacher, tmp_path: Path) -> None:
    models = {name: openai(model, name) for name in ("follows", "all")}
    done = run(
        tmp_path,
        {"id": "samples", "use": "sample", "with": {"k": 1, "models": models}},
        {"id": "verdicts", "use": "verdicts"},
        {"id": "scores", "use": "evaluate", "from": {"rows": "verdicts", "asked": "policies"}},
    )
    found = json.loads((done["scores"].artefact("scores") / "scores.json").read_text())
    f1 = {line["guard"]: line for line in found if line["task"] == "prompt"}
    assert f1["follows"]["fp"] == f1["follows"]["fn"] == 0 < f1["all"]["fp"] == f1["always positive"]["fp"] and f1["all"]["fn"] == 0
    policies = dict(rows_of(done["policies"]).select("id", "policy").iter_rows())
    assert dict(rows_of(done["verdicts"]).select("parent", "policy").iter_rows()) == policies


def test_the_policy_goes_with_a_row_to_what_a_guard_is_trained_on(model: Teacher, tmp_path: Path) -> None:
    torn = openai(model, "torn", temperature=1.0, seed=1)
    done = run(
        tmp_path,
        {"id": "reasoning", "use": "synthesise", "with": {"backend": {"backend": "template"}}},
        {"id": "valid", "use": "validate"},
        {"id": "sft", "use": "render_sft"},
        {"id": "samples", "use": "sample", "from": "valid", "with": {"k": 4, "models": {"torn": torn}}},
        {"id": "verdicts", "use": "verdicts"},
        {"id": "hard", "use": "mine"},
        {"id": "pairs", "use": "pair", "from": {"rows": "hard", "verdicts": "verdicts"}, "with": {"pick": "random", "rejected_passes": "anything"}},
        {"id": "dpo", "use": "render_dpo"},
    )
    rows = {r["id"]: r for r in rows_of(done["policies"]).iter_rows(named=True)}
    sft = {r["id"]: r["prompt"][0]["content"] for r in rows_of(done["sft"]).iter_rows(named=True)}
    assert len(sft) == len(rows) and all(text == render_input(GUARD, rows[i]) for i, text in sft.items())
    dpo = {r["prompt"][0]["content"] for r in rows_of(done["dpo"]).iter_rows(named=True)}
    assert dpo and dpo <= set(sft.values()), "trained on what it is asked"


def test_rows_without_a_policy_are_refused_before_the_run_and_one_by_one_in_it() -> None:
    rows = seeds({"prompt": "One"}, {"prompt": "Two"}).with_columns(reasoning=pl.lit("x"), teacher=pl.lit("t"))
    with pytest.raises(InputError, match="there is none"):
        toolkit.apply("render_sft", rows, guard="policyreasoner")
    with pytest.raises(InputError, match="there is none"):
        toolkit.apply(
            "sample", seeds({}), guard="policyreasoner", k=1, models={"m": {"backend": "openai", "model": "m", "base_url": "http://127.0.0.1:9"}}
        )
    kept, rest = toolkit.apply("render_sft", rows.with_columns(policy=pl.Series(["No tulips.", None])), guard="policyreasoner")
    assert "No tulips." in kept["prompt"][0][0]["content"] and reasons(rest) == {"no_policy": 1}


def test_a_policy_is_given_where_a_guard_is_asked(model: Teacher, tmp_path: Path) -> None:
    where: dict[str, Any] = {"backend": "openai", "base_url": model.base_url, "guard": "policyreasoner"}
    for policy, verdict in (("guardkit:privacy,malware", "harmful"), (["malware"], "unharmful")):
        with toolkit.open_guard("follows", guard_policy=policy, **where) as guard:
            assert guard.judge("Where does she live?").labels["prompt"] == verdict
            own = {"prompt": "Where does she live?", "policy": "Policy 1: Privacy\nNone of it."}
            assert [j.labels["prompt"] for j in guard.judge_many([own])] == ["harmful"], "a row's own policy comes first"
    with pytest.raises(InputError, match="guard_policy=TAXONOMY"):
        toolkit.open_guard("follows", **where)
    with pytest.raises(InputError, match="'guardreasoner' is shown no policy"):
        toolkit.open_guard("follows", guard_policy="guardkit", **{**where, "guard": "guardreasoner"})
    row = {"prompt": "Where does she live?", "policy": "Policy 1: Privacy\nNone of it."}
    found = toolkit.judge([row, {"prompt": "Hi."}], openai(model, "follows"), guard="policyreasoner", guard_policy=["malware"], work=tmp_path)
    assert [v.labels["prompt"] for v in found] == ["harmful", "unharmful"], "a row's own policy comes first"


def test_what_a_prompt_says_of_policies_is_measured(model: Teacher, tmp_path: Path) -> None:
    lines = [{"prompt": f"Where does number {n} live?", "label": "harmful", "id": str(n)} for n in range(8)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    models = {name: openai(model, name) for name in ("follows", "gullible")}
    how: dict[str, Any] = {"guard": "policyreasoner", "data": tmp_path / "rows.jsonl", "task": "prompt", "work": tmp_path / "work"}
    with pytest.raises(InputError, match="there is none"):
        toolkit.evaluate(models, **how)
    found = toolkit.evaluate(models, **how, guard_policy="guardkit:privacy", perturb="policy")
    flips = {(f["model"], f["change"]): (f["flips"], f["to_negative"]) for f in found["robustness"]["flips"]}
    assert flips == {
        ("follows", "policy_sentence"): (0, 0),
        ("follows", "policy_block"): (0, 0),
        ("gullible", "policy_sentence"): (8, 8),
        ("gullible", "policy_block"): (8, 8),
    }
