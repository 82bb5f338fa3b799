"""Media that go along with a request: which bytes are meant, where they are, and the content parts that carry them.

Contract: `Attached` names a file by kind, media type and sha256, which are part of the request's key, and says where it is, which is not. Bytes are
read when they are sent, never earlier and never kept: they must be those of the sha256, then as now. `content_parts` gives them in the form of
OpenAI's chat completions: an image as ``image_url`` with a data URI, a sound as ``input_audio``. That form has no part for a video; vLLM and others
take one as ``video_url`` with a data URI, for a config that says that its server does (``video_parts``).

Failure semantics: `MediaError` says in words what is wrong with a file; it costs its request alone, which is not sent.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from toolkit.common.errors import InputError
from toolkit.common.paths import open_below
from toolkit.records import MEDIA, Media, media_of

OPENAI_CARRIES = frozenset({"image", "audio"})
"""Kinds that OpenAI's chat completions have a content part for."""

LARGEST = 20 << 20
"""Bytes of all files of a request together, at most: 27 MB in base64, of the 50 MB that OpenAI takes in a request."""

TOKENS = 50_000
"""Tokens that one image or clip is charged as, at most: gpt-4o-mini asks most, 2,833 and 5,667 for each of up to eight tiles."""

_SOUNDS = {
    "audio/wav": "wav",
    "audio/x-wav": "wav",
    "audio/wave": "wav",
    "audio/vnd.wave": "wav",
    "audio/mpeg": "mp3",
    "audio/mp3": "mp3",
}
"""``format`` of ``input_audio`` by media type; OpenAI's form knows no other (API reference, "Create chat completion")."""


class MediaError(ValueError):
    """A file that cannot go along with its request, in words."""


class Attached(NamedTuple):
    """A file that goes along with a request; `kind`, `mime` and `sha256` are in its key."""

    kind: str
    mime: str
    sha256: str
    uri: str
    folder: Path


def attached(media: Iterable[Media], folder: Path) -> tuple[Attached, ...]:
    """References as a request carries them; `folder` is the dataset's."""
    return tuple(Attached(m.kind, m.mime, m.sha256, m.uri, folder) for m in media)


def attached_to(row: Mapping[str, Any], folder: Path, *, asker: str, judged: Collection[str], carried: Collection[str]) -> tuple[Attached, ...]:
    """The files of a row that goes to a model; none for one without media.

    Args:
        row: with the column of `toolkit.records.MEDIA`, or without.
        folder: the dataset's.
        asker: who asks, for messages: ``the guard 'x'``.
        judged: kinds that it asks about.
        carried: kinds that the backend carries.

    Raises:
        MediaError: it holds what is no reference, or kinds that would have to be left out.
    """
    value = row.get(MEDIA)
    if not value or not isinstance(value, list):  # a column of that name that is another's
        return ()
    try:
        found = attached(media_of(value), folder)
    except ValueError as e:
        raise MediaError(str(e)) from None
    if kinds := not_carried(found, judged):
        raise MediaError(f"{', '.join(kinds)}: {asker} does not take that")
    if kinds := not_carried(found, carried):
        raise MediaError(f"{', '.join(kinds)}: the backend cannot carry that")
    return found


def not_carried(media: Iterable[Attached], kinds: Collection[str]) -> list[str]:
    """Kinds of media that are none of `kinds`, sorted."""
    return sorted({m.kind for m in media}.difference(kinds))


def content_parts(media: Sequence[Attached]) -> list[dict[str, Any]]:
    """The content parts of some files, in their order.

    Raises:
        MediaError: a file is not there, is another than its sha256 says, is too large, or a sound of a type that this form has no part for.
    """
    out: list[dict[str, Any]] = []
    left = LARGEST
    for one in media:
        if one.kind == "audio" and one.mime not in _SOUNDS:
            raise MediaError(f"{one.uri}: chat completions have no part for {one.mime}")
        data = _read(one, left)
        left -= len(data)
        text = base64.b64encode(data).decode()
        if one.kind == "audio":
            out.append({"type": "input_audio", "input_audio": {"data": text, "format": _SOUNDS[one.mime]}})
        else:
            part = f"{one.kind}_url"
            out.append({"type": part, part: {"url": f"data:{one.mime};base64,{text}"}})
    return out


def _read(one: Attached, most: int) -> bytes:
    try:
        with open_below(one.folder, one.uri) as file:
            data = file.read(most + 1)
    except InputError as e:
        raise MediaError(f"{one.uri} {e.message}") from None
    except OSError as e:
        raise MediaError(f"{one.uri} cannot be read: {e.strerror or e}") from None
    if len(data) > most:
        raise MediaError(f"{one.uri}: the files of a request may have {LARGEST:,} bytes in all, and with this one they have more")
    if (found := hashlib.sha256(data).hexdigest()) != one.sha256:
        raise MediaError(f"{one.uri} is not the file of its row: its sha256 is {found[:12]}…, the row says {one.sha256[:12]}…")
    return data
