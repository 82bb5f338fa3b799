"""What a block of reasonings is made of, found without Python for each row: headings, answers, and which rows are plain.

A row is *plain* where the answers read strictly without a problem, and the sections and their step numbers are those of the row's *skeleton*: its
headings alone, of which a corpus has few. The skeleton is judged once by `toolkit.guards.sections` itself. Where a row is not certain to be plain it
is not, and is read by itself; so both ways agree by construction, and the tests hold them against each other.

Rust's regular expressions have no look-around and fold case otherwise than Python's: the patterns here find too much rather than too little. A guard
for which that cannot be had (no step headings, headings that could be taken for each other or for an answer, letters beyond ASCII in them) has none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

import polars as pl

from toolkit.common.thoughts import MARKS
from toolkit.guards import Guard, sections
from toolkit.guards._layout import layout_of

_BLANK = r"[ \t\r]*"
_THOUGHT = rf"\A\s*(?:{'|'.join(re.escape(opens) for opens, _ in MARKS.values())})"
_LONG = 60
"""Characters of a task heading's line that are looked at."""
_FOLDED = {"i": "iIıİ", "s": "sSſ", "k": "kK\N{KELVIN SIGN}"}
"""Letters that Python takes for each other when it ignores case, beside the usual two."""


@dataclass(frozen=True)
class Shape:
    """What a skeleton says: tasks of its sections, and for each its step numbers."""

    tasks: tuple[int, ...]
    numbers: tuple[tuple[int, ...], ...]

    @property
    def steps(self) -> int:
        """Steps over all sections."""
        return sum(map(len, self.numbers))


@dataclass(frozen=True)
class Skeleton:
    """How a guard's skeletons are found. See the module's docstring.

    Attributes:
        guard: the definition.
        heads: pattern of every heading.
        tail: pattern of the answers block at the end of a text; group ``a<n>`` has the answer of task n.
        strays: pattern of everything that may be a line of an answers block.
        lines: how many of those a whole block has.
        size: characters at the end of a text in which the block stands.
        doubt: pattern of what may be a step without text.
        first: pattern of a step's heading with the beginning of its text.
    """

    guard: Guard
    heads: str
    tail: str
    strays: str
    lines: int
    size: int
    doubt: str
    first: str

    def read(self, texts: pl.Series) -> pl.DataFrame:
        """For each text: `plain`, `key` (its skeleton), and ``label_<task>`` as answered (null for the missing word, and where not plain)."""
        o = self.guard.output
        text = pl.col("text")
        whole = [text.str.count_matches(self.strays) == self.lines]
        if o.open:
            whole += [text.str.contains(rf"\A[ \t\r\n]*{escaped(o.open)}{_BLANK}\n"), text.str.count_matches(o.open, literal=True) == 1]
        else:
            whole += [~text.str.contains(_THOUGHT)]
        if o.close:
            whole += [text.str.count_matches(o.close, literal=True) == 1]
        found = pl.DataFrame({"text": texts}).select(
            text.str.tail(self.size).str.extract_groups(self.tail).alias("answers"),
            pl.all_horizontal(whole).alias("whole"),
            text.str.extract_all(self.heads).list.join("\n").alias("key"),
        )
        names = self.guard.task_names
        answers = found["answers"].struct.unnest()
        known = (found["whole"] & answers["a0"].is_not_null()).fill_null(False)
        shapes = {key: shape_of(self.guard, key) is not None for key in found["key"].unique().to_list() if key is not None}
        keyed = found["key"].replace_strict(shapes, default=False, return_dtype=pl.Boolean) if shapes else known & False
        plain = known & keyed.fill_null(False)
        said = {f"label_{t}": answers[f"a{n}"].set(~plain | (answers[f"a{n}"] == o.missing_word), None) for n, t in enumerate(names)}
        return pl.DataFrame({"plain": plain, "key": found["key"], **said})

    def doubtful(self, texts: pl.Series) -> pl.Series:
        """Whether a plain text may have a step without text, or the same step twice."""
        begun = texts.str.to_lowercase().str.extract_all(self.first)
        said = begun.list.eval(pl.element().str.replace(r"\A[^\d\n]*\d+:?\s*", ""))
        twice = said.list.n_unique() < said.list.len()
        return twice | texts.str.contains(self.doubt) | texts.str.contains(r"[^\x00-\x7f‘’“”–—…]")


@lru_cache(maxsize=65536)
def shape_of(guard: Guard, key: str) -> Shape | None:
    """The shape of a skeleton, or None where it cannot be told from the headings."""
    heads = key.split("\n")
    if not key or any(len(h) >= _LONG for h in heads):
        return None
    o = guard.output
    layout = layout_of(guard)
    block = [o.answers_heading] * bool(o.answers_heading) + [next(iter(a)) for a in layout.answers] + [o.answers_close] * bool(o.answers_close)
    text = "\n".join([o.open, *(f"{h}\nx" for h in heads), o.close, *block])
    parts = sections(guard, text)
    return Shape(tuple(p.task for p in parts), tuple(tuple(p.numbers) for p in parts))


@lru_cache(maxsize=32)
def skeleton_of(guard: Guard) -> Skeleton | None:
    """The skeleton of a guard; None where all rows must be read one by one."""
    o = guard.output
    heads = [h for h in (o.task_heading, o.step_heading, o.conclusion_heading) if h]
    layout = layout_of(guard)
    block = [line for lines in layout.answers for line in lines] + [layout.heading] * bool(layout.heading) + [layout.close] * bool(layout.close)
    if not o.step_heading or not all(h.isascii() for h in heads) or _alike(guard, heads, block):
        return None
    task = [_head(o.task_heading, "n") + rf"[^\n]{{0,{_LONG}}}"] if o.task_heading else []
    step = _head(o.step_heading, "k")
    rest = [step + r"[^\n]?", *([_head(o.conclusion_heading, "") + r"[^\n]?"] if o.conclusion_heading else [])]
    lines = [_answer(guard, n) for n in range(len(guard.tasks))]
    before = [_before(guard, n) for n in range(len(guard.tasks))]
    start = rf"{escaped(o.close)}[ \t\r\n]*(?:{escaped(o.separator.strip())}[ \t\r\n]*)?" if o.close else ""
    heading = rf"{escaped(layout.heading)}{_BLANK}\n" if layout.heading else ""
    close = rf"{_BLANK}\n{escaped(layout.close)}" if layout.close else ""
    strays = "|".join(sorted({escaped(line) for line in [*before, layout.heading] if line}))
    fixed = (layout.heading, layout.close, o.close, o.separator)
    ends = "|".join(_first(line) for line in [*heads, layout.heading, o.separator, o.close, before[0]] if line)
    return Skeleton(
        guard=guard,
        heads=rf"(?m)^[ \t]*(?:{'|'.join([*task, *rest])})",
        tail=rf"{start}\n{heading}" + rf"{_BLANK}\n".join(lines) + close + r"[ \t\r\n]*\z",
        strays=rf"(?:\A|\n)(?:{strays})",
        lines=len(lines) + bool(layout.heading),
        size=sum(max(map(len, known)) for known in layout.answers) + sum(map(len, fixed)) + 64,
        doubt=rf"(?m)^[ \t]*{step}:?\s*(?:\z|[ \t]*(?:{ends}))",
        first=rf"(?m)^[ \t]*{step.lower()}:?\s*[^\n]{{0,80}}",
    )


def _alike(guard: Guard, heads: list[str], block: list[str]) -> bool:
    """Whether headings could be taken for each other or a line of the answers for one."""
    marks = {guard.output.task_heading: "n", guard.output.step_heading: "k"}
    patterns = [re.compile(r"[ \t]*" + _head(h, marks.get(h, ""))) for h in heads]
    shown = [h.format(n=1, k=1) for h in heads]
    crossed = any(p.match(s) for i, p in enumerate(patterns) for j, s in enumerate(shown) if i != j)
    return crossed or any(p.match(line) for p in patterns for line in block) or not all(_before(guard, n) for n in range(len(guard.tasks)))


def _before(guard: Guard, n: int) -> str:
    """What stands before the label in a task's answer line."""
    return guard.output.answer_line.format(field=guard.tasks[n].field, label="\0").partition("\0")[0]


def _answer(guard: Guard, n: int) -> str:
    before, _, after = guard.output.answer_line.format(field=guard.tasks[n].field, label="\0").partition("\0")
    words = "|".join(escaped(w) for w in (*guard.tasks[n].labels, guard.output.missing_word))
    return rf"{escaped(before)}(?<a{n}>{words}){escaped(after.rstrip())}"


def _head(heading: str, mark: str) -> str:
    """A heading as `toolkit.guards.sections` takes it, or a little more."""
    words = heading.lstrip("# ").rstrip()
    before, _, after = words.format(**{mark: "\0"}).partition("\0") if mark else (words, "", "")
    number = r"\d{1,7}" if mark else ""
    return rf"{'#+' if heading.startswith('#') else '#*'}[ \t]*{_any_case(before)}{number}{_any_case(after)}"


def _first(heading: str) -> str:
    """The first character of a line that may be a heading, or another end of a step."""
    return _any_case(heading.lstrip()[0]) + ("|#" if not heading.startswith("#") else "")


def _any_case(text: str) -> str:
    return "".join(f"[{_FOLDED.get(c.lower(), c.lower() + c.upper())}]" if c.isalpha() else escaped(c) for c in text)


def escaped(text: str) -> str:
    """Text as a pattern of Rust and of Python."""
    return "".join(c if c.isalnum() or c in " _<>/'\",;:=!%&@~`" or ord(c) > 127 else "\\" + c for c in text)
