"""What new rows must be to extend shards, and which of them clash with rows that are there.

Of the version extended 8 bytes of each id are in memory, and of each input and group once 8 bytes with its labels or splits. Two texts are taken for
one where 64 bits of their hash agree, as with ids elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from toolkit.common.errors import InputError, InputErrors
from toolkit.common.parquet import batches, open_parquet
from toolkit.common.paths import Roots
from toolkit.guards import Guard, input_fingerprint, input_parts
from toolkit.records import Column, to_arrow
from toolkit.shards import BATCH, NONE, Licences, OldVersion, kind_of, old_version, resolve
from toolkit.shards.exporters import shard_folder

if TYPE_CHECKING:
    from toolkit.operators.base import Output, StepInput

INPUT = "extends"
"""Name of the input, and of the option."""
KNOWN_ID, OTHER_LABEL, OTHER_SPLIT = "known_id", "other_label", "other_split"
SHOWN = 3
"""Ids that a refusal names for each reason."""
WORDS = {
    KNOWN_ID: ("has the id of one that is there", "have the ids of rows that are there"),
    OTHER_LABEL: ("has an input that is there with another label", "have inputs that are there with another label"),
    OTHER_SPLIT: ("is of a group that is there in another split", "are of groups that are there in another split"),
}
HINTS = {
    KNOWN_ID: "clashing: leave_out leaves the rows out, counted",
    OTHER_LABEL: "look at the labels, or clashing: leave_out leaves the new rows out, counted",
    OTHER_SPLIT: "straddling: move puts the rows where their groups are",
}


def find_version(name: str, roots: Roots) -> Path:
    """The folder of shards that an option names.

    Raises:
        InputError: there is no such folder, or none of shards.
    """
    found = roots.first(name, Path.is_dir)
    if found is None:
        raise InputError("no such folder", where=name, hint="name a folder of shards, or of a step that made some")
    roots.saw(found)
    return shard_folder(found)


def taken_version(inputs: Mapping[str, StepInput], name: str, named: str | None, roots: Roots) -> OldVersion | None:
    """The version that an input or an option names; None where neither does."""
    if name in inputs:
        return old_version(inputs[name].artefact("shards"))
    return None if named is None else old_version(find_version(named, roots))


def check_inputs(operator: str, inputs: Mapping[str, object], name: str, named: str | None, *, must: bool = False) -> bool:
    """Whether a version is named, by the input `name` or by the option of that name.

    Raises:
        InputError: by both, by neither where one `must` be, or there is another input.
    """
    for other in inputs:
        if other not in ("rows", name):
            raise InputError(f"{operator} has no input called {other!r}", hint=f"from: {{rows: STEP, {name}: STEP}}")
    if name in inputs and named is not None:
        raise InputError(f"{operator}: {name!r} is named as an input and as an option", hint="leave one of them out")
    if must and name not in inputs and named is None:
        raise InputError(f"{operator} needs older shards", hint=f"with: {{{name}: FOLDER}}, or from: {{rows: STEP, {name}: STEP}}")
    return name in inputs or named is not None


def column_faults(old: OldVersion, columns: Sequence[Column]) -> list[str]:
    """How new rows' columns differ from those of a version."""
    here, there = {f.name: str(f.type) for f in to_arrow(tuple(columns))}, {c["name"]: c["type"] for c in old.manifest["columns"]}
    lacking, more = [n for n in there if n not in here], [n for n in here if n not in there]
    out = [f"the new rows lack its column{'s' * (len(lacking) > 1)} {', '.join(lacking)}"] if lacking else []
    out += [f"it lacks the new rows' column{'s' * (len(more) > 1)} {', '.join(more)}"] if more else []
    return out + [f"its column {n!r} holds {there[n]}, that of the new rows {here[n]}" for n in there if n in here and here[n] != there[n]]


def kind_faults(old: OldVersion, columns: Sequence[Column], kind: str | None) -> list[str]:
    """Whether a version is of another kind than the new rows."""
    where = str(old.folder)
    theirs = kind_of([c["name"] for c in old.manifest["columns"]], old.manifest.get("kind"), where)
    ours = kind_of([c.name for c in columns], kind, "the new rows")
    return [] if theirs.name == ours.name else [f"it holds {theirs.words} ({theirs.name}), the new rows are {ours.words} ({ours.name})"]


def guard_faults(old: OldVersion, guard: Guard) -> list[str]:
    """Whether a version is for another guard, or for the same one as it was before a change."""
    there, here = old.manifest.get("guard"), f"{guard.name} {guard.version}"
    if there is None:
        return ["its manifest names no guard"]
    if there != here:
        return [f"it is for the guard {there}, the new rows are for {here}"]
    if old.manifest.get("guard_input", input_fingerprint(guard)) != input_fingerprint(guard):
        return [f"the guard {here} reads another input (instruction or template) than when it was made"]
    if old.manifest.get("guard_fingerprint") != guard.fingerprint:
        return [f"the guard {here} has other tasks or another output than when it was made"]
    return []


def category_faults(old: OldVersion, names: Sequence[str], taxonomy: str) -> list[str]:
    """Whether rows of a version have categories that the taxonomy lacks."""
    used = {line["category"] for line in old.manifest["tables"].get("categories", [])}
    gone = sorted(used - {NONE, *names})
    shown = ", ".join(gone[:10]) + (f" and {len(gone) - 10} more" if len(gone) > 10 else "")
    return [f"its rows have categories that the taxonomy {taxonomy!r} lacks: {shown} (one that `extends` theirs has them)"] if gone else []


def licence_faults(old: OldVersion, target: str | None, table: Licences) -> list[str]:
    """Whether rows of a version may not go into a set under a licence."""
    rows = old.manifest["counts"]["licence"]
    refused = resolve(rows, target, table).refused if target is not None else ()
    return [f"{rows[word]:,} of its rows are under {word}, which may not go into {target}" for word in refused]


def check_fit(old: OldVersion, faults: Sequence[str], where: str) -> None:
    """Refuse (InputErrors) a version that the new rows do not fit."""
    if faults:
        where = f"{where}: {old.title!r}"
        raise InputErrors([InputError(fault, where=where, hint="make the new rows alike, or a set of their own") for fault in faults])


class Clashes:
    """Finds new rows that clash with those of a version.

    Args:
        old: the version, verified.
        guard: that its inputs are rendered for; tells the prompt, and so the group, of an input.
        leave_out, move: what is done about them; else they are counted for `stop`.
    """

    def __init__(self, old: OldVersion, guard: Guard, *, leave_out: bool, move: bool) -> None:
        self._old, self._leave_out, self._move = old, leave_out, move
        self._parts = input_parts(guard)
        names = [c["name"] for c in old.manifest["columns"]]
        self._labels = [n for n in names if n.startswith("label_") and not n.endswith("_source")]
        self._columns = [n for n in ("id", "prompt", "group", *self._labels) if n in names]
        self._nullable = {c["name"]: c["nullable"] for c in old.manifest["columns"]}
        self._found: dict[str, list[str]] = {}
        self._numbers: dict[str, int] = {}
        self._read()

    def _read(self) -> None:
        parts = []
        for name, about in self._old.manifest["files"].items():
            path = self._old.folder / name
            with open_parquet(path, sha256=about["sha256"]) as f:
                for batch in batches(f, path, BATCH, self._columns):
                    parts.append(self._keys(pl.DataFrame(pl.from_arrow(batch)), about["split"]))
        rows = pl.concat(parts)
        self._ids = rows["_id"]
        self._splits = rows.group_by("_group").agg(pl.col("_split").unique().sort().alias("_splits"))
        known = [pl.col(n).drop_nulls().unique().alias(f"_{n}") for n in self._labels]
        self._inputs = rows.group_by("_input").agg(known)

    def _keys(self, rows: pl.DataFrame, split: str | None = None) -> pl.DataFrame:
        """Hashes of the ids, inputs and groups of some rows, with their splits and labels."""
        text = rows["prompt"] if rows.schema["prompt"] == pl.String else rows["prompt"].list.last().struct.field("content")
        group = pl.col("text")
        if self._parts is not None:
            before, between, _ = self._parts
            prompt = pl.col("text").str.strip_prefix(before).str.split(between).list.first()
            group = pl.when(pl.col("text").str.starts_with(before)).then(prompt).otherwise("text")
        named = rows["group"] if "group" in rows.columns else pl.lit(None, pl.String)
        own = rows["split"].fill_null("train") if split is None and "split" in rows.columns else pl.lit(split or "train")
        whole = rows["prompt"] if rows.schema["prompt"] == pl.String else rows.select(pl.struct("prompt").struct.json_encode()).to_series()
        keys = pl.select(text=text, named=named, own=own, whole=whole, id=rows["id"])
        return keys.select(
            pl.col("id").hash().alias("_id"),
            pl.col("whole").hash().alias("_input"),
            pl.coalesce("named", group).hash().alias("_group"),
            pl.col("own").alias("_split"),
        ).with_columns(rows[n] for n in self._labels)

    def look(self, rows: pl.DataFrame, out: Output, step: str) -> pl.DataFrame:
        """The rows that are to be written, where they are to be written; what clashes is counted, and left out where that is asked for.

        Raises:
            InputError: a value is missing where the version has one in each row.
        """
        for name, may in self._nullable.items():
            if not may and (n := rows[name].null_count()):
                raise InputError(f"{n:,} of the new rows have no {name!r}, which all rows of {self._old.title!r} have", where=f"step {step}, {INPUT}")
        keys = self._keys(rows).join(self._splits, on="_group", how="left", maintain_order="left")
        keys = keys.join(self._inputs, on="_input", how="left", maintain_order="left")
        other = [pl.col(n).is_not_null() & (pl.col(f"_{n}").list.len() > 0) & ~pl.col(f"_{n}").list.contains(pl.col(n)) for n in self._labels]
        known = pl.col("_id").is_in(self._ids.implode())
        contradicts = pl.any_horizontal(pl.lit(False), *other).fill_null(False)
        elsewhere = pl.col("_splits").is_not_null() & ~pl.col("_splits").list.contains(pl.col("_split"))
        found = keys.select(
            pl.when(known).then(pl.lit(KNOWN_ID)).when(contradicts).then(pl.lit(OTHER_LABEL)).alias("why"),
            pl.when(elsewhere).then(pl.col("_splits").list.first()).alias("to"),
        )
        gone = found["why"].is_not_null()
        moved = found["to"].is_not_null() & ~gone
        for why in (KNOWN_ID, OTHER_LABEL):
            self._note(why, rows["id"].filter((found["why"] == why).fill_null(False)))
        self._note(OTHER_SPLIT, rows["id"].filter(moved))
        if gone.any() and self._leave_out:
            out.set_aside(rows.filter(gone), found["why"].filter(gone), f"the version extended is {self._old.title!r}")
            rows, found = rows.filter(~gone), found.filter(~gone)
        if self._move and moved.any():
            rows = rows.with_columns(pl.coalesce(found["to"], rows["split"]).alias("split"))
        return rows

    def _note(self, why: str, ids: pl.Series) -> None:
        if ids.len():
            self._numbers[why] = self._numbers.get(why, 0) + ids.len()
            shown = self._found.setdefault(why, [])
            shown += map(str, ids.head(SHOWN - len(shown)))

    def stop(self, step: str) -> dict[str, Any]:
        """Refuse the rows that clash, where nothing is to be done about them (InputErrors).

        Returns:
            For the manifest, ``left_out``: rows by reason; ``moved``: how many were put into another split.
        """
        left = [w for w in (KNOWN_ID, OTHER_LABEL) if w in self._numbers and not self._leave_out]
        left += [OTHER_SPLIT] if OTHER_SPLIT in self._numbers and not self._move else []
        faults = []
        for why in left:
            n, ids = self._numbers[why], self._found[why]
            message = f"{n:,} new {'row' if n == 1 else 'rows'} {WORDS[why][n > 1]}: {', '.join(ids)}{', …' if n > len(ids) else ''}"
            faults.append(InputError(message, where=f"step {step}, {INPUT}: {self._old.title!r}", hint=HINTS[why]))
        if faults:
            raise InputErrors(faults)
        left_out = {why: n for why, n in sorted(self._numbers.items()) if why != OTHER_SPLIT}
        return {"left_out": left_out, "moved": self._numbers.get(OTHER_SPLIT, 0)}
