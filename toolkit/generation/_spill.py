"""Completions that wait behind a slow row, in a temporary file instead of memory.

Contract: `Spill.get` gives back what `Spill.put` was given, once; once all are taken the file starts anew. The file has no name
where the system allows that: it is gone with the process, kill -9 included. It holds nothing that the journal does not hold, but failures.
"""

from __future__ import annotations

import pickle
import tempfile
from pathlib import Path

from toolkit.common.errors import Stopped
from toolkit.generation._request import Completion


class Spill:
    """A temporary file of completions.

    Args:
        folder: where it is; None for the system's temporary folder.
    """

    def __init__(self, folder: Path | None) -> None:
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  closed by `close`
        self._end = self._left = 0

    def put(self, completion: Completion) -> int:
        """Where it is.

        Raises:
            Stopped: no space left.
        """
        at = self._end
        try:
            self._file.seek(at)
            pickle.dump(completion, self._file, pickle.HIGHEST_PROTOCOL)
            self._file.flush()
        except OSError as e:
            raise Stopped(f"a temporary file could not be written ({e.strerror})", hint="make room on the disk and run again") from e
        self._end = self._file.tell()
        self._left += 1
        return at

    def get(self, at: int) -> Completion:
        """The completion that is there."""
        self._file.seek(at)
        out: Completion = pickle.load(self._file)  # noqa: S301  written by this process into a file without a name
        self._left -= 1
        if not self._left:
            self._file.seek(0)
            self._file.truncate()
            self._end = 0
        return out

    def close(self) -> None:
        """Drop the file."""
        self._file.close()


def weight(completion: Completion) -> int:
    """How many completions of 4,096 letters one takes the memory of."""
    return 1 + (len(completion.text or "") + len(completion.reasoning or "") + len(completion.logprobs or b"")) // 4096
