"""The files of media beside an export: copied to the places below it that its rows name, each once, held against its sha256.

They come from the dataset's folder, or from the bytes that the shards embed. One that cannot be had stops the export, with nothing written.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.common.errors import InputError, InputErrors
from toolkit.common.files import make_folder
from toolkit.common.mediafiles import read_whole
from toolkit.common.mediatypes import BadMedia
from toolkit.records import MEDIA
from toolkit.shards._embedded import MEDIA_BYTES

if TYPE_CHECKING:
    import polars as pl

EMBEDDED = "embedded"
"""In place of a folder: the files are those that the shards hold."""
NOTE = "The files of its media are beside the data, at the places that rows name: run the trainer in this folder."
_SHOWN = 20


class MediaCopies:
    """Copies files as blocks of rows go by.

    Args:
        source: the dataset's folder, or `EMBEDDED`.
        columns: of the shards.
        new: folder of the export.

    Raises:
        InputError: there is no such folder, or the shards embed nothing.
    """

    def __init__(self, source: Path | str, columns: Collection[str], new: Path) -> None:
        self._folder = None if source == EMBEDDED else Path(source)
        if self._folder is None and MEDIA_BYTES not in columns:
            hint = "name the dataset's folder: {--media FOLDER|media=FOLDER}"
            raise InputError("the shards hold references alone, and no files to put beside the export", where="{--media|media}", hint=hint)
        if self._folder is not None and not self._folder.is_dir():
            raise InputError("no such folder", where=str(source), hint=f"the dataset's folder, from which its files are named, or `{EMBEDDED}`")
        self._new = new
        self._known: dict[str, str] = {}
        self._faults: list[InputError] = []
        self.files: dict[str, dict[str, Any]] = {}
        """By place below the export: ``bytes`` and ``sha256``, as its record has them."""

    def take(self, rows: pl.DataFrame) -> None:
        """Copy what these rows refer to."""
        embedded = rows[MEDIA_BYTES].to_list() if self._folder is None else [None] * rows.height
        for media, held in zip(rows[MEDIA].to_list(), embedded, strict=True):
            for n, one in enumerate(media or ()):
                if self._known.get(one["uri"]) != one["sha256"]:
                    self._copy(one["uri"], one["sha256"], None if held is None else held[n]["bytes"])

    def _copy(self, uri: str, sha256: str, data: bytes | None) -> None:
        try:
            if self._known.setdefault(uri, sha256) != sha256:
                raise BadMedia("media_changed", "is another file in another row: an export has one file of a name")
            if self._folder is not None:
                data = read_whole(self._folder, uri, sha256)
            if data is None or hashlib.sha256(data).hexdigest() != sha256:
                raise BadMedia("media_changed", "is not the file of its row")
        except BadMedia as e:
            self._faults += [InputError(f"{uri} {e.detail}")] if len(self._faults) < _SHOWN else []
            return
        make_folder((self._new / uri).parent)
        (self._new / uri).write_bytes(data)
        self.files[uri] = {"bytes": len(data), "sha256": sha256, "media": True}

    def finish(self, others: Collection[str]) -> dict[str, dict[str, Any]]:
        """The files (InputErrors: those that could not be had, `_SHOWN` of them, or with the names of others of the export)."""
        taken = sorted(self.files.keys() & {*others})
        self._faults += [InputError(f"{name} is a file of the export itself, and one that a row names") for name in taken]
        if self._faults:
            raise InputErrors(self._faults)
        return self.files
