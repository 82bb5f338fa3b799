"""The reasoning that a guard wrote, cut into tasks, steps and conclusions."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from toolkit.guards._definition import Guard
from toolkit.guards._layout import layout_of, split_lines

_NUMBER = r"\d{1,6}(?!\d)"
"""Degenerate outputs count up without end; a longer number is no number of a step."""


@dataclass(frozen=True)
class Section:
    """The reasoning on one task as found in a text: step numbers as written, their texts, and the conclusion."""

    task: int
    numbers: list[int]
    steps: list[str]
    conclusion: str | None


def sections(guard: Guard, text: str) -> list[Section]:
    """The reasoning sections of a text in the order in which they stand; the answers belong to none.

    A step's text may follow its heading on the same line (after a colon) or on the next ones, and a heading may stand under more or fewer ``#``:
    released models write both (spec A.4). Text before the first heading belongs to no section. Task numbers are as
    written and may be any: models that lose their way write "Task 64".
    """
    body = without_answers(guard, text)
    task_re, head_re = _patterns(guard)
    if task_re is None:
        return [_section(1, body, head_re)] if body.strip() else []
    return [_section(int(m["n"]), below, head_re) for m, below in _cut("\n" + body, task_re)]


def answers_cut(guard: Guard, text: str) -> bool | None:
    """Whether the answers block that a text ends with breaks off: its lines are the first of a whole block, the last one perhaps in part.

    None where no answers block begins, as loosely as `sections` takes it.
    """
    layout = layout_of(guard)
    lines = split_lines(text)
    start = layout.loose_start(lines)
    if start is None:
        return False if lines and lines[-1] in layout.lines else None
    said = lines[start + bool(layout.heading) :]
    if len(said) > len(layout.answers):
        return False
    whole = all(line in known for line, known in zip(said[:-1], layout.answers, strict=False))
    if not said:
        return True
    known = layout.answers[len(said) - 1]
    if said[-1] in known:
        return whole and len(said) < len(layout.answers)
    return whole and any(line.startswith(said[-1]) for line in known)


def preamble(guard: Guard, text: str) -> str:
    """The text before the first section; empty for a guard without task headings."""
    body = "\n" + without_answers(guard, text)
    task_re, _ = _patterns(guard)
    first = task_re.search(body) if task_re is not None else None
    return body[: first.start()].strip() if first else ""


def step_heading(guard: Guard, text: str) -> str | None:
    """The first line of a text that heads a step; None without one."""
    _, head_re = _patterns(guard)
    for found in head_re.finditer("\n" + text) if head_re is not None else ():
        if found.groupdict().get("k"):
            return found[0].strip()
    return None


def _cut(text: str, head_re: re.Pattern[str]) -> list[tuple[re.Match[str], str]]:
    """Each heading with the text below it, up to the next. The text begins with a line end, as the patterns do."""
    heads = list(head_re.finditer(text))
    ends = [h.start() for h in heads[1:]] + [len(text)]
    return [(h, text[h.end() : end]) for h, end in zip(heads, ends, strict=False)]


def without_answers(guard: Guard, text: str) -> str:
    """The text between what opens and what closes the reasoning; without a closing mark, up to the answers."""
    o = guard.output
    if o.open and text.lstrip().startswith(o.open):
        text = text.lstrip()[len(o.open) :]
    if o.close and o.close in text:
        return text[: text.index(o.close)]
    lines = split_lines(text)
    body = lines[: layout_of(guard).loose_start(lines)]
    while body and body[-1] in ("", o.separator.rstrip()):
        body.pop()
    return "\n".join(body)


def _section(task: int, text: str, head_re: re.Pattern[str] | None) -> Section:
    if head_re is None:
        steps = _paragraphs(text)
        return Section(task, list(range(1, len(steps) + 1)), steps, None)
    numbers: list[int] = []
    steps = []
    conclusion = None
    text = "\n" + text
    heads = _cut(text, head_re)
    counted = "k" in head_re.groupindex
    if not counted:  # steps without headings, a conclusion with one
        steps = _paragraphs(text[: heads[0][0].start()] if heads else text)
        numbers = list(range(1, len(steps) + 1))
    for head, below in heads:
        said = below.removeprefix(":").strip()
        number = head["k"] if counted else None
        if number is not None:
            numbers.append(int(number))
            steps.append(said)
        else:
            conclusion = said
    return Section(task, numbers, steps, conclusion)


def _paragraphs(text: str) -> list[str]:
    return [p.strip() for p in re.split(r"\n\s*\n", text) if p.strip()]


@lru_cache(maxsize=32)
def _patterns(guard: Guard) -> tuple[re.Pattern[str] | None, re.Pattern[str] | None]:
    """Of task headings, and of step and conclusion headings; None where the guard has none."""
    o = guard.output
    heads = [_loose(o.step_heading, "k")] if o.step_heading else []
    heads += [_loose(o.conclusion_heading, "")] if o.conclusion_heading else []
    last = re.escape(o.conclusion_heading.lstrip("# ").rstrip()) if o.conclusion_heading else ""
    if last and o.task_heading:  # released models write "# Task 1 Conclusion", too
        heads.append(_loose(o.task_heading, "n").replace("(?P<n>", "(?:") + rf"[ \t]+{last}(?!\w)")
    unless = rf"(?![ \t]+{last}(?!\w))" if last else ""
    task = re.compile(_loose(o.task_heading, "n") + unless, re.IGNORECASE) if o.task_heading else None
    return task, re.compile("|".join(heads), re.IGNORECASE) if heads else None


def _loose(heading: str, mark: str) -> str:
    """A heading at the start of a line: any number of ``#`` where it has some, and a number at `mark`. It begins with the line end
    before it, by which the search is quick; so do the texts that are searched."""
    words = heading.lstrip("# ").rstrip()
    if mark:
        before, after = words.format(**{mark: "\0"}).split("\0")
        pattern = f"{re.escape(before)}(?P<{mark}>{_NUMBER}){re.escape(after)}"
    else:
        pattern = re.escape(words)
    return rf"\n[ \t]*{'#+' if heading.startswith('#') else '#*'}[ \t]*{pattern}(?!\w)"
