"""The file of a drafted source: YAML with what a person should know beside each part."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from toolkit.common.text import one_line
from toolkit.common.yamlfile import dump_yaml
from toolkit.sources.draft._draft import Draft

_WIDE = 140


def draft_yaml(draft: Draft) -> str:
    """A draft as the text of a source's file."""
    return "\n".join(_lines(draft)) + "\n"


def _lines(draft: Draft) -> Iterator[str]:
    source = dict(draft.source)
    seen = f"the first {draft.looked:,} rows" if draft.look.more else f"all {draft.looked:,} rows"
    yield from _comment(
        f"Drafted by guardkit from {seen} of {draft.look.path.name}: read it before you trust it. CHECK marks what could not be decided."
    )
    for part in ("name", "version", "description", "licence", "files", "format", "delimiter", "each", "exchange", "columns"):
        if part in source:
            yield from _noted(draft, part)
            yield f"{part}: {flow(source.pop(part))}"
    yield ""
    yield from _noted(draft, "labels")
    yield "labels:"
    for task, rule in source.pop("labels").items():
        yield from _noted(draft, f"labels.{task}", "  ")
        yield f"  {task}: {flow(rule)}"
    for part, value in source.items():
        yield ""
        yield from _noted(draft, part)
        yield f"{part}: {flow(value)}"
    if draft.unused:
        yield ""
        yield from _comment(f"Columns that nothing was made of: {', '.join(draft.unused)}")


def _noted(draft: Draft, part: str, indent: str = "") -> Iterator[str]:
    for text in draft.notes.get(part, ()):
        yield from _comment(text, indent)


def _comment(text: str, indent: str = "") -> Iterator[str]:
    """A text of one or more lines of comment; what is hidden in it, or would end a line, is shown as an escape."""
    line = f"{indent}#"
    for word in one_line(text).split(" "):
        if len(line) + len(word) > _WIDE and line.strip() != "#":
            yield line
            line = f"{indent}#"
        line += f" {word}"
    yield line


def flow(value: Any) -> str:
    """A value in one line of YAML."""
    text = dump_yaml(value, default_flow_style=True, width=100_000).strip()
    return text.removesuffix("\n...").strip() if not isinstance(value, Mapping | list) else text
