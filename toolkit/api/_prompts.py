"""Files of prompts, read a line at a time: JSON Lines or parquet; of a folder all that are in it, in the order of their names.

A prompt is ``{"id", "messages": [{"role", "content"}, …]}`` or ``{"id", "user"}`` with or without ``"system"``; the id is a text or a whole number.
Pictures and sounds that it is about are under ``media``, as in rows, with uris relative to the file's folder (docs/media.md). Other keys are not
looked at. A parquet file has these as columns; ``messages`` and ``media`` are then lists of structs.

Failure semantics: `check_prompts` reads the files whole and finds what is wrong with them, by line, before anything is asked.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from toolkit.common.errors import InputError, InputErrors
from toolkit.common.jsontext import may_repeat, repeated_key
from toolkit.common.parquet import batches, open_parquet
from toolkit.common.paths import near_file
from toolkit.common.reading import Files
from toolkit.records import Media, media_of
from toolkit.sources import expand_files, format_of
from toolkit.sources import opened as plain_file

ROLES = ("system", "developer", "user", "assistant")
_SHOWN = 20
"""Faults that are listed; a file with as many is not read to its end."""
_BATCH = 1024
_KEYS = ("id", "system", "user", "messages", "media")


@dataclass(frozen=True)
class Prompt:
    """A prompt as it is in a file."""

    id: str | int
    messages: tuple[tuple[str, str], ...]
    media: tuple[Media, ...] = ()


def check_prompts(paths: Sequence[Path], held: Files, carries: Collection[str] = ()) -> int:
    """How many prompts the files hold; `held` has their digests, and what is read must have them. `carries`: kinds of media that may go along.

    Raises:
        InputErrors: what is wrong with them, each fault by line (or row of a parquet file).
    """
    faults = []
    rows = 0
    for where, value in chain.from_iterable(_values(path, held) for path in paths):
        try:
            prompt = _prompt(value() if callable(value) else value)
            if prompt.media and (kinds := sorted({m.kind for m in prompt.media}.difference(carries))):
                raise ValueError(f"media: the backend cannot carry {', '.join(kinds)}")
        except ValueError as e:
            faults.append(InputError(str(e), where=where))
            if len(faults) == _SHOWN:
                break
        rows += 1
    if len(faults) == _SHOWN:
        faults.append(InputError(f"and perhaps more: {rows + 1:,} rows were read, {_SHOWN} of them with a fault, and no further ones"))
    if faults:
        raise InputErrors(faults)
    return rows


def read_prompts(path: Path, held: Files) -> Iterator[Prompt]:
    """The prompts of a file that has been checked (InputError: it has changed since)."""
    for _, value in _values(path, held, checked=True):
        yield _prompt(value() if callable(value) else value)


def prompt_files(path: Path) -> list[Path]:
    """The file itself, or those of a folder.

    Raises:
        InputError: there is none, no regular file, or a folder with a file that holds no prompts, or with none that could.
    """
    if not path.exists():
        raise InputError("no such file", where=str(path), hint=near_file(path))
    if not path.is_dir():
        if not path.is_file():
            raise InputError("not a regular file: prompts are read twice", where=str(path), hint="write them to a file first")
        return [path]
    files = expand_files([path])
    if odd := [p for p in files if format_of(p) not in ("jsonl", "parquet")]:
        raise InputError("prompts are JSON Lines or parquet", where=str(odd[0]), hint="give a folder of such files, or one file")
    return files


def hold_prompts(paths: Sequence[Path]) -> Files:
    """The files of prompts, digested, so that every reading of them is of the same bytes.

    Raises:
        InputError: one cannot be read.
    """
    files = Files()
    for path in paths:
        files.digest(path)
    files.begin()
    return files


def _values(path: Path, held: Files, *, checked: bool = False) -> Iterator[tuple[str, Any]]:
    """Each line or row with its place: its value, or a function that decodes it; where the file has been `checked`, without a look for faults."""
    if path.suffix == ".parquet":
        yield from _parquet(path, held)
        return
    with plain_file(path, held) as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield f"{path}:{number}", lambda line=line: _decoded(line, checked)


def _decoded(line: bytes, checked: bool) -> Any:
    import orjson

    try:
        value = orjson.loads(line)
        large = isinstance(value, dict) and isinstance(value.get("id"), float)  # a whole number beyond 64 bits would be one, too
        if not large and (checked or not (isinstance(value, dict | list) and may_repeat(line, value))):
            return value
    except ValueError:
        pass
    try:  # half of a surrogate pair, which orjson refuses; whether it can be sent is the request's own matter
        value = json.loads(line)
        twice = repeated_key(line, _KEYS)
    except UnicodeDecodeError as e:
        raise ValueError(f"not UTF-8 (byte {e.start} of the line)") from None
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except ValueError as e:
        raise ValueError(f"not JSON: {e}") from None
    if twice is not None:
        raise ValueError(f"the key {twice!r} is given twice")
    return value


def _parquet(path: Path, held: Files) -> Iterator[tuple[str, Any]]:
    with open_parquet(path, files=held) as file:
        columns = [c for c in _KEYS if c in file.schema_arrow.names]
        number = 0
        for batch in batches(file, path, _BATCH, columns):
            try:
                rows = batch.to_pylist()
            except UnicodeDecodeError as e:
                raise InputError(f"not UTF-8 (byte {e.start}), from row {number + 1} on", where=str(path)) from None
            for row in rows:
                number += 1
                yield f"{path}: row {number}", {k: v for k, v in row.items() if v is not None}


def _prompt(value: Any) -> Prompt:
    """A prompt from its JSON; ValueError says what is wrong."""
    if not isinstance(value, dict):
        raise ValueError("expected an object with id and messages, or id, system and user")
    name = value.get("id")
    if not isinstance(name, str | int) or isinstance(name, bool):
        raise ValueError("the key 'id' must be a text or a whole number" if "id" in value else "the key 'id' is missing")
    media = media_of(value["media"]) if "media" in value else ()
    if "messages" in value:
        if "user" in value or "system" in value:
            raise ValueError("either 'messages', or 'system' and 'user'")
        return Prompt(name, _messages(value["messages"]), media)
    if "user" not in value:
        raise ValueError("the key 'messages' (or 'user') is missing")
    texts = {k: value[k] for k in ("system", "user") if value.get(k) is not None}
    for k, text in texts.items():
        if not isinstance(text, str):
            raise ValueError(f"the key {k!r} must be a text")
    if "user" not in texts:
        raise ValueError("the key 'user' must be a text")
    return Prompt(name, tuple(texts.items()), media)


def _messages(value: Any) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, list) or not value:
        raise ValueError("'messages' must be a list with at least one message")
    out = []
    for i, message in enumerate(value):
        role, content = (message.get("role"), message.get("content")) if isinstance(message, dict) else (None, None)
        if role not in ROLES or not isinstance(content, str):
            raise ValueError(f"messages[{i}] must have a role ({', '.join(ROLES)}) and a content that is a text")
        out.append((role, content))
    return tuple(out)
