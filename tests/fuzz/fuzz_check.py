"""The eight invariants, as they can be seen from outside: in the files of a world, and in what a command printed (``architecture``: what must always hold).

Each function gives the violations that it finds, in words.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import polars as pl
from fuzz_world import KEY, OWN, Result, World

CODES = {0, 1, 2, 3, 4}
PROVENANCE = {"human", "vote", "consensus", "inferred", "absent", "written", "constructed", "not_applicable", "to_infer"}
MEMORY = 900 << 20


def steps(world: World) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Finished steps: each folder with its manifest."""
    for path in sorted((world.folder / "outputs").glob("*/*/manifest.json")):
        found = json.loads(path.read_bytes())
        if path.parent.name[0] != "." and isinstance(found, dict) and {"step", "fingerprint", "counts"} <= found.keys():
            yield path.parent, found


def conserved(world: World) -> list[str]:
    """1: rows in = kept + rejected + merged + set aside, and the files hold as many."""
    out = []
    for folder, manifest in steps(world):
        for c in manifest["counts"]:
            gone = sum(c["rejected"].values()) + sum(c["set_aside"].values()) + c["merged"]
            kept = c.get("parents", c["kept"])
            if c["shape"] != "expand" and c["in"] != kept + gone:
                out.append(f"{folder.name}: {c['in']} rows in, {kept} kept and {gone} gone")
        rows = folder / "rows/rows.parquet"
        if rows.exists() and pl.scan_parquet(rows).select(pl.len()).collect().item() != manifest["rows"]:
            out.append(f"{folder.name}: not {manifest['rows']} rows in the file")
    return out


def whole(world: World) -> list[str]:
    """3: a folder that has a step's name and a manifest holds what the manifest says."""
    out = []
    for folder, manifest in steps(world):
        for name, sha in manifest["files"].items():
            path = folder / name
            if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != sha:
                out.append(f"{folder.relative_to(world.folder)}/{name} is not what its manifest says")
    return out


def answers(world: World) -> dict[str, bytes]:
    """What the journal holds: request's key to body, read past guardkit from a copy (with its log)."""
    with tempfile.TemporaryDirectory() as copy:
        for path in (world.folder / "outputs/journal").glob("journal.sqlite*"):
            shutil.copy(path, copy)
        db = sqlite3.connect(Path(copy) / "journal.sqlite")
        db.text_factory = bytes
        with closing(db), suppress(sqlite3.Error):  # damaged: guardkit's own reading is held against what it makes
            return {key.hex(): bytes(raw) for key, raw in db.execute("SELECT key, raw FROM answers WHERE form LIKE 'chat%'")}
    return {}


def provenance(world: World) -> list[str]:
    """6: labels and their provenance are those of the seeds, all the way to the shards."""
    seeds = world.folder / "outputs/r/seeds/rows/rows.parquet"
    shards = sorted((world.folder / "outputs/r").glob("shards/shards/data/*.parquet"))
    if not (seeds.exists() and shards):
        return []
    names = [n for n in pl.read_parquet_schema(shards[0]) if n.startswith("label_")]
    before = {row[0]: row[1:] for row in pl.read_parquet(seeds, columns=["id", *names]).select("id", *names).iter_rows()}
    out = []
    for row in pl.concat(pl.read_parquet(f, columns=["id", *names]) for f in shards).select("id", *names).iter_rows():
        if before.get(row[0]) != row[1:]:
            out.append(f"labels of {row[0]}: {row[1:]}, {before.get(row[0])} in the seeds")
        out += [f"provenance {v!r} of {row[0]}" for n, v in zip(names, row[1:], strict=True) if n.endswith("_source") and v not in PROVENANCE]
    return out


def own(world: World) -> list[str]:
    """A user's own files are as they were."""
    out = []
    for name, text in OWN.items():
        path = world.folder / name
        if not path.is_file() or path.read_text() != text:
            out.append(f"the user's file {name} is gone or changed")
    return out


def secret(world: World, result: Result) -> list[str]:
    """8: the key is nowhere; a terminal gets no sequence from the data."""
    out = [f"the key is in {p.relative_to(world.folder)}" for p in world.folder.rglob("*") if p.is_file() and KEY.encode() in p.read_bytes()]
    if KEY in result.all:
        out.append("the key was printed")
    if "\x1b[31m" in result.all:
        out.append("a terminal sequence of the data was printed")
    return out


def spoken(result: Result) -> list[str]:
    """7: it ended as a command may end, and with a reason."""
    if result.code == 128 + 9:
        return []
    out = [] if result.code in CODES else [f"exit code {result.code}"]
    if "Traceback" in result.err or "bug in guardkit" in result.err:
        out.append("a traceback")
    if result.code and not result.err.strip():
        out.append(f"exit code {result.code} without a word")
    return out + ([f"{result.memory >> 20} MB of memory"] if result.memory > MEMORY else [])


def leftovers(world: World) -> list[str]:
    """Nothing half-made stays after a run that came to its end."""
    mine = {str(Path(n).parts[i]) for n in OWN for i in range(len(Path(n).parts))}
    hidden = [p for pattern in (".*.new", ".*.old", ".*.work") for p in world.folder.rglob(pattern)]
    return [f"left behind: {p.relative_to(world.folder)}" for p in hidden if p.name not in mine]
