"""The reasoning that a guard wrote, cut into tasks, steps and conclusions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from toolkit.guards._data_fields import without_data
from toolkit.guards._definition import Guard
from toolkit.guards._layout import layout_of, split_lines

_NUMBER = r"\d{1,6}(?!\d)"
"""Degenerate outputs count up without end; a longer number is no number of a step."""
_TASK, _STEP, _CONCLUSION = "task", "step", "conclusion"


@dataclass(frozen=True)
class Section:
    """The reasoning on one task as found in a text: step numbers as written, their texts, and the conclusion."""

    task: int
    numbers: list[int]
    steps: list[str]
    conclusion: str | None


def sections(guard: Guard, text: str) -> list[Section]:
    """The reasoning sections of a text in the order in which they stand; the answers belong to none.

    A step's text may follow its heading on the same line (after a colon) or on the next ones, and a heading may be under more or fewer ``#``:
    released models write both (spec A.4). Text before the first heading belongs to no section. Task numbers are as
    written and may be any: models that lose their way write "Task 64".
    """
    heads, lines = _headings(guard), _body(guard, text)
    if not guard.output.task_heading and not any(map(str.strip, lines)):
        return []
    found = heads.found(lines)
    ends = [*(i for i, _ in found[1:]), len(lines)]
    out: list[Section] = []
    for (i, (kind, number, rest)), end in zip(found, ends, strict=False):
        if kind == _TASK:
            steps = [] if heads.counted else _paragraphs("\n".join((rest, *lines[i + 1 : end])))
            out.append(Section(number, list(range(1, len(steps) + 1)), steps, None))
        elif out:
            below, section = "\n".join((rest, *lines[i + 1 : end])).removeprefix(":").strip(), out[-1]
            if kind == _STEP:
                section.numbers.append(number)
                section.steps.append(below)
            else:
                out[-1] = Section(section.task, section.numbers, section.steps, below)
    return out


def part_ends(guard: Guard, text: str) -> list[int]:
    """Where in a text each step and conclusion of `sections` ends, behind its last letter; those without a text are left out."""
    heads, lines = _headings(guard), _body(guard, text)
    opened = bool(guard.output.open) and text.lstrip().startswith(guard.output.open)
    starts = [len(text) - len(text.lstrip()) + len(guard.output.open) if opened else 0]
    for line in text[starts[0] :].split("\n"):
        starts.append(starts[-1] + len(line) + 1)
    found = heads.found(lines)
    first = next((n for n, (_, head) in enumerate(found) if head[0] == _TASK), len(found))
    out = []
    for (i, (kind, _, rest)), end in list(zip(found, [*(i for i, _ in found[1:]), len(lines)], strict=False))[first:]:
        whole = [rest.removeprefix(":").strip(), *(line.strip() for line in lines[i + 1 : end])]
        filled = [n for n, line in enumerate(whole) if line]
        if kind != _TASK:
            filled = filled[-1:]
        elif heads.counted:
            continue
        else:  # its own text is its steps, a paragraph each
            filled = [n for n in filled if n + 1 == len(whole) or not whole[n + 1]]
        out += [starts[i + n] + len(lines[i + n].rstrip()) for n in filled]
    return out


def answers_cut(guard: Guard, text: str) -> bool | None:
    """Whether the answers block that a text ends with breaks off: its lines are the first of a whole block, the last one perhaps in part.

    None where no answers block begins, as loosely as `sections` takes it.
    """
    layout = layout_of(guard)
    lines = split_lines(without_data(guard, text))
    start = layout.loose_start(lines)
    if start is None:
        return False if lines and lines[-1] in layout.lines else None
    answers = lines[start + bool(layout.heading) :]
    if len(answers) > len(layout.answers):
        return False
    whole = all(line in known for line, known in zip(answers[:-1], layout.answers, strict=False))
    if not answers:
        return True
    known = layout.answers[len(answers) - 1]
    if answers[-1] in known:
        return whole and len(answers) < len(layout.answers)
    return whole and any(line.startswith(answers[-1]) for line in known)


def preamble(guard: Guard, text: str) -> str:
    """The text before the first section; empty for a guard without task headings."""
    heads, lines = _headings(guard), _body(guard, text)
    first = next((i for i, line in enumerate(lines) if heads.task and heads.may_be[line[:1]] and heads.task.match(line)), 0)
    return "\n".join(lines[:first]).strip() if first else ""


def step_heading(guard: Guard, text: str) -> str | None:
    """The first heading of a step in a text; None without one."""
    heads = _headings(guard)
    found = (heads.below.match(line) for line in text.split("\n")) if heads.counted and heads.below else ()
    return next((head[0].strip() for head in found if head and head["k"]), None)


def without_answers(guard: Guard, text: str) -> str:
    """The text between what opens and what closes the reasoning; without a closing mark, up to the answers."""
    return "\n".join(_body(guard, text))


def _body(guard: Guard, text: str) -> Sequence[str]:
    """The lines of `without_answers`."""
    o = guard.output
    if o.open and text.lstrip().startswith(o.open):
        text = text.lstrip()[len(o.open) :]
    if o.close and o.close in text:
        return text[: text.index(o.close)].split("\n")
    lines = split_lines(text)
    end = layout_of(guard).loose_start(lines)
    end = len(lines) if end is None else end
    while end and lines[end - 1] in ("", o.separator.rstrip()):
        end -= 1
    return lines[:end]


def _paragraphs(text: str) -> list[str]:
    return [p.strip() for p in re.split(r"\n\s*\n", text) if p.strip()]


class _Headings:
    """How a line is known for a heading of a guard. What it says is remembered: a corpus has few different headings.

    Attributes:
        task: pattern of a task's heading; None where the guard has none.
        below: pattern of the headings of steps and conclusions.
        counted: whether steps have headings.
        may_be: whether a line that begins with a character may be a heading; made as characters come.
        of: the headings that a line begins with, each with its number and what follows it: none, one, or a task's and one below it.
    """

    def __init__(self, guard: Guard) -> None:
        o = guard.output
        heads = [_loose(o.step_heading, "k")] if o.step_heading else []
        heads += [_loose(o.conclusion_heading, "")] if o.conclusion_heading else []
        last = re.escape(o.conclusion_heading.lstrip("# ").rstrip()) if o.conclusion_heading else ""
        if last and o.task_heading:  # released models write "# Task 1 Conclusion", too
            heads.append(_loose(o.task_heading, "n").replace("(?P<n>", "(?:") + rf"[ \t]+{last}(?!\w)")
        unless = rf"(?![ \t]+{last}(?!\w))" if last else ""
        self.task = re.compile(_loose(o.task_heading, "n") + unless, re.IGNORECASE) if o.task_heading else None
        self.below = re.compile("|".join(heads), re.IGNORECASE) if heads else None
        self.counted = bool(o.step_heading)
        self.may_be = _Firsts(h.lstrip()[:1] for h in (o.task_heading, o.step_heading, o.conclusion_heading))
        self.of = lru_cache(maxsize=512)(self._of)

    def found(self, lines: Sequence[str]) -> list[tuple[int, tuple[str, int, str]]]:
        """The headings in some lines, each with its line's number; for a guard without headings of tasks first that of its one task, above them."""
        may_be = self.may_be
        out = [] if self.task else [(-1, (_TASK, 1, ""))]
        return out + [(i, head) for i, line in enumerate(lines) if may_be[line[:1]] for head in self.of(line)]

    def _of(self, line: str) -> tuple[tuple[str, int, str], ...]:
        task = self.task.match(line) if self.task else None
        rest = line[task.end() :] if task else line
        below = self.below.match(rest) if self.below else None
        out = [] if task is None else [(_TASK, int(task["n"]), "" if below else rest)]
        if below:
            step = below["k"] if self.counted else None
            out.append((_STEP, int(step), rest[below.end() :]) if step else (_CONCLUSION, 0, rest[below.end() :]))
        return tuple(out)


class _Firsts(dict[str, bool]):
    """By the first character of a line, whether it may be a heading."""

    def __init__(self, firsts: Iterable[str]) -> None:
        known = [r"\d" if c == "{" else re.escape(c) for c in firsts if c]
        self._may = re.compile("|".join((r"[ \t#]", *known)), re.IGNORECASE)

    def __missing__(self, first: str) -> bool:
        self[first] = self._may.fullmatch(first) is not None
        return self[first]


@lru_cache(maxsize=32)
def _headings(guard: Guard) -> _Headings:
    return _Headings(guard)


def _loose(heading: str, mark: str) -> str:
    """A heading at the start of a line: any number of ``#`` where it has some, and a number at `mark`."""
    words = heading.lstrip("# ").rstrip()
    if mark:
        before, after = words.format(**{mark: "\0"}).split("\0")
        pattern = f"{re.escape(before)}(?P<{mark}>{_NUMBER}){re.escape(after)}"
    else:
        pattern = re.escape(words)
    return rf"[ \t]*{'#+' if heading.startswith('#') else '#*'}[ \t]*{pattern}(?!\w)"
