"""A chain cut behind its steps, and the answers' form behind it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from toolkit.guards import Guard, Reasoning, answer_form, chain_of, load_guard, parse, render_output, sections

FILES = Path(__file__).parent / "files"
GUARDREASONER = load_guard("guardreasoner")


def filled(guard: Guard, text: str, tasks: list[str], labels: list[str], **how: bool) -> str:
    form = answer_form(guard, tasks, **how)
    assert all(label in known for (_, known), label in zip(form, labels, strict=False))
    return text + "".join(before + label for (before, _), label in zip(form, [*labels, ""], strict=True))


def test_each_step_and_conclusion_ends_where_its_text_does() -> None:
    output = (
        "# Task 1\n\n## Reasoning Step 1\nOne.\n\nMore. \n\n## Reasoning Step 2: Two.\n\n## Conclusion\nIt is harmful.\n\n"
        "# Task 2\n\n## Reasoning Step 1\nThree.\n\nAnswers: \nRequest: harmful\nCompletion: None\nResponse: None"
    )
    chain = chain_of(GUARDREASONER, output)
    assert chain is not None and chain.steps == 4
    assert [chain.prefix(n).rpartition("\n")[2] for n in range(1, 5)] == ["More.", "## Reasoning Step 2: Two.", "It is harmful.", "Three."]
    assert all(output.startswith(chain.prefix(n)) for n in range(5))


@pytest.mark.parametrize("name", ["guardreasoner", "think", "boxed"])
@pytest.mark.parametrize(("steps", "conclusion"), [(["A.", "B.  "], "C."), (["A \n\nB\nC"], "é"), ([" A", "B: C", ": D"], "It is so.\n")])
def test_what_a_guard_renders_is_cut_and_answered_in_its_own_form(name: str, steps: list[str], conclusion: str) -> None:
    """Behind the whole chain the form, filled, is the output; behind none it is the output without a reasoning."""
    guard = load_guard(name if name == "guardreasoner" else FILES / f"{name}.yaml")
    tasks, labels = [guard.tasks[0].name], [guard.tasks[0].labels[0]]
    answers = {t.name: labels[0] if t.name in tasks else None for t in guard.tasks}
    output = render_output(guard, {t.name: Reasoning(steps, conclusion) for t in guard.tasks}, answers)
    parts = [text for part in sections(guard, output) for text in (*part.steps, part.conclusion) if text]
    chain = chain_of(guard, output)
    assert (chain.steps if chain else 0) == len(parts)
    if chain is not None:
        assert [chain.prefix(n + 1).endswith(text.rpartition("\n")[2].rstrip()) for n, text in enumerate(parts)] == [True] * len(parts)
        whole = filled(guard, chain.prefix(chain.steps), tasks, labels, reasoned=True)
        assert whole.split() == output.split() and parse(guard, whole).labels == parse(guard, output).labels
    assert filled(guard, "", tasks, labels, reasoned=False) == render_output(guard, {}, answers)


def test_a_template_that_opened_the_reasoning_is_not_opened_again() -> None:
    guard = load_guard(FILES / "think.yaml")
    output = render_output(guard, {guard.tasks[0].name: Reasoning(["A recipe.", "Harmless."], "")}, {t.name: t.labels[0] for t in guard.tasks})
    whole, rest = chain_of(guard, output), chain_of(guard, output.removeprefix(guard.output.open))
    assert whole is not None and rest is not None and (whole.opened, rest.opened) == (True, False)
    assert not answer_form(guard, guard.task_names, reasoned=False, opened=False)[0][0].startswith(guard.output.open)


def test_an_output_without_a_step_has_no_chain() -> None:
    answers = dict.fromkeys(GUARDREASONER.task_names)
    for output in (None, "", render_output(GUARDREASONER, {}, answers), "# Task 1\n\n## Reasoning Step 1\n\nAnswers: \nRequest: None"):
        assert chain_of(GUARDREASONER, output) is None
    assert chain_of(load_guard("llama_guard_3"), "unsafe\nS1") is None


def test_chains_of_released_outputs(real_data: Path) -> None:
    for line in (real_data / "guardreasoner" / "predictions" / "8B" / "XSTestResponseRefusal.jsonl").read_text(encoding="utf-8").splitlines():
        output = json.loads(line)["predict"]
        parts = [text for part in sections(GUARDREASONER, output) for text in (*part.steps, part.conclusion) if text]
        chain = chain_of(GUARDREASONER, output)
        assert (chain.steps if chain else 0) == len(parts)
        assert chain is None or all(chain.prefix(n + 1).endswith(text.rpartition("\n")[2].rstrip()) for n, text in enumerate(parts))
