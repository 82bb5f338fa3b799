"""A row as the rules read it: what is costly to find out is found out once, and only where a rule asks."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from toolkit.guards import Guard, Parsed, Section, parse, sections

Fault = tuple[str, str] | None
"""Reason code and what was found; None: sound."""


class Reading:
    """One reasoning and its row.

    Args:
        guard: the definition.
        row: `reasoning`; `reasoning_finish`, labels with their sources, `prompt` and `response` where a rule reads them.
        strict: whether the answers are read strictly (see `toolkit.guards.parse`).
    """

    def __init__(self, guard: Guard, row: Mapping[str, Any], *, strict: bool) -> None:
        self.guard = guard
        self.row = row
        self.text: str = row["reasoning"] or ""
        self._strict = strict

    @cached_property
    def parsed(self) -> Parsed:
        """The answers."""
        return parse(self.guard, self.text, "strict" if self._strict else "lenient")

    @cached_property
    def parts(self) -> list[Section]:
        """The sections, in the order in which they stand."""
        return sections(self.guard, self.text)

    @cached_property
    def passages(self) -> list[str]:
        """All steps and conclusions; without any section, the text itself."""
        if not self.parts:
            return [self.text.strip()]
        return [t for p in self.parts for t in (*p.steps, *([p.conclusion] if p.conclusion else []))]

    @cached_property
    def prose(self) -> str:
        """Steps and conclusions one below the other."""
        return "\n".join(self.passages)

    @cached_property
    def folded(self) -> str:
        """The whole text in lower case."""
        return self.text.lower()

    @cached_property
    def words(self) -> list[str]:
        """Words of the whole text, folded: what is between white space."""
        return self.folded.split()

    @cached_property
    def exchange(self) -> str:
        """Prompt and response, folded, their words with one space between; empty where the row has neither."""
        text = " ".join(str(self.row[c]) for c in ("prompt", "response") if self.row.get(c)).lower()
        return text if text.isprintable() and "  " not in text else " ".join(text.split())
