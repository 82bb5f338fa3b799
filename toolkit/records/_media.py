"""References to media in rows: the column `MEDIA`, and what one may say.

A reference must say `kind`, `uri`, `sha256` and `mime`; what was measured of its file (`MEASURES`) is null where nobody has measured. A table whose
rows have no media has no such column; in one that has it, a row without media has an empty list. A reference names a file by its place below the
dataset's folder, and says which bytes are meant by their sha256: the place is for finding them, the hash is what counts (ids, journal keys). Nothing
here opens a file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from toolkit.common.paths import below_fault

if TYPE_CHECKING:
    import polars as pl

    from toolkit.records._schemas import Column

MEDIA = "media"
"""Name of the column."""

MEASURES = {"size": "int64", "width": "int64", "height": "int64", "frames": "int64", "seconds": "float64"}
"""What is measured of a file, with its type: bytes; pixels of an image or of a video's frames; frames of a video; seconds of a video or a sound."""

TYPE: dict[str, Any] = {"list": {"struct": {"kind": "string", "uri": "string", "sha256": "string", "mime": "string", **MEASURES}}}
"""Type of the column, in the words of the record schemas."""

KINDS = ("image", "video", "audio")
"""Kinds of media."""

MOST = 64
"""Media of one row at most."""

_MUST = ("kind", "uri", "sha256", "mime")
_FIELDS = frozenset(_MUST)
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MIME = re.compile(r"(image|video|audio)/[a-z0-9][a-z0-9!#$&^_.+-]{0,126}")


class Media(NamedTuple):
    """One reference.

    Attributes:
        kind: one of `KINDS`.
        uri: the file, relative to the dataset's folder (`toolkit.common.paths.below_fault`).
        sha256: of its bytes, 64 hex digits in lower case.
        mime: its media type, in lower case and without parameters: ``image/png``.
        size: bytes of the file; this and what follows is None where it was not measured.
        width: of an image or of a video's frames, in pixels, as stored: before a camera's note that says to turn it.
        height: the same.
        frames: of a video.
        seconds: that a video or a sound lasts.

    Example:
        >>> Media("image", "cats/1.png", "0" * 64, "image/png", size=312, width=8, height=6).uri
        'cats/1.png'
    """

    kind: str
    uri: str
    sha256: str
    mime: str
    size: int | None = None
    width: int | None = None
    height: int | None = None
    frames: int | None = None
    seconds: float | None = None


def has_media(columns: Mapping[str, Column]) -> bool:
    """Whether rows with these columns may have media; a column of that name whose items say less is nobody's but the user's."""
    kind = columns[MEDIA].type if MEDIA in columns else None
    item = kind.get("list") if isinstance(kind, dict) else None
    return isinstance(item, dict) and set(item.get("struct", ())) >= _FIELDS


def media_of(value: Any) -> tuple[Media, ...]:
    """The references that a value of the column holds; None stands for none.

    Raises:
        ValueError: what is wrong with it, in words.
    """
    if value is None:
        return ()
    if not isinstance(value, list | tuple):
        raise ValueError(f"media is not a list but {type(value).__name__}")
    if len(value) > MOST:
        raise ValueError(f"media has {len(value):,} entries, and a row may have {MOST}")
    return tuple(_one(item, f"media[{i}]") for i, item in enumerate(value))


def media_faults(values: Iterable[Any]) -> list[str | None]:
    """For each value of the column what is wrong with it, None for nothing."""
    out: list[str | None] = []
    for value in values:
        try:
            media_of(value)
            out.append(None)
        except ValueError as e:
            out.append(str(e))
    return out


def frame_has_media(rows: pl.DataFrame | pl.LazyFrame) -> bool:
    """`has_media` of a frame."""
    import polars as pl

    kind = rows.collect_schema().get(MEDIA)
    return isinstance(kind, pl.List) and isinstance(kind.inner, pl.Struct) and {f.name for f in kind.inner.fields} >= _FIELDS


def hashes(value: Sequence[Mapping[str, Any]] | None = None) -> list[str]:
    """sha256 of each of a row's references; of one that has none an empty text."""
    return [item["sha256"] or "" for item in value or ()]


def others(kinds: Sequence[str]) -> pl.Expr:
    """The kinds of a row's media that are none of `kinds`, as a text with commas between; empty for none."""
    import polars as pl

    found = pl.col(MEDIA).list.eval(pl.element().struct.field("kind")).list.set_difference(pl.lit(list(kinds), pl.List(pl.String)))
    return found.list.sort().list.join(", ").fill_null("")


def _one(item: Any, where: str) -> Media:
    if not isinstance(item, Mapping):
        raise ValueError(f"{where} is not {{{', '.join(_MUST)}}} but {type(item).__name__}")
    for name in _MUST:
        if not isinstance(item.get(name), str):
            what = "is missing" if item.get(name) is None else f"is not a text but {type(item[name]).__name__}"
            raise ValueError(f"{where}.{name} {what}")
    if more := [str(name)[:40] for name, value in item.items() if name not in Media._fields and value is not None]:
        raise ValueError(f"{where} holds more than a reference: {', '.join(more)[:120]}")
    found = Media(*(item[name] for name in _MUST), **{name: _measure(item.get(name), kind, f"{where}.{name}") for name, kind in MEASURES.items()})  # type: ignore[arg-type]
    if found.kind not in KINDS:
        raise ValueError(f"{where}.kind is {found.kind[:40]!r}, not {' or '.join(KINDS)}")
    if (fault := below_fault(found.uri)) is not None:
        raise ValueError(f"{where}.uri {fault}: {found.uri[:80]!r}")
    if not _SHA256.fullmatch(found.sha256):
        raise ValueError(f"{where}.sha256 is not 64 hex digits in lower case: {found.sha256[:80]!r}")
    if not _MIME.fullmatch(found.mime) or found.mime.partition("/")[0] != found.kind:
        raise ValueError(f"{where}.mime is no {found.kind}/… in lower case without parameters: {found.mime[:80]!r}")
    return found


def _measure(value: Any, kind: str, where: str) -> int | float | None:
    """A value of `MEASURES`, held against its type there (ValueError)."""
    if value is None:
        return None
    whole = kind == "int64"
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
        raise ValueError(f"{where} is not a whole number: {str(value)[:40]!r}" if whole else f"{where} is not a number but {type(value).__name__}")
    if not 0 <= value < 2**63:
        raise ValueError(f"{where} is {value}, which nothing measures")
    return value
