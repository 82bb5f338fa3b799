"""Interactions as JSON Lines, ``{"prompt", "response", "context", "id"}`` each, from a file or as somebody writes them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from toolkit.common.errors import InputError, InputErrors
from toolkit.common.jsontext import loads_once
from toolkit.common.paths import at_door, near_file
from toolkit.serving import checked

LONGEST = 16 << 20
"""Bytes of a line, and of a prompt that comes from stdin."""

_SHOWN = 20
"""Faults that are listed."""


def interactions(file: str | Path) -> Iterator[dict[str, Any]]:
    """Those of a file, which is checked whole before the first is given.

    Raises:
        InputErrors: what is wrong with it, by line.
    """
    path = at_door(file)
    if not path.is_file():
        raise InputError("no such file" if not path.exists() else "not a regular file", where=str(path), hint=near_file(path))
    faults: list[InputError] = []
    rows = bad = 0
    with path.open("rb") as lines:
        for where, line in _lines(lines, str(path)):
            rows += 1
            try:
                _interaction(where, line)
            except InputError as e:
                bad += 1
                faults += [e] if bad <= _SHOWN else []
    if bad > _SHOWN:
        faults.append(InputError(f"and {bad - _SHOWN:,} further lines: {bad:,} of {rows:,} are no interactions"))
    if faults:
        raise InputErrors(faults)
    with path.open("rb") as lines:
        yield from written(lines, str(path))


def written(lines: IO[bytes], name: str = "stdin") -> Iterator[dict[str, Any]]:
    """Those of a stream, as they come.

    Raises:
        InputError: a line that is none.
    """
    return (_interaction(where, line) for where, line in _lines(lines, name))


def plain_text(stream: IO[bytes], name: str = "stdin") -> str:
    """All that a stream holds, without the line break at its end.

    Raises:
        InputError: no UTF-8, or more than a prompt can be.
    """
    data = stream.read(LONGEST + 1)
    if len(data) > LONGEST:
        raise InputError(f"longer than {LONGEST:,} bytes", where=name)
    try:
        text = data.decode()
    except UnicodeDecodeError as e:
        raise InputError(f"not UTF-8 (byte {e.start})", where=name) from None
    return text.removesuffix("\n").removesuffix("\r")


def _lines(stream: IO[bytes], name: str) -> Iterator[tuple[str, bytes]]:
    number = 0
    while line := stream.readline(LONGEST + 1):
        number += 1
        if len(line) > LONGEST:
            raise InputError(f"a line longer than {LONGEST:,} bytes", where=f"{name}:{number}")
        if line.strip():
            yield f"{name}:{number}", line


def _interaction(where: str, line: bytes) -> dict[str, Any]:
    try:
        return checked(loads_once(line), where)
    except UnicodeDecodeError as e:
        raise InputError(f"not UTF-8 (byte {e.start} of the line)", where=where) from None
    except ValueError as e:
        raise InputError(f"not JSON: {e}", where=where) from None
