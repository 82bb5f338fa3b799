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

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from toolkit._version import __version__
from toolkit.common.errors import InputError, did_you_mean, short_path
from toolkit.common.parquet import batches, open_parquet
from toolkit.common.paths import Roots, at_door, is_there, near_file
from toolkit.common.reading import Files
from toolkit.pipeline._coverage_gaps import FORMS, WantedRows, gaps_of, missing_cells, seed_steps
from toolkit.pipeline._finished import StepFolder, is_run, run_of, step_folders
from toolkit.pipeline._progress import Progress
from toolkit.pipeline._recipe import kept_recipe
from toolkit.pipeline._stop import stopping

if TYPE_CHECKING:
    import polars as pl

    from toolkit.guards import Guard
    from toolkit.taxonomy import Taxonomy

BLOCK = 65_536
NONE = "(none)"
"""Category, source or other value of a row that has none."""
VALUES = 200
"""Different values up to which a column of languages or styles is counted."""
DIMENSIONS = ("category", "source", "label", "form", "language", "style")
_COUNTS = ("rows", "judged", "wrong")
_SUMMED = 64
"""Blocks after which counts are added up."""


@dataclass(frozen=True)
class _Place:
    """The files whose rows are counted, and what is known of them."""

    name: str
    files: Sequence[Path]
    step: StepFolder | None = None
    taxonomy: str | None = None
    guard: str | None = None
    beside: Roots | None = None


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

    found = _place(at_door(place), step)
    known = _named(load_taxonomy, taxonomy, found.taxonomy or "guardkit", found.beside, "{--taxonomy|taxonomy}")
    judge = _named(load_guard, guard, found.guard or "guardreasoner", found.beside, "{--guard|guard}")
    with stopping(), progress:
        wrong = None
        if (voices := _voices(found, verdicts)) is not None:
            progress.start(f"verdicts, {short_path(voices)}")
            wrong = _wrong(voices)
        progress.start(f"count {found.name}")
        counted = _Counted(judge, wrong)
        for block, faults in _blocks(found, counted.columns):
            counted.add(block, faults)
            progress.update(counted.rows, None, "rows")
    if not counted.rows:
        raise InputError("no row to count", where=found.name)
    return {"guardkit": __version__, "kind": "coverage", "format": 1, "of": found.name, **_document(counted, known, judge, wanted, voices)}


def _named(load: Callable[..., Any], given: str | Path | None, known: str, beside: Roots | None, option: str) -> Any:
    """A definition that is named, or the run's own, which may have been beside its recipe."""
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
        if len(parts) >= _SUMMED:
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


# Places ---------------------------------------------------------------------------------------------------------------


def _place(place: Path, step: str | None) -> _Place:
    from toolkit.sources import expand_files

    if not is_there(place):
        raise InputError("no such file or folder", where=str(place), hint=near_file(place))
    if is_run(place):
        return _of_run(place, step)
    if step is not None:
        raise InputError("a step is one of a run, and this is none", where=str(place))
    if (place / "rows" / "rows.parquet").is_file() and is_there(place.parent / "run.json"):
        return _of_run(place.parent, place.name)
    return _Place(short_path(place), expand_files([place], Roots.of(None)))


def _of_run(run: Path, wanted: str | None) -> _Place:
    """The rows of a run's step: the last one of the recipe that has rows with categories, unless one is named."""
    recipe = kept_recipe(run)
    with_rows = {s.step: s for s in step_folders(run) if s.row_files()}
    if wanted is not None and wanted not in with_rows:
        raise InputError(f"no step {wanted!r} with rows", where=str(run), hint=did_you_mean(wanted, with_rows))
    order = [s.id for s in recipe.steps if s.id in with_rows]
    fit = [s for s in order if {"categories", "id"} <= set(with_rows[s].columns) and "parent" not in with_rows[s].columns]
    named = wanted or next(reversed(fit), None)
    if named is None:
        raise InputError("no step of the run has rows with categories", where=str(run), hint=f"name one: {', '.join(order) or 'none has rows'}")
    step, spec = with_rows[named], recipe.spec
    files = [step.path / n for n in step.row_files()]
    return _Place(short_path(step.path), files, step, spec.taxonomy, spec.guard, recipe.roots)


def _blocks(place: _Place, columns: Any) -> Iterator[tuple[pl.DataFrame, int]]:
    """Rows a block at a time with the columns that are looked at, each with the number of those that cannot be read."""
    import polars as pl
    import pyarrow as pa

    from toolkit.sources import format_of, read_blocks

    for path in place.files:
        kind = format_of(path)
        if kind == "parquet":
            with open_parquet(path, files=Files()) as f:
                wanted = columns(f.schema_arrow.names) or f.schema_arrow.names[:1]
                yield from ((pl.DataFrame(pl.from_arrow(pa.Table.from_batches([b]))), 0) for b in batches(f, path, BLOCK, wanted))
            continue
        for rows in read_blocks(path, kind, [], BLOCK):
            good = [{n: r[n] for n in columns(list(r))} for r in rows if isinstance(r, dict)]
            if good:
                yield pl.DataFrame(good, infer_schema_length=None, strict=False), len(rows) - len(good)


def _voices(place: _Place, verdicts: str | Path | None) -> Path | None:
    """The parquet file with verdicts: the one that is named, or of a run's steps after the rows the last."""
    if verdicts is not None:
        found = at_door(verdicts)
        for inside in ("rows/rows.parquet", "rows.parquet", "evaluation/rows.parquet"):
            if is_there(found / inside, Path.is_file):
                return found / inside
        if not is_there(found, Path.is_file) or found.suffix != ".parquet":
            hint = "name a step of verdicts, the folder of an evaluation, or a parquet file"
            raise InputError("no verdicts there", where=str(verdicts), hint=hint)
        return found
    if place.step is None:
        return None
    run, _ = run_of(place.step.path)
    order = [s.id for s in kept_recipe(run).steps]
    fit = [s for s in step_folders(run) if s.row_files() and "parent" in s.columns and any(c.startswith("verdict_") for c in s.columns)]
    return max(fit, key=lambda s: order.index(s.step)).path / "rows" / "rows.parquet" if fit else None


def _wrong(path: Path) -> pl.DataFrame:
    """By the hash of a row's id, its verdicts and how many are not its label."""
    import polars as pl

    rows = pl.scan_parquet(path, glob=False)
    there: Mapping[str, Any] = rows.collect_schema()
    if {"id", "gold", "verdict"} <= set(there):
        lines = rows.filter(pl.col("gold").is_not_null()).select("id", wrong=pl.col("verdict").ne_missing(pl.col("gold")))
        return _by_id(lines)
    tasks = [n.removeprefix("verdict_") for n in there if n.startswith("verdict_") and f"label_{n.removeprefix('verdict_')}" in there]
    if "parent" not in there or not tasks:
        raise InputError("no verdicts: neither id, gold and verdict, nor parent with label_<task> and verdict_<task>", where=str(path))
    labelled = [
        rows.filter(pl.col(f"label_{t}").is_not_null()).select(id="parent", wrong=pl.col(f"verdict_{t}").ne_missing(pl.col(f"label_{t}")))
        for t in tasks
    ]
    return _by_id(pl.concat(labelled))


def _by_id(lines: pl.LazyFrame) -> pl.DataFrame:
    import polars as pl

    found = lines.select(pl.col("id").cast(pl.String).hash(), "wrong").group_by("id")
    return found.agg(judged=pl.len().cast(pl.Int64), wrong=pl.col("wrong").sum().cast(pl.Float64)).collect(engine="streaming")
