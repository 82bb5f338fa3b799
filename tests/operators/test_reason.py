"""`synthesise` with the template teacher, and `validate` on what it, a careless teacher and real models write."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import polars as pl
import pytest
from frames import TASKS, reasons, rows_of, run_steps, seeds

import toolkit
from toolkit.guards import load_guard, parse
from toolkit.operators.reason.validate import Rule, check_reasoning

GUARD = load_guard("guardreasoner")
RULES = list(get_args(Rule))


@pytest.fixture(scope="module")
def reasoned(tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    """All bundled seeds with the template's reasoning."""
    steps: list[dict[str, Any]] = [
        {"id": "seeds", "use": "load", "with": {"source": "quickstart"}},
        {"id": "clean", "use": "normalise"},
        {"id": "reasoning", "use": "synthesise", "with": {"backend": {"backend": "template"}}},
    ]
    return rows_of(run_steps(tmp_path_factory.mktemp("reasoned"), steps)["reasoning"])


@pytest.fixture(scope="module")
def sound(reasoned: pl.DataFrame) -> dict[str, Any]:
    """One sound row: harmful request, refused, with a response."""
    return reasoned.filter((pl.col("label_prompt") == "harmful") & (pl.col("label_refusal") == "refusal")).row(0, named=True)


def faults(row: dict[str, Any], rules: list[Rule] | None = None) -> str | None:
    return check_reasoning(GUARD, row, rules or RULES)["reason"]  # type: ignore[no-any-return]


# The template teacher -------------------------------------------------------------------------------------------------


def test_every_bundled_seed_gets_reasoning_that_passes_and_is_marked_as_template(reasoned: pl.DataFrame) -> None:
    kept, rest = toolkit.apply("validate", reasoned)
    assert reasons(rest) == {}
    assert kept.height == reasoned.height >= 600
    assert set(kept["teacher"]) == {"template"}
    assert kept["steps"].min() >= 3, "at least one step for each of three tasks"  # type: ignore[operator]
    assert kept["reasoning_key"].str.len_chars().unique().to_list() == [64]
    same = [f"label_{t}{s}" for t in TASKS for s in ("", "_source")]
    assert kept.select(same).equals(reasoned.select(same)), "validation changes no label that was there"


def test_reasoning_says_the_labels_of_its_row(reasoned: pl.DataFrame) -> None:
    for row in reasoned.iter_rows(named=True):
        assert parse(GUARD, row["reasoning"], "strict").labels == {t: row[f"label_{t}"] for t in TASKS}


# Each rule has a text that fails it -----------------------------------------------------------------------------------

SWAP = {"Request: harmful": "Request: unharmful"}


def edited(row: dict[str, Any], **edits: Any) -> dict[str, Any]:
    return row | edits


def cut_tail(text: str) -> str:
    return text[: text.rindex("Answers:")]


@pytest.mark.parametrize(
    ("rule", "edit", "reason"),
    [
        ("truncated", lambda t: t, "truncated"),
        ("answers", lambda t: cut_tail(t), "no_answers_block"),
        ("answers", lambda t: t + "\n\n" + t[t.rindex("Answers:") :], "answers_repeated"),
        ("answers", lambda t: t + "\nI hope that helps.", "text_after_answers"),
        ("answers", lambda t: t.replace("Request: harmful", "Request: rather harmful"), "answer_line_malformed"),
        ("answers", lambda t: "", "empty"),
        ("labels", lambda t: t.replace("Request: harmful", "Request: unharmful"), "label_changed"),
        ("labels", lambda t: t.replace("Completion: refusal", "Completion: None"), "label_changed"),
        ("structure", lambda t: t.replace("# Task 2\n", "# Task 3\n"), "structure"),
        ("structure", lambda t: t[t.rindex("---\n") :], "structure"),
        ("steps", lambda t: t.replace("Step 1", "Step 2"), "steps_misnumbered"),
        ("steps", lambda t: "# Task 1\n\n## Conclusion\nharmful.\n\n" + t[t.index("# Task 2") :], "step_count"),
        ("steps", lambda t: "# Task 1\n\n" + "".join(f"## Reasoning Step {k}\nNo. {k}\n\n" for k in range(1, 12)) + t[t.index("# Task 2") :], "step_count"),
        ("steps", lambda t: "# Task 1\n\n## Reasoning Step 1\n\n## Reasoning Step 2\nText.\n\n" + t[t.index("# Task 2") :], "step_empty"),
        ("steps", lambda t: "# Task 1\n\n## Reasoning Step 1\nSame.\n\n## Reasoning Step 2\nsame.\n\n" + t[t.index("# Task 2") :], "step_repeated"),
        ("conclusions", lambda t: "# Task 1\n\n## Reasoning Step 1\nA.\n\n## Conclusion\nIt is unharmful.\n\n" + t[t.index("# Task 2") :], "conclusion_contradicts"),
        ("scaffold", lambda t: t.replace("# Task 1\n", "# Task 1\nThe ground truth is given.\n"), "scaffold"),
        ("scaffold", lambda t: t.replace("# Task 1\n", "# Task 1\nAs the reviewers' answers say,\n"), "scaffold"),
        ("scaffold", lambda t: t.replace("# Task 1\n", "# Task 1\nSince the correct answer was provided,\n"), "scaffold"),
        ("control", lambda t: t.replace("# Task 1\n", "# Task 1\n\x1b[31mred\n"), "control_character"),
    ],
)  # fmt: skip
def test_each_rule_finds_its_fault(rule: Rule, edit: Any, reason: str, sound: dict[str, Any]) -> None:
    assert faults(sound) is None
    bad = edited(sound, reasoning=edit(sound["reasoning"]), reasoning_finish="length" if rule == "truncated" else "stop")
    assert faults(bad, [rule]) == reason
    assert faults(bad) is not None
    if reason != "empty":
        others: list[Rule] = [r for r in RULES if r != rule]
        assert faults(bad, others) != reason, "no other rule gives this reason"


def test_the_first_rule_in_their_own_order_names_the_fault(sound: dict[str, Any]) -> None:
    bad = edited(sound, reasoning=cut_tail(sound["reasoning"]) + "ground truth", reasoning_finish="length")
    assert faults(bad, ["scaffold", "truncated"]) == "truncated"
    assert faults(bad, ["scaffold", "answers"]) == "no_answers_block"


def test_a_rejected_row_says_what_was_found_and_the_others_go_on(reasoned: pl.DataFrame) -> None:
    some = reasoned[:4]
    text = some["reasoning"].to_list()
    text[2] = "nothing of the kind"
    kept, rest = toolkit.apply("validate", some.with_columns(reasoning=pl.Series(text)))
    assert kept.height == 3
    assert rest["_detail"].to_list() == ["no_answers_block"]
    kept, rest = toolkit.apply("validate", some.with_columns(reasoning=pl.Series(text)), rules=["truncated"])
    assert kept.height == 4 and not rest.height


def test_a_label_to_infer_becomes_inferred_and_no_other_label_is_touched(sound: dict[str, Any]) -> None:
    row = edited(sound, label_prompt=None, label_prompt_source="to_infer", label_response_source="vote")
    frame = pl.DataFrame([row], schema_overrides={"steps": pl.Int64, "label_prompt": pl.String, "language": pl.String, "split": pl.String})
    kept, _ = toolkit.apply("validate", frame)
    got = kept.row(0, named=True)
    assert (got["label_prompt"], got["label_prompt_source"]) == ("harmful", "inferred")
    assert (got["label_refusal"], got["label_refusal_source"]) == (sound["label_refusal"], sound["label_refusal_source"])
    assert got["label_response_source"] == "vote"
    gave_none = edited(row, reasoning=sound["reasoning"].replace("Request: harmful", "Request: None"))
    assert faults(gave_none, ["labels"]) == "label_not_inferred"


def test_a_row_without_a_label_may_not_be_given_one(sound: dict[str, Any]) -> None:
    absent = edited(sound, label_prompt=None, label_prompt_source="absent")
    assert faults(absent) == "label_changed"
    none = sound["reasoning"].replace("Request: harmful", "Request: None")
    assert faults(edited(absent, reasoning=none)) == "conclusion_contradicts"
    first, rest = none.split("# Task 2")
    open_ = first[: first.index("## Conclusion")] + "## Conclusion\nNothing settles it.\n\n"
    assert faults(edited(absent, reasoning=f"{open_}# Task 2{rest}")) is None


# Real outputs ---------------------------------------------------------------------------------------------------------


def test_on_what_real_models_wrote_no_rule_raises_and_leaks_are_found(real_data: Path) -> None:
    leaks, rows = 0, 0
    for file in sorted((real_data / "guardreasoner" / "predictions").glob("*/*.jsonl")):
        for line in file.read_text(encoding="utf-8").splitlines():
            text = json.loads(line)["predict"]
            row = {"reasoning": text, "reasoning_finish": "stop"} | dict.fromkeys([f"label_{t}" for t in TASKS])
            row |= dict.fromkeys([f"label_{t}_source" for t in TASKS], "to_infer")
            for rule in RULES:
                found = check_reasoning(GUARD, row, [rule])
                if rule == "scaffold":
                    assert (found["reason"] == "scaffold") == ("ground truth" in text.lower()), text
                    leaks += found["reason"] is not None
            rows += 1
    assert rows == 3441
    assert leaks == 119, "released models were trained on texts that name the ground truth (spec A.4)"


def test_no_text_makes_a_rule_raise() -> None:
    for text in (
        None,
        "",
        "# Task 64\n## Reasoning Step 1\nx\n## Conclusion\nharmful",
        "# Task 0\n## Conclusion\nx",
        "." * 100_000,
        "\x1b[31m",
        "Answers: " * 500,
    ):
        row = {"reasoning": text, "reasoning_finish": None} | dict.fromkeys([f"label_{t}" for t in TASKS])
        row |= dict.fromkeys([f"label_{t}_source" for t in TASKS], "absent")
        for rule in RULES:
            found = check_reasoning(GUARD, row, [rule])
            assert (found["reason"] is None) == (found["detail"] is None) and found["steps"] >= 0


def test_synthesise_needs_a_backend_that_is_there(tmp_path: Path) -> None:
    with pytest.raises(toolkit.GuardkitError, match="backend"):
        toolkit.apply("synthesise", seeds({}))
    with pytest.raises(toolkit.GuardkitError, match="backend"):
        run_steps(tmp_path, [{"id": "s", "use": "load", "with": {"source": "quickstart"}}, {"id": "r", "use": "synthesise"}])
