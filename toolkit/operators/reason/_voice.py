"""Rules on what a reasoning says, and in whose voice: see the table in `toolkit.operators.reason._rules`."""

from __future__ import annotations

import re
from functools import lru_cache

import polars as pl

from toolkit.guards import Guard, Section, preamble, sections
from toolkit.operators.reason._labels_given import first, patterns, phrases
from toolkit.operators.reason._reading import Fault, Reading
from toolkit.operators.reason._refused import SEES, declines, may_decline, sentences
from toolkit.operators.reason._rule_limits import Limits
from toolkit.operators.reason._stated_verdicts import Reader, readers

REFUSED = re.compile(
    r"(?:(?:unfortunately|sorry|apologies|my apologies|as an ai(?: language)? model|however)[,.]? (?:but )?)?"
    r"(?:i['’]?m (?:very |really |so |truly )?(?:sorry|afraid)|i am (?:very |really |so |truly )?(?:sorry|afraid)|i (?:do )?apologi[sz]e|my apologies"
    r"|(?:i|we) (?:can['’]?t|can ?not|could not|couldn['’]?t|won['’]?t|will not|must (?:decline|refuse)|have to (?:decline|refuse)|decline|refuse"
    r"|am (?:not able|unable)|are (?:not able|unable)|do not feel|don['’]?t feel)"
    r"|i['’]?m (?:not able|unable)|sorry, (?:but )?i\b)",
    re.IGNORECASE,
)
"""How a model declines in its own voice."""
_INITIALS = frozenset("aAhHiImMsSuUwW")
"""What `REFUSED` may begin with."""


def refusal(r: Reading, limits: Limits) -> Fault:
    """The teacher declines."""
    hinted = may_decline(r.folded)
    openings = r.passages if r.parts or not hinted else sentences(r.text, _OPENINGS)
    for text in (r.text.lstrip(" \t\n\r#*_-"), *openings):
        if (text[:1] in _INITIALS and REFUSED.match(text) and not SEES.search(text[:80].lower())) or (hinted and declines(text)):
            return "teacher_refused", repr(text[:60].split("\n")[0])
    return None


_OPENINGS = 4
"""Sentences of a text without any section that are looked at."""


def conclusions(r: Reading, limits: Limits) -> Fault:
    """Each conclusion agrees with its answer."""
    heading = bool(r.guard.output.conclusion_heading)
    for p in r.parts:
        if not 1 <= p.task <= len(r.guard.tasks):  # what `structure` rejects
            continue
        if heading and limits.conclusion == "required" and not p.conclusion:
            return "conclusion_missing", f"task {p.task}"
        stated = verdict(readers(r.guard)[p.task - 1][0], p)
        want = r.parsed.labels[r.guard.tasks[p.task - 1].name]
        if stated is not None and stated[0] != want and not r.parsed.problems:
            return "conclusion_contradicts", f"task {p.task}: {stated[1]} {stated[0]}, answers {want or r.guard.output.missing_word}"
    return None


def verdict(read: Reader, part: Section) -> tuple[str, str] | None:
    """The label that a section's conclusion states, or without one its last step, and what states it; None where none is stated plainly."""
    if part.conclusion:
        return (stated, "concludes") if (stated := read.read(part.conclusion, conclusion=True)) else None
    return (stated, "the last step says") if part.steps and (stated := read.read(part.steps[-1])) else None


def stated_labels(guard: Guard, text: str) -> dict[str, str]:
    """By task the label that its conclusion states in an output, or without one its last step, as the rule `conclusions` reads it; a task on which
    nothing is stated plainly is not there."""
    out = {}
    for part in sections(guard, text):
        if 1 <= part.task <= len(guard.tasks) and (stated := verdict(readers(guard)[part.task - 1][0], part)) is not None:
            out[guard.tasks[part.task - 1].name] = stated[0]
    return out


def scaffold(r: Reading, limits: Limits) -> Fault:
    """The teacher's prompt shows."""
    found = first(phrases(r.guard)[0], r.text, r.folded, lambda: r.exchange)
    return ("scaffold", f"the words {found!r}") if found else None


def may_be_scaffold(guard: Guard, limits: Limits, text: pl.Expr) -> pl.Expr:
    """Whether `scaffold` may find something."""
    return text.str.contains(patterns(guard)[0])


def words(r: Reading, limits: Limits) -> Fault:
    """Words that do not belong to a task."""
    tasks = r.guard.tasks
    for p in r.parts:
        if not 1 <= p.task <= len(tasks):
            continue
        task = tasks[p.task - 1]
        banned = (*limits.forbidden.get("*", ()), *limits.forbidden.get(task.name, ()))
        if banned and (found := _banned(banned).search("\n".join((*p.steps, p.conclusion or "")))):
            return "word_forbidden", f"task {p.task}: {found[0]!r}"
        if fault := _foreign(r.guard, p):
            return fault
    return None


def _foreign(guard: Guard, p: Section) -> Fault:
    """A verdict in another task's words where the task has none of its own."""
    own, others = readers(guard)[p.task - 1]
    stated = verdict(others, p)
    if not stated or own.named.search((p.conclusion or p.steps[-1]).lower()) or any(own.read(s) for s in p.steps):
        return None
    of = next(t.name for t in guard.tasks if stated[0] in t.labels)
    return "verdict_foreign", f"task {p.task}: {stated[1]} {stated[0]}, a label of {of}"


@lru_cache(maxsize=64)
def _banned(words: tuple[str, ...]) -> re.Pattern[str]:
    longest = sorted(words, key=len, reverse=True)
    return re.compile(rf"(?<!\w)(?:{'|'.join(re.escape(w) for w in longest)})(?!\w)", re.IGNORECASE)


def may_rest_on_label(guard: Guard, limits: Limits, text: pl.Expr) -> pl.Expr:
    """Whether `rests_on_label` may find something."""
    return text.str.contains(patterns(guard)[1])


def rests_on_label(r: Reading, limits: Limits) -> Fault:
    """The part of `leakage` that is about a label as a reason."""
    found = first(phrases(r.guard)[1], r.prose, r.prose.lower(), lambda: r.exchange)
    return ("label_told", f"the words {found!r}") if found else None


def opens(r: Reading, limits: Limits) -> Fault:
    """The part of `leakage` that is about how a task opens."""
    for p in r.parts:
        if not 1 <= p.task <= len(r.guard.tasks) or p.numbers[:1] != [1]:  # a first step 4 goes on from another place
            continue
        found = readers(r.guard)[p.task - 1][0].opens_with_verdict(p.steps[0])
        if found and len(preamble(r.guard, r.text)) < _PREAMBLE:
            return "label_first", f"task {p.task} opens with {found!r}"
    return None


_PREAMBLE = 60
"""Characters before the first section from which on they are taken for reasoning on any task."""
