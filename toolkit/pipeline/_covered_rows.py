"""What a dataset covers: rows by category, source, label, form, language and style, how hard they are, and what is missing.

Rows are counted a block at a time, and only counts are kept, so memory does not grow with the rows; of verdicts the hash of a row's id, and how many
were wrong. A row counts in each of its categories, a seed that was written as the benign look-alike of a category in that one (`seed_category`), any
other without categories in none.

========== ==============================================================================================================================
label      what a generated seed was written to be (`seed_label`); else of the first of the guard's tasks that a row has a label of, `prompt` say:
           harmful (the positive label), benign, borderline (a label between the two), none
form       what it was written as (`seed_form`); else prompt (no response), refuse or comply (by the label of `refusal`), response (it has none)
difficulty share of the verdicts that are not the row's label, unread ones among them; or the rows' own `error_rate_<task>`, as `mine` writes them
========== ==============================================================================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from toolkit._version import __version__
from toolkit.common.errors import InputError, did_you_mean, short_path
from toolkit.common.paths import Roots, at_door
from toolkit.pipeline._coverage_gaps import FORMS, WantedRows, gaps_of, missing_cells, seed_steps
from toolkit.pipeline._coverage_places import SUMMED, place_of, row_blocks, verdicts_of, wrong_by_row
from toolkit.pipeline._progress import Progress
from toolkit.pipeline._stop import stopping

if TYPE_CHECKING:
    import polars as pl

    from toolkit.guards import Guard
    from toolkit.taxonomy import Taxonomy

NONE = "(none)"
"""Category, source or other value of a row that has none."""
VALUES = 200
"""Different values up to which a column of languages or styles is counted."""
DIMENSIONS = ("category", "source", "label", "form", "language", "style")
_COUNTS = ("rows", "judged", "wrong")


def find_coverage(
    place: str | Path,
    *,
    step: str | None,
    verdicts: str | Path | None,
    taxonomy: str | Path | None,
    guard: str | Path | None,
    wanted: WantedRows,
    progress: Progress,
) -> dict[str, Any]:
    """The document of `toolkit.coverage`."""
    from toolkit.guards import load_guard
    from toolkit.taxonomy import load_taxonomy

    found = place_of(at_door(place), step)
    known = named_definition(load_taxonomy, taxonomy, found.taxonomy or "guardkit", found.beside, "{--taxonomy|taxonomy}")
    definition = named_definition(load_guard, guard, found.guard or "guardreasoner", found.beside, "{--guard|guard}")
    with stopping(), progress:
        wrong = None
        if (voices := verdicts_of(found, verdicts)) is not None:
            progress.start(f"verdicts, {short_path(voices)}")
            wrong = wrong_by_row(voices)
        progress.start(f"count {found.name}")
        counted = _Counted(definition, wrong)
        for block, faults in row_blocks(found, counted.columns):
            counted.add(block, faults)
            progress.update(counted.rows, None, "rows")
    if counted.rows == counted.unread:
        raise InputError("no row to count", where=found.name)
    return {"guardkit": __version__, "kind": "coverage", "format": 1, "of": found.name, **_document(counted, known, definition, wanted, voices)}


def named_definition(load: Callable[..., Any], given: str | Path | None, known: str, beside: Roots | None, option: str) -> Any:
    """A definition that is named, or the run's own, which may have been beside its recipe.

    Args:
        load: what reads one: `load_guard`, `load_taxonomy`.
        given: the name or file that a user gave.
        known: the name in the run's recipe.
        beside: where that one is looked for, too.
        option: that names another one, for the hint.

    Raises:
        InputError: as `load`.
    """
    try:
        return load(given or known, None if given else beside)
    except InputError as e:
        raise e if given else InputError(f"the run's recipe names {known!r}: {e.message}", hint=f"give it with {option}") from None


def _document(counted: _Counted, taxonomy: Taxonomy, guard: Guard, wanted: WantedRows, voices: Path | None) -> dict[str, Any]:
    cells, notes = counted.cells()
    own = [c for c in cells["category"].unique().sort() if c not in (NONE, None)]
    names = [n for n in taxonomy.names if not wanted.categories or n in wanted.categories]
    if odd := next((n for n in wanted.categories if n not in taxonomy.names and n not in own), None):
        raise InputError(f"no category {odd!r} in the taxonomy {taxonomy.name!r} or the rows", hint=did_you_mean(odd, [*taxonomy.names, *own]))
    unknown = [c for c in own if c not in taxonomy.names]
    if unknown:
        notes.append(f"not in the taxonomy {taxonomy.name!r}: {', '.join(unknown)}")
    if unknown and len(unknown) == len(own) and not wanted.categories:
        names = []
    considered = list(dict.fromkeys([*names, *(c for c in unknown if not wanted.categories or c in wanted.categories)]))
    by_category = _by_category(cells)
    if counted.unread:
        notes.append(f"{counted.unread:,} rows could not be read")
    if counted.unlabelled:
        notes.append(f"{counted.unlabelled:,} rows have no label that tells harmful from benign")
    responses = bool({"refusal", "response"} & set(guard.task_names)) and any(line[f] for line in by_category for f in FORMS[1:])
    missing = missing_cells(cells, considered, wanted, responses=responses)
    return {
        "rows": counted.rows,
        "unread": counted.unread,
        "taxonomy": taxonomy.name,
        "verdicts": None if voices is None else short_path(voices),
        "minimum": wanted.minimum,
        "dimensions": [d for d in DIMENSIONS if d in cells.columns],
        "categories": by_category,
        "cells": cells.drop("wrong").to_dicts(),
        "together": counted.together(),
        "assigned": counted.assigned(),
        "gaps": gaps_of(by_category, cells, considered, wanted, responses=responses),
        "missing": missing,
        "steps": seed_steps(missing, [c.name for c in taxonomy.categories]),
        "notes": notes,
    }


def _by_category(cells: pl.DataFrame) -> list[dict[str, Any]]:
    """A line for each category: rows, by label, by form, sources, and how hard."""
    import polars as pl

    def rows(column: str, value: str) -> pl.Expr:
        return pl.col("rows").filter(pl.col(column) == value).sum().alias(value)

    labels = [rows("label", v) for v in ("harmful", "benign", "borderline", "none")]
    sums = [pl.col("rows").sum(), *labels, *(rows("form", v) for v in FORMS), pl.col("source").n_unique().alias("sources")]
    found = cells.group_by("category").agg(*sums, pl.col("judged").sum(), pl.col("wrong").sum()).sort("rows", "category", descending=[True, False])
    return found.with_columns(_error()).drop("wrong").rename({"none": "unlabelled"}).to_dicts()


def _error() -> pl.Expr:
    import polars as pl

    return pl.when(pl.col("judged") > 0).then((100 * pl.col("wrong") / pl.col("judged")).round(2)).alias("error")


class _Counted:
    """Counts of the blocks so far."""

    def __init__(self, guard: Guard, wrong: pl.DataFrame | None) -> None:
        self._guard, self._wrong = guard, wrong
        self.rows = self.unread = self.unlabelled = 0
        self._parts: dict[str, list[pl.DataFrame]] = {"cells": [], "together": [], "assigned": []}

    def columns(self, there: Sequence[str]) -> list[str]:
        """The columns that are looked at, of those that are there."""
        named = {"categories", "categories_before", "categories_votes", "seed_category", "seed_label", "seed_form", "seed_style", "style"}
        named |= {"source", "language", "response", *(["id"] if self._wrong is not None else [])}
        return [n for n in there if n in named or n.startswith("error_rate_") or (n.startswith("label_") and not n.endswith("_source"))]

    def add(self, block: pl.DataFrame, faults: int) -> None:
        """Count a block, and lines that are no rows."""
        import polars as pl

        self.rows += block.height + faults
        self.unread += faults
        if not block.height:
            return
        keyed = block.select(self._category(block).alias("categories"), *self._keys(block), *self._difficulty(block))
        self.unlabelled += keyed.filter(pl.col("label") == "none").height
        each = keyed.explode("categories").rename({"categories": "category"}).with_columns(pl.col("category").fill_null(NONE))
        keys = [d for d in DIMENSIONS if d in each.columns]
        self._keep("cells", each.group_by(keys).agg(pl.len().cast(pl.Int64).alias("rows"), pl.col("judged").sum(), pl.col("wrong").sum()))
        several = keyed.filter(pl.col("categories").list.len() > 1).select(a="categories", b="categories").explode("a").explode("b")
        self._keep("together", several.filter(pl.col("a") < pl.col("b")).group_by("a", "b").agg(pl.len().cast(pl.Int64).alias("rows")))
        if (assigned := _assigned(block)) is not None:
            self._keep("assigned", assigned.group_by("given", "assigned").agg(pl.len().cast(pl.Int64).alias("rows")))

    def _keep(self, name: str, part: pl.DataFrame) -> None:
        parts = self._parts[name]
        parts.append(part)
        if len(parts) >= SUMMED:
            self._parts[name] = [_summed(parts)]

    def _category(self, block: pl.DataFrame) -> pl.Expr:
        import polars as pl

        own = pl.lit([], pl.List(pl.String))
        if (kind := block.schema.get("categories")) is not None:
            own = pl.col("categories") if isinstance(kind, pl.List) else pl.concat_list("categories")
            if kind != pl.List(pl.String):
                own = own.cast(pl.List(pl.String)).list.drop_nulls()
            elif block["categories"].explode().null_count() > block["categories"].null_count() + (block["categories"].list.len() == 0).sum():
                own = own.list.drop_nulls()
            own = own.list.unique(maintain_order=True)
        written = pl.col("seed_category") if "seed_category" in block.columns else pl.lit(None, pl.String)
        return pl.when(own.list.len() > 0).then(own).when(written.is_not_null()).then(pl.concat_list(written))

    def _keys(self, block: pl.DataFrame) -> Iterator[pl.Expr]:
        import polars as pl

        def text(*names: str) -> list[pl.Expr]:
            return [pl.col(n).cast(pl.String) for n in names if n in block.columns and not block.schema[n].is_nested()]

        yield pl.coalesce(*text("source"), pl.lit(NONE)).alias("source")
        yield pl.coalesce(*text("seed_label"), *self._labels(block), pl.lit("none")).alias("label")
        yield pl.coalesce(*text("seed_form"), self._form(block)).alias("form")
        for name, columns in (("language", ("language",)), ("style", ("seed_style", "style"))):
            if found := text(*columns):
                yield pl.coalesce(*found, pl.lit(NONE)).alias(name)

    def _labels(self, block: pl.DataFrame) -> Iterator[pl.Expr]:
        """What a row's labels say of it, the first task's first."""
        import polars as pl

        for task in self._guard.tasks:
            if task.name == "refusal" or f"label_{task.name}" not in block.columns:
                continue
            low = next(w for w in task.labels if w != task.positive)
            label = pl.col(f"label_{task.name}").cast(pl.String)
            words = pl.when(label == task.positive).then(pl.lit("harmful")).when(label == low).then(pl.lit("benign"))
            yield words.when(label.is_not_null()).then(pl.lit("borderline"))

    def _form(self, block: pl.DataFrame) -> pl.Expr:
        import polars as pl

        tasks = [t for t in self._guard.tasks if t.applies == "response" and f"label_{t.name}" in block.columns]
        answered = pl.any_horizontal(pl.col(f"label_{t.name}").is_not_null() for t in tasks) if tasks else pl.lit(value=False)
        if "response" in block.columns:
            answered = answered | pl.col("response").is_not_null()
        form: Any = pl.when(~answered).then(pl.lit("prompt"))
        for task in (t for t in tasks if t.name == "refusal"):
            label = pl.col("label_refusal").cast(pl.String)
            form = form.when(label == task.positive).then(pl.lit("refuse")).when(label.is_not_null()).then(pl.lit("comply"))
        return cast("pl.Expr", form.otherwise(pl.lit("response")))

    def _difficulty(self, block: pl.DataFrame) -> list[pl.Expr]:
        """`judged` (verdicts, or one for a row with an error rate) and `wrong` (how many, or the rate)."""
        import polars as pl

        if self._wrong is not None and "id" in block.columns:
            ids = block.select(id=pl.col("id").cast(pl.String).hash())
            found = ids.join(self._wrong, on="id", how="left", maintain_order="left")
            return [pl.lit(found[n].fill_null(0)).alias(n) for n in ("judged", "wrong")]
        rates = [pl.col(n).cast(pl.Float64) for n in block.columns if n.startswith("error_rate_") and block.schema[n].is_numeric()]
        if rates:
            mean = pl.mean_horizontal(rates)
            return [mean.is_not_null().cast(pl.Int64).alias("judged"), mean.fill_null(0.0).alias("wrong")]
        return [pl.lit(0, pl.Int64).alias("judged"), pl.lit(0.0).alias("wrong")]

    def cells(self) -> tuple[pl.DataFrame, list[str]]:
        """The cells with their error share, and remarks; a column of too many different values is left out."""

        found, notes = _summed(self._parts["cells"]), []
        for name in ("language", "style"):
            if name in found.columns and (n := found[name].n_unique()) > VALUES:
                notes.append(f"{n:,} different values in the column of the {name}: it is left out")
                found = _summed([found.drop(name)])
        keys = [d for d in DIMENSIONS if d in found.columns]
        return found.sort(keys).with_columns(_error()).select(*keys, *_COUNTS, "error"), notes

    def together(self) -> list[dict[str, Any]]:
        """Pairs of categories that rows have both of."""
        found = _summed(self._parts["together"])
        return found.sort("rows", "a", "b", descending=[True, False, False]).to_dicts()

    def assigned(self) -> list[dict[str, Any]]:
        """Rows by the category that they came with and the one that a model named."""
        found = _summed(self._parts["assigned"]) if self._parts["assigned"] else None
        return [] if found is None else found.sort("given", "rows", "assigned", descending=[False, True, False]).to_dicts()


def _summed(parts: Sequence[pl.DataFrame]) -> pl.DataFrame:
    import polars as pl

    whole = pl.concat(parts, how="diagonal_relaxed")
    keys = [c for c in whole.columns if c not in _COUNTS]
    return whole.with_columns(pl.col(keys).fill_null(NONE)).group_by(keys).agg(pl.col(c).sum() for c in _COUNTS if c in whole.columns)


def _assigned(block: pl.DataFrame) -> pl.DataFrame | None:
    """`given` and `assigned`, a line for each pair of the categories that a row came with and was assigned by `assign_categories`."""
    import polars as pl

    given, found = pl.col("categories_before"), pl.col("categories")
    if "categories_before" not in block.columns:
        if "categories_votes" not in block.columns or not isinstance(block.schema["categories_votes"], pl.List):
            return None
        voted = pl.element().struct.field("category").filter(pl.element().struct.field("share") >= 0.5)
        given, found = pl.col("categories"), pl.col("categories_votes").list.eval(voted)
        block = block.filter(pl.col("categories_votes").list.len() > 0, pl.col("categories").list.len() > 0)
    some = block.select(given=given, assigned=found).filter(pl.col("given").list.len() > 0)
    return some.explode("given").explode("assigned").with_columns(pl.col("assigned").fill_null(NONE))
