"""A request and its completion as a row of the journal, and back.

Forms of `raw`, in the column ``form``; ``+zlib`` after it says that raw is compressed (compaction does that):
- ``chat``: the body of an answer as an endpoint sent it. Text, finish, model, tokens and reasoning are read from it, with `read_answer`, whenever
  the record is read; the columns beside it serve the counts only. So a body must read as the completion it came with.
- ``text``: the text itself, as UTF-8 with lone surrogates; the columns say the rest.
- ``logprobs``: a line with the log-probabilities of some of the text's tokens (`toolkit.generation._logprobs`), then as ``text``. Those of ``chat``
  are in the body, and are read from it where they are handed out.
- ``body``: what came with a failure that is final, or nothing; the columns say all.

Checksums are crc32 of every column of a record: its key, the JSON of the other columns (of an answer also the length of reasoning), and its bytes,
those of an answer unpacked, so that packing leaves it as it is. A shape and a row that shares a record have one of their own.

Failure semantics: `Unreadable` for a record that is damaged, whatever the damage; whoever reads decides what that means.
"""

from __future__ import annotations

import json
import math
import sqlite3
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from toolkit.generation._answers import read_answer
from toolkit.generation._attempt_faults import AttemptError
from toolkit.generation._request import FAILURES, Completion, Request

FORMS = ("chat", "text", "logprobs", "body")
PACKED = "+zlib"
"""End of the form of a record whose raw is compressed."""

MOST = 1 << 53
"""Counts from here on are no counts: JSON's numbers are exact below it (RFC 8259, section 6). They are not kept."""

_json = json.JSONEncoder(separators=(",", ":")).encode
"""ASCII, and the same text for the same columns in every Python: a float is its shortest repr."""

CUT = 64 << 10
"""Bytes kept of what came with a failure that is not served."""

LARGEST = 512 << 20
"""Bytes that a record may hold; SQLite's own limit is 1,000,000,000 (sqlite.org/limits.html)."""

ANSWER_COLUMNS = (
    "key, form, error, detail, finish, model, prompt_tokens, completion_tokens, seconds, cost, lost, shape, draw, attempt, row, created, checksum, "
    "reasoning, raw"
)
FAILURE_COLUMNS = "key, error, detail, seconds, cost, lost, shape, draw, attempt, row, created, checksum, raw"


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


def storable(c: Completion) -> Completion:
    """`c`; or, where it is larger than a record may be (`LARGEST`), the failure ``too_large`` with the head of what came and what it cost."""
    raw, texts = c.raw or b"", (c.text if c.raw is None else None, c.reasoning, c.detail, c.finish, c.model)
    size = len(raw) + len(c.logprobs or b"")
    for text in texts:
        if text:
            size += len(text)
    if size * 4 <= LARGEST:  # however many bytes a letter takes
        return c
    size = len(raw) + len(c.logprobs or b"") + sum(len(_bytes(text)) for text in texts if text)
    if size <= LARGEST:
        return c
    head = c.raw[:CUT] if c.raw is not None else _bytes((c.text or "")[: CUT // 4])
    detail = f"an answer of {size:,} bytes; the journal keeps {LARGEST:,} at most"
    return replace(c, text=None, error="too_large", detail=detail, finish=None, model=None, reasoning=None, raw=head or None, logprobs=None)


def key_name(key: object) -> str:
    """A record's key as it is shown; a damaged one as it is there."""
    return key.hex() if isinstance(key, bytes) else repr(key)


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
        if c.logprobs is not None:
            form, raw = "logprobs", b"%b\n%b" % (c.logprobs, raw)
        reasoning = None if c.reasoning is None else _bytes(c.reasoning)
    values = (c.error, _unicode(c.detail), _unicode(c.finish), _unicode(c.model), _count(c.prompt_tokens), _count(c.completion_tokens))
    about = (key, form, *values, _real(c.seconds), _real(c.cost), +c.lost, *_asked(request, shape, now))
    return (*about, _answer_sum(about, reasoning, raw), reasoning, raw)


def failure_row(request: Request, c: Completion, shape: int, now: float) -> tuple[Any, ...]:
    """The columns of `FAILURE_COLUMNS` of a completion that is not `final`."""
    raw = None if c.raw is None else c.raw[:CUT]
    about = (bytes.fromhex(c.key), c.error, _unicode(c.detail), _real(c.seconds), _real(c.cost), +c.lost, *_asked(request, shape, now))
    return (*about, _failure_sum(about, raw), raw)


def answer_1(*row: Any) -> int:
    """Checksum for an answer of version 1; -1, which nothing matches, for one that did not match its own or holds what version 1 never wrote.

    Args:
        row: its key, finish, model, prompt_tokens, completion_tokens, seconds, shape (the new number), draw, row, created, checksum, reasoning
            and text; what is text in the table comes as bytes.
    """
    key, finish, model, prompt_tokens, completion_tokens, seconds, shape, draw, name, created, check, reasoning, raw = row
    try:
        old = zlib.crc32(reasoning or b"", zlib.crc32(raw, zlib.crc32(key)))
        values = (None, None, _strict(finish), _strict(model), prompt_tokens, completion_tokens, seconds, None, 0)
        same = old == check and _sound(seconds, draw, created) and _counts(prompt_tokens, completion_tokens)
        return _answer_sum((key, "text", *values, shape, draw, 0, _strict(name), created), reasoning, raw) if same else -1
    except (TypeError, ValueError):  # a column of another type, or text that is none
        return -1


def failure_1(key: Any, error: Any, detail: Any, seconds: Any, shape: int, draw: Any, name: Any, created: Any) -> int:
    """As `answer_1`, for a failure; version 1 had no checksum for it."""
    try:
        about = (key, _strict(error), _strict(detail), seconds, None, 0, shape, draw, 0, _strict(name), created)
        return _failure_sum(about, None) if _sound(seconds, draw, created) else -1
    except (TypeError, ValueError):
        return -1


def known(row: tuple[Any, ...]) -> Known:
    """The answer in a row of `ANSWER_COLUMNS`; a failure that is not `final` where its body, read anew, is no answer: it is to be asked again.

    Raises:
        Unreadable: it is damaged.
    """
    key, _, error, detail, finish, model, prompt_tokens, completion_tokens, seconds, cost, lost, _, _, _, name, _, _, reasoning, _ = row
    kind, raw = whole(row)
    if kind == "chat":
        try:
            read = read_answer(key.hex(), raw, seconds)
        except AttemptError as e:
            if e.kind == "malformed":
                raise Unreadable(f"its body is {e.kind}: {e}") from None
            read = Completion(key.hex(), None, error=e.kind, detail=e.detail, seconds=seconds, raw=raw)  # an earlier guardkit took it for an answer
        return Known(replace(read, cost=cost, lost=lost) if lost or cost is not None else read, name)
    logprobs = None
    if kind == "logprobs":
        logprobs, _, raw = raw.partition(b"\n")
    completion = Completion(
        key.hex(),
        None if kind == "body" else _text(raw),
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
        logprobs=logprobs,
    )
    return Known(completion, name)


def whole(row: tuple[Any, ...]) -> tuple[str, bytes]:
    """Form (without `PACKED`) and raw (unpacked) of a row of `ANSWER_COLUMNS` that matches its checksum.

    Raises:
        Unreadable: it does not.
    """
    key, form, check, reasoning, raw = row[0], row[1], *row[16:19]
    if not (isinstance(key, bytes) and isinstance(form, str) and isinstance(raw, bytes) and isinstance(reasoning, bytes | None)):
        raise Unreadable("a column is of another type")
    kind, raw = unpacked(form, raw)
    try:
        same = _answer_sum((key, kind, *row[2:16]), reasoning, raw) == check
    except TypeError:
        raise Unreadable("a column is of another type") from None
    if not same:
        raise Unreadable("it does not match its checksum")
    return kind, raw


def answer_record(row: tuple[Any, ...], shapes: dict[int, str]) -> Record:
    """The record in a row of `ANSWER_COLUMNS`.

    Raises:
        Unreadable: it is damaged.
    """
    shape, draw, attempt, name, created = row[11:16]
    completion = known(row).completion
    return Record(completion, name, _shape(shapes, shape), draw, attempt, created, served=completion.final)


def failure_record(row: tuple[Any, ...], shapes: dict[int, str]) -> Record:
    """The record in a row of `FAILURE_COLUMNS`.

    Raises:
        Unreadable: it is damaged.
    """
    key, error, detail, seconds, cost, lost, shape, draw, attempt, name, created, _, raw = row
    check_failure(row)
    completion = Completion(key.hex(), None, error=error, detail=detail, seconds=seconds, raw=raw, lost=lost, cost=cost)
    return Record(completion, name, _shape(shapes, shape), draw, attempt, created, served=False)


def check_failure(row: tuple[Any, ...]) -> None:
    """Raise `Unreadable` unless a row of `FAILURE_COLUMNS` matches its checksum."""
    key, error, check, raw = row[0], row[1], *row[11:13]
    if not (isinstance(key, bytes) and isinstance(raw, bytes | None)):
        raise Unreadable("a column is of another type")
    try:
        same = _failure_sum(row[:11], raw) == check
    except TypeError:
        raise Unreadable("a column is of another type") from None
    if not same:
        raise Unreadable("it does not match its checksum")
    if error not in FAILURES:
        raise Unreadable(f"its class of failure is {error!r}")


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
    if kind not in FORMS or (plus and form != kind + PACKED):
        raise Unreadable(f"its form is {form!r}")
    try:
        return kind, zlib.decompress(raw) if plus else raw
    except zlib.error as e:
        raise Unreadable(f"it cannot be unpacked ({e})") from None


def shape_sum(number: Any, shape: Any) -> int:
    """Checksum of a shape under its number; -1 for what is neither."""
    if not (isinstance(number, int) and isinstance(shape, str)):
        return -1
    return zlib.crc32(shape.encode("utf-8", "surrogateescape"), zlib.crc32(b"%d" % number))


def asker_sum(key: Any, row: Any) -> int:
    """Checksum of a row that shares a record; -1 for what is neither."""
    return zlib.crc32(row.encode("utf-8", "surrogateescape"), zlib.crc32(key)) if isinstance(key, bytes) and isinstance(row, str) else -1


def read_shapes(db: sqlite3.Connection) -> dict[int, str]:
    """Shapes by number, without those that are damaged."""
    return {n: shape for n, shape, check in db.execute("SELECT id, shape, checksum FROM shapes") if shape_sum(n, shape) == check}


def parts(values: list[Any], size: int) -> Iterator[list[Any]]:
    """`values` in lists of `size` at most."""
    for i in range(0, len(values), size):
        yield values[i : i + size]


def marks(n: int) -> str:
    """So many question marks for a statement."""
    return ",".join("?" * n)


def _shape(shapes: dict[int, str], number: int) -> dict[str, Any]:
    if number not in shapes:
        raise Unreadable("its model and endpoint are not there, or damaged")
    found: dict[str, Any] = json.loads(shapes[number])
    return found


def _answer_sum(about: tuple[Any, ...], reasoning: bytes | None, raw: bytes) -> int:
    """`about` are the columns up to created, with the form unpacked."""
    text = _json((*about[1:], None if reasoning is None else len(reasoning)))
    return zlib.crc32(raw, zlib.crc32(reasoning or b"", zlib.crc32(text.encode(), zlib.crc32(about[0]))))


def _failure_sum(about: tuple[Any, ...], raw: bytes | None) -> int:
    return zlib.crc32(raw or b"", zlib.crc32(_json((*about[1:], raw is None)).encode(), zlib.crc32(about[0])))


def _asked(request: Request, shape: int, now: float) -> tuple[Any, ...]:
    return (shape, +request.draw, +request.attempt, row_name(request.row), now)  # a bool is a number to SQLite


def _count(n: int | None) -> int | None:
    return +n if isinstance(n, int) and 0 <= n < MOST else None


def _real(x: float | None) -> float | None:
    """A number as SQLite gives it back: as a float, never -0.0; NaN is none."""
    return None if x is None or math.isnan(x) else float(x) + 0.0


def _strict(data: Any) -> str | None:
    return None if data is None else str(data, "utf-8")


def _sound(seconds: Any, draw: Any, created: Any) -> bool:
    return isinstance(seconds, float | None) and isinstance(draw, int) and isinstance(created, float) and 0 <= created < 1e11


def _counts(*values: Any) -> bool:
    return all(n is None or (isinstance(n, int) and 0 <= n < MOST) for n in values)


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
