"""Texts that differ in their sentences alone are judged once.

The *outline* of a text is what is left of it without its sentences: its headings, the marks around its reasoning, and its last lines, where the
answers stand. Rules that look at nothing else find in a text what they find in its outline, so that one judgement holds for all texts of an outline.
No rule is stated here: the outline is itself a text, made for the rules to read. Polars finds it for a block of texts at once; a line that only may
be a heading belongs to it too, so that nothing is missing from it that a rule would see.

A guard has no outlines where one cannot be known from the lines alone: its steps have no headings, or a heading has a digit of its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

import polars as pl

from toolkit.common.thoughts import MARKS
from toolkit.guards import Guard
from toolkit.guards._layout import layout_of


@dataclass(frozen=True)
class Outlines:
    """How the outlines of a guard's texts are found. The patterns are for Rust: no look-around, and no letter taken for another but by `_any_case`.

    Attributes:
        start: what a text begins with where that is not one of `heads`, nor what opens the reasoning.
        heads: what may be a heading, up to behind its number, and the marks around the reasoning.
        answers: the beginning of every line of an answers block but the one that closes it.
        lines: how many of those a whole block has.
        end: as many of the last lines as a block has.
        size: characters at the end of a text among which those are.
        marks: what opens and what closes the reasoning, each of which occurs once in a text that has an outline.
    """

    start: str
    heads: str
    answers: str
    lines: int
    end: str
    size: int
    marks: tuple[str, ...]

    def columns(self, text: pl.Expr) -> list[pl.Expr]:
        """The parts of a text's outline: `start`, `heads`, and `end`, which is null where there is none."""
        last = text.str.strip_chars_end().str.tail(self.size).str.extract(self.end)
        once = [text.str.count_matches(mark, literal=True) == 1 for mark in self.marks]
        whole = pl.all_horizontal(text.str.count_matches(self.answers) == self.lines, *once)
        return [
            text.str.extract(self.start).alias("start"),
            text.str.extract_all(self.heads).list.join("\n").alias("heads"),
            pl.when(whole).then(last).alias("end"),
        ]


def outline(start: str | None, heads: str, end: str) -> str:
    """The outline with these parts."""
    return "\n…\n".join([*([start] if start else []), *heads.split("\n"), end])


@lru_cache(maxsize=32)
def outlines_of(guard: Guard) -> Outlines | None:
    """How the outlines of a guard's texts are found; None where it has none."""
    o, layout = guard.output, layout_of(guard)
    heads = [(h[0], *h.lstrip("# ").rstrip().format(n="\0", k="\0").split("\0")) for h in (o.task_heading, o.step_heading) if h]
    heads += [(h[0], h.lstrip("# ").rstrip(), "") for h in (o.conclusion_heading,) if h]
    bare = [before for first, before, _ in heads if first != "#"]
    if not o.step_heading or any(re.search(r"\d", before + after) for _, before, after in heads) or not all(w and w.isascii() for w in bare):
        return None
    behind = 1 + max(len(after) for _, _, after in heads)
    head = rf"(?:{'|'.join(('#', *map(_any_case, bare)))})[^\n0-9]*[0-9]{{0,7}}(?:[ \t#][^\n]*|[^\n]{{0,{behind}}})"
    marks = tuple(mark for mark in (o.open, o.close) if mark)
    opens = "|".join((head, *([pl.escape_regex(o.open)] if o.open else [])))
    thoughts = "|".join(pl.escape_regex(begins) for begins, _ in MARKS.values())
    return Outlines(
        start=rf"\A(?:\s*\n)?[ \t]*(?:{opens})|\A\s*({thoughts}|\S)",
        heads="|".join((rf"(?m)^[ \t]*{head}", *map(pl.escape_regex, marks))),
        answers=rf"(?:\A|\n)(?:{'|'.join(map(pl.escape_regex, sorted(layout.lines)))})",
        lines=layout.size - bool(layout.close),
        end=rf"(?m:^)((?:[^\n]*\n){{{layout.size - 1}}}[^\n]*)\z",
        size=layout.size * (max(map(len, (*layout.lines, layout.close))) + 16),
        marks=marks,
    )


def _any_case(words: str) -> str:
    """ASCII letters in whatever case, and what Python takes for an i besides."""
    return f"(?i:{pl.escape_regex(words.lower()).replace('i', '[iıİ]')})"
