"""Running a generation step: rows to requests, through the engine and the journal, completions back to rows, in order.

A failed generation is rejected with the class of its failure and counted in the manifest's `failed`; those that are worth asking again are
counted in `retry` as well: such a step is not taken as done, and the next run asks again for them and for nothing else (answers are in the
journal). A row that the operator cannot ask about, or an answer that it cannot take, costs that row alone (`operator_error`, or the reason that
the operator gives by `Unasked`); an answer that is not Unicode text is rejected as `not_unicode`.

Memory: rows are read twice, once to ask and once to write, so that none is held while its answer is on the way, but for an operator that
may ask again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import polars as pl

from toolkit.common.errors import BrokenContract, GuardkitError
from toolkit.common.sizes import text_size
from toolkit.generation import Backend, Completion, Journal, Meter, Request, complete, kept_warm
from toolkit.operators import GenerationOperator
from toolkit.operators.base import DETAIL, OUTCOME, REASON, StepInput, Unasked
from toolkit.pipeline._row_steps import Work
from toolkit.pipeline._step_output import StepOutput
from toolkit.pipeline._trial import Trial
from toolkit.records import to_polars

ERROR = "operator_error"
WRITE_EVERY, WRITE_CHARS = 512, 16 << 20
"""Answered rows held before they go to the step's file, and characters of text in them; their answers are in the journal before that."""
ASIDE_EVERY = 65_536
"""Draws that need not be made, held before their lines are written."""


Asking = Work[GenerationOperator]


@kept_warm()
def run_generation(
    step: Asking, inputs: Mapping[str, StepInput], out: StepOutput, journal: Callable[[], Journal], meter: Meter | None = None
) -> None:
    """Run a generation step.

    Args:
        step: what to run; the progress of its context is called after each completion, its counts are filled.
        inputs: finished steps by input name; the first of the operator's inputs has the rows.
        out: where rows, rejects and the numbers of asked and failed go.
        journal: opens the workspace's journal.
        meter: counts what is spent and holds the cap of the whole run.

    Raises:
        GuardkitError: no request can succeed, or the journal cannot be written.
        Missing: too many rows come to nothing (`stop_if` of the operator).
        Stopped: the budget is used up.
    """
    op, ctx, counts = step.operator, step.ctx, step.counts
    opened = op.passes(op.open(ctx, inputs))
    makes_rows = op.shape == "source"
    out.if_stopped(op.so_far)
    if not makes_rows:
        counts.came = inputs[op.inputs[0]].rows or 0
    if op.shape == "expand":
        counts.factor = op.factor(list(inputs))
    done = unasked = 0
    notes: dict[str, Any] = {}
    usage = _Usage()
    types = {**to_polars(tuple(step.columns.values())), **dict.fromkeys((OUTCOME, REASON, DETAIL), pl.String)}  # with why a row leaves
    for name, opener in opened:
        with ExitStack() as stack:
            backends = [_opened(stack, o, meter) for o in (opener, *op.fallbacks(name, ctx))]
            source = op.asked_rows(name, inputs, ctx)
            total = done + (source.rows or 0) if makes_rows else counts.expected
            asking = _Asking(step, name, source, backends[0])
            trial = Trial(counts.step, op.stop_if, types, step.after) if op.stop_if is not None else None
            sink = _Sink(step, types, name, out, asking, usage, trial, draws=round(counts.factor / len(opened)))

            def waits(note: str = "", name: str = name, total: int = total) -> None:
                spent = f", ${meter.spent:,.2f}" if meter is not None and meter.spent else ""
                ctx.progress(done, total, name + spent + (f": {note}" if note else ""))

            def settled(completion: Completion) -> None:
                nonlocal done
                done += 1
                waits()

            results = complete(
                asking.requests(),
                backends,
                journal() if backends[0].journalled else None,
                settled,
                follow=asking.follow if op.asks_again(ctx.guard) else None,
                meter=meter,
                on_wait=waits,
                ahead=None if op.stop_if is None else op.stop_if.after + max(map(_in_flight, backends)),
            )
            if trial is not None:
                trial.watch(results)
            with results:
                for completion in results:
                    sink.take(completion)
                sink.finish()
        unasked += sink.unasked
        if makes_rows:
            counts.came += results.stats.completions
        if not op.makes_up(name):
            out.failed += results.stats.failed
            out.retry += results.stats.retry
        notes[name] = results.stats.figures()
    for figure, value in op.stats().items():
        out.stat(figure, value)
    if used := usage.figures():
        out.stat("usage", used)
    out.asked = counts.came if makes_rows else counts.expected - counts.set_aside.total() - unasked
    out.note("generation", notes)


def _opened(stack: ExitStack, opener: Callable[[], Backend], meter: Meter | None) -> Backend:
    backend = opener()
    stack.callback(backend.close)
    if meter is not None:
        meter.register(backend, getattr(backend, "config", None))
    return backend


def _in_flight(backend: Backend) -> int:
    """Requests beyond those of the first look that a backend wants in flight: none where an answer takes hours, so that these are a batch alone."""
    return 0 if getattr(getattr(backend, "config", None), "deferred", False) else backend.parallel


class _Asking:
    """What a step asks, and how each row fared in that."""

    def __init__(self, step: Asking, name: str, source: StepInput, backend: Backend) -> None:
        self._op, self._ctx = step.operator, step.ctx
        self._name = name
        self._source = source
        self._backend = backend
        self._keep = step.operator.asks_again(step.ctx.guard)
        self._rows: dict[int, dict[str, Any]] = {}  # by number of the request, while an operator may ask again for it
        self.asked: deque[int | Unasked] = deque()
        """For each row that was read and not yet written: how many requests it became, or why none."""
        self.faults: dict[int, str] = {}
        """By number of the request: why an operator could not say whether to ask again."""

    def requests(self) -> Iterator[Request]:
        """All first requests, in the order of the rows."""
        number = 0
        for row in self.rows():
            try:
                found = self._op.requests(row, self._name, self._backend, self._ctx)
            except (GuardkitError, BrokenContract, MemoryError):
                raise
            except Unasked as e:
                self.asked.append(e)
                continue
            except Exception as e:  # noqa: BLE001  an operator, possibly another's, failed on this row: the others go on
                self.asked.append(Unasked(ERROR, _in_words(e)))
                continue
            self.asked.append(len(found) or Unasked(ERROR, "the operator asks nothing about this row"))
            for request in found:
                if self._keep:
                    self._rows[number] = row
                number += 1
                yield request

    def rows(self) -> Iterator[dict[str, Any]]:
        """The rows, one at a time."""
        for block in self._source.blocks():
            yield from block.iter_rows(named=True)

    def follow(self, number: int, request: Request, completion: Completion, trail: tuple[Completion, ...]) -> Request | None:
        """What the operator asks in place of a request."""
        row = self._rows[number]
        following = None
        try:
            following = self._op.again(row, self._name, request, _clean(completion), trail, self._ctx)
        except (GuardkitError, BrokenContract, MemoryError):
            raise
        except Exception as e:  # noqa: BLE001  as in `requests`
            self.faults[number] = _in_words(e)
        if following is None:
            del self._rows[number]
        return following


class _Usage:
    """What the answers of a step took, as the journal has it: the same whether they were asked in this run or in an earlier one.

    Every answer counts, also one that was not taken; one that several rows share counts once: about 60 bytes are held for each. A question that
    is about no row (whether a model takes a schema) is left out: which row it stood in for depends on who came first.
    """

    def __init__(self) -> None:
        self._seen: set[int] = set()
        self._models: dict[str, list[float]] = {}
        self._unpriced: set[str] = set()

    def add(self, completion: Completion) -> None:
        """Count what came of a request, and what came before it."""
        row = completion.asked.row if completion.asked is not None else ""
        earlier = (c for c in completion.trail if c.asked is not None and c.asked.row == row)
        for c in (*earlier, completion):
            if c.text is None or c.prompt_tokens is None or (short := int(c.key[:16], 16)) in self._seen:
                continue
            self._seen.add(short)
            model = c.asked.model_id if c.asked is not None else c.model or "unknown"
            sums = self._models.setdefault(model, [0, 0, 0, 0.0])
            sums[:] = [sums[0] + 1, sums[1] + c.prompt_tokens, sums[2] + (c.completion_tokens or 0), sums[3] + (c.cost or 0.0)]
            if c.cost is None:
                self._unpriced.add(model)

    def figures(self) -> dict[str, dict[str, Any]]:
        """By model: answers, prompt_tokens, completion_tokens, dollars (None where the price of an answer is not known)."""
        names = ("answers", "prompt_tokens", "completion_tokens")
        return {
            model: {**dict(zip(names, map(int, sums), strict=False)), "dollars": None if model in self._unpriced else round(sums[3], 6)}
            for model, sums in sorted(self._models.items())
        }


class _Sink:
    """Takes what came of requests, in their order, and writes it in batches."""

    def __init__(
        self,
        step: Asking,
        types: Mapping[str, Any],
        name: str,
        out: StepOutput,
        asking: _Asking,
        usage: _Usage,
        trial: Trial | None,
        draws: int,
    ) -> None:
        self._op = step.operator
        self._came = to_polars(tuple((step.came or {}).values()))
        self._types = types
        self._trial = trial
        self._name = name
        self._out = out
        self._asking = asking
        self._draws = draws
        self._source = asking.rows()
        self._row: dict[str, Any] = {}
        self._draw = self._left = 0
        self._number = 0
        self._rows: list[dict[str, Any]] = []
        self._aside: list[tuple[str, str, str]] = []
        self._chars = 0
        self._usage = usage
        self.unasked = 0
        """Rows that went on although nothing was asked about them."""

    def take(self, completion: Completion) -> None:
        """Take the completion of the next request."""
        self._usage.add(completion)
        if not self._left:
            self._next_row()
        number, draw = self._number, self._draw
        self._number, self._draw, self._left = number + 1, draw + 1, self._left - 1
        assert completion.asked is not None  # noqa: S101  the engine sets it
        clean = _clean(completion)
        try:
            if number in self._asking.faults:
                self._fault(self._asking.faults.pop(number))
                return
            row = self._op.answer(self._row, self._name, draw, completion.asked, clean)
        except (GuardkitError, BrokenContract, MemoryError):
            raise
        except Exception as e:  # noqa: BLE001  as in `_Asking.requests`
            self._fault(_in_words(e))
            return
        if row.get(REASON) is None and completion.error is not None:  # a failure is never data, whatever the operator says
            row = {**row, REASON: completion.error, DETAIL: completion.detail}
        elif row.get(REASON) is None and clean.text != completion.text:
            row = {**row, REASON: "not_unicode", DETAIL: "the answer holds half of a surrogate pair"}
        if self._trial is not None:
            self._trial.add(row)
        self._hold(row)

    def _hold(self, row: dict[str, Any]) -> None:
        self._rows.append(row)
        self._chars += text_size(row)
        if len(self._rows) >= WRITE_EVERY or self._chars >= WRITE_CHARS:
            self._flush()

    def finish(self) -> None:
        """All completions are taken: reject the rows after the last of them that could not be asked about, write what is held."""
        while self._asking.asked:
            self._unasked()
        self._flush()
        self._set_aside()

    def _next_row(self) -> None:
        while isinstance(self._asking.asked[0], Unasked):
            self._unasked()
        n = self._asking.asked.popleft()
        assert isinstance(n, int)  # noqa: S101  `_unasked` has taken the others
        self._row, self._draw, self._left = next(self._source), 0, n

    def _unasked(self) -> None:
        """Reject the next row, which could not be asked about, or set it aside, once for each draw that it would have had; or let it go on."""
        row, why = next(self._source), self._asking.asked.popleft()
        assert isinstance(why, Unasked)  # noqa: S101  `_next_row` and `finish` have taken the others
        if why.keep is not None:
            self.unasked += 1
            self._hold({**row, **why.keep})
            return
        for _ in range(self._draws if why.draws is None else why.draws):
            if not why.set_aside:
                self._reject(row, why.detail, why.reason)
                continue
            self._aside.append((row["id"], why.reason, why.detail))
            if len(self._aside) >= ASIDE_EVERY:
                self._set_aside()

    def _set_aside(self) -> None:
        """Write the draws that need not be made: a line each, with the row's id alone, as the row is in the step before."""
        if self._aside:
            lines = pl.DataFrame(self._aside, schema={"id": pl.String, REASON: pl.String, DETAIL: pl.String}, orient="row")
            self._aside = []
            self._out.set_aside(lines.select("id"), lines[REASON], lines[DETAIL])

    def _flush(self) -> None:
        """Write what is held."""
        if not self._rows:
            return
        rows = pl.DataFrame(self._rows, schema=self._types, orient="row")
        self._rows, self._chars = [], 0
        self._out.keep(rows.filter(pl.col(REASON).is_null()).drop(OUTCOME, REASON, DETAIL))
        left = rows.filter(pl.col(REASON).is_not_null())
        self._out.leave(left, pl.col(OUTCOME).fill_null("rejected"), pl.col(REASON), pl.col(DETAIL))

    def _fault(self, detail: str) -> None:
        """Reject the row at hand, at which the operator failed."""
        if self._trial is not None:
            self._trial.add({REASON: ERROR, DETAIL: detail})
        self._reject(self._row, detail)

    def _reject(self, row: dict[str, Any], detail: str, reason: str = ERROR) -> None:
        self._flush()  # the rejects stay in the order of the requests
        self._out.reject(pl.DataFrame([row], schema=self._came, orient="row"), reason, detail[:500])


def _clean(completion: Completion) -> Completion:
    """The completion with a text that is Unicode."""
    if completion.text is None or completion.text.isascii():
        return completion
    return replace(completion, text=completion.text.encode("utf-8", "replace").decode())


def _in_words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
