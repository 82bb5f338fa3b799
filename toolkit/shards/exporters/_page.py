"""The page of an exported folder, ``README.md``: the hub's metadata, what the export is, and the card of the shards.

The metadata are the card's own but for the files: they name every file of every split, so that `datasets.load_dataset` reads the folder,
local or on the hub, as what it is, whatever else is beside the data (Hub docs, "Manual configuration").
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from toolkit.common.manifests import read_bytes
from toolkit.common.yamlfile import dump_yaml, parse_yaml
from toolkit.shards._card import card


def card_of(folder: Path, manifest: dict[str, Any]) -> str:
    """The card of a shard folder: the one in it, else one made from its manifest (shards of an older guardkit have none)."""
    path = folder / "README.md"
    return read_bytes(path).decode() if path.is_file() else card(manifest)


MARK = "What follows is the card of the shards."
"""Where a page ends and the card begins."""


def parts_of(text: str) -> str:
    """The card of the shards that a page was made of.

    Raises:
        InputError: its metadata cannot be read.
    """
    head, _, body = text.removeprefix("---\n").partition("\n---\n")
    meta = dict(parse_yaml(head, "README.md").data or {})
    meta.pop("configs", None)
    return f"---\n{dump_yaml(meta)}---\n\n{body.partition(MARK)[2].lstrip()}"


def page(record: Mapping[str, Any], card_text: str) -> str:
    """An export's page.

    Args:
        record: of the export.
        card_text: of the shards.
    """
    head, body = "", card_text
    if card_text.startswith("---\n"):
        head, _, body = card_text.removeprefix("---\n").partition("\n---\n")
    data = [(f["config"], f["split"], path, f["rows"]) for path, f in sorted(record["files"].items()) if "rows" in f]
    configs: dict[str, list[dict[str, str]]] = {}
    for config, split, path, _ in data:
        configs.setdefault(config, []).append({"split": split, "path": path})
    meta = dict(parse_yaml(head, "the shards' card").data or {}) if head else {}
    meta["configs"] = [{"config_name": config, "data_files": files} for config, files in configs.items()]
    lines = [f"# Data for {record['to']}", ""]
    lines += [f"{record['rows']:,} rows in the format of {record['to']} (<{record['doc']}>), made by guardkit from verified shards."]
    lines += ["`export.json` names the shards and every file's sha256.", ""]
    lines += [f"- {_inert(f'{path} ({config}, {split})')}: {rows:,} rows" for config, split, path, rows in data]
    lines += ["", *(f"- {_inert(note)}" for note in record["notes"])]
    if record["left_out"]:
        lines += [f"- The format has no place for these columns of the shards: {_inert(', '.join(record['left_out']))}."]
    lines += ["- The rows of a split are in the order in which they are in the shards.", "", MARK, ""]
    return f"---\n{dump_yaml(meta)}---\n\n" + "\n".join(lines) + "\n" + body.lstrip("\n")


def _inert(text: str) -> str:
    """Text with names out of data, as one line that Markdown shows as it is."""
    return re.sub(r"([\\`*\[\]|<>])", r"\\\1", " ".join(text.split()))
