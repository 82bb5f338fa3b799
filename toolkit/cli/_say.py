"""Printing: JSON documents, tables, short values. All that comes from data is shown plain: a terminal obeys none of it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from toolkit.common.errors import GuardkitError, InputError, InputErrors
from toolkit.common.tables import columns_of, table_text, width_of
from toolkit.common.text import json_text, plain

documents = 0
"""JSON documents printed so far: with ``--json`` there is one, never two."""


def lines(*texts: str) -> None:
    """Lines on stdout."""
    for text in texts:
        sys.stdout.write(plain(text) + "\n")
    sys.stdout.flush()


def document(value: Any) -> None:
    """One JSON document on stdout."""
    global documents
    documents += 1
    text = json_text(value)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:  # the terminal's encoding lacks a letter: JSON's own escapes say the same
        text = json.dumps(json.loads(text), indent=1)
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def line(value: Any) -> None:
    """One of several JSON documents, on a line of its own."""
    global documents
    documents += 1
    lines(json_text(value, None) if (sys.stdout.encoding or "utf-8").lower().replace("-", "") == "utf8" else json.dumps(value, default=str))


def folded(text: str, indent: int) -> str:
    """A text of several lines, those after the first indented."""
    return plain(text).replace("\n", "\n" + " " * indent)


def faults(error: GuardkitError) -> list[dict[str, Any]]:
    """An error as data: each fault with ``message``, ``where``, ``hint``."""
    several: Iterable[GuardkitError] = error.errors if isinstance(error, InputErrors) else [error]
    return [{"message": e.message, "where": e.where, "hint": e.hint} for e in several]


def pairs(texts: Sequence[str] | None) -> dict[str, list[str]]:
    """``NAME=FILE`` arguments by name (InputError for another form)."""
    out: dict[str, list[str]] = {}
    for text in texts or ():
        name, eq, path = text.partition("=")
        if not (eq and name and path):
            raise InputError(f"{text!r} is not of the form NAME=FILE")
        out.setdefault(name, []).append(path)
    return out


def columns(texts: list[str] | None) -> dict[str, str]:
    """``WHAT=COLUMN`` arguments (InputError where one is named twice)."""
    found = pairs(texts)
    if twice := next((what for what, names in found.items() if len(names) > 1), None):
        raise InputError(f"{twice} is named twice", where="--column")
    return {what: names[0] for what, names in found.items()}


def number(value: int | None, exact: bool) -> str:
    """A count; an estimate has a tilde, an unknown one a question mark."""
    if value is None:
        return "?"
    return f"{value:,}" if exact or not value else f"~{value:,}"


def short(value: Any, most: int = 100) -> str:
    """A value on one line."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    text = text.replace("\n", "\\n")
    return text if len(text) <= most else text[: most - 1] + "…"


def table(
    title: str,
    left: Sequence[str],
    right: Sequence[str],
    rows: Sequence[Sequence[str]],
    last: str | None = None,
    texts: Sequence[str] = (),
    *,
    tight: bool = False,
    grouped: bool = False,
) -> None:
    """A table; `last` is a column of prose; `tight` and `grouped` as for `table_text`."""
    whole = [[*row, *([texts[i]] if last is not None else [])] for i, row in enumerate(rows)]
    text = table_text(title, columns_of(left, right, last), whole, width=width_of(sys.stdout), tight=tight, grouped=grouped)
    sys.stdout.write(f"{text}\n\n")
    sys.stdout.flush()


def width() -> int | None:
    """How wide a table on stdout may be; None: as wide as it needs."""
    return width_of(sys.stdout)


def tables(found: Any, form: str) -> None:
    """A comparison, or how far published figures agree, as tables."""
    from toolkit.api.command import as_text

    sys.stdout.write(as_text(found, form, width_of(sys.stdout)))
    sys.stdout.flush()


def summary(figures: dict[str, Any]) -> None:
    """A run's tables."""
    from toolkit.api.command import print_summary

    print_summary(figures)
    sys.stdout.flush()


def figures(found: Iterable[Mapping[str, Any]]) -> None:
    """What some of a run's figures show."""
    from toolkit.api.command import print_figures

    print_figures(found)
    sys.stdout.flush()


def mapping(value: Mapping[str, Any]) -> None:
    """Nested values, as YAML."""
    from toolkit.common.yamlfile import dump_yaml

    lines(dump_yaml(dict(value)).rstrip())


def operator(found: Mapping[str, Any]) -> None:
    """One operator whole."""
    from toolkit.api.command import as_step

    out = [f"{found['name']} (version {found['version']}, {found['kind']}, {found['shape']})", "", found["doc"], ""]
    for name in ("inputs", "reads", "writes", "drops", "makes"):
        if found[name] or name in ("inputs", "reads", "writes"):
            out.append(f"{name + ':':<8}{', '.join(found[name]) or 'none'}")
    out += ["shows:  " + "; ".join(f"{f['name']} ({f['doc']})" for f in found["figures"])] if found["figures"] else []
    out += ["", "options:"] if found["options"] else []
    for o in found["options"]:
        default = "required" if o["required"] else f"default {short(o['default'])}"
        out += [f"  {o['name']}: {o['type']}, {default}", f"      {o['doc']}"]
        out += [f"      {name}: {words}" for name, words in o.get("choices", {}).items()]
    lines(*out, "", "in a recipe:", f"  - {as_step(found)}")
