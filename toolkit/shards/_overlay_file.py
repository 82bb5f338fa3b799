"""An overlay: what people decided about the rows of a dataset, in a file of its own beside it, to which lines are added and of which none is changed.

The file is called ``NAME.overlay.jsonl``. Its first line says what it is; each of the others is a decision (`DECIDED`) or a signature. A line has its
number, the seal of the line before it and its own, the sha256 of the line without it (`toolkit.common.manifests.sealed`). So a line that was edited
or moved, or one that is missing between others, is found, and named. Lines cut from the end leave a whole chain: a signature, or a run that was built
with more of them, shows that they are missing.

A signature is over the seal of the line before it, and so over all lines above: what ``ssh-keygen -Y sign -n guardkit`` makes of that seal. Several
people may sign, each as far as the file goes then.

Failure semantics: lines are added under a lock, with one write, and are durable when `add_to_overlay` returns. Part of a line, as a kill leaves it,
is refused by readers and taken off by the next who adds.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.common.errors import InputError
from toolkit.common.files import append_whole, fsync_path, open_own
from toolkit.common.jsontext import loads_once
from toolkit.common.manifests import MOST, sealed
from toolkit.common.outputs import OVERLAY_SUFFIX
from toolkit.common.paths import near_file
from toolkit.common.reading import Files, regular, unreadable
from toolkit.common.text import whole
from toolkit.shards._sign import Signature, sign_bytes, signer_of

DECIDED = ("id", "task", "label", "decision", "reviewer", "note", "when")
"""What a decision says: the row, the task, the label that it is about (may be left out), the decision, who, why, and when."""
_NEEDED = ("id", "task", "decision", "reviewer", "when")
_HEAD = {"kind": "overlay", "format": 1}
_AGAIN = "take the file from a copy: nothing of an overlay is ever changed, so a later copy holds every earlier one"


@dataclass(frozen=True)
class Overlay:
    """What is in an overlay.

    Attributes:
        path: its file.
        decisions: by the number of their line, what each says (`DECIDED`).
        signatures: likewise who signed, as far as that line.
        seals: of all lines, the first line's first.
    """

    path: Path
    decisions: dict[int, dict[str, str | None]]
    signatures: dict[int, Signature]
    seals: list[str]

    def signed_to(self, keys: set[str] | None = None) -> int:
        """The last line that is signed, by one of `keys` where there are any; 0: none."""
        return max((n for n, s in self.signatures.items() if keys is None or s.key in keys), default=0)

    def unsigned(self, keys: set[str] | None = None) -> list[int]:
        """The lines of decisions that nobody, or none of `keys`, has signed."""
        last = self.signed_to(keys)
        return [n for n in self.decisions if n > last]


def is_overlay(path: Path) -> bool:
    """Whether a file is called as overlays are."""
    return path.name.casefold().endswith(OVERLAY_SUFFIX)


def read_overlay(path: Path, held: Files | None = None) -> Overlay:
    """An overlay, each line of which is checked.

    Raises:
        InputError: there is none; a line is no line of an overlay, was changed, or is missing before another; a signature is another's, each with its
            line. Missing: it is signed, and the package that checks signatures is not there.
    """
    if not path.is_file():
        raise InputError("no such file", where=str(path), hint=near_file(path))
    try:
        with path.open("rb") as raw:
            regular(raw.fileno(), path)
            with suppress(OSError):  # a disk that knows no locks
                fcntl.flock(raw, fcntl.LOCK_SH)  # who adds a line right now ends first
            with (held or Files()).reading(raw.fileno(), path):
                data = raw.read(MOST + 1)
    except OSError as e:
        raise unreadable(e, path) from None
    return _read(path, data)


def add_to_overlay(path: Path, decisions: Sequence[Mapping[str, str | None]], now: str) -> int:
    """Add decisions to the end of an overlay, which is made where there is none. One that is in it already, by all that it says, is left out.

    Args:
        path: its file.
        decisions: what each says (`DECIDED`).
        now: when those were made that do not say when.

    Returns:
        How many were added.

    Raises:
        InputError: as `read_overlay`; another name than ``….overlay.jsonl``; no file can be made there; a decision without a row, task, decision or
            reviewer.
    """
    with _open(path) as (fd, overlay):
        given = [{k: v if v is None else whole(v) for k, v in d.items()} for d in decisions]
        known = {words for d in overlay.decisions.values() for words in (_words(d), _words({**d, "when": None}))}
        fresh = [{**d, "when": d.get("when") or now} for d in {_words(d): d for d in given}.values() if _words(d) not in known]
        for one in fresh:
            _decision(one, str(path))
        _write(fd, overlay, fresh)
    return len(fresh)


def sign_overlay(path: Path, key: Path) -> Signature:
    """Sign all that an overlay says so far; the signature is its next line.

    Raises:
        InputError: as `read_overlay`; nothing is in it; the key cannot be read or is another kind. Missing: the package `cryptography`.
    """
    if not path.is_file():
        raise InputError("no such file", where=str(path), hint=near_file(path))
    with _open(path) as (fd, overlay):
        if not overlay.decisions:
            raise InputError("nothing to sign: no decision is in it", where=str(path), hint="`guardkit overlay FILE --add DECISIONS` adds some")
        signer, text = sign_bytes(overlay.seals[-1].encode(), key)
        if signer.key in {s.key for n, s in overlay.signatures.items() if n == len(overlay.seals)}:
            return signer
        _write(fd, overlay, [{"signature": text}])
    return signer


def _words(decision: Mapping[str, str | None]) -> tuple[Any, ...]:
    return tuple(decision.get(k, False) for k in DECIDED)  # a label that is none is not the same as one that is not stated


def _write(fd: int, overlay: Overlay, fresh: Sequence[dict[str, Any]]) -> None:
    """Add lines, the first of which says what the file is where it is empty."""
    seals, out = list(overlay.seals), []
    for value in ([] if seals else [_HEAD]) + list(fresh):
        line = sealed({"line": len(seals) + 1, "before": seals[-1] if seals else None, **value})
        seals.append(line["seal"])
        out.append(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n")
    append_whole(fd, "".join(out).encode())
    fsync_path(overlay.path.parent)


@contextmanager
def _open(path: Path) -> Iterator[tuple[int, Overlay]]:
    """An overlay open at its end, and locked: others wait."""
    if not is_overlay(path):
        raise InputError("no name of an overlay", where=str(path), hint=f"a name that ends in {OVERLAY_SUFFIX}")
    try:
        fd = open_own(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
    except OSError as e:
        raise unreadable(e, path) from None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        data = os.pread(fd, MOST + 1, 0)
        sound = data[: data.rfind(b"\n") + 1]
        overlay = _read(path, sound) if sound else Overlay(path, {}, {}, [])
        if sound != data:
            os.ftruncate(fd, len(sound))
        yield fd, overlay
    finally:
        os.close(fd)


def _read(path: Path, data: bytes) -> Overlay:
    if len(data) > MOST:
        raise InputError(f"has more than {MOST:,} bytes", where=str(path))
    lines = data.split(b"\n")
    if lines.pop():
        hint = "a kill leaves such a line: `guardkit overlay FILE --add DECISIONS` takes it off, and adds what was lost with it"
        raise InputError("the last line is not finished", where=f"{path}:{len(lines) + 1}", hint=hint)
    found = Overlay(path, {}, {}, [])
    for n, raw in enumerate(lines, 1):
        value = _line(raw, f"{path}:{n}")
        _in_its_place(value, n, found, f"{path}:{n}")
        if n == 1:
            if {k: value.get(k) for k in _HEAD} != _HEAD:
                hint = "`guardkit overlay FILE --add DECISIONS` makes one"
                raise InputError("not an overlay of guardkit's, or one of another version", where=f"{path}:1", hint=hint)
        elif "signature" in value:
            found.signatures[n] = _signer(value["signature"], found.seals[-1], f"{path}:{n}")
        else:
            found.decisions[n] = _decision(value, f"{path}:{n}")
        found.seals.append(value["seal"])
    if not lines:
        raise InputError("the file is empty: no overlay", where=str(path), hint="`guardkit overlay FILE --add DECISIONS` makes one")
    return found


def _line(raw: bytes, where: str) -> dict[str, Any]:
    try:
        value = loads_once(raw.decode("utf-8"))
    except ValueError as e:
        raise InputError(f"not JSON: {str(e)[:200]}", where=where, hint=_AGAIN) from None
    if not isinstance(value, dict) or not isinstance(value.get("seal"), str):
        raise InputError("no line of an overlay", where=where, hint=_AGAIN)
    if sealed(value)["seal"] != value["seal"]:
        raise InputError("this line was changed after it was written (its seal does not fit)", where=where, hint=_AGAIN)
    return value


def _in_its_place(value: dict[str, Any], n: int, found: Overlay, where: str) -> None:
    """That a line follows the one before it (InputError)."""
    before = found.seals[-1] if found.seals else None
    if value.get("before") == before and value.get("line") == n:
        return
    number = value.get("line")
    if isinstance(number, int) and number > n:
        gone = f"line {n} is" if number == n + 1 else f"lines {n} to {number - 1} are"
        raise InputError(f"{gone} missing: here is line {number}", where=where, hint=_AGAIN)
    raise InputError("this line does not follow the one before it: lines were changed, moved or put in", where=where, hint=_AGAIN)


def _decision(value: dict[str, Any], where: str) -> dict[str, str | None]:
    found = {k: value[k] for k in DECIDED if k in value}
    odd = [k for k, v in found.items() if not (v is None or (isinstance(v, str) and v == whole(v)))] + [k for k in _NEEDED if not found.get(k)]
    if odd:
        raise InputError(f"a decision without {odd[0]!r}, or with one that is no text", where=where)
    return found


def _signer(text: Any, seal: str, where: str) -> Signature:
    signer = signer_of(text if isinstance(text, str) else "", seal.encode(), where)
    if signer is None:
        raise InputError("the signature is not that of the lines above it", where=where, hint=_AGAIN)
    return signer
