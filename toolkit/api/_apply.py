"""One operator on DataFrames, without a recipe, a run's folder or a journal."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.api._frames import polars_frame
from toolkit.common.errors import InputError, InputErrors, Missing
from toolkit.common.files import FOLDER, make_folder
from toolkit.common.outputs import check_output
from toolkit.common.parquet import said
from toolkit.common.paths import Roots, at_door, here
from toolkit.common.reach import refused
from toolkit.common.resources import workspace
from toolkit.common.several import several
from toolkit.common.yamlfile import YamlFile
from toolkit.guards import Guard, load_guard
from toolkit.operators import Columns, Context, DatasetOperator, GenerationOperator, Operator, RowOperator, operator_class
from toolkit.operators._uses import shown
from toolkit.operators._words import check_words
from toolkit.operators.base import DETAIL, OUTCOME, REASON
from toolkit.pipeline import JOURNAL, Counts, GenerationStep, run_generation, stopping
from toolkit.records import Column, load_record, name_fault, to_polars
from toolkit.report import as_html, as_text
from toolkit.taxonomy import load_taxonomy

if TYPE_CHECKING:
    import polars as pl

    from toolkit.operators.base import Mark

SURVIVOR = "_survivor"


class Applied(tuple["pl.DataFrame", "pl.DataFrame"]):
    """What an operator made of rows. It unpacks as two frames, ``kept, rejected``: the second then holds every row that was not kept.

    Attributes:
        operator: its name.
        figures: what the operator counted.

    Example:
        >>> rows = toolkit.apply("load", source="quickstart", limit=2).kept
        >>> found = toolkit.apply("select", rows, where={"label_prompt": "harmful"})
        >>> found.kept.height + found.set_aside.height == rows.height
        True
    """

    operator: str
    figures: dict[str, Any]

    def __new__(cls, operator: str, kept: pl.DataFrame, left: pl.DataFrame, figures: Mapping[str, Any] | None = None) -> Applied:
        """From the rows kept and those that were not."""
        made = super().__new__(cls, (kept, left))
        made.operator, made.figures = operator, dict(figures or {})
        return made

    @property
    def kept(self) -> pl.DataFrame:
        """Rows that go on."""
        return self[0]

    @property
    def left(self) -> pl.DataFrame:
        """All others, with ``_outcome``, ``_reason`` and ``_detail`` (and ``_survivor`` where rows were merged)."""
        return self[1]

    @property
    def rejected(self) -> pl.DataFrame:
        """Those of them that have a fault."""
        return self._with("rejected")

    @property
    def set_aside(self) -> pl.DataFrame:
        """Those that have none, and do not go on."""
        return self._with("set_aside")

    @property
    def merged(self) -> pl.DataFrame:
        """Those that another row stands for: ``_survivor``."""
        return self._with("merged")

    @property
    def counts(self) -> dict[str, Any]:
        """``kept, rejected, set_aside, merged``: rows, of the second and third by reason."""
        reasons = {o: dict(self._with(o).group_by(REASON).len().sort(REASON).iter_rows()) for o in ("rejected", "set_aside")}
        return {"kept": self.kept.height, **reasons, "merged": self.merged.height}

    def _summary(self) -> dict[str, Any]:
        return {**self.counts, **({"figures": self.figures} if self.figures else {})}

    def __repr__(self) -> str:
        return as_text(self._summary(), self.operator)

    def _repr_html_(self) -> str:
        return as_html(self._summary(), self.operator)

    def _with(self, outcome: str) -> pl.DataFrame:
        import polars as pl

        return self.left.filter(pl.col(OUTCOME) == outcome)


def apply(
    operator: str | type[Operator] | Operator,
    rows: Any = None,
    *,
    guard: str | Path = "guardreasoner",
    taxonomy: str | Path = "guardkit",
    seed: int = 0,
    artefacts: str | Path | None = None,
    work: str | Path | None = None,
    budget: float | None = None,
    allow: str | Collection[str] = (),
    **options: Any,
) -> Applied:
    """One operator on a table. What a model answers goes through the journal: the same call again asks for nothing that it has.

    Args:
        operator: its name, its class, or an instance (which has its options already).
        rows: a table of polars, pandas, pyarrow or datasets with the columns that it reads; for several inputs a table by the input's name; None for
            an operator that reads a source.
        guard: guard definition, by name or file.
        taxonomy: harm categories, by name or file.
        seed: of what is random.
        artefacts: folder in which what the operator makes besides rows is kept; default: nowhere.
        work: folder for the journal (``WORK/journal``) of an operator that asks a model; default: the workspace.
        budget: dollars that it may spend; None for no cap.
        allow: what its options may do beyond the rows, by name (``trust_remote_code``, ``api_key_env=MY_KEY``): see `toolkit.common.reach`.
        options: of the operator.

    Returns:
        ``kept`` rows, those ``rejected``, ``set_aside`` and ``merged``, ``counts`` and the operator's ``figures``; it unpacks as ``kept, rejected``,
        where the second has all rows that were not kept, with ``_outcome``, ``_reason`` and ``_detail`` (and ``_survivor`` where rows were merged).

    Raises:
        InputError: no such operator or one that needs a recipe (it takes what another step made), a column or option that does
            not fit, rows that share an id or have a label that the guard does not know, or what the operator itself raises.

    Example:
        >>> rows, _ = toolkit.apply("load", source="quickstart", limit=2)
        >>> kept, rejected = toolkit.apply("normalise", rows, max_chars=60)
        >>> kept.height + rejected.height == rows.height
        True
        >>> toolkit.apply("select", rows, where={"label_prompt": "harmful"}).counts["rejected"]
        {}
    """
    op = _operator(operator, options)
    whole = load_guard(guard)
    seen, harms = shown(op, whole, load_taxonomy(taxonomy))
    ctx = Context(seen, harms, seed if "seed" in op.used() else None, op.name, here(), settled=Roots.of(None))
    inputs = {name: _typed(frame, whole) for name, frame in _inputs(op, rows).items()}
    for name, frame in inputs.items():
        _check(frame, f"{op.name}, input {name!r}", whole)
    if left := refused(op.config, several(allow), lambda key: ".".join(map(str, key))):
        raise InputErrors(left)
    place = None if artefacts is None else at_door(artefacts)
    columns = op.columns({name: _columns(frame) for name, frame in inputs.items()}, ctx.guard)
    with _fitting(op.name):
        if isinstance(op, GenerationOperator):
            return _asked(op, inputs, columns, ctx, (at_door(work) if work else workspace()) / JOURNAL, budget)
        return _applied(op, inputs, columns, ctx, place)


def _operator(given: str | type[Operator] | Operator, options: Mapping[str, Any]) -> Operator:
    """The operator with its options."""
    cls = operator_class(given) if isinstance(given, str) else given if isinstance(given, type) else type(given)
    if not issubclass(cls, Operator):
        raise InputError(f"no operator: {given!r}", hint="its name, a class of operators, or one of its instances; see `guardkit operators`")
    if cls.takes or not issubclass(cls, RowOperator | DatasetOperator | GenerationOperator):
        raise InputError(f"{cls.name!r} is no operator on rows alone: run it in a recipe", hint="see `guardkit operators`")
    if isinstance(given, Operator):
        if options:
            raise InputError(f"options beside an instance, which has its own: {', '.join(options)}", hint="give the class, or its name")
        return given
    return cls(YamlFile(f"options of {cls.name}", dict(options)).model(cls.config_class))


@contextmanager
def _fitting(operator: str) -> Iterator[None]:
    """What polars says of columns of a type that an operator cannot work on, as a fault of the rows."""
    import polars as pl

    try:
        yield
    except pl.exceptions.PolarsError as e:
        hint = "a column of nulls alone has no type of its own: give it one, as in pl.Series(name, values, pl.String)"
        raise InputError(f"the rows do not fit {operator!r}: {said(e)}", hint=hint) from e


def _asked(op: GenerationOperator, inputs: Mapping[str, pl.DataFrame], columns: Columns, ctx: Context, folder: Path, budget: float | None) -> Applied:
    """Through the engine and the journal, as a step."""
    from toolkit.generation import Journal, Meter

    rows = inputs[op.inputs[0]]
    for name, column in columns.items():
        if name in rows.columns and isinstance(column.type, str) and column.type not in ("string", "bool", "int64", "float64"):
            raise InputError(f"the column {name!r} is of the type {column.type}, which no step hands on", hint="leave it out, or make it text")
    op.files(ctx)
    if lacking := op.needs(ctx):
        raise Missing("\n  ".join(lacking))
    check_output(folder, reads=ctx.roots.read, own="journal", hint="name another folder with `work`")
    out = _Collect(folder, columns)
    counts = Counts(op.name, op.name, op.shape)
    with stopping(), ExitStack() as stack:
        opened: list[Journal] = []

        def journal() -> Journal:
            if not opened:
                opened.append(stack.enter_context(Journal(folder)))
            return opened[0]

        step = GenerationStep(op, replace(ctx, work=folder), _columns(rows), columns, counts)
        run_generation(step, {name: _Rows(name, frame) for name, frame in inputs.items()}, out, journal, Meter(cap=budget))
    return Applied(op.name, *out.frames(), {**out.figures, "asked": out.asked, "failed": out.failed})


def _applied(op: Operator, inputs: Mapping[str, pl.DataFrame], columns: Columns, ctx: Context, place: Path | None) -> Applied:
    if isinstance(op, RowOperator):
        return Applied(op.name, *_row(op, inputs[op.inputs[0]], columns, ctx))
    assert isinstance(op, DatasetOperator)  # noqa: S101 (for the type checker)
    with tempfile.TemporaryDirectory() as temporary:
        if place is not None:
            op.files(ctx)
            check_output(place, reads=ctx.roots.read)
        out = _Collect(place or Path(temporary), columns)
        op.run({name: _Rows(name, frame) for name, frame in inputs.items()}, out, ctx)
        return Applied(op.name, *out.frames(), out.figures)


def _inputs(op: Operator, rows: Any) -> dict[str, pl.DataFrame]:
    given = dict(rows) if isinstance(rows, Mapping) else {op.inputs[0] if op.inputs else "rows": rows} if rows is not None else {}
    wanted = [n for n in op.inputs if n != "*"]
    missing, extra = [n for n in wanted if n not in given], [n for n in given if n not in wanted and "*" not in op.inputs]
    if missing or extra:
        raise InputError(f"{op.name} takes {', '.join(wanted) or 'no rows'}, and was given {', '.join(given) or 'none'}")
    return {name: polars_frame(frame) for name, frame in given.items()}


def _typed(frame: pl.DataFrame, guard: Guard) -> pl.DataFrame:
    """Columns of seeds in which other packages saw nothing but nulls or empty lists, which have no type there, with their own."""
    import polars as pl

    types = to_polars(load_record("seed", guard.task_names).columns)
    blank = [n for n, t in frame.schema.items() if t in (pl.Null, pl.List(pl.Null)) and n in types]
    return frame.with_columns(pl.col(n).cast(types[n]) for n in blank)


def _check(frame: pl.DataFrame, where: str, guard: Guard) -> None:
    """Rows of a caller's, as a step would hand them on: each with an id of its own, labels of the guard's words."""
    if "id" in frame.columns and (twice := frame["id"].is_duplicated() & frame["id"].is_not_null()).any():
        ids = frame["id"].filter(twice)
        raise InputError(f"{ids.len():,} rows share an id with another, {ids[0]!r} say: an id names one row", where=where)
    check_words(frame, guard, where)


def _columns(frame: pl.DataFrame) -> Columns:
    if bad := [fault for n in frame.columns if (fault := name_fault(n))]:
        raise InputError(f"no column may be called so: {bad[0]}")
    return {n: Column(n, _kind(t), nullable=True) for n, t in frame.schema.items()}


def _kind(dtype: pl.DataType) -> Any:
    """A polars type in the words of the record schemas; one that they do not know by its own name."""
    import polars as pl

    if isinstance(dtype, pl.List):
        return {"list": _kind(dtype.inner)}  # type: ignore[arg-type]
    if isinstance(dtype, pl.Struct):
        return {"struct": {f.name: _kind(f.dtype) for f in dtype.fields if isinstance(f.dtype, pl.DataType)}}
    if dtype.is_integer() or dtype.is_float():
        return "int64" if dtype.is_integer() else "float64"
    return {pl.String(): "string", pl.Boolean(): "bool"}.get(dtype, str(dtype))


def _row(op: RowOperator, rows: pl.DataFrame, columns: Columns, ctx: Context) -> tuple[pl.DataFrame, pl.DataFrame]:
    import polars as pl

    done = op.apply(rows.lazy().with_columns(pl.lit(None, pl.String).alias(m) for m in (OUTCOME, REASON, DETAIL)), ctx).collect()
    marked = done[REASON].is_not_null()
    return done.filter(~marked).select(list(columns)), done.filter(marked)


@dataclass(frozen=True)
class _Rows:
    """A DataFrame as a step's input."""

    step: str
    frame: pl.DataFrame

    @property
    def rows(self) -> int:
        return self.frame.height

    def blocks(self, columns: Sequence[str] | None = None) -> Iterator[pl.DataFrame]:
        if self.frame.height:
            yield self.frame if columns is None else self.frame.select(columns)

    def artefact(self, name: str) -> Path:
        raise InputError(f"{self.step!r} is a DataFrame: it has no {name!r}")

    def digest(self) -> str:
        return ""


@dataclass
class _Collect:
    """An operator's output, in memory."""

    place: Path
    columns: Columns
    kept: list[pl.DataFrame] = field(default_factory=list)
    left: list[pl.DataFrame] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)
    asked: int = 0
    failed: int = 0
    retry: int = 0

    def keep(self, rows: pl.DataFrame) -> None:
        self.kept.append(rows.select(list(self.columns)))

    def leave(self, rows: pl.DataFrame, outcome: Mark, reason: Mark, detail: Mark = None, survivor: Mark = None) -> None:
        if rows.height:
            self.left.append(self.lines(None, rows, outcome, reason, detail, survivor))

    def lines(
        self, counts: Counts | None, rows: pl.DataFrame, outcome: Mark, reason: Mark, detail: Mark = None, survivor: Mark = None
    ) -> pl.DataFrame:
        """The rows with their marks."""
        import polars as pl

        marks = {OUTCOME: outcome, REASON: reason, DETAIL: detail} | ({} if survivor is None else {SURVIVOR: survivor})
        return rows.with_columns(pl.lit(v, pl.String).alias(n) if v is None or isinstance(v, str) else v.alias(n) for n, v in marks.items())

    def write_lines(self, lines: pl.DataFrame) -> None:
        """Rows with their marks."""
        self.left.append(lines)

    def reject(self, rows: pl.DataFrame, reason: Mark, detail: Mark = None) -> None:
        self.leave(rows, "rejected", reason, detail)

    def set_aside(self, rows: pl.DataFrame, reason: Mark, detail: Mark = None) -> None:
        self.leave(rows, "set_aside", reason, detail)

    def merge(self, rows: pl.DataFrame, survivor: Mark) -> None:
        self.leave(rows, "merged", "merged", None, survivor)

    def merge_count(self, n: int) -> None:
        """Nothing to keep: the rows are the caller's."""

    def use(self, n: int) -> None:
        """Likewise."""

    def count_in(self, n: int) -> None:
        """Likewise."""

    def folder(self, name: str) -> Path:
        path = self.place / name
        try:
            make_folder(path.parent)
            path.mkdir(mode=FOLDER)
        except OSError as e:
            hint = "give another folder: nothing is replaced"
            raise InputError(f"the artefact {name!r} cannot be written: {e.strerror}", where=str(path), hint=hint) from None
        return path

    def stat(self, name: str, value: Any) -> None:
        """A figure for whoever asked."""
        self.figures[name] = value

    def note(self, name: str, value: Any) -> None:
        """Times and host facts are nobody's here."""

    def frames(self) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Rows kept and rows not kept."""
        import polars as pl

        kept = pl.concat(self.kept, how="vertical_relaxed") if self.kept else pl.DataFrame(schema=dict.fromkeys(self.columns, pl.String))
        marks = pl.DataFrame(schema=dict.fromkeys((OUTCOME, REASON, DETAIL), pl.String))
        return kept, pl.concat([*self.left, marks], how="diagonal_relaxed")
