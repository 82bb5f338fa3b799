"""Whether a folder of data is what its own manifest says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from toolkit.common.errors import InputError, short_path
from toolkit.common.paths import at_door
from toolkit.pipeline import is_run, verify_run
from toolkit.shards import verify as verify_shards
from toolkit.shards.exporters import RECORD, shard_folder, verify_export

MANIFEST = "manifest.json"


def verify(folder: str | Path) -> dict[str, Any]:
    """Check shards, or an export of some, against the manifest in their folder: every file there, nothing else, sizes and sha256.

    Args:
        folder: of shards, a step's folder that holds one, an export's, or a run's (each of its steps against its own manifest).

    Returns:
        ``folder``; ``kind``: ``shards``, ``export`` or ``run``; ``to``: the export's format, None for shards; ``rows`` (of an export: of its
        shards); ``files``: by path what the manifest says of each.

    Raises:
        InputError: the folder is neither, or its manifest cannot be read; InputErrors: all that is wrong with its files.
    """
    place = at_door(folder)
    if is_run(place):
        return {"folder": short_path(place), "to": None, **verify_run(place)}
    where = shard_folder(place)
    exported = (where / RECORD).is_file()
    if not exported and not (where / MANIFEST).is_file():
        message = f"no {MANIFEST} (shards) and no {RECORD} (an export): neither of the two, or one that was never finished"
        raise InputError(message, where=str(where), hint="name the folder that holds that file")
    if exported and not (where / MANIFEST).is_file():
        record = verify_export(where)
        return {"folder": short_path(where), "kind": "export", "to": record["to"], "rows": record["rows"], "files": record["files"]}
    manifest = verify_shards(where)
    return {"folder": short_path(where), "kind": "shards", "to": None, "rows": manifest["rows"], "files": manifest["files"]}
