"""A small result as the table that a terminal and a notebook show in place of its fields."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import NamedTuple

from toolkit.common.tables import Column, table_html, table_text
from toolkit.common.text import one_line


class Sheet(NamedTuple):
    """What is shown: a table of texts, and lines below it."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()


class Shown:
    """A result that is shown by its `_sheet`. A dataclass of this kind has ``repr=False``."""

    def _sheet(self) -> Sheet:
        raise NotImplementedError

    def __repr__(self) -> str:
        sheet = self._sheet()
        table = table_text(sheet.title, [Column(name) for name in sheet.columns], sheet.rows, width=100)
        return "\n".join([table, *map(one_line, sheet.notes)])

    def _repr_html_(self) -> str:
        sheet = self._sheet()
        notes = "".join(f"<p>{html.escape(one_line(note))}</p>" for note in sheet.notes)
        return table_html(sheet.title, sheet.columns, sheet.rows) + notes
