"""What `pair` chooses is what a guard is trained to write: it reads strictly and passes the recipe's validator."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from frames import reasons, rows_of, run_steps, seed, verdict, verdicts
from server import Server, chat

import toolkit
from toolkit.common.errors import InputError
from toolkit.guards import load_guard, parse

GUARD = load_guard("guardreasoner")
H, U = "harmful", "unharmful"


def text(label: str, steps: int = 1, more: str = "") -> str:
    words = "\n\n".join(f"## Reasoning Step {k}\nThe words of line {k} call for it." for k in range(1, steps + 1))
    parts = [f"# Task {n}\n\n{words}\n\n## Conclusion\nSo much for part {n}." for n in (1, 2, 3)]
    return "\n\n".join([*parts, "---", f"Answers: \nRequest: {label}\nCompletion: None\nResponse: None{more}"])


SOUND, WRONG = text(H), text(U)
TWICE = "Request: harmful\n\n" + text(H, 2)
LONGEST = text(H, 11)
"""Reads strictly, and has more steps than the guard allows."""


def mined(*outputs: str, **options: Any) -> toolkit.Applied:
    parent = seed(0, prompt="p", label_prompt=H)
    rows = [verdict(parent, "ab"[i % 2], i // 2, t, prompt=parse(GUARD, t).labels["prompt"]) for i, t in enumerate(outputs)]
    frame = verdicts(*rows)
    released = {"pick": "longest", "rejected_passes": "anything"}
    return toolkit.apply("pair", {"rows": toolkit.apply("mine", frame).kept, "verdicts": frame}, **{**released, **options})


def test_an_output_that_reads_only_leniently_is_not_chosen() -> None:
    found = mined(SOUND, TWICE, WRONG)
    assert found.kept["chosen"].to_list() == [SOUND] and found.kept["rejected"].to_list() == [WRONG]
    assert found.figures["passed_over"] == {"answers_repeated": 1}
    assert mined(SOUND, TWICE, WRONG, chosen_passes="anything").kept["chosen"].to_list() == [TWICE]
    assert mined(SOUND, WRONG, TWICE[:-1] + "e").figures["passed_over"] == {"answers_repeated": 1}, "whatever the order"


def test_what_is_rejected_may_be_malformed() -> None:
    assert mined(SOUND, "Request: unharmful\n" + WRONG).kept["rejected"].to_list() == ["Request: unharmful\n" + WRONG]


def test_a_hard_sample_without_a_sound_output_says_why_it_has_no_pair() -> None:
    found = mined(TWICE, "**Request:** harmful", WRONG, empty=True)
    assert reasons(found.left) == {"no_pair": 1}
    assert found.left["_detail"].to_list() == ["no right output is sound: answers_repeated, no_answers_block"]
    with pytest.raises(InputError, match="2 right outputs are malformed: answers_repeated 1, no_answers_block 1"):
        mined(TWICE, "**Request:** harmful", WRONG)


def test_only_what_would_have_been_chosen_counts_as_passed_over() -> None:
    short = "Request: harmful"
    assert mined(short, SOUND, WRONG).figures["passed_over"] == {}
    assert mined(SOUND, short, WRONG).figures["passed_over"] == {}


def test_the_validator_of_the_recipe_judges_what_is_chosen(server: Server, tmp_path: Path) -> None:
    outputs = {"a": SOUND, "b": LONGEST, "c": WRONG}
    server.script = lambda text, body: (200, {}, chat(outputs[body["model"]]))
    backend = {"backend": "openai", "base_url": server.base_url, "retries": 0}
    row = seed(0, prompt="p", label_prompt=H)
    pl.DataFrame([{**{n: row[n] for n in ("id", "prompt", "label_prompt", "label_prompt_source")}, "reasoning": SOUND}]).write_parquet(
        tmp_path / "rows.parquet"
    )
    columns = {n: n for n in ("id", "prompt", "label_prompt", "label_prompt_source", "reasoning")}

    def chosen(validate: Mapping[str, Any] | None, **options: Any) -> tuple[str, dict[str, int]]:
        steps: list[dict[str, Any]] = [{"id": "rows", "use": "read", "with": {"files": ["rows.parquet"], "columns": columns, "record": "reasoned"}}]
        steps += [{"id": "valid", "use": "validate", "with": dict(validate)}] if validate is not None else []
        steps += [
            {"id": "samples", "use": "sample", "with": {"k": 1, "models": {m: {**backend, "model": m} for m in outputs}}},
            {"id": "verdicts", "use": "verdicts"},
            {"id": "hard", "use": "mine"},
            {
                "id": "pairs",
                "use": "pair",
                "from": {"rows": "hard", "verdicts": "verdicts"},
                "with": {"pick": "longest", "rejected_passes": "anything", **options},
            },
        ]
        done = run_steps(tmp_path, steps)["pairs"]
        return rows_of(done)["chosen"][0], done.manifest["stats"]["passed_over"]

    assert chosen(None) == (LONGEST, {})
    assert chosen({}) == (SOUND, {"step_count": 1})
    assert chosen({"rules": ["truncated", "labels"]}) == (LONGEST, {}), "its own rules, and no others"
    assert chosen({}, chosen_passes="strict") == (LONGEST, {})
    assert chosen({}) == (SOUND, {"step_count": 1}), "a step built by other rules is not taken for this one"


def test_released_outputs_that_are_chosen_are_sound(real_data: Path, tmp_path: Path) -> None:
    """Of 116 hard rows in what three released guards wrote, nine had as their longest right output one that does not read strictly."""
    rule = {"extends": "default", "pairs": {"pick": "longest", "chosen_right_on": "task", "rejected_passes": "anything"}}
    unsound = pairs = 0
    for benchmark, task in (
        ("AegisSafetyTest", "prompt"),
        ("HarmBenchPrompt", "prompt"),
        ("SimpleSafetyTests", "prompt"),
        ("XSTestResponseRefusal", "refusal"),
    ):
        files = {s: real_data / "guardreasoner" / "predictions" / s / f"{benchmark}.jsonl" for s in ("1B", "3B", "8B")}
        found = toolkit.mine(files, output=tmp_path / benchmark, task=task, rule=rule)
        rows = rows_of(toolkit.read_run(tmp_path / benchmark)["pairs"]) if found["pairs"] else pl.DataFrame({"chosen": []})
        assert all(not parse(GUARD, t, "strict").problems for t in rows["chosen"])
        unsound += sum(found["passed_over"].values())
        pairs += found["pairs"]
    assert (pairs, unsound) == (113, 9), "six have another right output"
