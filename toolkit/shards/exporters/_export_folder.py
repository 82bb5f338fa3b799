"""Export: a verified shard folder in, a folder in another trainer's format out.

The shards are checked against their manifest first. Their rows are read in blocks of a fixed size and turned by polars expressions, so memory
does not grow with them (a block and a row group for each open file). The folder appears at once, with ``export.json`` (its own manifest) and
``README.md`` (the hub's metadata and the card of the shards), or not at all. Equal shards give equal bytes. Every row is in every data
set of the export: it is counted, and a difference is an error. Nothing is dropped without a word: what a format has no place for stands
in the record, and pairs with weights are refused until the caller chooses to repeat or to drop.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit._version import __version__
from toolkit.common.errors import FULL, InputError, Stopped, short_path
from toolkit.common.files import make_folder, sha256_file
from toolkit.common.folders import new_folder
from toolkit.common.manifests import read_bytes
from toolkit.common.parquet import batches, open_parquet
from toolkit.shards._card import card
from toolkit.shards._check_folder import verify
from toolkit.shards._manifest import MANIFEST
from toolkit.shards._versions import added_rows
from toolkit.shards.exporters._check import SHARDS, verify_export
from toolkit.shards.exporters._copied_media import NOTE, MediaCopies
from toolkit.shards.exporters._exporter_registry import EXPORTERS
from toolkit.shards.exporters._output_files import Sink
from toolkit.shards.exporters._page import page
from toolkit.shards.exporters._pair_weights import COPIES, Repeater, Weights, check_weights
from toolkit.shards.exporters._record import ABOUT, EXPORT, FORMAT, RECORD
from toolkit.shards.exporters._references import check_kinds
from toolkit.shards.exporters._reward_files import RewardFormat
from toolkit.shards.exporters._shapes import Format, ShardSet, checked, left_out, shard_set

if TYPE_CHECKING:
    import polars as pl

BLOCK = 1024
"""Rows read at a time."""
MOST = 10_000
"""Copies of one pair, at most: who asks for more has mistaken what a weight is."""
COUNTED = ("source", "licence", "teacher")
"""Columns whose values the record counts."""
_REFERENCES = "Media are references: places below the dataset's folder, which is not part of this export."


def export(
    folder: Path,
    to: str,
    output: Path,
    *,
    split: str | None = None,
    weights: Weights | None = None,
    copies: int = COPIES,
    guard: str | None = None,
    formula: str | None = None,
    media: Path | str | None = None,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Write the rows of a shard folder in another trainer's format.

    Args:
        folder: of shards; a step's folder that holds one will do.
        to: a name of `EXPORTERS`.
        output: the new folder; an earlier export there is replaced as long as nobody changed it, anything else is not.
        split: the one split to export; all by default.
        weights: what to do with pairs' weights: ``repeat`` (see `copies`) or ``drop``. Default: keep them where the format has a place, and
            refuse where it has none and a weight is not 1.
        copies: with ``repeat``, copies of a pair of weight 1.
        guard: name or file of the guard, for a format that must know it; by default the manifest's.
        formula: name or file of the formula of rewards, for a format of online reinforcement learning; see `toolkit.rewards.formula_of`.
        media: the dataset's folder, from which the files that rows refer to are copied beside the export, or `EMBEDDED` for those that the shards
            hold; None: references alone.
        overwrite: replace an earlier export whose files were changed, too.
        progress: called with rows done and rows in all.

    Returns:
        The export's record; see `read_export`.

    Raises:
        InputError: no such format, split or guard, a format that has no place for these rows, weights that nobody has decided on, a folder
            that is in the way; InputErrors: shards that are not what their manifest says; Stopped: the disk is full.
    """
    exporter = EXPORTERS.get(to)
    folder = shard_folder(folder)
    manifest = verify(folder)
    shards = shard_set(folder, manifest, split, weights)
    form = _opened(exporter, shards, guard, formula)
    if shards.has_media and (not form.media or shards.form == "text"):
        what = "media" if not form.media else "media beside plain text"
        raise InputError(f"the format {form.name!r} has no place for {what}", where=str(folder), hint=_with_place())
    repeater = _repeater(shards, form, weights, copies)
    _apart(output, folder)
    with _room(output), new_folder(output, EXPORT, overwrite=overwrite) as new:
        copies_of = _copies_of(media, shards, new)
        record = _record(form, repeater, weights, *_write(new, form, repeater, progress, copies_of), copied=copies_of is not None)
        beside = {**form.beside(), SHARDS: read_bytes(folder / MANIFEST).decode()}
        for path, text in {**beside, "README.md": page(record, card(manifest))}.items():
            make_folder((new / path).parent)
            (new / path).write_text(text, encoding="utf-8")
            record["files"][path] = {"bytes": len(text.encode()), "sha256": sha256_file(new / path)}
        if copies_of is not None:
            record["files"] |= copies_of.finish({*record["files"], RECORD})
        (new / RECORD).write_text(json.dumps(record, indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
    return verify_export(output)


def _copies_of(media: Path | str | None, shards: ShardSet, new: Path) -> MediaCopies | None:
    if media is None:
        return None
    if not shards.has_media:
        raise InputError("the rows have no media", where="{--media|media}", hint="leave it out")
    return MediaCopies(media, [c["name"] for c in shards.manifest["columns"]], new)


def _opened(exporter: type[Format], shards: ShardSet, guard: str | None, formula: str | None) -> Format:
    if issubclass(exporter, RewardFormat):
        return exporter.opened(shards, guard, formula)
    if formula is not None:
        with_reward = ", ".join(name for name in EXPORTERS.names() if issubclass(EXPORTERS.get(name), RewardFormat))
        what = f"the format {exporter.name!r} has no place for a formula of rewards"
        raise InputError(what, where="{--formula|formula}", hint=f"formats that have one: {with_reward}")
    return exporter.opened(shards, guard)


def _record(
    form: Format,
    repeater: Repeater | None,
    weights: Weights | None,
    files: dict[str, dict[str, Any]],
    counts: dict[str, Counter[str]],
    *,
    copied: bool = False,
) -> dict[str, Any]:
    """What ``export.json`` says; the page and what else is beside the data comes to `files` later."""
    shards, manifest = form.shards, form.shards.manifest
    return {
        "format": FORMAT,
        "made_by": "guardkit",
        "version": __version__,
        "to": form.name,
        "doc": form.doc,
        "of": {"manifest_sha256": sha256_file(shards.folder / MANIFEST), **{k: manifest[k] for k in ABOUT if k in manifest}},
        "licence": manifest.get("licence"),
        "rows": sum(counts["split"].values()),
        "weights": {"how": weights or ("kept" if "weight" in shards.columns else "none"), **(repeater.figures() if repeater else {})},
        "left_out": left_out(shards, form, weights),
        "notes": [
            *form.notes(),
            *_how_notes(shards, repeater, copied=copied),
            *_gone_note(form),
            *_template_note(form, counts["teacher"]),
            *_version_note(manifest),
        ],
        "counts": {name: dict(sorted(count.items())) for name, count in counts.items() if count},
        "files": files,
    }


@contextmanager
def _room(output: Path) -> Iterator[None]:
    try:
        yield
    except OSError as e:
        if e.errno in FULL:
            raise Stopped(
                "the disk is full; nothing was written", where=str(output), hint="make room, or give another folder with {--output|output}"
            ) from e
        raise InputError(f"the folder cannot be written: {e.strerror or e}", where=str(output)) from e


def shard_folder(folder: Path) -> Path:
    """The folder itself, or ``shards`` in it where that is one: a step's folder is as good as its shards.

    Raises:
        InputError: a run's folder, of which no one step is meant.
    """
    if (folder / "shards" / MANIFEST).is_file():
        return folder / "shards"
    steps = sorted(path.parent.parent.name for path in folder.glob(f"*/shards/{MANIFEST}"))
    if steps:
        hint = f"name the one that is meant: {', '.join(short_path(folder / name) for name in steps)}"
        raise InputError("no shards, but steps that made some are in it", where=str(folder), hint=hint)
    return folder


def _apart(output: Path, folder: Path) -> None:
    """Refuse an output inside the shards, or around them."""
    mine, theirs = output.resolve(), folder.resolve()
    if mine == theirs or mine in theirs.parents or theirs in mine.parents:
        raise InputError("the output and the shards may not be in each other", where=str(output), hint="give another folder with {--output|output}")


def _files(shards: ShardSet, split: str) -> list[Path]:
    return [shards.folder / name for name, about in sorted(shards.manifest["files"].items()) if about["split"] == split]


def _repeater(shards: ShardSet, form: Format, weights: Weights | None, copies: int) -> Repeater | None:
    if "weight" not in {c["name"] for c in shards.manifest["columns"]}:
        if weights:
            raise InputError("these shards have no weights", where=str(shards.folder), hint="leave {--weights|weights} out")
        return None
    if copies < 1:
        raise InputError(f"copies must be at least 1, not {copies}", where="{--copies|copies}")
    least, greatest = check_weights([f for split in shards.splits for f in _files(shards, split)], shards.folder)
    if weights is None and not form.weighs and (least, greatest) != (1.0, 1.0):
        raise InputError(
            f"the pairs have weights from {least:g} to {greatest:g}, and the format {form.name!r} has no place for them",
            where=str(shards.folder),
            hint=f"{{--weights repeat|weights='repeat'}} says them by repetition ({copies} copies of a pair of weight 1), "
            "{--weights drop|weights='drop'} leaves them out",
        )
    if weights == "repeat" and greatest * copies > MOST:
        raise InputError(
            f"a pair of weight {greatest:g} would be written more than {MOST:,} times",
            where=str(shards.folder),
            hint="fewer {--copies|copies}, or smaller weights",
        )
    return Repeater(copies) if weights == "repeat" else None


def _with_place() -> str:
    names = [name for name in EXPORTERS.names() if EXPORTERS.get(name).media]
    return f"formats that have one beside chat messages: {', '.join(names)}"


def _how_notes(shards: ShardSet, repeater: Repeater | None, *, copied: bool) -> list[str]:
    return [*([] if repeater is None else [repeater.note()]), *([NOTE if copied else _REFERENCES] if shards.has_media else [])]


def _gone_note(form: Format) -> list[str]:
    gone = [split for split in form.shards.splits if not form.written[split]]
    return [f"Every pair of {' and '.join(gone)} has the weight 0: nothing of it was written."] if gone else []


def _template_note(form: Format, teachers: Counter[str]) -> list[str]:
    n = teachers["template"] if {*form.shards.of.answers} & {*form.carried()} else 0
    text = f"The reasoning of {n:,} rows is the template teacher's: it is for trying the tool, not for training a guard that is to be used."
    return [text] if n else []


def _version_note(manifest: Mapping[str, Any]) -> list[str]:
    if not manifest.get("extends"):
        return []
    added = f"{added_rows(manifest):,} of the {manifest['rows']:,} rows of the shards came with their last version, and `made_from` is of these"
    return [f"{added}; the versions before are under `extends` in {SHARDS}."]


def _blocks(shards: ShardSet, split: str) -> Iterator[pl.DataFrame]:
    """The rows of a split, `BLOCK` at a time."""
    import polars as pl
    import pyarrow as pa

    for file in _files(shards, split):
        about = shards.manifest["files"][file.relative_to(shards.folder).as_posix()]
        with open_parquet(file, sha256=about["sha256"]) as parquet:
            for batch in batches(parquet, file, BLOCK):
                frame = pl.from_arrow(pa.Table.from_batches([batch]))
                assert isinstance(frame, pl.DataFrame)  # noqa: S101  a table is one
                yield frame


def _write(
    new: Path, form: Format, repeater: Repeater | None, progress: Callable[[int, int], None] | None, copies_of: MediaCopies | None = None
) -> tuple[dict[str, dict[str, Any]], dict[str, Counter[str]]]:
    """Every block through the format into its files; the files, and what was counted."""
    shards, total = form.shards, sum(form.shards.splits.values())
    counts: dict[str, Counter[str]] = {name: Counter() for name in (*COUNTED, "split")}
    with ExitStack() as stack:
        sinks: dict[str, tuple[Sink, str, str]] = {}
        for split in shards.splits:
            start = 0
            for block in _blocks(shards, split):
                rows = checked(block, shards)
                if shards.has_media:
                    check_kinds(rows, shards, form.name, form.media)
                if copies_of is not None:
                    copies_of.take(rows)
                _count(counts, rows, split)
                if repeater:
                    rows = repeater.repeated(rows)
                for made in form.convert(rows.select(shards.columns), split, start) if rows.height else []:
                    if made.path not in sinks:
                        sink = stack.enter_context(closing(Sink(new / made.path)))
                        sinks[made.path] = (sink, made.config, made.split)
                    sinks[made.path][0].write(made.rows, made.lines)
                start += rows.height
                form.written[split] += rows.height
                if progress:
                    progress(sum(counts["split"].values()), total)
        files = {}
        for path, (sink, config, split) in sorted(sinks.items()):
            size, sha = sink.finish()
            files[path] = {"rows": sink.rows, "bytes": size, "sha256": sha, "config": config, "split": split}
    _conserved(form, files, repeater.rows if repeater else total)
    return files, counts


def _count(counts: dict[str, Counter[str]], rows: pl.DataFrame, split: str) -> None:
    counts["split"][split] += rows.height
    for name in COUNTED:
        if name in rows.columns:
            counts[name].update(dict(rows[name].fill_null("unknown").value_counts().iter_rows()))


def _conserved(form: Format, files: dict[str, dict[str, Any]], expected: int) -> None:
    """Every data set of the export holds every row.

    Raises:
        InputError: no row is left; AssertionError: rows went lost, which is a bug.
    """
    if not expected:
        raise InputError("no rows are left to write", where=str(form.shards.folder), hint="every pair has the weight 0")
    for config in form.configs():
        written = sum(about["rows"] for about in files.values() if about["config"] == config)
        if written != expected:
            raise AssertionError(f"{written} rows written to {config} of {form.name}, {expected} expected")
