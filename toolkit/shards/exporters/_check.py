"""What an export's record says, held against what its files hold and against the shards' manifest, which is in it as ``shards.json``.

An export of an earlier guardkit has no ``shards.json``: what its record says of the shards is then on the record's own word.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from toolkit.common.errors import InputError, InputErrors
from toolkit.common.files import sha256_file
from toolkit.common.folders import files_below
from toolkit.common.manifests import read_bytes
from toolkit.common.parquet import batches, first_line, open_parquet
from toolkit.common.reading import sha256_once
from toolkit.shards._card import card
from toolkit.shards._check_folder import false_lineage, false_papers, unproven
from toolkit.shards._manifest import parse_manifest
from toolkit.shards._sign import SUFFIX, signature_of
from toolkit.shards.exporters._exporter_registry import EXPORTERS
from toolkit.shards.exporters._page import MARK, page, parts_of
from toolkit.shards.exporters._record import ABOUT, RECORD, read_export
from toolkit.shards.exporters._shapes import left_out, shard_set

if TYPE_CHECKING:
    import polars as pl

SHARDS = "shards.json"
"""The shards' manifest in an export."""
_COLUMNS = ("source", "licence", "teacher")

UNPROVEN = {
    "rows": "whether the rows are those of the shards, in these splits: export the shards again, and the bytes are the same",
    "version": "which guardkit wrote it",
    "notes": "what it says in words",
    "weights": "what became of pairs' weights",
    "counts": "rows by source, licence and teacher, as far as the format says nothing of them",
    "shards": "all that it says of the shards: their manifest is not in it (an earlier guardkit's export)",
    "media": "whether the files that it marks as media are those that its rows name",
    "others": "whatever the record says beside its known keys",
}
"""What a record says that its folder cannot prove."""
_KNOWN = frozenset(("format", "made_by", "version", "to", "doc", "of", "licence", "rows", "weights", "left_out", "notes", "counts", "files"))


def verify_export(folder: Path, *, signature: bool = True) -> dict[str, Any]:
    """Check an exported folder against its record: every file there, nothing else, sizes and sha256; then its rows, what it says of the shards, its
    page, and a signature, where there is one.

    Args:
        folder: of an export.
        signature: whether one is checked; False is for whoever is about to replace it.

    Returns:
        The record.

    Raises:
        InputError: no record that can be read; InputErrors: all that is wrong, each with its file.
    """
    record = read_export(folder)
    there = files_below(folder)
    extra = sorted(there - set(record["files"]) - {RECORD, RECORD + SUFFIX})
    errors = [InputError("not in the export's record", where=str(folder / name), hint="move it elsewhere") for name in extra]
    for name, about in record["files"].items():
        path = folder / name
        if name not in there:
            errors.append(InputError("missing", where=str(path), hint="export again"))
        elif path.is_symlink() or path.stat().st_size != about["bytes"] or sha256_once(path, path) != about["sha256"]:
            errors.append(InputError("its bytes are not those of the record (sha256)", where=str(path), hint="export again"))
    if not errors:
        errors = [InputError(words, where=str(folder / RECORD), hint="export again") for words in contradictions(folder, record)]
    if errors:
        raise InputErrors(errors)
    if signature:
        signature_of(folder / RECORD)
    return record


def unproven_of_export(record: Mapping[str, Any], folder: Path) -> dict[str, str]:
    """What an export says and its folder cannot prove, by name; ``of.…`` what the shards' manifest cannot."""
    whole = SHARDS in record["files"]
    here = {
        "shards": not whole,
        "others": bool(set(record) - _KNOWN),
        "media": any(f.get("media") for f in record["files"].values()),
        "weights": record["weights"].get("how") not in ("none", "kept"),
    }
    out = {name: words for name, words in UNPROVEN.items() if here.get(name, True)}
    return out | ({f"of.{name}": words for name, words in unproven(parse_manifest(folder / SHARDS)).items() if name != "rows"} if whole else {})


def contradictions(folder: Path, record: Mapping[str, Any]) -> list[str]:
    """What the record says that is not so; its files are as it says (sha256)."""
    try:
        exporter = EXPORTERS.get(record["to"])
    except InputError as e:  # of another package, which is not installed here
        return [f"whether it is what it says only its exporter can tell: {e.message}"]
    if record.get("doc") != exporter.doc:
        return [f"no format called {record['to']!r} that {record.get('doc')} describes"]
    try:
        out = [*_false_rows(folder, record), *_false_sums(record)]
    except InputError as e:
        return [e.message]
    if SHARDS in record["files"]:
        out += _false_shards(folder, record)
    return out or _false_page(folder, record)


# The rows -------------------------------------------------------------------------------------------------------------


def _false_rows(folder: Path, record: Mapping[str, Any]) -> Iterator[str]:
    """Rows of the files, and what they say of themselves, against the record."""
    configs: dict[str, dict[str, Counter[str]]] = {}
    for name, about in record["files"].items():
        if "rows" not in about:
            continue
        found = configs.setdefault(str(about.get("config")), {"split": Counter()})
        rows = 0
        for block in _counts_of_rows(folder / name, about):
            rows += block.pop("rows").total()
            for column, counts in block.items():
                found.setdefault(column, Counter()).update(counts)
        found["split"][str(about.get("split"))] += rows
        if rows != about["rows"]:
            yield f"{name}: it has {rows:,} rows, the record says {about['rows']:,}"
    sizes = {found["split"].total() for found in configs.values()}
    if len(sizes) != 1:
        yield "files: its data sets have not the same number of rows"
    repeated = record["weights"].get("how") == "repeat"
    for config, found in configs.items():
        for column, counts in found.items():
            theirs = record["counts"].get(column, {})
            if column == "split":
                theirs = EXPORTERS.get(record["to"]).splits(record["counts"], record["rows"])
            if (not set(counts) <= set(theirs)) if repeated else counts != theirs:
                yield f"counts: {column} is not what the rows of {config!r} say"
            if column in record["left_out"]:
                yield f"left_out: {column} is there"
    if repeated and any(not n > 0 for n in sizes):
        yield "files: no rows"


def _counts_of_rows(path: Path, about: Mapping[str, Any]) -> Iterator[dict[str, Counter[str]]]:
    """For each block of a file its rows, and by column what they say of source, licence and teacher."""
    if path.suffix == ".jsonl":
        yield _of_lines(path)
        return
    import polars as pl
    import pyarrow as pa

    try:
        with open_parquet(path, sha256=about["sha256"]) as f:
            names = [n for n in f.schema_arrow.names if n in _COLUMNS or n == "extra_info"]
            if not names:
                yield {"rows": Counter({"": f.metadata.num_rows})}
            for batch in batches(f, path, 8192, names) if names else ():
                batch.validate(full=True)
                rows = pl.DataFrame(pl.from_arrow(pa.Table.from_batches([batch])))
                yield {"rows": Counter({"": rows.height}), **_of_columns(rows.unnest("extra_info") if "extra_info" in names else rows)}
    except (pa.ArrowException, InputError, pl.exceptions.PolarsError) as e:
        raise InputError(f"{path.name}: its rows cannot be read: {e.message if isinstance(e, InputError) else first_line(e)}") from None


def _of_columns(rows: pl.DataFrame) -> dict[str, Counter[str]]:
    import polars as pl

    return {n: Counter(dict(rows[n].cast(pl.String).fill_null("unknown").value_counts().iter_rows())) for n in _COLUMNS if n in rows.columns}


def _of_lines(path: Path) -> dict[str, Counter[str]]:
    out: dict[str, Counter[str]] = {"rows": Counter()}
    with path.open("rb") as f:
        for number, line in enumerate(f, 1):
            try:
                row = orjson.loads(line)
            except orjson.JSONDecodeError:
                row = None
            if not isinstance(row, dict):
                raise InputError(f"{path.name}: line {number} is no row")
            out["rows"][""] += 1
            for name in _COLUMNS:
                if name in row:
                    out.setdefault(name, Counter())["unknown" if row[name] is None else str(row[name])] += 1
    return out


def _false_sums(record: Mapping[str, Any]) -> list[str]:
    return [f"counts: {name} does not add up to {record['rows']:,} rows" for name, n in record["counts"].items() if sum(n.values()) != record["rows"]]


# The shards' manifest -------------------------------------------------------------------------------------------------


def _false_shards(folder: Path, record: Mapping[str, Any]) -> list[str]:
    """What the record says of the shards, against their manifest; and what of that manifest cannot be."""
    path = folder / SHARDS
    manifest = parse_manifest(path)
    wanted = {"manifest_sha256": sha256_file(path), **{k: manifest[k] for k in ABOUT if k in manifest}}
    out = [f"of: {name} is not what {SHARDS} says" for name in sorted({*record["of"], *wanted}) if record["of"].get(name) != wanted.get(name)]
    if record["licence"] != manifest.get("licence"):
        out.append(f"licence: it is not what {SHARDS} says")
    counts = manifest["counts"]
    splits = record["counts"].get("split", {})
    every = set(splits) == set(counts.get("split", {}))
    for name, here in record["counts"].items():
        theirs = counts.get(name, here)
        if (here != theirs) if every else any(n > theirs.get(word, 0) for word, n in here.items()):
            out.append(f"counts: {name} is not what {SHARDS} says")
    have = {c["name"] for c in manifest["columns"]}
    if set(record["counts"]) != {"split", *(n for n in _COLUMNS if n in have)}:
        out.append("counts: they are not those of the shards' columns")
    if len(splits) != 1 and not every:
        out.append("counts: neither one split nor all of the shards'")
    how = record["weights"].get("how")
    weighed = "weight" in have
    if how not in (("kept", "repeat", "drop") if weighed else ("none",)):
        out.append(f"weights: {how!r}, of shards {'with' if weighed else 'without'} weights")
    if how != "repeat" and record["weights"] != {"how": how}:
        out.append("weights: it says more than is so")
    out += false_lineage(manifest) + [words for words, _ in (false_papers(manifest, counts) if "licence" in manifest else [])]
    if out:
        return out
    try:
        shards = shard_set(folder, manifest, None if every else next(iter(splits)), how if how in ("repeat", "drop") else None)
    except InputError as e:
        return [e.message]
    exporter = EXPORTERS.get(record["to"])
    form = exporter.__new__(exporter)  # its constructor may ask for the guard
    form.shards, form.written = shards, Counter()
    for about in record["files"].values():
        form.written[str(about.get("split"))] += about.get("rows", 0)
    try:
        form.again(folder)
    except InputError as e:
        return [e.message]
    if record["left_out"] != left_out(shards, form, how):
        out.append("left_out: it is not what the format has no place for")
    return out + _false_beside(folder, record, form.beside())


def _false_beside(folder: Path, record: Mapping[str, Any], beside: Mapping[str, str]) -> list[str]:
    """Files that hold no rows and are not what the format writes beside them."""
    there = {name for name, about in record["files"].items() if "rows" not in about and not about.get("media")} - {SHARDS, "README.md"}
    other = there ^ set(beside) | {name for name in there & set(beside) if read_bytes(folder / name) != beside[name].encode()}
    return [f"{name}: it is not what the format writes beside the rows" for name in sorted(other)]


def _false_page(folder: Path, record: Mapping[str, Any]) -> list[str]:
    """Whether README.md is not the page that record and shards give; without the shards' manifest, whether its own part is not."""
    there = read_bytes(folder / "README.md").decode(errors="backslashreplace") if "README.md" in record["files"] else ""
    if SHARDS in record["files"]:
        text = card(parse_manifest(folder / SHARDS))
    elif MARK not in there:
        return ["README.md: it is not the page of this export"]
    else:
        try:
            text = parts_of(there)
        except InputError:
            return ["README.md: its metadata cannot be read"]
    if there == page(record, text):
        return []
    wanted = page(record, text).split("\n")
    at = next((i for i, (a, b) in enumerate(zip(there.split("\n"), wanted, strict=False)) if a != b), len(wanted))
    return [f"README.md: it is not the page of this export, from line {at + 1} on"]
