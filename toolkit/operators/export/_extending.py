"""What new rows must be to extend shards, and which of them clash with rows that are there.

In memory are of the version extended a hash of each id, and of each input and group a hash with its labels or splits. Two texts are taken for one
where 64 bits of their hash agree, as with ids elsewhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from toolkit.common.errors import InputError, InputErrors
from toolkit.guards import Guard, input_parts
from toolkit.records import Column
from toolkit.shards import NONE, SEED_MODELS, Licences, OldVersion, kind_of, resolve, shard_rows

if TYPE_CHECKING:
    from toolkit.operators.base import Output

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


def kind_faults(old: OldVersion, columns: Sequence[Column], kind: str | None) -> list[str]:
    """Whether a version is of another kind than the new rows."""
    where = str(old.folder)
    theirs = kind_of([c["name"] for c in old.manifest["columns"]], old.manifest.get("kind"), where)
    ours = kind_of([c.name for c in columns], kind, "the new rows")
    return [] if theirs.name == ours.name else [f"it holds {theirs.words} ({theirs.name}), the new rows are {ours.words} ({ours.name})"]


def may_lack(old: OldVersion, columns: Sequence[Column]) -> list[str]:
    """Columns that one side may lack where new rows are written as the older ones are."""
    there = {c["name"] for c in old.manifest["columns"]}
    return [*(c["name"] for c in old.manifest["columns"] if c["nullable"]), *(c.name for c in columns if c.name not in there)]


def category_faults(old: OldVersion, names: Collection[str], taxonomy: str) -> list[str]:
    """Whether rows of a version have categories that the taxonomy lacks; `names`: its categories and their aliases."""
    used = {line["category"] for line in old.manifest["tables"].get("categories", [])}
    gone = sorted(used - {NONE, *names})
    shown = ", ".join(gone[:10]) + (f" and {len(gone) - 10} more" if len(gone) > 10 else "")
    return [f"its rows have categories that the taxonomy {taxonomy!r} lacks: {shown} (one that `extends` theirs has them)"] if gone else []


def licence_faults(old: OldVersion, target: str | None, table: Licences) -> list[str]:
    """Whether rows of a version may not go into a set under a licence."""
    rows = old.manifest["counts"]["licence"]
    refused = resolve(rows, target, table).refused if target is not None else ()
    return [f"{rows[word]:,} of its rows are under {word}, which may not go into {target}" for word in refused]


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
        self._types = pl.DataFrame(pl.from_arrow(old.schema.empty_table())).schema
        self._dropped: dict[str, Counter[str]] = {}
        self._found: dict[str, list[str]] = {}
        self._numbers: dict[str, int] = {}
        self._read()

    def _read(self) -> None:
        parts = []
        for split in self._old.manifest["counts"]["split"]:
            parts += [self._keys(rows, split) for rows in shard_rows(self._old.folder, self._old.manifest, self._columns, split)]
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
        ).with_columns(rows[n] if n in rows.columns else pl.lit(None, pl.String).alias(n) for n in self._labels)

    def look(self, rows: pl.DataFrame, out: Output, step: str) -> pl.DataFrame:
        """The rows that are to be written, where they are to be written; what clashes is counted, and left out where that is asked for.

        Raises:
            InputError: a value is missing where the version has one in each row.
        """
        for name, may in self._nullable.items():
            if not may and name in rows.columns and (n := rows[name].null_count()):
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
        rows = self._as_before(rows)
        if self._move and moved.any():
            rows = rows.with_columns(pl.coalesce(found["to"], rows["split"]).alias("split"))
        return rows

    def _as_before(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows with the version's columns; of those that say which model wrote a row the values are counted where they go."""
        for name in (n for n in rows.columns if n not in self._types):
            counts = self._dropped.setdefault(name, Counter())
            if name in SEED_MODELS:
                counts.update(dict(rows[name].drop_nulls().value_counts().iter_rows()))
        lacking = [pl.lit(None, kind).alias(n) for n, kind in self._types.items() if n not in rows.columns]
        return rows.with_columns(lacking).select(list(self._types))

    def _note(self, why: str, ids: pl.Series) -> None:
        if ids.len():
            self._numbers[why] = self._numbers.get(why, 0) + ids.len()
            shown = self._found.setdefault(why, [])
            shown += map(str, ids.head(SHOWN - len(shown)))

    def stop(self, step: str) -> dict[str, Any]:
        """Refuse the rows that clash, where nothing is to be done about them (InputErrors).

        Returns:
            For the manifest, ``left_out``: rows by reason; ``moved``: how many were put into another split; ``columns_left_out``: each with rows by
            value where it names models.
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
        columns = {name: dict(sorted(counts.items())) for name, counts in sorted(self._dropped.items())}
        return {"left_out": left_out, "moved": self._numbers.get(OTHER_SPLIT, 0), **({"columns_left_out": columns} if columns else {})}
