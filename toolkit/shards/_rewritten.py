"""Shards whose categories got other names: a new set, with the manifest of the one before under ``rewritten``. That one stays as it is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from toolkit.common.errors import InputError
from toolkit.shards._manifest import NAMED
from toolkit.shards._shards import ShardWriter
from toolkit.shards._versions import old_version, shard_rows

COLUMN = "categories"
_KEPT = ("title", "guard", "guard_fingerprint", "guard_input", "step", "licence", "made_from", *NAMED)
"""What the new manifest says as the old one does: the rows are the same ones."""


def rewrite_categories(old: Path, new: Path, changed: Mapping[str, str | None]) -> dict[str, Any]:
    """Write shards anew, with other categories in the column `categories`.

    Args:
        old: their folder, verified; nothing in it is touched.
        new: a fresh folder.
        changed: by category what it becomes; None takes it away. Where a row then has one twice, the first is kept.

    Returns:
        The new manifest. ``rewritten`` has `changed` as ``categories``, and the old manifest word for word with its sha256.

    Raises:
        InputError: shards that are not what their manifest says, have no such column, or something is in the new folder.
    """
    import polars as pl

    before = old_version(old)
    manifest = before.manifest
    if COLUMN not in (c["name"] for c in manifest["columns"]):
        raise InputError(f"these shards have no column `{COLUMN}`", where=str(old))
    became = pl.element().replace_strict(dict(changed), default=pl.element(), return_dtype=pl.String)
    column = pl.col(COLUMN).list.eval(became.drop_nulls()).list.unique(maintain_order=True)
    writer = ShardWriter(new, before.schema, max(f["rows"] for f in manifest["files"].values()))
    try:
        for split in sorted({f["split"] for f in manifest["files"].values()}):
            for rows in shard_rows(old, manifest, split=split):
                writer.write(rows.with_columns(column), split)
        about = {name: manifest[name] for name in _KEPT if name in manifest}
        if manifest.get("extends"):  # this is about the rows of the last version alone: the manifest below has all of it
            about.pop("made_from", None)
        again = {"categories": dict(changed), "manifest": manifest, "manifest_sha256": before.sha256}
        return writer.finish({**about, "rewritten": again})
    except BaseException:
        writer.discard()
        raise
