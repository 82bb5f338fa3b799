"""Reading a frame of outputs at once.

Contract: for each row `read_frame` gives what `read_output` gives for it. Where the guard's format allows it, a few expressions of polars look at all
rows and decide most of them (`toolkit.guards.shortcut`). What they leave is read text by text, an equal text once.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from operator import and_
from typing import TYPE_CHECKING

import polars as pl

from toolkit.guards import Guard, Mode, Parsed, Shortcut, in_reading, read_block, repeats_its_input, shortcut
from toolkit.judging._outputs import read_names, read_output

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_TEXT = pl.col("output")
_SPACES = "".join(c for c in map(chr, range(0x3001)) if c.isspace())
"""What Python strips."""
_INK = r"[^\s\x1c-\x1f]"
"""What is no white space."""


def read_frame(guard: Guard, rows: pl.DataFrame, mode: Mode = "lenient", *, reading: str | None = None) -> pl.DataFrame:
    """The labels of a frame of outputs, and why one could not be read.

    Args:
        guard: the definition.
        rows: `output` and what there is of `toolkit.judging.TEXTS`.
        mode: as for `toolkit.guards.parse`.
        reading: likewise.

    Returns:
        ``verdict_<task>`` and ``unread_<task>`` for each task, a line for each row.

    Raises:
        InputError: the guard has no reading of that name.

    Example:
        >>> guard = toolkit.load_guard("guardreasoner")
        >>> rows = polars.DataFrame({"output": ["Request: harmful\\nCompletion: None\\nResponse: None", "Request: maybe"]})
        >>> read_frame(guard, rows)["verdict_prompt"].to_list()
        ['harmful', None]
    """
    frame = _Frame(guard, rows, mode, reading)
    if (short := shortcut(guard, mode)) is not None:
        frame.decide(short)
    frame.read_rest()
    return frame.columns()


class _Frame:
    """A frame that is being read. What outputs say is recorded once, under a number; `numbers` has that of each row, -1 until then."""

    def __init__(self, guard: Guard, rows: pl.DataFrame, mode: Mode, reading: str | None) -> None:
        import numpy as np

        self._guard, self._rows, self._mode, self._reading = guard, rows, mode, reading
        self._lines: list[list[str | None]] = []
        self._prompts = mode == "lenient" and guard.grammar is None and "prompt" in rows.columns
        self.numbers: NDArray[np.int64] = np.full(rows.height, -1, np.int64)

    def columns(self) -> pl.DataFrame:
        """What each row says."""
        return pl.DataFrame(self._lines, schema=dict.fromkeys(read_names(self._guard), pl.String), orient="row")[self.numbers]

    def decide(self, short: Shortcut) -> None:
        """Number what the shortcut decides."""
        if self._prompts and short.input_holds is None:
            return
        looked = self._rows.select(block=_TEXT.str.extract(short.block), fits=reduce(and_, _conditions(short, self._prompts)).fill_null(False))
        fits = looked["fits"].to_numpy(writable=True)
        if short.letters is not None:
            other = self._rows.select((_TEXT.str.len_bytes() != _TEXT.str.len_chars()).arg_true()).to_series().to_numpy()
            fits[other] &= ~self._matches(other, short.letters)
        self._by_block(short, looked["block"], fits)
        self._without_block(short, looked["block"].is_null().arg_true(), fits)

    def read_rest(self) -> None:
        """Read what has no number, an equal text once."""
        import numpy as np

        at = np.flatnonzero(self.numbers < 0)
        left = self._rows[at]
        prompts = left["prompt"].to_list() if self._prompts else None
        known: dict[str | None, int] = {}
        for i, text in enumerate(left["output"].to_list()):
            if prompts is not None and text and repeats_its_input(self._guard, text, prompts[i] or ""):
                number = self._add(read_output(self._guard, text, self._mode, row=left.row(i, named=True)))
            elif (number := known.get(text, -1)) < 0:
                number = known[text] = self._add(read_output(self._guard, text, self._mode))
            self.numbers[at[i]] = number

    def _add(self, parsed: Parsed) -> int:
        """Record what was read."""
        found = parsed if self._reading is None else in_reading(self._guard, parsed, self._reading)
        self._lines.append([value for task in self._guard.task_names for value in (found.labels[task], found.reasons[task])])
        return len(self._lines) - 1

    def _add_nothing(self, reason: str) -> int:
        """Record that no task is read."""
        tasks = self._guard.task_names
        return self._add(Parsed(dict.fromkeys(tasks), dict.fromkeys(tasks, reason)))

    def _matches(self, at: NDArray[np.int64], expression: str) -> NDArray[np.bool_]:
        """Whether an expression matches in some of the texts; not in one that is not there."""
        return self._rows["output"].gather(at).str.contains(expression).fill_null(False).to_numpy()

    def _by_block(self, short: Shortcut, blocks: pl.Series, fits: NDArray[np.bool_]) -> None:
        """Number the rows that say what their block says."""
        import numpy as np

        distinct = blocks.unique().drop_nulls()
        read = [read_block(self._guard, self._mode, block) for block in distinct]
        by_block = np.array([-1 if parsed is None else self._add(parsed) for parsed in read] + [-1], np.int64)
        places = pl.int_range(distinct.len(), eager=True)
        which = blocks.replace_strict(distinct, places, default=distinct.len(), return_dtype=pl.Int64).to_numpy()
        numbers = np.where(fits, by_block[which], -1)
        for task, expression in (short.label or {}).items():
            unlabelled = np.array([parsed is not None and parsed.labels[task] is None for parsed in read] + [False])
            at = np.flatnonzero(unlabelled[which] & (numbers >= 0))
            numbers[at[self._matches(at, expression)]] = -1
        if short.lines is not None:
            expression, times = short.lines
            at = np.flatnonzero(numbers >= 0)
            numbers[at[(self._rows["output"].gather(at).str.count_matches(expression) != times).to_numpy()]] = -1
        self.numbers = numbers

    def _without_block(self, short: Shortcut, none: pl.Series, fits: NDArray[np.bool_]) -> None:
        """Number the rows at these places, which have no block, where they say nothing."""
        at = none.to_numpy()
        inked = self._matches(at, _INK)
        if not inked.all():
            self.numbers[at[~inked]] = self._add_nothing("empty")
        at = at[inked & fits[at]]
        if short.answer is not None and len(at := at[~self._matches(at, short.answer)]):
            self.numbers[at] = self._add_nothing(short.missing)


def _conditions(short: Shortcut, prompts: bool) -> Iterator[pl.Expr]:
    """What must hold of a text, but for its letters and lines; `prompts`: whether the rows have them."""
    yield _TEXT.is_not_null()
    yield from (_TEXT.str.contains(e) for e in short.present)
    yield from (~_TEXT.str.contains(e) for e in short.absent)
    yield from (_TEXT.str.count_matches(word, literal=True) == 1 for word in short.once)
    if prompts and short.begins_with_prompt:
        begun = pl.col("prompt").fill_null("").str.strip_chars(_SPACES).str.head(40)
        begun = pl.when(begun == "").then(pl.lit("\0")).otherwise(begun)
        yield ~_TEXT.str.strip_chars_start(_SPACES).str.starts_with(begun)
    if prompts and short.input_holds:
        yield ~_TEXT.str.contains(short.input_holds, literal=True)
