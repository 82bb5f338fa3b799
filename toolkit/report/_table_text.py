r"""Tables as text for a terminal, as Markdown and as LaTeX. What is text stays text in each: nothing in it is obeyed, shown as markup, or lost.

Markdown is GitHub's: pipes, asterisks, angle brackets and the like are escaped, whole texts are in fences that are longer than any in them. LaTeX
is a whole document that needs nothing but LaTeX itself and compiles as it stands (pdflatex, xelatex, lualatex); to take it into a paper, ``\input``
it with the package docmute, or copy its tables. A character that TeX's own fonts lack is written as its code point.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from toolkit.common.tables import Column, table_text
from toolkit.common.text import hidden, one_line, plain

WIDE = 7
"""Columns of a table in LaTeX; more are put into further tables."""
_MARKUP = re.compile(r"([\\`*_{}\[\]<>#|~$^!])")
_TEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}"}
_TEX |= {"|": r"\textbar{}", '"': r"\textquotedbl{}", "'": r"\textquotesingle{}", "`": r"\textasciigrave{}", "-": "{-}"}
_TEX |= {c: f"\\{c}" for c in "{}$&#%_"} | {"*": "{*}", "–": "--", "…": r"\ldots{}", "±": r"$\pm$", "−": "$-$", "[": "{[}", "]": "{]}"}
_SIGN = re.compile(r"\{-\}(?=[0-9])")
_TEX_PLAIN = re.compile(r"[A-Za-z0-9 .,:;!?()/+=*@\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u00ff]")


@dataclass
class Sheet:
    """A table.

    Attributes:
        title: above it.
        columns: its columns.
        rows: a text for each column.
        notes: below it, a line each.
        texts: whole texts of rows, below it: (head, [(name, text)]).
        keys: columns at the left that are repeated where a table is parted.
    """

    title: str
    columns: list[Column] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    texts: list[tuple[str, list[tuple[str, str]]]] = field(default_factory=list)
    keys: int = 1


def sheets_text(sheets: Sequence[Sheet], width: int | None = None) -> str:
    """For a terminal."""
    out = []
    for s in sheets:
        part = [table_text(s.title, s.columns, s.rows, width=width, tight=True)] if s.rows else [one_line(s.title)] if s.title else []
        part += [*([""] if s.rows and s.notes else []), *(one_line(n) for n in s.notes)]
        for head, texts in s.texts:
            part += ["", one_line(head)]
            part += [f"  {one_line(name)}: {plain(text)}".replace("\n", "\n      ") for name, text in texts]
        out.append("\n".join(part))
    return "\n\n".join(out) + "\n"


def markdown(text: str) -> str:
    """A text on one line of Markdown, as text."""
    return _MARKUP.sub(r"\\\1", one_line(text).replace("&", "&amp;"))


def sheets_markdown(sheets: Sequence[Sheet]) -> str:
    """As GitHub's Markdown."""
    out = []
    for s in sheets:
        part = [f"### {markdown(s.title)}", ""] if s.title else []
        if s.rows:
            part.append(_line(markdown(c.name) for c in s.columns))
            part.append(_line("---:" if c.kind == "number" else "---" for c in s.columns))
            part += [_line(map(markdown, row)) for row in s.rows]
            part.append("")
        part += [f"- {markdown(n)}" for n in s.notes]
        for head, texts in s.texts:
            part += ["", f"**{markdown(head)}**"]
            for name, text in texts:
                fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
                part += ["", f"{markdown(name)}:", "", f"{fence}text", plain(text), fence]
        out.append("\n".join(part).rstrip("\n"))
    return "\n\n".join(out) + "\n"


def _line(cells: object) -> str:
    return "| " + " | ".join(cells) + " |"  # type: ignore[arg-type]


def latex(text: str) -> str:
    """A text on one line of LaTeX, as text."""
    return "".join(_TEX.get(c) or (c if _TEX_PLAIN.match(c) else _code_point(c)) for c in one_line(text))


def _code_point(letter: str) -> str:
    return f"\\texttt{{U+{ord(letter):04X}}}" if not hidden(letter) else ""


def sheets_latex(sheets: Sequence[Sheet]) -> str:
    """As a LaTeX document; whole texts are left out of it, and it says so."""
    out = [
        r"\documentclass{article}",
        r"\usepackage[utf8]{inputenc}",
        r"\usepackage[T1]{fontenc}",
        r"\usepackage{textcomp}",
        r"\begin{document}",
    ]
    for s in sheets:
        body = s.columns[s.keys :]
        step = max(1, WIDE - s.keys)
        starts = range(0, max(1, len(body)), step) if s.rows else ()
        for at in starts:
            picked = [*range(s.keys), *range(s.keys + at, min(s.keys + at + step, len(s.columns)))]
            out += _tabular(s, picked, len(starts), at // step)
        out += [f"\\noindent {latex(n)}\n" for n in ([] if s.rows else [s.title] if s.title else []) + s.notes]
        if s.texts:
            out.append("% The texts of rows are in the formats table, markdown and json.\n")
    return "\n".join([*out, r"\end{document}"]) + "\n"


def _tabular(s: Sheet, picked: Sequence[int], parts: int, part: int) -> list[str]:
    """A part of a table; no float, of which TeX bears so many and no more."""

    def kind(c: Column) -> str:
        return {"number": "r", "prose": "p{0.3\\textwidth}"}.get(c.kind, "l")

    def cells(row: Sequence[str]) -> str:
        return " & ".join(_cell(row[i], s.columns[i]) for i in picked) + r" \\"

    more = f" ({part + 1} of {parts})" if parts > 1 else ""
    return [
        r"\begin{center}\scriptsize",
        f"\\textbf{{{latex(s.title + more)}}}\\par\\smallskip",
        f"\\begin{{tabular}}{{{''.join(kind(s.columns[i]) for i in picked)}}}",
        r"\hline",
        " & ".join(latex(s.columns[i].name) for i in picked) + r" \\",
        r"\hline",
        *(cells(row) for row in s.rows),
        r"\hline",
        r"\end{tabular}",
        r"\end{center}",
        "",
    ]


def _cell(text: str, column: Column) -> str:
    """A cell; the sign of a number is a minus, no hyphen."""
    return _SIGN.sub("$-$", latex(text)) if column.kind == "number" else latex(text)
