"""What a run would do, and what it would cost, without running it.

Contract: nothing in the run's folder or the workspace is changed, and no model is asked, but for ``probe``, whose answers go into the journal, so
that the run does not pay for them again. What cannot be known before the run is None.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from toolkit.common.errors import BrokenContract, GuardkitError, short_path
from toolkit.operators import GenerationOperator, Operator, Unasked
from toolkit.pipeline._ended import settled
from toolkit.pipeline._estimate import NONE, Estimate, Looked, assume, estimate, look, together
from toolkit.pipeline._fingerprints import Prospect, prospect
from toolkit.pipeline._models import Unbuilt, check_prices, config_of, declared
from toolkit.pipeline._planned import Plan, PlannedStep
from toolkit.pipeline._sampled import NotSampled, Sampler, spread
from toolkit.pipeline._stop import stopping

if TYPE_CHECKING:
    from toolkit.generation import Backend, Journal, Meter, Request
    from toolkit.operators.base import Context, StepInput
    from toolkit.pipeline._finished import StepFolder

NOTE = (
    "~ marks an estimate: nothing dropped, nothing merged, every answer asked for anew (those in the journal are not); rows of data that is not "
    "here are as many as its source's schema states. ? cannot be known before the run."
)
UNLESS = (
    "A step that is built unless another comes out equal is as it would be but for that one, and is looked at again when that is built. Calls, "
    "dollars and needs are those of a run that builds it."
)
SPANS = (
    "Tokens, dollars and time are estimates with an interval of 90 % or more; further attempts and rounds, the second question after a blind one, "
    "fallback teachers and retries come on top."
)


def forecast(checked: Plan, folder: Path, *, sample: int = 200, probe: int = 0, budget: float | None = None) -> dict[str, Any]:
    """What a run of a plan in a folder would do and cost: what `toolkit.plan` returns, and raises beyond the check.

    Args:
        checked: the plan.
        folder: of the run; it need not exist.
        sample: rows of each step that asks a model to look at, at most.
        probe: rows of each step to ask for real.
        budget: dollars that the run will have.
    """
    checked = settled(checked, folder)
    found = prospect(checked, folder)
    done = found.done
    lines = _lines(checked, found)
    notes = [] if all(line["exact"] for line in lines) else [NOTE]
    notes += [UNLESS] if found.unless else []
    with TemporaryDirectory(prefix="guardkit-plan-") as temp, ExitStack() as stack:
        money = _Money(checked, folder, done, Sampler(checked, done, sample, Path(temp)), folder.parent / "journal", budget)
        asking = [s for s in checked.steps.values() if isinstance(s.operator, GenerationOperator) and s.id in checked.chosen and s.id not in done]
        if budget is not None:
            check_prices(checked, [s.id for s in asking], done, folder)
        if probe:
            with stopping():
                money.probe(asking, probe)
        money.read_journal(stack)
        calls = {line["step"]: line["calls"] for line in lines}
        models = {s.id: money.estimates(s, calls[s.id]) for s in asking}
    for line in lines:
        line["models"] = [m.as_dict() for m in models.get(line["step"], [])]
        line["expected"] = money.expected.get(line["step"])
    total = _total([m for found in models.values() for m in found])
    notes += [*([SPANS] if any(m.calls and m.dollars != NONE for f in models.values() for m in f) else []), *money.notes]
    if budget is not None and total["dollars"] is not None and total["dollars"]["high"] > budget:
        notes.append(f"the run may cost more than the budget of ${budget:,.2f}: it would stop there (exit code 3) and go on when it is run again")
    return {
        "recipe": checked.recipe.spec.recipe,
        "output": short_path(folder),
        "steps": lines,
        "total": total,
        "words": checked.words(),
        "needs": checked.needs(),
        "notes": notes,
    }


def _lines(checked: Plan, found: Prospect) -> list[dict[str, Any]]:
    """For each step its line."""
    rows: dict[str, int | None] = {}
    lines = []
    done = found.done
    for step in checked.steps.values():
        came = _came(step, rows)
        if step.id in done:
            counts = next(c for c in done[step.id].manifest["counts"] if c["step"] == step.id)
            rows[step.id] = counts["kept"]
            calls: int | None = 0
        else:
            rows[step.id], calls = _estimate(checked, step, came)
        if step.id not in checked.chosen:
            continue
        line = {"step": step.id, "use": step.operator.name, **found.state(step.id)}
        lines.append({**line, "rows": rows[step.id], "exact": step.id in done, "calls": calls})
    return lines


def _came(step: PlannedStep, rows: Mapping[str, int | None]) -> int | None:
    """Rows that come into a step, of those that come out of others; None where that is not known."""
    sources = list(step.inputs.values())
    found = [rows[source] for source in (sources if step.operator.all_inputs else sources[:1])]
    return sum(n for n in found if n is not None) if found and None not in found else None


def _estimate(checked: Plan, step: PlannedStep, came: int | None) -> tuple[int | None, int | None]:
    """Rows out and calls of a step that is not built."""
    op: Operator = step.operator
    if op.shape == "source":
        expected = getattr(op, "expected_rows", None)
        rows = expected(checked.context(step.id)) if expected else None
        return rows, rows if op.kind == "generation" else 0
    planned = getattr(op, "rows_planned", None)  # of those that draw so many rows
    if planned is not None and (drawn := planned(came)) is not None:
        return drawn, 0
    factor = op.factor(list(step.inputs))
    out = None if came is None or factor is None else round(came * factor)
    return out, out if op.kind == "generation" else 0


def _total(models: Sequence[Estimate]) -> dict[str, Any]:
    calls, dollars, seconds = (together([getattr(m, name) for m in models]) for name in ("calls", "dollars", "seconds"))
    return {
        "calls": None if calls is None else calls.as_dict(),
        "dollars": None if dollars is None else dollars.as_dict(4),
        "seconds": None if seconds is None else seconds.as_dict(1),
    }


@dataclass
class _Money:
    """The estimates of a plan."""

    plan: Plan
    folder: Path
    done: Mapping[str, StepFolder]
    sampler: Sampler
    work: Path
    budget: float | None
    journal: Journal | None = None
    notes: list[str] = field(default_factory=list)
    expected: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By step what it is expected to ask less, where that is so."""

    def read_journal(self, stack: ExitStack) -> None:
        """Open the workspace's journal, where there is one or something is left of one, for looking only."""
        from toolkit.generation import Journal

        if any(self.work.glob("journal.*")):
            try:
                self.journal = stack.enter_context(Journal(self.work, readonly=True))
            except GuardkitError as e:
                self.notes.append(f"the journal was not looked at: {e.message}")

    def estimates(self, step: PlannedStep, calls: int | None) -> list[Estimate]:
        """What each model that a step asks will take; `calls` of them all, as far as the recipe says."""
        from toolkit.generation import price_of

        out = []
        backends = declared(self.plan, step.id, self.done, self.sampler.folder)
        for name, (backend, *_) in backends.items():
            config = config_of(backend)
            if config is None or not config.is_model:  # it answers at once and for nothing
                continue
            found = Estimate(name, self._named(config.model_name), config.endpoint_name)
            price = price_of(config)
            found.basis.append("no price is known" if price is None else price.words(datetime.now(UTC).date()))
            if any(self.plan.steps[s].media for s in step.inputs.values()):
                found.basis.append("images, clips and sounds are not counted: what they cost comes on top")
            try:
                estimate(found, self._look(step, name, backend), config, self.journal)
            except NotSampled as e:
                found.basis.append(f"no rows to look at: {e}")
                blank = look(iter([_asked(_asks(step), self._blank(step), name, backend, self._context(step))]), None)
                if calls is not None and blank.left:
                    assume(found, calls / len(backends), blank, config, self.journal)
                else:
                    found.dollars = NONE if price is not None and price.price.input == price.price.output == 0 else None
            out.append(found)
        factor = _asks(step).factor(list(step.inputs)) if calls is not None else None
        if out and (less := _asks(step).asks_less(self._context(step), round(calls / factor) if calls and factor else None)) is not None:
            self.expected[step.id] = {name: value for name, value in less.items() if name != "words"}
            self.notes.append(f"{step.id}: these are the most that it may ask: {less['words']}.")
        for basis in dict.fromkeys("; ".join(m.basis) for m in out):
            names = ", ".join(m.name for m in out if "; ".join(m.basis) == basis)
            self.notes.append(f"{step.id} ({names}): {basis}.")
        return out

    def _blank(self, step: PlannedStep) -> dict[str, Any]:
        """A row as it comes into a step, with labels and no text."""
        columns = self.plan.steps[step.inputs[step.operator.inputs[0]]].handed
        empty: dict[str, Any] = {"string": "", "bool": False, "int64": 0, "float64": 0.0}
        row: dict[str, Any] = {c.name: [] if isinstance(c.type, dict) and "list" in c.type else empty.get(str(c.type)) for c in columns.values()}
        return row | {f"label_{t.name}": t.labels[0] for t in self.plan.guard.tasks if f"label_{t.name}" in row}

    def _named(self, model: str) -> str:
        """A model's name; a model that a step makes is named by the step."""
        for folder in (self.sampler.folder, self.folder):
            if Path(model).is_absolute() and Path(model).is_relative_to(folder.resolve()):
                return f"step {Path(model).relative_to(folder.resolve()).parts[0]}"
        return model

    def _look(self, step: PlannedStep, name: str, backend: Backend) -> Looked:
        op, ctx = _asks(step), self._context(step)
        own = op.shape == "source"
        rows = self.sampler.own(step.id, op.asked_rows(name, {}, ctx)) if own else self.sampler.of(step.inputs[op.inputs[0]])
        looked = look(_requests(op, rows, name, backend, ctx), self.journal)
        looked.drawn, looked.of = rows.drawn, rows.of
        if rows.whole is not None and not looked.whole and self.journal is not None and looked.shape and self.journal.history(looked.shape, 1):
            looked = look(_requests(op, rows.whole, name, backend, ctx), self.journal)  # some may be answered: these are counted, not estimated
            looked.drawn = looked.of = rows.whole.rows or 0
        return looked

    def probe(self, steps: Sequence[PlannedStep], n: int) -> None:
        """Ask `n` rows of each step for real, through the journal."""
        from toolkit.generation import Journal, Meter

        meter = Meter(cap=self.budget)
        with Journal(self.work) as journal:
            for step in steps:
                try:
                    inputs = self.sampler.inputs(step.id)
                except NotSampled as e:
                    self.notes.append(f"{step.id}: not probed: {e}")
                    continue
                if unbuilt := [i.step for i in inputs.values() if isinstance(i, Unbuilt)]:
                    self.notes.append(f"{step.id}: not probed: the step {unbuilt[0]!r} is built first")
                    continue
                op, ctx = _asks(step), self._context(step)
                for name, opener in op.open(ctx, inputs):
                    if not op.known_before(name):
                        self.notes.append(f"{step.id}, {name}: not probed: what it is asked depends on other answers")
                        continue
                    rows = spread(op.asked_rows(name, inputs, ctx), n)
                    with ExitStack() as stack:
                        backend = opener()
                        stack.callback(backend.close)
                        self._ask(step, name, backend, list(rows.iter_rows(named=True)), journal, meter)

    def _ask(self, step: PlannedStep, name: str, backend: Backend, rows: list[dict[str, Any]], journal: Journal, meter: Meter) -> None:
        from toolkit.generation import complete

        config = config_of(backend)
        if config is None or not backend.journalled:
            return
        if config.deferred:
            self.notes.append(f"{step.id}, {name}: not probed: the Batch API may take a day")
            return
        meter.register(backend, config)
        asked = [r for row in rows for r in _asked(_asks(step), row, name, backend, self._context(step)) or ()]
        before = meter.spent
        with complete(asked, backend, journal, meter=meter) as results:
            for _ in results:
                pass
        failed = f", {results.stats.failed} failed" if results.stats.failed else ""
        self.notes.append(f"{step.id}, {name}: probed {len(asked)} requests for ${meter.spent - before:,.4f}{failed}")

    def _context(self, step: PlannedStep) -> Context:
        return self.plan.context(step.id, work=self.work)


def _asks(step: PlannedStep) -> GenerationOperator:
    assert isinstance(step.operator, GenerationOperator)  # noqa: S101  only such steps are estimated
    return step.operator


def _requests(op: GenerationOperator, rows: StepInput, name: str, backend: Backend, ctx: Context) -> Iterator[list[Request] | None]:
    for block in rows.blocks():
        for row in block.iter_rows(named=True):
            yield _asked(op, row, name, backend, ctx)


def _asked(op: GenerationOperator, row: Mapping[str, Any], name: str, backend: Backend, ctx: Context) -> list[Request] | None:
    """What a step asks about a row; None where it cannot."""
    try:
        return op.every_request(row, name, backend, ctx)
    except Unasked as e:
        return None if e.keep is None else []
    except (GuardkitError, BrokenContract, MemoryError):
        raise
    except Exception:  # noqa: BLE001  an operator, possibly another's, failed on this row: the run rejects it and goes on
        return None
