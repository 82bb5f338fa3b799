"""Rules on the form of a reasoning: see the table in `toolkit.operators.reason._rules`."""

from __future__ import annotations

import re

from toolkit.generation import ended
from toolkit.guards import answers_cut, preamble, step_heading, without_answers
from toolkit.operators.reason._reading import Fault, Reading
from toolkit.operators.reason._rule_limits import Limits

CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
ENDS = tuple(".!?…。！？؟।:;\"'”’»)]}>*_`")
"""How a sentence or a block may end."""


def truncated(r: Reading, limits: Limits) -> Fault:
    """Ran out of tokens, or ended with a word that is not known for the end of an answer."""
    return cut_short(r.row["reasoning_finish"])


def cut_short(finish: str | None) -> Fault:
    """What a finish word says against the text that came with it."""
    how = ended(finish)
    if how == "stop":
        return None
    why = "the teacher stopped at its token limit" if how == "length" else f"the answer did not end as a whole one does (finish_reason {finish!r})"
    return "truncated", why


def answers(r: Reading, limits: Limits) -> Fault:
    """The answers block."""
    return (r.parsed.problems[0], ", ".join(r.parsed.problems)) if r.parsed.problems else None


def labels(r: Reading, limits: Limits) -> Fault:
    """Answers against the row's labels."""
    for task in r.guard.tasks:
        want, answer = r.row[f"label_{task.name}"], r.parsed.labels[task.name]
        free = r.row[f"label_{task.name}_source"] == "to_infer"
        if free and answer is None:
            return "label_not_inferred", f"{task.name}: the teacher was to give a label and gave none"
        if answer != want and not free:
            return "label_changed", f"{task.name}: the row says {want}, the reasoning {answer}"
    return None


def structure(r: Reading, limits: Limits) -> Fault:
    """One section a task."""
    before = preamble(r.guard, r.text)
    if before and (stray := step_heading(r.guard, before)):
        return "steps_before_heading", f"before the first task's heading stands {stray[:60]!r}"
    numbers = [p.task for p in r.parts]
    if numbers != list(range(1, len(r.guard.tasks) + 1)):
        return "structure", f"task sections {numbers}, expected 1 to {len(r.guard.tasks)}"
    if before:
        return "text_before_tasks", f"before the first task stands {before[:60]!r}"
    return None


def steps(r: Reading, limits: Limits) -> Fault:
    """Numbers and texts of the steps."""
    bounds = r.guard.steps
    for p in r.parts:
        if p.numbers != list(range(1, len(p.numbers) + 1)):
            return "steps_misnumbered", f"task {p.task}: steps {p.numbers}"
        if not bounds.min <= len(p.steps) <= bounds.max:
            return "step_count", f"task {p.task}: {len(p.steps)} steps, allowed {bounds.min} to {bounds.max}"
        if any(not s for s in p.steps):
            return "step_empty", f"task {p.task}: a step without text"
        if len({s.casefold() for s in p.steps}) < len(p.steps):
            return "step_repeated", f"task {p.task}: the same step twice"
    return None


def control(r: Reading, limits: Limits) -> Fault:
    """Control characters: a terminal would obey an escape."""
    found = CONTROL.search(r.text)
    return ("control_character", f"{found[0]!r} at character {found.start()}") if found else None


def ending(r: Reading, limits: Limits) -> Fault:
    """The text stops in its middle."""
    text = r.text.rstrip()
    if not text:
        return None
    cut = answers_cut(r.guard, text)
    if cut is None:
        return None if text.endswith(ENDS) else ("cut_off", f"no answers, and the text ends with {text[-24:]!r}")
    return ("cut_off", f"the answers end with {text[-24:]!r}") if cut else None


def lengths(r: Reading, limits: Limits) -> Fault:
    """Lengths of steps and of all."""
    for p in r.parts:
        for k, step in enumerate(p.steps, 1):
            if len(step) < limits.min_step_chars:
                return "step_short", f"task {p.task}, step {k}: {len(step)} characters, at least {limits.min_step_chars}"
            if len(step) > limits.max_step_chars:
                return "step_long", f"task {p.task}, step {k}: {len(step)} characters, at most {limits.max_step_chars}"
    size = sum(len(s) for p in r.parts for s in (*p.steps, p.conclusion or ""))
    if (
        size < limits.min_chars
        and (size := sum(len(s) for line in without_answers(r.guard, r.text).split("\n") if (s := line.strip()) and s[0] != "#")) < limits.min_chars
    ):
        return "reasoning_short", f"{size} characters, at least {limits.min_chars}"
    if size > limits.max_chars:
        return "reasoning_long", f"{size} characters, at most {limits.max_chars}"
    return None
