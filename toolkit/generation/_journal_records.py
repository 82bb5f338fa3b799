"""A request and its completion as a row of the journal, and back.

Forms of `raw`, in the column ``form``; ``+zlib`` after it says that raw is compressed (compaction does that):
- ``chat``: the body of an answer as an endpoint sent it. Text, finish, model, tokens and reasoning are read from it, with `read_answer`, whenever
  the record is read; the columns beside it serve the counts only. So a body must read as the completion it came with.
- ``text``: the text itself, as UTF-8 with lone surrogates; the columns say the rest.
- ``body``: what came with a failure that is final, or nothing; the columns say all.

The checksum is crc32 of key, raw (unpacked), reasoning and error, so that packing leaves it as it is.

Failure semantics: `Unreadable` for a record that is damaged, whatever the damage; whoever reads decides what that means.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from toolkit.generation._answers import AttemptError, read_answer
from toolkit.generation._request import FAILURES, Completion, Request

PACKED = "+zlib"
"""End of the form of a record whose raw is compressed."""

CUT = 64 << 10
"""Bytes kept of what came with a failure that is not served."""

ANSWER_COLUMNS = (
    "key, form, error, detail, finish, model, prompt_tokens, completion_tokens, seconds, cost, lost, shape, draw, attempt, row, created, checksum, "
    "reasoning, raw"
)
FAILURE_COLUMNS = "key, error, detail, seconds, cost, lost, shape, draw, attempt, row, created, raw"


class Unreadable(Exception):  # noqa: N818 (named by what the record is)
    """A record that does not match its checksum, or cannot be read."""


class Known(NamedTuple):
    """An answer and the row that it is recorded under."""

    completion: Completion
    row: str


@dataclass(frozen=True)
class Record:
    """One record of the journal.

    Attributes:
        completion: what came; its `raw` is unpacked.
        row: id of the row that it was asked for.
        shape: what the request had in common with its step: model_id, endpoint and sampling parameters (of a version-1 journal the first two only).
        draw: number of the draw.
        attempt: number of the attempt.
        created: Unix time.
        served: whether `Journal.get` gives it; False for a failure that is asked again.
    """

    completion: Completion
    row: str
    shape: dict[str, Any]
    draw: int
    attempt: int
    created: float
    served: bool


def answer_row(request: Request, c: Completion, shape: int, now: float) -> tuple[Any, ...]:
    """The columns of `ANSWER_COLUMNS` of a completion that is `final`."""
    key, reasoning = bytes.fromhex(c.key), None
    if c.error is not None:
        form, raw = "body", c.raw or b""
        reasoning = None if c.reasoning is None else _bytes(c.reasoning)
    elif c.raw is not None:
        form, raw = "chat", c.raw
    else:
        form, raw = "text", _bytes(c.text or "")
        reasoning = None if c.reasoning is None else _bytes(c.reasoning)
    said = (c.error, _unicode(c.detail), _unicode(c.finish), _unicode(c.model), c.prompt_tokens, c.completion_tokens, c.seconds, c.cost, c.lost)
    asked = (shape, request.draw, request.attempt, row_name(request.row), now)
    return (key, form, *said, *asked, checksum(key, raw, reasoning, c.error), reasoning, raw)


def failure_row(request: Request, c: Completion, shape: int, now: float) -> tuple[Any, ...]:
    """The columns of `FAILURE_COLUMNS` of a completion that is not `final`."""
    raw = None if c.raw is None else c.raw[:CUT]
    asked = (shape, request.draw, request.attempt, row_name(request.row), now)
    return (bytes.fromhex(c.key), c.error, _unicode(c.detail), c.seconds, c.cost, c.lost, *asked, raw)


def known(row: tuple[Any, ...]) -> Known:
    """The answer in a row of `ANSWER_COLUMNS`.

    Raises:
        Unreadable: it is damaged.
    """
    key, form, error, detail, finish, model, prompt_tokens, completion_tokens, seconds, cost, lost, _, _, _, name, _, check, reasoning, raw = row
    if not (isinstance(key, bytes) and isinstance(raw, bytes) and isinstance(reasoning, bytes | None)):
        raise Unreadable("a column is of another type")
    kind, raw = unpacked(form, raw)
    if checksum(key, raw, reasoning, error) != check:
        raise Unreadable("it does not match its checksum")
    if kind == "chat":
        try:
            read = read_answer(key.hex(), raw, seconds)
        except AttemptError as e:
            raise Unreadable(f"its body is {e.kind}: {e}") from None
        return Known(replace(read, cost=cost, lost=lost) if lost or cost is not None else read, name)
    completion = Completion(
        key.hex(),
        _text(raw) if kind == "text" else None,
        finish,
        error,
        detail,
        model,
        prompt_tokens,
        completion_tokens,
        seconds,
        None if reasoning is None else _text(reasoning),
        (raw or None) if kind == "body" else None,
        lost,
        cost,
    )
    return Known(completion, name)


def answer_record(row: tuple[Any, ...], shapes: dict[int, str]) -> Record:
    """The record in a row of `ANSWER_COLUMNS`.

    Raises:
        Unreadable: it is damaged.
    """
    shape, draw, attempt, name, created = row[11:16]
    return Record(known(row).completion, name, _shape(shapes, shape), draw, attempt, created, served=True)


def failure_record(row: tuple[Any, ...], shapes: dict[int, str]) -> Record:
    """The record in a row of `FAILURE_COLUMNS`.

    Raises:
        Unreadable: it is damaged.
    """
    key, error, detail, seconds, cost, lost, shape, draw, attempt, name, created, raw = row
    if not isinstance(key, bytes) or error not in FAILURES:
        raise Unreadable(f"its class of failure is {error!r}")
    completion = Completion(key.hex(), None, error=error, detail=detail, seconds=seconds, raw=raw, lost=lost, cost=cost)
    return Record(completion, name, _shape(shapes, shape), draw, attempt, created, served=False)


def packed(form: str, raw: bytes) -> tuple[str, bytes] | None:
    """Form and bytes of a raw compressed; None where that is no smaller."""
    small = zlib.compress(raw, 6)
    return (form + PACKED, small) if len(small) < len(raw) else None


def unpacked(form: str, raw: bytes) -> tuple[str, bytes]:
    """Form without `PACKED`, and raw as it came.

    Raises:
        Unreadable: an unknown form, or damaged bytes.
    """
    kind, plus, _ = form.partition("+")
    if kind not in ("chat", "text", "body") or (plus and form != kind + PACKED):
        raise Unreadable(f"its form is {form!r}")
    try:
        return kind, zlib.decompress(raw) if plus else raw
    except zlib.error as e:
        raise Unreadable(f"it cannot be unpacked ({e})") from None


def checksum(key: bytes, raw: bytes, reasoning: bytes | None, error: str | None) -> int:
    """crc32 of a record, the same as version 1's where there is no error."""
    check = zlib.crc32(raw, zlib.crc32(key))
    if reasoning:
        check = zlib.crc32(reasoning, check)
    return zlib.crc32(error.encode(), check) if error else check


def parts(values: list[Any], size: int) -> Iterator[list[Any]]:
    """`values` in lists of `size` at most."""
    for i in range(0, len(values), size):
        yield values[i : i + size]


def marks(n: int) -> str:
    """So many question marks for a statement."""
    return ",".join("?" * n)


def _shape(shapes: dict[int, str], number: int) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(shapes.get(number, "{}"))
    return found


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError as e:
        raise Unreadable(f"its text cannot be read ({e})") from None


def row_name(row: str) -> str:
    """A row's id as SQLite can hold it: a lone surrogate as its escape."""
    return row if row.isascii() else row.encode("utf-8", "backslashreplace").decode()


def _unicode(text: str | None) -> str | None:
    """`text` without lone surrogates, which SQLite's text cannot hold."""
    return text if text is None or text.isascii() else text.encode("utf-8", "replace").decode()
