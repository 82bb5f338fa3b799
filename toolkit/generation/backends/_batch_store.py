"""What ``openai-batch`` has sent, on disk until the journal has every answer of it.

Contract: one folder a batch, ``<root>/<number>-<random>/``:

- ``requests.jsonl``: the file as it is uploaded; ``rows.jsonl``: line by line the rest of each request, so that `Request` can be made again;
- ``state.json``: where the batch stands (`STATES`); each step is on disk (fsync, rename) before the next one is taken;
- ``output.jsonl``, ``errors.jsonl``: the endpoint's two files, as they came;
- ``lock``: held while a backend works on the folder, so that a second one in this or another process leaves it alone.

A folder appears whole, by one rename, and goes by one rename: what a crash leaves half-made or half-removed is hidden (``.<name>.new``,
``.<name>.old``) and cleared by the next `adopt`; what is named otherwise, or is in such a folder beside a batch's own files, is the user's.
`hand_over` removes nothing: who calls it discards the folder afterwards, so that no answer is ever deleted before the journal has it.

Failure semantics: a disk that cannot be written is `Stopped`, a damaged ``state.json`` an `InputError`. A line of a result file that is not
JSON is logged and left out; its request counts as not answered.
"""

from __future__ import annotations

import json
import logging
import secrets
import time
from collections.abc import Container, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from toolkit.common.errors import InputError, Stopped
from toolkit.common.files import FOLDER, canonical_json, fsync_path, fsync_tree, make_file, make_folder, sha256_file, write_atomic
from toolkit.common.locks import Lock
from toolkit.generation._answers import parsed
from toolkit.generation._attempt_faults import AttemptError
from toolkit.generation._journal_batches import BATCH, drop_batch
from toolkit.generation._journal_store import Journal
from toolkit.generation._request import Completion, Request, as_messages
from toolkit.generation.backends._batch_lines import outcome

_log = logging.getLogger(__name__)

STATES = ("prepared", "uploaded", "created", "ended", "downloaded")
"""Written down; its file is at the endpoint; the endpoint works on it; it does so no more; its result files are here."""

OUTPUT, ERRORS = "output.jsonl", "errors.jsonl"
_REQUESTS, _ROWS, _STATE, _LOCK = "requests.jsonl", "rows.jsonl", "state.json", "lock"

_GROUP = 64
"""Answers that are handed to the journal in one transaction."""


@dataclass(frozen=True)
class State:
    """What ``state.json`` holds.

    Args:
        state: one of `STATES`.
        endpoint: name of the endpoint, as in the requests' keys.
        model: likewise.
        rows: number of requests.
        digest: sha256 of ``requests.jsonl``; goes into the batch's metadata.
        since: Unix time of the last step.
        file: the endpoint's id of the uploaded file.
        batch: the endpoint's id of the batch.
        spent: ids of earlier batches made of this file, none of which did any work.
        output: id of the output file; empty for none.
        errors: id of the error file; likewise.
        status: the batch's last status.
        seconds: from the batch's creation to its end.
    """

    state: str
    endpoint: str
    model: str
    rows: int
    digest: str
    since: float
    file: str = ""
    batch: str = ""
    spent: tuple[str, ...] = ()
    output: str = ""
    errors: str = ""
    status: str = ""
    seconds: float | None = None


class Result(NamedTuple):
    """A line of a result file: its request's key, what it holds, and where it is."""

    key: str
    record: dict[str, Any]
    name: str
    at: int


@dataclass(eq=False)
class Parcel:
    """A batch and its folder; locked from the moment it is made until `release`."""

    folder: Path
    state: State
    keys: list[str]
    """Of all its requests, in the order of the lines."""
    lock: Lock | None
    asked: set[str] = field(default_factory=set)
    """Keys that the engine waits for."""
    left: set[str] = field(default_factory=set)
    """Keys that have not been given to the engine in this session."""
    done: int = 0
    """Requests that the endpoint says it has finished."""
    given: float = 0.0
    """Monotonic time at which the last answer was given to the engine."""

    @property
    def requests(self) -> Path:
        """The file to upload."""
        return self.folder / _REQUESTS

    def record(self, state: str, **changes: Any) -> None:
        """Take a step: durable when this returns."""
        self.state = replace(self.state, state=state, since=time.time(), **changes)
        with on_disk(self.folder):
            write_atomic(self.folder / _STATE, canonical_json({"version": 1, **asdict(self.state)}))

    def results(self) -> Iterator[Result]:
        """Each line of the result files that answers a request of this batch, output first; of several for one request, the first."""
        known = set(self.keys)
        strange = 0
        for name in (OUTPUT, ERRORS):
            if not (path := self.folder / name).exists():
                continue
            with path.open("rb") as f:
                at = 0
                for line in f:
                    key, record = _read_line(line)
                    if key in known:
                        known.remove(key)
                        yield Result(key, record, name, at)
                    else:
                        strange += bool(line.strip())
                    at += len(line)
        if strange:
            _log.warning("%s: %d lines of the result files are no JSON or belong to no request of the batch, or to one twice", self.folder, strange)

    def result(self, name: str, at: int) -> dict[str, Any]:
        """The record of a line again."""
        with (self.folder / name).open("rb") as f:
            f.seek(at)
            return _read_line(f.readline())[1]

    def release(self) -> None:
        """Let others work on the folder."""
        if self.lock is not None:
            self.lock.release()
            self.lock = None

    def relock(self) -> bool:
        """Take the folder again after `release`; False where another backend has it, or has removed it. Harmless while it is held."""
        if self.lock is None:
            try:
                self.lock = Lock(self.folder / _LOCK, "a batch")
            except (InputError, FileNotFoundError):
                return False
        return True

    def discard(self) -> None:
        """Remove the folder; a crash on the way leaves it hidden."""
        hidden = self.folder.with_name(f".{self.folder.name}.old")
        with on_disk(self.folder):
            self.folder.rename(hidden)
            fsync_path(hidden.parent)
        drop_batch(hidden)
        self.release()


class Draft:
    """A batch that is being gathered: requests are written as they come."""

    def __init__(self, root: Path) -> None:
        self.rows = self.size = 0
        self._keys: list[str] = []
        with on_disk(root):
            make_folder(root)
            numbers = [int(n) for p in root.iterdir() if (n := p.name.lstrip(".").partition("-")[0]).isdigit()]
            self._final = root / f"{max(numbers, default=0) + 1:06d}-{secrets.token_hex(6)}"
            self._folder = root / f".{self._final.name}.new"
            self._folder.mkdir(mode=FOLDER)
            self._lock = Lock(self._folder / _LOCK, "a batch")
            self._requests: BinaryIO = make_file(self._folder / _REQUESTS)
            self._others: BinaryIO = make_file(self._folder / _ROWS)

    def add(self, request: Request, line: bytes) -> None:
        """Append a request; `line` is what `_batch_lines.line_of` made of it."""
        rest = {f.name: getattr(request, f.name) for f in fields(Request) if f.name not in ("messages", "media")}
        with on_disk(self._folder):
            self._requests.write(line)
            self._others.write(canonical_json({"key": request.key, "request": rest}).encode() + b"\n")
        self._keys.append(request.key)
        self.rows += 1
        self.size += len(line)

    def seal(self, endpoint: str, model: str) -> Parcel:
        """The batch, durable and ready to be sent; all its keys are asked."""
        with on_disk(self._folder):
            self._requests.close()
            self._others.close()
            state = State("prepared", endpoint, model, self.rows, sha256_file(self._folder / _REQUESTS), time.time())
            write_atomic(self._folder / _STATE, canonical_json({"version": 1, **asdict(state)}))
            fsync_tree(self._folder)
            self._folder.rename(self._final)
            fsync_path(self._final.parent)
        return Parcel(self._final, state, self._keys, self._lock, set(self._keys), set(self._keys))

    def drop(self) -> None:
        """Forget it: nothing of it was sent."""
        for f in (self._requests, self._others):
            with suppress(OSError):  # a full disk: the buffer cannot be flushed, and need not be
                f.close()
        drop_batch(self._folder)
        self._lock.release()


def adopt(root: Path, endpoint: str, model: str) -> list[Parcel]:
    """The batches of an endpoint and model that earlier sessions left, oldest first, each locked.

    One that was only prepared is removed: nothing of it was sent. Folders that another backend has locked are left alone.

    Raises:
        InputError: a state is damaged.
    """
    found: list[Parcel] = []
    try:
        for folder in sorted(root.iterdir()) if root.is_dir() else []:
            if (
                BATCH.fullmatch(folder.name)
                and folder.is_dir()
                and not folder.is_symlink()
                and (parcel := _adopted(folder, endpoint, model)) is not None
            ):
                found.append(parcel)
    except BaseException:  # whatever it was, no folder must stay locked by a session that does not begin
        for parcel in found:
            parcel.release()
        raise
    return found


def _adopted(folder: Path, endpoint: str, model: str) -> Parcel | None:
    """The batch in a folder; None where there is none to go on with."""
    state = None if folder.name.startswith(".") else _read_state(folder)
    if state is not None and (state.endpoint, state.model) != (endpoint, model):
        return None
    try:
        lock = Lock(folder / _LOCK, "a batch")
    except (InputError, FileNotFoundError):  # another backend has it, or is removing it
        return None
    if state is None or state.state == "prepared":
        hidden = folder if state is None else folder.rename(folder.with_name(f".{folder.name}.old"))
        drop_batch(hidden)
        lock.release()
        return None
    try:
        with (folder / _ROWS).open("rb") as rows:
            keys = [json.loads(line)["key"] for line in rows]
    except (OSError, ValueError, KeyError) as e:
        lock.release()
        raise _unreadable(folder / _ROWS, e) from e
    return Parcel(folder, state, keys, lock, left=set(keys))


def answered(parcel: Parcel) -> Iterator[Result]:
    """The lines of a downloaded batch that are of lasting use: answers, and failures that are the model's own."""
    for result in parcel.results():
        with suppress(AttemptError):
            if outcome(result.key, result.record, None).final:
                yield result


def hand_over(parcel: Parcel, journal: Journal, *, add: bool = True) -> bool:
    """Whether the journal has every answer of a downloaded batch; what it lacks is added to it, unless `add` is false.

    With `add` it is False only where a request was written by another version of guardkit and cannot be made again.

    Raises:
        Stopped, InputError: as `Journal.put`.
    """
    where = {r.key: (r.name, r.at) for r in answered(parcel)}
    keys = list(where)
    for i in range(0, len(keys), _GROUP):
        for key in journal.get(keys[i : i + _GROUP]):
            del where[key]
    if not where or not add:
        return not where
    group: list[tuple[Request, Completion]] = []
    added = 0
    for request in _made_again(parcel, where):
        group.append((request, outcome(request.key, parcel.result(*where[request.key]), parcel.state.seconds)))
        added += 1
        if len(group) == _GROUP:
            journal.put(group)
            group = []
    if group:
        journal.put(group)
    _log.info("%s: %d answers that no row asked for are kept in the journal", parcel.folder, added)
    return added == len(where)


@contextmanager
def on_disk(path: Path) -> Iterator[None]:
    """The system's errors as guardkit's.

    Raises:
        Stopped: it could not be written.
    """
    try:
        yield
    except OSError as e:
        raise Stopped(
            f"what is sent to the Batch API could not be written ({e.strerror})",
            where=str(path),
            hint="make room on the disk and run again: batches that were sent are picked up",
        ) from e


def _made_again(parcel: Parcel, keys: Container[str]) -> Iterator[Request]:
    """The requests of `keys`, from the two files that were written for them."""
    with (parcel.folder / _REQUESTS).open("rb") as bodies, (parcel.folder / _ROWS).open("rb") as rows:
        for key, body, row in zip(parcel.keys, bodies, rows, strict=True):
            if key not in keys:
                continue
            rest = json.loads(row)["request"]
            try:
                lists = {"stop": tuple(rest["stop"]), "words": tuple(rest.get("words", ())), "media": (), "form": ()}
                request = Request(messages=as_messages(json.loads(body)["body"]["messages"]), **rest | lists)
            except TypeError:  # fields of another version
                continue
            if request.key == key:
                yield request


def _read_state(folder: Path) -> State:
    path = folder / _STATE
    try:
        value = json.loads(path.read_bytes())
        version = value.pop("version")
        state = State(**value | {"spent": tuple(value["spent"])})
        if version != 1 or state.state not in STATES:
            raise ValueError(f"version {version}, state {state.state!r}")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as e:
        raise _unreadable(path, e) from e
    return state


def _unreadable(path: Path, error: Exception) -> InputError:
    return InputError(
        f"the record of a batch cannot be read ({type(error).__name__}: {error})",
        where=str(path),
        hint="move its folder away to give up the batch's answers",
    )


def _read_line(line: bytes) -> tuple[str, dict[str, Any]]:
    """Key and record; an empty key where it is not what it should be."""
    try:
        record = parsed(line)
    except (ValueError, RecursionError):
        return "", {}
    key = record.get("custom_id") if isinstance(record, dict) else None
    return (key, record) if isinstance(key, str) else ("", {})
