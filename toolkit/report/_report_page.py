"""A run's report: one HTML file that holds all that it shows, and asks nothing of any network.

All text in it is data and is escaped by the template (Jinja2, autoescape); the style and the one script are guardkit's own and are allowed by
their digests alone (Content-Security-Policy), so that nothing else in the page can run. The same run gives the same bytes.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from toolkit._version import __version__
from toolkit.common.pictures import Picture, draw_png, draw_svg, drawable
from toolkit.common.text import one_line
from toolkit.report._page_parts import Note, Section, Sheet, Shown, pictures_of
from toolkit.report._page_sections import Wanted, sections

LARGEST = 5_000_000
"""Bytes that a page has at most."""
_LESS = ((3, 1500, 3_000_000), (2, 600, 2_500_000), (1, 200, 2_000_000), (0, 0, 1_000_000), (0, 0, 0))
"""Rows, characters of a text and bytes of all pictures together, tried in turn until the page is small enough."""
FEWER = "Rows and texts are fewer and shorter than usual, so that the page stays below 5 MB."
_LONG = 24
"""Lines from which on a table is folded."""
NO_PICTURES = "Pictures are left out: pip install 'guardkit[pictures]' draws them. The tables have all that they show."


@dataclass(frozen=True)
class Page:
    """A report's page.

    Attributes:
        html: the whole of it.
        pictures: what it shows, by name.
        notes: what whoever made it should know.
    """

    html: bytes
    pictures: dict[str, Picture]
    notes: list[str]


def report_html(folder: Path, *, texts: bool = True, samples: int = 3, seed: int = 0) -> Page:
    """The report of a run.

    Args:
        folder: of the run.
        texts: with texts of rows; else they are left out, so that the page can be shared.
        samples: rows of each step, and of each reason for which rows left.
        seed: by which they are drawn.

    Raises:
        InputError: not the folder of a run, or its recipe or a manifest cannot be read.
    """
    notes = [] if drawable() else [NO_PICTURES]
    drawn: dict[str, str | None] = {}
    for level, (fewer, most, room) in enumerate(_LESS):
        summary, parts = sections(folder, Wanted(texts, min(samples, fewer) if level else samples, seed, most))
        shown = list(pictures_of(parts))
        remarks = [*notes, *([FEWER] if level else [])]
        pictures: dict[str, str | None] = {}
        for one in shown:
            if one.name not in drawn:
                drawn[one.name] = _drawn(one) if drawable() else None
            room -= len(drawn[one.name] or "")
            pictures[one.name] = drawn[one.name] if room >= 0 else None
        if room < 0 and drawable():
            remarks.append("Some pictures are left out for their size; their tables stand.")
        parts[0].parts += [Note(note, "aside") for note in remarks]
        page = _filled(summary, [_with_pictures(s, pictures) for s in parts])
        if len(page) <= LARGEST:
            break
    return Page(page, {one.name: one.picture for one in shown}, remarks)


def _drawn(shown: Shown) -> str | None:
    """A picture as it stands in the page; None for one that cannot be drawn, which another package's operator may show."""
    try:
        return draw_svg(shown.picture, "page", shown.name)
    except (ValueError, SyntaxError):  # the second: what was drawn is no XML
        return None


def _with_pictures(section: Section, pictures: dict[str, str | None]) -> Section:
    parts = [replace(p, svg=pictures.get(p.name)) if isinstance(p, Shown) else p for p in section.parts]
    return Section(section.name, section.title, parts)


def _filled(summary: dict[str, Any], parts: Sequence[Section]) -> bytes:
    style, script = _own("page.css"), _own("page.js")
    text = _template().render(
        title=one_line(summary["recipe"]),
        where=one_line(summary["output"]),
        sections=parts,
        kind_of=_kind_of,
        long=_LONG,
        style=style,
        script=script,
        style_hash=_hash(style),
        script_hash=_hash(script),
        version=__version__,
    )
    return bytes(text.encode("utf-8", "replace"))


def _kind_of(part: object) -> str:
    return "note" if isinstance(part, Note) else "sheet" if isinstance(part, Sheet) else "shown" if isinstance(part, Shown) else "rows"


def _own(name: str) -> str:
    return (files("toolkit.report") / "page" / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


@cache
def _template() -> Any:
    from jinja2 import Environment, StrictUndefined

    return Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=False).from_string(_own("page.html.jinja"))


def picture_files(page: Page, kind: str) -> dict[str, bytes]:
    """Each picture of a page as a file by itself, ``svg`` or ``png``, by name; those that cannot be drawn are left out."""
    out = {}
    for number, picture in enumerate(page.pictures.values(), 1):
        name = f"{number:02d}-{_slug(picture.title)}.{kind}"
        try:
            out[name] = draw_png(picture) if kind == "png" else draw_svg(picture, ids="p").encode()
        except (ValueError, SyntaxError):
            continue
    return out


def _slug(title: str) -> str:
    letters = "".join(c if c.isascii() and c.isalnum() else "-" for c in title.lower())
    return "-".join(filter(None, letters.split("-")))[:60].rstrip("-") or "picture"
