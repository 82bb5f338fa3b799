"""Decisions of one reviewer, durable at once: a file of JSON Lines to which lines are only ever added.

A line is one decision: `id`, `task`, `label` (that it is about), `decision` (a label of the task, ``drop`` or ``unsure``), `reviewer`, `note`, `when`
(UTC), `step` (whose queue it was in). ``"decision": "undo"`` takes the reviewer's decision about that label back; the line stays. A later decision
about the same label takes the place of an earlier one.

A line counts once it is on the disk, newline and all: it is written in one go, then fsync. What a kill leaves of a line that never was acknowledged
is cut off by the next writer, and no reader counts it. One writer at a time for each reviewer, by a lock that the kernel drops with its process.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from toolkit.common.errors import InputError
from toolkit.common.files import append_whole, fsync_path, make_folder, open_own
from toolkit.common.locks import Lock
from toolkit.common.reading import unreadable

UNDO = "undo"
NAME = r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}"
"""What a reviewer may be called: the name is a file's, too."""
SUFFIX = ".jsonl"


@dataclass(frozen=True)
class Decided:
    """A decision of one reviewer."""

    id: str
    task: str
    label: str | None
    decision: str
    reviewer: str
    note: str | None
    when: str
    step: str | None = None

    @property
    def key(self) -> tuple[str, str]:
        """Id and task."""
        return self.id, self.task


def check_name(name: str) -> str:
    """The name (InputError: it cannot be a reviewer's)."""
    if not re.fullmatch(NAME, name):
        raise InputError(f"{name!r} cannot name a reviewer", hint="letters, digits and ._@+-, 64 at most; give it with {--reviewer|reviewer}")
    return name


def read_log(path: Path) -> list[Decided]:
    """The decisions of a log that hold, oldest first: each label's last one, without those that were taken back.

    Raises:
        InputError: a line that is no decision, with its place.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> with DecisionLog(folder, "anna") as log:
        ...     log.add("a", "prompt", "harmful", "unharmful", note="a recipe for bread", step="noise")
        >>> [(d.id, d.decision, d.note) for d in read_log(folder / "anna.jsonl")]
        [('a', 'unharmful', 'a recipe for bread')]
    """
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as e:
        raise unreadable(e, path) from None
    found: dict[tuple[str, str], Decided] = {}
    for n, line in enumerate(raw.split(b"\n")[:-1], 1):  # what follows the last newline was never acknowledged
        one = _decided(line, f"{path}:{n}")
        found.pop(one.key, None)
        if one.decision != UNDO:
            found[one.key] = one
    return list(found.values())


def _decided(line: bytes, where: str) -> Decided:
    try:
        value = json.loads(line)
        texts = {n: value.get(n) for n in Decided.__dataclass_fields__}
    except (ValueError, AttributeError):
        raise InputError("no decision: not a JSON object", where=where, hint="a damaged line; take it out, and decide again") from None
    for name, text in texts.items():
        if not (isinstance(text, str) or (text is None and name in ("label", "note", "step"))):
            raise InputError(f"no decision: {name!r} is {text!r:.60}", where=where, hint="a damaged line; take it out, and decide again")
    return Decided(**texts)


class DecisionLog:
    """A reviewer's log, open for writing and held until it is closed.

    Args:
        folder: of the logs.
        reviewer: whose it is.

    Raises:
        InputError: no name for a reviewer, or one that differs from another's in nothing but case.
        Busy: somebody else is reviewing under the name.
    """

    def __init__(self, folder: Path, reviewer: str) -> None:
        self.reviewer, self.path = check_name(reviewer), folder / f"{reviewer}{SUFFIX}"
        make_folder(folder)
        if near := next((p.stem for p in folder.glob(f"*{SUFFIX}") if p.stem != reviewer and p.stem.casefold() == reviewer.casefold()), None):
            raise InputError(f"a reviewer is called {near!r}, and {reviewer!r} differs in case alone", where=str(folder), hint=f"go on as {near!r}")
        hint = "two people need two names: {--reviewer|reviewer}; else end the other one"
        self._lock = Lock(folder / f".{reviewer}.lock", f"the review by {reviewer!r}", hint)
        try:
            new = not self.path.exists()
            self._fd = open_own(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
            self._cut_torn_line()
            if new:
                fsync_path(folder)
        except BaseException:
            self._lock.release()
            raise

    def __enter__(self) -> DecisionLog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the log back; harmless when called twice."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            self._lock.release()

    def _cut_torn_line(self) -> None:
        size = os.fstat(self._fd).st_size
        at = size
        while at and os.pread(self._fd, 1, at - 1) != b"\n":
            at -= 1
        if at < size:
            os.ftruncate(self._fd, at)
            os.fsync(self._fd)

    def add(
        self,
        row: str,
        task: str,
        label: str | None,
        decision: str,
        *,
        note: str | None = None,
        step: str | None = None,
        when: str | None = None,
    ) -> None:
        """Write a decision about a row's label; when this returns it is on the disk. `when`: default now.

        Raises:
            OSError: it could not be written, and nothing of it is there.
        """
        now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        value = asdict(Decided(row, task, label, decision, self.reviewer, note, when or now, step))
        append_whole(self._fd, json.dumps({k: v for k, v in value.items() if v is not None}, ensure_ascii=True).encode() + b"\n")
