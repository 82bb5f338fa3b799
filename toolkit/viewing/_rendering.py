"""Templates, and how values of data look in them: escaped, with what is hidden made visible, and cut where they are long."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from toolkit.common.text import hidden, one_line

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

CELL = 160
"""Characters of a value in a table."""
SHORT = 40
"""Characters of a value that is never broken over lines in a table: a label, an id."""
WHOLE = 4_000
"""Characters of a value on the page of a row; a link leads to all of it."""
LONGEST = 20_000
"""Characters of a value that a page unfolds: browsers take seconds to lay out more."""

_HERE = Path(__file__).parent


def rendered(template: str, **values: Any) -> str:
    """A template's text."""
    return _environment().get_template(template).render(**values)


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(loader=FileSystemLoader(_HERE / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    made.filters |= {
        "cell": cell,
        "visible": visible,
        "count": count,
        "one_line": lambda value: one_line(as_text(value)[:CELL]),
        "duration": duration,
        "quoted": lambda text: quote(str(text), safe="/"),
    }
    made.globals |= {"as_text": as_text, "CELL": CELL, "SHORT": SHORT, "WHOLE": WHOLE, "LONGEST": LONGEST}
    return made


def as_text(value: Any) -> str:
    """A value as text: texts as they are, others as JSON."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return f"{value:.6g}"
    return json.dumps(value, ensure_ascii=False, default=str, indent=None if isinstance(value, int | bool) or _is_small(value) else 1)


def _is_small(value: Any) -> bool:
    return isinstance(value, list) and all(not isinstance(item, dict | list) for item in value)


def cell(value: Any, most: int = CELL) -> Markup:
    """A value on one line of a table."""
    text = as_text(value)
    cut = text[:most]
    return visible(cut.replace("\n", " ⏎ "), cut=len(text) > most)


def visible(text: str, cut: bool = False) -> Markup:
    """Text for a page: nothing in it is markup, and each run of hidden characters stands as its escapes, marked."""
    from markupsafe import Markup

    out: list[Markup] = []
    plain: list[str] = []
    escapes: list[str] = []

    def end() -> None:
        if plain:
            out.append(Markup.escape("".join(plain)))
            plain.clear()
        if escapes:
            out.append(Markup('<span class="hidden-character">{}</span>').format("".join(escapes)))
            escapes.clear()

    if text.isascii() and text.isprintable():
        out.append(Markup.escape(text))
    else:
        for letter in text:
            if letter not in "\n\t" and hidden(letter):
                if plain:
                    end()
                escapes.append(letter.encode("unicode_escape", "backslashreplace").decode())
            else:
                if escapes:
                    end()
                plain.append(letter)
        end()
    if cut:
        out.append(Markup('<span class="cut" title="cut">…</span>'))
    return Markup("").join(out)


def count(number: int | None) -> str:
    """A number with its thousands parted."""
    return "" if number is None else f"{number:,}"


def duration(seconds: float | None) -> str:
    """A time for people."""
    if seconds is None:
        return ""
    if seconds < 90:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
