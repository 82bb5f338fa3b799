"""What decides a reading without reading all of a text: expressions for a column of texts, exact where they decide, silent where they do not.

What a guard that guardkit trains writes nearly always ends in an answers block in the guard's own words, its *block* here. `shortcut` says what must
hold of a text so that its block alone gives what the whole text gives: the labels and reasons of `toolkit.guards.parse`.

Why that is so, lenient. A reading goes through the answers of a text in order, and the last label wins. So a task whose label is in the block
has it, if the same answers are found in the block with and without what is before. They are, if no answer and no list of labels that begins
before the line break in front of the block goes on behind it (`_parted`): nothing looks further back. A task of which the block says that it has no
label has none, if nowhere in the text a label may follow its field (`label`, which matches more than a reading takes). All else that a reading does
is then idle: each letter is its own plain form (`KNOWN`), the text has no turns and no marks of a reasoning but the guard's own, and does not begin
with its input.

Strict: no line of an answers block is elsewhere (`lines`), and the marks of the reasoning are where they must.

The expressions are in the syntax of Rust's regex crate, which polars uses: without looking around, in linear time.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from toolkit.common.thoughts import MARKS
from toolkit.guards._definition import Guard
from toolkit.guards._grammar_answers import Parsed
from toolkit.guards._layout import layout_of
from toolkit.guards._lenient import SIGNS, TAG, WRAP, lead_of
from toolkit.guards._own_words import plain
from toolkit.guards._parse import Mode, parse
from toolkit.guards._tasks import Task

_SPACE = r"[\s\x1c-\x1f]"
"""A white space character, as Python has it."""
KNOWN = (
    r"\x00-\x7f\u{a1}\u{a3}\u{a7}\u{a9}\u{ab}\u{b0}\u{b6}\u{b7}\u{bb}\u{bf}-\u{12f}\u{134}-\u{13e}\u{141}-\u{148}\u{14a}-\u{17e}\u{391}-\u{3a1}"
    r"\u{3a3}-\u{3a9}\u{3b1}-\u{3c9}\u{401}-\u{45f}\u{5d0}-\u{5ea}\u{621}-\u{63a}\u{641}-\u{64a}\u{2013}\u{2014}\u{2018}\u{2019}\u{201c}\u{201d}"
    r"\u{2022}\u{20ac}\u{2192}\u{3001}\u{3002}\u{3041}-\u{3096}\u{30a1}-\u{30fa}\u{4e00}-\u{9fff}\u{ac00}-\u{d7a3}"
)
"""Characters whose plain form is themselves whatever is beside them, and which are no other case of an ASCII letter."""
_SOFT = rf"(?:{TAG}|[\s\x1c-\x1f{WRAP}])*"
_SIGN = f"[{SIGNS}]"
_REMARK = r"(?:[ \t*_`]*\([^()\n]*\))?"
_BULLET = rf"(?:(?:[-•–]|[0-9][.)])[ \t]+{_SOFT})?"
_GOES_ON = ("is", "are", "was", "isn", "aren", "wasn", "not", "never", "non", "no", "or", "and", "nor", "vs", "versus")
"""Words that may be between a field and its label, or between two labels."""
_PASSED = frozenset(re.sub(r"\\(.)", r"\1", WRAP) + SIGNS + "•")
"""Signs that may."""
_TURNS = r"<\||<start_of_turn|\[/?INST\]"
_SPOKEN = r"(?:system|user)[ \t]*\n|analysis"


@dataclass(frozen=True)
class Shortcut:
    """What must hold of a text so that its block decides.

    Attributes:
        block: matches the block at the end of a text, as its only group.
        present: expressions that match.
        absent: expressions that do not.
        letters: one that does not, either, and need not be looked for in ASCII; None for none.
        once: words that are there exactly once.
        lines: an expression, and how often it matches.
        label: by task, what matches wherever a label may be read of it; it must not, for a task of which the block gives none.
        answer: what matches wherever an answer to any task may stand. Where it does not, and all but `lines` holds of a text without a block, no task
            is read for the reason `missing`. None: that decides nothing.
        missing: see there.
        begins_with_prompt: whether the text must not begin with its prompt, as far as both are known.
        input_holds: what every input holds and a text whose input is known must not; empty where that is of no account, None where nothing is known.
    """

    block: str
    present: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    letters: str | None = None
    once: tuple[str, ...] = ()
    lines: tuple[str, int] | None = None
    label: Mapping[str, str] | None = None
    answer: str | None = None
    missing: str = "field_missing"
    begins_with_prompt: bool = False
    input_holds: str | None = ""


@lru_cache(maxsize=64)
def shortcut(guard: Guard, mode: Mode) -> Shortcut | None:
    """What decides a reading of this guard's texts; None where each must be read."""
    if guard.grammar is not None or guard.output.data:
        return None
    o = guard.output
    words = [o.open, o.close, o.answers_heading, o.answer_line, o.answers_close, o.missing_word]
    words += [word for task in guard.tasks for word in (task.field, *task.written)]
    if not all(word.isascii() for word in words):
        return None
    return _strict(guard) if mode == "strict" else _lenient(guard)


@lru_cache(maxsize=4096)
def read_block(guard: Guard, mode: Mode, block: str) -> Parsed | None:
    """What a block says, for a text of which the shortcut's conditions hold; None where the text must be read after all."""
    o = guard.output
    marks = f"{o.open}{o.close}\n" if o.open or o.close else ""
    found = parse(guard, marks + block, mode)
    if mode == "strict":
        return None if found.problems else found
    behind = parse(guard, f"{marks}{'.' * 80}\n{block}")
    same = (found.labels, found.reasons) == (behind.labels, behind.reasons)
    return found if same and "field_missing" not in found.reasons.values() else None


def _lenient(guard: Guard) -> Shortcut | None:
    o, layout = guard.output, layout_of(guard)
    lines = [*map(list, layout.answers), *([[layout.close]] if layout.close else [])]
    if not _parted(guard, lines[0]):
        if not layout.heading or not _parted(guard, [layout.heading], headed=True):
            return None
        lines.insert(0, [layout.heading])
    instruction = plain(guard.instruction).strip()
    begins = [_SPOKEN, *(re.escape(w[:40]) for w in {instruction, guard.instruction.strip()} if w), *([] if o.open else [r"[<\[]"])]
    others = _any(mark for marks in MARKS.values() for mark in marks if mark not in (o.open, o.close))
    labels = {t.name: _label(guard, t) for t in guard.tasks}
    return Shortcut(
        block=_block(lines, r"[ \t\r]*\n[ \t\r\n]*"),
        present=(re.escape(o.close),) if o.close else (),
        letters=f"[^{KNOWN}]",
        absent=(rf"(?i){_TURNS}|{others}", rf"\A{_SPACE}*(?:{'|'.join(begins)})"),
        label={name: f"(?i){label}" for name, label in labels.items()},
        answer=None if o.close else f"(?i){'|'.join(_answer(guard, t) for t in guard.tasks)}",
        begins_with_prompt=not guard.instruction.strip() and not o.open,
        input_holds=(instruction[:40] or None) if o.open else "",
    )


def _strict(guard: Guard) -> Shortcut | None:
    o, layout = guard.output, layout_of(guard)
    lines = [*([[layout.heading]] if layout.heading else []), *map(list, layout.answers), *([[layout.close]] if layout.close else [])]
    others = [opens for opens, _ in MARKS.values() if opens != o.open]
    if o.open and any(o.open.startswith(mark) for mark in others):
        return None
    begins = rf"\A{_SPACE}*(?:{_any([o.open] if o.open else others)})"
    return Shortcut(
        block=_block(lines, r"[ \t\r]*\n"),
        present=(begins,) if o.open else (),
        absent=() if o.open else (begins,),
        once=tuple(mark for mark in (o.open, o.close) if mark),
        lines=(rf"(?:\A|\n)(?:{_any(layout.lines)})", len(layout.answers) + bool(layout.heading)),
        answer=rf"(?:\A|\n)(?:{_any(lines[0])})",
        missing="no_answers_block",
    )


def _block(lines: Sequence[Sequence[str]], between: str) -> str:
    """Lines, in order, at the end of a text."""
    return rf"(?:\A|\n)({between.join(f'(?:{_any(line)})' for line in lines)}[ \t\r\n]*)\z"


def _any(words: Iterable[str]) -> str:
    return "|".join(re.escape(word) for word in sorted(words, key=lambda w: (-len(w), w)))


def _parted(guard: Guard, lines: Sequence[str], *, headed: bool = False) -> bool:
    """Whether no answer and no list of labels can go on over a line break into any of these lines, further than signs at its beginning (which only a
    heading may have): what goes on there is a word of a field but its first, a label, or one of `_GOES_ON`."""
    leads = {word.lower() for task in guard.tasks for word in lead_of(guard, task)[0][0 if headed else 1 :]}
    whole = {*_GOES_ON, plain(guard.output.missing_word).lower(), *(plain(label).lower() for task in guard.tasks for label in task.written)}
    for line in lines:
        at = 0
        if not line[0].isalnum():
            if line[0] not in _PASSED and line[0] not in leads:
                continue
            at = next((i for i, c in enumerate(line) if c.isalnum()), 0)
            if not headed or not at or re.search(TAG, line):
                return False
        rest = line[at:].lower()
        if not rest[0].isalpha() or any(rest.startswith(word) for word in leads):
            return False
        if any(rest.startswith(word) and not rest[len(word) : len(word) + 1].isalnum() for word in whole):
            return False
    return True


def _answer(guard: Guard, task: Task) -> str:
    """What matches wherever an answer to a task may stand."""
    lead, sign = lead_of(guard, task)
    words = _any(plain(label) for label in task.written)
    if not lead and not sign:
        return f"{words}|{re.escape(plain(guard.output.missing_word))}"
    return _led(lead) + (f"{_REMARK}{_SOFT}(?:{_SIGN}|{words})" if sign else "")


def _label(guard: Guard, task: Task) -> str:
    """What matches wherever a label of a task may be read."""
    lead, sign = lead_of(guard, task)
    words = f"(?:{_any(plain(label) for label in task.written)})"
    if not lead and not sign:
        return words
    return f"{_led(lead)}{f'{_REMARK}{_SOFT}(?:{_SIGN}{{1,2}}>?)?' if sign else ''}{_SOFT}{_BULLET}{_SOFT}{words}"


def _led(lead: Sequence[str]) -> str:
    return _SOFT.join(map(re.escape, lead))
