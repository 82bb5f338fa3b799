"""One operator on tables, without a recipe or a run's folder."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from toolkit.api._frames import polars_frame
from toolkit.common.errors import InputError, InputErrors, Missing
from toolkit.common.outputs import check_output
from toolkit.common.parquet import first_line
from toolkit.common.paths import Roots, at_door, here
from toolkit.common.reach import refused, unknown
from toolkit.common.resources import workspace
from toolkit.common.several import several
from toolkit.common.yamlfile import YamlFile
from toolkit.generation import Journal, Meter
from toolkit.guards import Guard, load_guard
from toolkit.operators import Columns, Context, DatasetOperator, GenerationOperator, Operator, RowOperator, operator_class
from toolkit.operators._media_taken import refuse_guard, refuse_media
from toolkit.operators._uses import shown
from toolkit.operators._words import check_words
from toolkit.operators.base import OUTCOME, REASON
from toolkit.pipeline import JOURNAL, LOCAL, Counts, FrameInput, FrameOutput, Work, build_step, stopping
from toolkit.records import MEDIA, Column, has_media, load_record, name_fault, to_polars
from toolkit.report import as_html, as_text
from toolkit.taxonomy import load_taxonomy

if TYPE_CHECKING:
    import polars as pl


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
        return {**{outcome: rows or 0 for outcome, rows in self.counts.items()}, **({"figures": self.figures} if self.figures else {})}

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
    media_folder: str | Path | None = None,
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
        media_folder: folder that the uris of rows' media are relative to; default: the working folder.
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
    folder = at_door(media_folder) if media_folder else None
    ctx = Context(seen, harms, seed if "seed" in op.used() else None, op.name, here(), settled=Roots.of(None), media=folder)
    inputs = {name: _typed(frame, whole) for name, frame in _inputs(op, rows).items()}
    for name, frame in inputs.items():
        _check(frame, f"{op.name}, input {name!r}", whole)
    if left := refused(op.config, several(allow), lambda key: ".".join(map(str, key))) or unknown([op.config], several(allow)):
        raise InputErrors(left)
    refuse_guard(op, whole)
    place = None if artefacts is None else at_door(artefacts)
    columns = op.columns(given := {name: _columns(frame) for name, frame in inputs.items()}, ctx.guard)
    if any(map(has_media, given.values())):
        refuse_media(op, whole)
    with _fitting(op.name):
        return _applied(op, inputs, columns, ctx, place, (at_door(work) if work else workspace()) / JOURNAL, budget)


def _operator(given: str | type[Operator] | Operator, options: Mapping[str, Any]) -> Operator:
    """The operator with its options."""
    cls = operator_class(given) if isinstance(given, str) else given if isinstance(given, type) else type(given)
    if not issubclass(cls, Operator):
        raise InputError(f"no operator: {given!r}", hint="its name, a class of operators, or one of its instances; see `guardkit operators`")
    made = set(cls.inputs) & set(cls.takes) - ({"*"} if len(cls.inputs) > 1 else set())  # `*` beside other inputs: none of these need be given
    if made or not issubclass(cls, RowOperator | DatasetOperator | GenerationOperator):
        what = "`toolkit.judge` asks a guard about rows, `toolkit.train` trains on shards"
        raise InputError(f"{cls.name!r} is no operator on rows alone: run it in a recipe", hint=what)
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
        raise InputError(f"the rows do not fit {operator!r}: {first_line(e)}", hint=hint) from e


def _applied(
    op: Operator, inputs: Mapping[str, pl.DataFrame], columns: Columns, ctx: Context, place: Path | None, work: Path, budget: float | None
) -> Applied:
    """As a step of a run, with rows in memory."""
    given = {name: _columns(frame) for name, frame in inputs.items()}
    came = given.get(op.inputs[0], {}) if op.inputs else {}
    if asks := isinstance(op, GenerationOperator):
        came = op.asked_columns(given)
        for name, column in columns.items():
            if name in came and isinstance(column.type, str) and column.type not in ("string", "bool", "int64", "float64"):
                raise InputError(f"the column {name!r} is of the type {column.type}, which no step hands on", hint="leave it out, or make it text")
        if lacking := op.needs(ctx):
            raise Missing("\n  ".join(lacking))
    if place is not None or asks:
        op.files(ctx)  # it notes what is read
    if place is not None:
        check_output(place, reads=ctx.roots.read)
    if asks:
        check_output(work, reads=ctx.roots.read, own="journal", hint="name another folder with `work`")
    counts = Counts(op.name, op.name, op.shape)
    task = Work(op, replace(ctx, work=work) if asks else ctx, columns, counts, came, typed=False)
    with ExitStack() as stack:
        if asks:
            stack.enter_context(stopping())
        out = FrameOutput([counts], columns, place or Path(stack.enter_context(TemporaryDirectory())), _types(columns, inputs))
        rows = {name: FrameInput(name, frame) for name, frame in inputs.items()}
        build_step(LOCAL, [task], rows, out, journal=_journal_once(work, stack), meter=Meter(cap=budget))
        out.check()
        figures = out.stats | ({"asked": out.asked, "failed": out.failed} if asks else {})
        return Applied(op.name, out.kept, out.left, figures)


def _journal_once(folder: Path, stack: ExitStack) -> Callable[[], Journal]:
    opened: list[Journal] = []

    def journal() -> Journal:
        if not opened:
            opened.append(stack.enter_context(Journal(folder)))
        return opened[0]

    return journal


def _types(columns: Columns, inputs: Mapping[str, pl.DataFrame]) -> dict[str, Any]:
    """Types of the kept rows where there are none: those of the columns that came, else as they are declared."""
    there = {name: kind for frame in inputs.values() for name, kind in frame.schema.items()}
    return {name: there[name] if name in there else to_polars((column,))[name] for name, column in columns.items()}


def _inputs(op: Operator, rows: Any) -> dict[str, pl.DataFrame]:
    given = dict(rows) if isinstance(rows, Mapping) else {op.inputs[0] if op.inputs else "rows": rows} if rows is not None else {}
    wanted = [n for n in op.inputs if n != "*"]
    missing, extra = [n for n in wanted if n not in given], [n for n in given if n not in wanted and "*" not in op.inputs]
    if missing or extra:
        raise InputError(f"{op.name} takes {', '.join(wanted) or 'no rows'}, and was given {', '.join(given) or 'none'}")
    if "*" in op.takes and (made := [n for n in given if n not in wanted]):
        what = f"of the input {made[0]!r} {op.name} takes the {op.takes['*']} that a step of a recipe made, and a table has none"
        raise InputError(what, hint="give its rows alone, and name finished models in its options")
    return {name: polars_frame(frame) for name, frame in given.items()}


def _typed(frame: pl.DataFrame, guard: Guard) -> pl.DataFrame:
    """Columns of seeds in which other packages saw nothing but nulls or empty lists, which have no type there, with their own."""
    import polars as pl

    types = to_polars(load_record("seed", guard.task_names).with_optional([MEDIA]))
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
