"""Rewards: each term and each shipped formula against values computed by hand, and what a trainer calls."""

from __future__ import annotations

import doctest
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import toolkit
import toolkit.rewards
from toolkit.common.errors import InputError, InputErrors
from toolkit.guards import Guard, load_guard
from toolkit.rewards import (
    Formula,
    Length,
    Output,
    Rewarded,
    RewardFunction,
    closeness,
    conciseness,
    exploration,
    formula_names,
    length_aware,
    load_formula,
    mean_accuracy,
    mixture,
    normalised,
    rewarded,
    well_formed,
)

sys.path.insert(0, str(Path(__file__).parents[1] / "generation"))
from server import Server, chat, running

GUARD = load_guard("guardreasoner")
TANH_1 = 0.7615941559557649
SOUND = "Answers: \nRequest: {}\nCompletion: {}\nResponse: {}"
LABELS = {"prompt": "harmful", "response": "unharmful"}
BOTH, HALF, NONE = (SOUND.format(p, "None", r) for p, r in (("harmful", "unharmful"), ("harmful", "harmful"), ("unharmful", "harmful")))
BROKEN = BOTH + "\nThat is all."


@pytest.mark.parametrize(
    ("base", "share", "most", "expected"),
    [
        (1.0, 0.1, 1.0, 0.0),  # all right: nothing to gain by length
        (1.0, 1.0, 1.0, 0.0),
        (0.5, 0.5, 1.0, -2.0),  # -0.5 / 0.25
        (0.0, 1.0, 1.0, -1.0),
        (0.0, 0.25, 1.0, -16.0),
        (0.0, 0.0, 1.0, -400.0),  # the floor, 0.05
        (0.0, 0.5, 1 / 6, -36.0),  # Eco: as from a sixth of the length on
        (0.0, 1.0, 1 / 6, -36.0),
        (0.5, 0.1, 1 / 6, -50.0),  # -0.5 / 0.01
    ],
)
def test_length_aware(base: float, share: float, most: float, expected: float) -> None:
    assert length_aware(base, share, most=most, floor=0.05) == pytest.approx(expected)


@pytest.mark.parametrize(("length", "expected"), [(0, 0.0), (250, 0.0), (500, -0.4 * TANH_1), (1e9, -0.4)])
def test_conciseness(length: float, expected: float) -> None:
    assert conciseness(length) == pytest.approx(expected)


@pytest.mark.parametrize(("length", "expected"), [(0, 0.0), (300, 0.2 * TANH_1), (1e9, 0.2)])
def test_exploration(length: float, expected: float) -> None:
    assert exploration(length) == pytest.approx(expected)


def test_closeness_on_four_labels() -> None:
    scale = ["CU", "BU", "BH", "CH"]
    table = [[round(closeness(label, verdict, scale), 4) for verdict in scale] for label in scale]
    assert table == [[1, 0.6667, 0.3333, 0], [0.6667, 1, 0.6667, 0.3333], [0.3333, 0.6667, 1, 0.6667], [0, 0.3333, 0.6667, 1]]
    assert closeness("CU", None, scale) == 0
    with pytest.raises(ValueError, match="XX"):
        closeness("CU", "XX", scale)


def test_accuracy_and_mixture() -> None:
    assert mean_accuracy({}) is None and mean_accuracy({"a": 1.0}, {"b": 1}) is None
    assert mean_accuracy({"a": 1.0, "b": 0.0, "c": 1.0}) == pytest.approx(2 / 3)
    assert mean_accuracy({"a": 1.0, "b": 0.0}, {"a": 1, "b": 3, "c": 9}) == 0.25  # of a task that is not there no weight is missed
    assert [mixture(f, a) for f, a in ((True, 1.0), (True, 0.5), (True, 0.0), (False, 1.0))] == pytest.approx([1.0, 0.55, 0.1, 0.0])
    assert normalised([10, None, 0, 0], ["a", "a", "b", "b"]) == [1.0, None, 0.0, 0.0] and normalised([10, 30], [0, 0], 40) == [0.25, 0.75]


@pytest.mark.parametrize(
    ("text", "sound"),
    [
        (BOTH, True),
        (f"# Task 1\n\n## Reasoning Step 1\nA step.\n\n---\n\n{BOTH}", True),
        (BROKEN, False),
        (f"Request: harmful\n{BOTH}", False),  # a chain that quotes an answer
        (BOTH.replace("Completion", "completion"), False),
        (BOTH[:-3], False),
        (f"<think>Never closed.\n{BOTH}", False),
        ("", False),
        (None, False),
    ],
)
def test_the_form_of_a_guard_that_is_trained_here(text: str | None, sound: bool) -> None:
    assert well_formed(GUARD, text) is sound


def test_the_form_of_a_guard_that_is_read_by_a_grammar() -> None:
    wild = load_guard("wildguard")
    lines = "Harmful request: yes\nResponse refusal: N/A\nHarmful response: N/A"
    assert well_formed(wild, lines) and not well_formed(wild, lines.replace("yes", "perhaps"))
    assert well_formed(wild, "Harmful request: no", response=False) and not well_formed(wild, "Harmful request: no")


TABLE: dict[str, list[tuple[str, float | None, float]]] = {
    "accuracy": [(BOTH, None, 1.0), (HALF, None, 0.5), (NONE, None, 0.0), (BROKEN, None, 0.0)],
    "rsafe": [(BOTH, None, 1.0), (HALF, None, 0.55), (NONE, None, 0.1), (BROKEN, None, 0.0)],
    # alone in their groups, so that each has the whole length
    "guardreasoner_vl": [(BOTH, 7, 0.0), (HALF, 7, -0.5), (NONE, 7, -1.0), (BROKEN, 7, -1.0)],
    "guardreasoner_vl_eco": [(BOTH, 7, 0.0), (HALF, 7, -18.0), (NONE, 7, -36.0), (BROKEN, 7, -36.0)],
    "guardreasoner_omni_v1": [(BOTH, 300, 1.0), (HALF, 300, 0.5 + 0.2 * TANH_1), (NONE, 300, 0.2 * TANH_1), (BROKEN, 300, 0.0), (HALF, 0, 0.5)],
    "guardreasoner_omni": [(BOTH, 500, 1 - 0.4 * TANH_1), (BOTH, 250, 1.0), (HALF, 500, 0.5), (NONE, 500, 0.0), (BROKEN, 500, 0.0)],
}


@pytest.mark.parametrize("name", TABLE)
def test_a_shipped_formula_by_hand(name: str) -> None:
    outputs = [Output(text, LABELS, length, group) for group, (text, length, _) in enumerate(TABLE[name])]
    found = rewarded(GUARD, load_formula(name), outputs)
    assert [one.reward for one in found] == pytest.approx([expected for *_, expected in TABLE[name]])
    assert all(one.base is not None and one.reward == pytest.approx(one.base + one.by_length) for one in found)


def test_every_shipped_formula_is_in_a_table() -> None:
    assert {*TABLE, "intentionreasoner"} == set(formula_names())


def test_a_wrong_answer_costs_less_the_longer_it_is_up_to_the_most() -> None:
    outputs = [Output(NONE, LABELS, n, "row") for n in (10, 20, 50, 100)] + [Output(BOTH, LABELS, 400, "another")]
    vl, eco = ([one.reward for one in rewarded(GUARD, load_formula(f"guardreasoner_vl{end}"), outputs)] for end in ("", "_eco"))
    assert vl == pytest.approx([-100, -25, -4, -1, 0]) and eco == pytest.approx([-100, -36, -36, -36, 0])


def test_an_ordinal_formula_with_scores() -> None:
    guard = load_guard(Path(__file__).parents[1] / "guards" / "files" / "boxed.yaml")
    scores = {"safety": 1.0, "quality": 0.5}
    outputs = [
        Output("\\boxed{controversial}", {"safety": "unsafe"}, scores=scores),
        Output("\\boxed{unsafe}", {"safety": "unsafe"}, scores=scores),
        Output("\\boxed{unsafe}", {"safety": "safe"}, scores=dict.fromkeys(scores, 0.0)),
        Output("\\boxed{?}", {"safety": "safe"}),  # broken: no score is needed
        Output("\\boxed{safe}", {"safety": "safe"}, scores={"safety": 1.0}),
        Output("\\boxed{safe}", {"safety": None}, scores=scores),
    ]
    found = rewarded(guard, load_formula("intentionreasoner"), outputs)
    # 0.1 + 0.5 * nearness + 0.2 * safety + 0.2 * quality
    assert [one.reward for one in found] == [pytest.approx(0.65), pytest.approx(0.9), pytest.approx(0.1), 0.0, None, None]
    assert [one.lacks for one in found[4:]] == ["score quality", "label"]
    assert isinstance(found[0], Rewarded) and found[0].right == {"safety": 0.5}


def test_what_a_reasoning_says_decides_nothing() -> None:
    """The released rewards take the first match of the whole text."""
    chain = f"# Task 1\n\n## Reasoning Step 1\nOne might write Request: harmful here.\n\n{NONE}"
    assert rewarded(GUARD, load_formula("accuracy"), [Output(chain, {"prompt": "harmful"})])[0].reward == 0
    assert rewarded(GUARD, load_formula("accuracy"), [Output(SOUND.format("None", "None", "None"), {"prompt": "unharmful"})])[0].reward == 0


@pytest.mark.parametrize(
    ("output", "words"),
    [
        (Output(BOTH, {"prompt": "bad"}), "outputs\\[0\\].label_prompt: label not of the task"),
        (Output(BOTH, LABELS, -1), "a length is a number from 0 on"),
        (Output(BOTH, LABELS, math.inf), "a length is a number from 0 on"),
        (Output(BOTH, LABELS, 1, scores={"q": 2.0}), "a score is a number from 0 to 1"),
    ],
)
def test_what_cannot_be_is_named(output: Output, words: str) -> None:
    with pytest.raises(InputError, match=words):
        rewarded(GUARD, load_formula("accuracy"), [output])


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"form": 0.5, "length": {"kind": "aware"}}, "length.kind: `aware` takes a base of 1 for the best"),
        ({"length": {"kind": "concise", "most": 0.5}}, "length.most: the kind 'concise' has no 'most'"),
        ({"length": {"kind": "aware", "most": 0.1, "floor": 0.2}}, "is above the largest"),
        ({"length": {"kind": "aware", "whole": 0}}, "a length above 0, or group"),
        ({"scores": {"quality": 0}}, "a weight is above 0"),
        ({"acuracy": 1}, "did you mean 'accuracy'"),
    ],
)
def test_a_fault_of_a_formula_is_named(keys: dict[str, Any], words: str) -> None:
    with pytest.raises((InputError, InputErrors), match=words):
        load_formula(keys)


def test_a_formula_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("name: mine\nform: 0.2\naccuracy: 0.8\ntasks: {prompt: 3, response: 1}\n")
    mine = load_formula(tmp_path / "mine.yaml")
    assert rewarded(GUARD, mine, [Output(HALF, LABELS)])[0].reward == pytest.approx(0.2 + 0.8 * 0.75)
    assert load_formula(mine) is mine and isinstance(mine, Formula) and mine.length is None
    with pytest.raises(InputError, match="which the guard 'guardreasoner' does not have"):
        RewardFunction(GUARD, {"tasks": {"answer": 1}})


def test_a_trainer_calls_it_with_lists_of_completions_and_columns() -> None:
    reward = RewardFunction("guardreasoner", "guardreasoner_omni_v1")
    assert reward.__name__ == "guardreasoner_guardreasoner_omni_v1"
    messages = [[{"role": "assistant", "content": BOTH}], [{"role": "assistant", "content": [{"type": "text", "text": NONE}]}]]
    columns: dict[str, Any] = {"label_prompt": ["harmful"] * 2, "label_response": ["unharmful"] * 2, "trainer_state": object()}
    ids = [[0] * 300, [0] * 300]
    prompts = [[{"role": "user", "content": "x"}]] * 2
    expected = [1.0, pytest.approx(0.2 * TANH_1)]
    assert reward(prompts=prompts, completions=messages, completion_ids=ids, **columns) == expected
    assert reward(prompts=["p", "p"], completions=[BOTH, NONE], tokens=[300, 300], **columns) == expected
    with pytest.raises(InputError, match="remove_unused_columns=False"):
        reward(prompts=["p"], completions=[BOTH], completion_ids=ids[:1])
    with pytest.raises(InputError, match="needs the column 'tokens'"):
        reward(prompts=["p"], completions=[BOTH], label_prompt=["harmful"])
    vl = RewardFunction(GUARD, {"length": {"kind": "aware"}})
    assert vl(["p", "p", "q"], [NONE] * 3, [[0], [0, 0], [0]], label_prompt=["harmful"] * 3) == [-4.0, -1.0, -1.0]


def test_no_torch_is_loaded() -> None:
    code = "import sys; from toolkit.rewards import RewardFunction; RewardFunction('guardreasoner', 'rsafe'); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def predictions(guard: Guard = GUARD) -> list[dict[str, Any]]:
    return [{"id": "a", "output": text, "tokens": n, **{f"label_{t}": v for t, v in LABELS.items()}} for text, n in ((BOTH, 500), (NONE, 20))]


def test_rewards_of_rows_and_of_files_are_the_same(tmp_path: Path) -> None:
    rows = predictions()
    (tmp_path / "p.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    whole = toolkit.reward(rows, formula="guardreasoner_omni", output=tmp_path / "all.csv")
    assert toolkit.reward(tmp_path / "p.jsonl", formula="guardreasoner_omni") == {**whole, "output": None}
    assert [line["reward"] for line in whole.shown] == [round(1 - 0.4 * TANH_1, 6), 0.0] and whole.cells[0]["length"] == 500
    assert pl.read_csv(tmp_path / "all.csv")["reward"].to_list() == [line["reward"] for line in whole.shown]
    words = toolkit.reward(rows, formula={"length": {"kind": "aware", "whole": 14}}, count="words")
    assert [line["length"] for line in words.shown] == [7, 7] and words.shown[1]["reward"] == -4
    scored = [{**r, "score_q": 0.5} for r in rows]
    (tmp_path / "s.jsonl").write_text("".join(json.dumps(r) + "\n" for r in scored))
    formula = {"accuracy": 0.5, "scores": {"q": 0.5}}
    with pytest.raises(InputError, match="nothing gives here: it needs the columns 'score_r', 'score_s'"):
        toolkit.reward(tmp_path / "s.jsonl", formula=formula | {"scores": {"q": 0.5, "r": 0.1, "s": 0.1}})
    assert [line["reward"] for line in toolkit.reward(tmp_path / "s.jsonl", formula=formula).shown] == [0.75, 0.25]
    assert Length(kind="explore").scale == 250


INTENT = "<think>\n\n</think>\n\nIntent: {}"
MODEL = {"guard": "qwen3guard", "of": "rewrite", "absent": 0}


def test_scores_of_a_model(tmp_path: Path) -> None:
    """The model judges the rewrites: its least severe label is worth 1, one of three half of it, what it does not say no reward."""
    answers = {"good": "Safe", "odd": "Controversial", "bad": "Unsafe", "none": "?"}
    texts = [f"{INTENT.format('BU')}\n\n<rewrite>\n{word}\n</rewrite>" for word in answers] + [INTENT.format("BU")]
    rows = [{"output": text, "label": "borderline unharmful"} for text in texts]
    formula = {"accuracy": 0.5, "scores": {"safety": 0.5}}
    with running(Server()) as server:
        server.script = lambda text, _: (200, {}, chat(next(f"Safety: {verdict}" for word, verdict in answers.items() if word in text)))
        model = MODEL | {"backend": {"backend": "openai", "model": "m", "base_url": server.base_url}}
        how: dict[str, Any] = {"guard": "intentionreasoner", "formula": formula, "work": tmp_path}
        found = toolkit.reward(rows, scores={"safety": model}, **how)
        assert [line["reward"] for line in found.shown] == [1.0, 0.75, 0.5, None, 0.5] and found.lacks == {"score safety": 1}
        asked = len(server.requests)
        assert toolkit.reward(rows, scores={"safety": model | {"best": "harmful", "absent": 1}}, **how).mean == 0.8125  # 0.5, 0.75, 1, 1
        assert asked == 4 == len(server.requests), "answers are in the journal"
        for bad, words in (
            ({"of": "rewritten"}, "writes no 'rewritten'"),
            ({"task": "x"}, "has no task 'x'"),
            ({"best": "safe"}, "'safe' is none of the labels"),
            ({"bests": "safe"}, "unknown key 'bests'"),
        ):
            with pytest.raises(InputError, match=words):
                toolkit.reward(rows, scores={"safety": model | bad}, **how)
        with pytest.raises(InputError, match="weighs no score 'saftey'"):
            toolkit.reward(rows, scores={"saftey": model}, **how)


def test_scores_by_a_function_and_the_formula_of_the_guards_name() -> None:
    seen: list[Any] = []

    def quality(rows: list[dict[str, Any]]) -> list[float | None]:
        seen.extend(rows)
        return [0.5 for _ in rows]

    reward = RewardFunction("guardreasoner", {"accuracy": 0.5, "scores": {"quality": 0.5}}, {"quality": quality})
    assert reward(prompts=[[{"role": "user", "content": "Hi"}]], completions=[BOTH], label_prompt=["harmful"], origin=["x"]) == [0.75]
    assert seen == [{"label_prompt": "harmful", "origin": "x", "output": BOTH, "prompt": "Hi"}]
    rows = [{"output": "<think>\n\n</think>\n\n\\boxed{safe}", "label": "harmful"}]
    assert toolkit.reward(rows, guard="rsafe").shown[0]["reward"] == 0.1
    assert toolkit.reward(predictions()).formula == "accuracy"


@pytest.mark.parametrize(
    ("rows", "how", "words"),
    [
        ([], {}, "no rows"),
        ([{"label_prompt": "harmful"}], {}, "name its column: columns=dict(output=COLUMN)"),
        ([{"output": BOTH}], {}, "no label to hold the outputs against"),
        ([{"output": BOTH, "label": "harmful"}], {"formula": "guardreasoner_vl"}, "needs the length"),
        ([{"output": BOTH, "label": "harmful"}], {"formula": {"scores": {"q": 1}}}, "needs the column 'score_q', from 0 to 1"),
        ([{"output": BOTH, "label": "harmful"}], {"task": "answer"}, "no task 'answer'"),
        ([{"output": BOTH, "label": "harmful"}], {"formula": "rsave"}, "did you mean 'rsafe'"),
    ],
)
def test_what_is_missing_is_named(rows: list[dict[str, Any]], how: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError) as e:
        toolkit.reward(rows, **how)
    assert words in f"{e.value} {e.value.hint}"


@pytest.mark.parametrize("name", [n for n in toolkit.rewards.__all__ if n[0].islower() or n in ("ExportedReward", "RewardFunction")])
def test_the_example_of_a_name_is_true(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    example = doctest.DocTestParser().get_doctest(getattr(toolkit.rewards, name).__doc__, {"toolkit": toolkit}, name, None, None)
    found: list[str] = []
    assert example.examples and not doctest.DocTestRunner().run(example, out=found.append).failed, "".join(found)
