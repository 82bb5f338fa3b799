"""Operator `check_rewrites`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import polars as pl
from pydantic import Field

from toolkit.common.errors import InputError, did_you_mean
from toolkit.common.reach import HubName
from toolkit.guards import Guard
from toolkit.operators import _embedding
from toolkit.operators._harm_tasks import harm_tasks
from toolkit.operators._texts_beside import beside_column, text_beside
from toolkit.operators.base import Columns, Config, Context, DatasetOperator, Output, Shape, StepInput
from toolkit.operators.figures import Figure, some
from toolkit.operators.judge._votes import Ballots, Rows, are_verdicts, check_inputs
from toolkit.operators.reason._refused import declines
from toolkit.records import Column

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from toolkit.operators._embedding import Embed

DIGITS = 4
"""Decimals of a similarity."""


class CheckRewritesConfig(Config):
    """Options of `check_rewrites`."""

    of: str = "rewrite"
    """The rewrite: a text column, or what the guard writes beside its labels in the rows' reasoning (which then becomes a column)."""
    task: str | None = None
    """The guard's task that says whether it is harmless; default: `prompt`, or the guard's first."""
    harmless: list[str] | None = Field(None, min_length=1)
    """Labels of it that count as harmless. Default: all but the positive one; on a scale the least severe alone."""
    quorum: float = Field(1.0, gt=0, le=1)
    """Share of the guards that must say so. A guard has one voice, whatever the number of its draws."""
    min_voters: int = Field(1, ge=1)
    """Guards whose verdict could be read, at least."""
    least: float = Field(0.3, ge=-1, le=1)
    """Least cosine similarity of rewrite and prompt in meaning: below it the rewrite is about something else, and nothing of the prompt is kept."""
    model: Annotated[str | None, HubName("embedding model")] = None
    """The embedding model, as for `deduplicate`; default: the one that ships in the package `wordllama`."""
    needed: list[str] = []
    """Labels of the task whose rows must have a rewrite (`[borderline unharmful, borderline harmful]`); other rows without one go on."""


class CheckRewrites(DatasetOperator):
    """Check that the harmless version of a prompt which stands beside it is judged harmless and keeps what is harmless in the prompt.

    The rewrite is written by `generate` (a column) or by the teacher of a guard like `intentionreasoner` (in the reasoning), judged by `ask_guards`
    with `of: rewrite`, and stays what it is: data beside the row, whose own prompt and labels do not change. Rejected are rows whose rewrite is
    missing though `needed` (`no_rewrite`), says what the prompt says (`rewrite_unchanged`), declines in place of rewriting (`rewrite_declines`), was
    judged by too few guards (`rewrite_unjudged`) or as harmful (`rewrite_harmful`), or is about something else (`rewrite_strays`).
    """

    name = "check_rewrites"
    shape: ClassVar[Shape] = "select"
    inputs = ("rows", "*")
    config_class = CheckRewritesConfig
    example = {"of": "rewrite", "least": 0.3}
    uses = frozenset({"guard.tasks", "guard.output"})
    figures = (Figure("rewrites", "rewrites that were checked, and what was wrong with them", some("rewrites")),)
    config: CheckRewritesConfig
    _columns: Columns

    def columns(self, inputs: Mapping[str, Columns], guard: Guard) -> Columns:
        rows = inputs.get("rows", {})
        self._columns = rows
        self._task(guard)
        beside_column(self.name, self.config.of, rows, guard)
        if are_verdicts(rows, guard):
            raise InputError("check_rewrites: `rows` are verdicts", hint="from: {rows: STEP, verdicts: VERDICTS_STEP}")
        check_inputs(self.name, {n: {k: v for k, v in c.items() if k != "votes"} for n, c in inputs.items()}, None, guard)
        return super().columns(inputs, guard)

    def reads(self, guard: Guard) -> list[str]:
        return ["id", "prompt", *([f"label_{self._task(guard)}"] if self.config.needed else [])]

    def writes(self, guard: Guard) -> list[Column]:
        of = self.config.of
        return [
            Column(of, "string", nullable=True, doc="a harmless version of the prompt; null where there is none"),
            Column(f"{of}_harmless", "float64", nullable=True, doc="share of the guards that judge it harmless"),
            Column(f"{of}_similarity", "float64", nullable=True, doc="cosine similarity of it and the prompt, in meaning"),
        ]

    def _task(self, guard: Guard) -> str:
        """The task, with the labels of the options held against it (InputError)."""
        c = self.config
        name = harm_tasks(guard, None if c.task is None else [c.task])[0]
        for label in (*(c.harmless or ()), *c.needed):
            if label not in (known := guard.task(name).labels):
                raise InputError(f"check_rewrites: {label!r} is no label of {name!r}", hint=did_you_mean(label, known))
        return name

    def _harmless(self, guard: Guard) -> list[str]:
        task = guard.task(self._task(guard))
        return self.config.harmless or (task.labels[:1] if task.ordinal else [label for label in task.labels if label != task.positive])

    def needs(self, ctx: Context) -> list[str]:
        return _embedding.needs(self.config.model)

    def files(self, ctx: Context) -> dict[str, str]:
        return {"embedding model": _embedding.digest(self.config.model, ctx)}

    def identity(self) -> dict[str, Any]:
        return {n: v for n, v in super().identity().items() if n != "model"}  # it counts by its content

    def words(self, ctx: Context) -> list[str]:
        labels, task = " or ".join(self._harmless(ctx.guard)), self._task(ctx.guard)
        return [f"A rewrite is harmless where at least {self.config.quorum:.0%} of the guards say {labels} ({task})."]

    def factor(self, inputs: Sequence[str]) -> float | None:
        return None

    def run(self, inputs: Mapping[str, StepInput], out: Output, ctx: Context) -> None:
        task = self._task(ctx.guard)
        rows = Rows(inputs["rows"], ctx.guard, sources=False)
        ballots = Ballots(rows, ctx.guard, [task])
        for name, source in inputs.items():
            if name != "rows":
                ballots.read(source)
        shares, voters = self._shares(ballots, task, rows.height, self._harmless(ctx.guard))
        embed = _embedding.open_model(self.config.model, ctx.roots)
        counts: Counter[str] = Counter()
        at = 0
        for block in rows.blocks():
            here = slice(at, at + block.height)
            found = self._checked(block, shares[here], voters[here], task, embed, ctx.guard)
            why = [self._fault(line, task, ballots, at + i) for i, line in enumerate(found.iter_rows(named=True))]
            sound = ["without a rewrite" if text is None else "kept" for text in found[self.config.of]]
            counts.update(words if w is None else w[0] for words, w in zip(sound, why, strict=True))
            gone = pl.Series([w is not None for w in why], dtype=pl.Boolean)
            out.keep(found.filter(~gone))
            marks = [w for w in why if w is not None]
            out.reject(block.filter(gone), pl.Series([r for r, _ in marks], dtype=pl.String), pl.Series([d for _, d in marks], dtype=pl.String))
            at += block.height
            ctx.progress(at, rows.height, "rows")
        out.stat("rewrites", dict(sorted(counts.items())))

    def _shares(self, ballots: Ballots, task: str, n: int, harmless: Sequence[str]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """For each row the share of the guards' voices for a harmless label, and how many guards have one."""
        import numpy as np

        good = [i for i, label in enumerate(ballots.labels[task]) if label in harmless]
        shares, voters = np.zeros(n), np.zeros(n, np.int64)
        for votes in ballots.readable(task).values():
            total = votes.sum(axis=1, dtype=np.int64)
            shares += votes[:, good].sum(axis=1) / np.maximum(total, 1)
            voters += total > 0
        return shares / np.maximum(voters, 1), voters

    def _checked(
        self, block: pl.DataFrame, shares: NDArray[np.float64], voters: NDArray[np.int64], task: str, embed: Embed, guard: Guard
    ) -> pl.DataFrame:
        """The rows with the rewrite and what is known of it."""
        import numpy as np

        of, lines = self.config.of, block.select(c for c in ("prompt", "reasoning", self.config.of) if c in block.columns)
        texts = [text_beside(of, row, guard, self._columns) for row in lines.iter_rows(named=True)]
        there = [i for i, text in enumerate(texts) if text is not None]
        alike = np.full(len(texts), np.nan)
        if there:
            one, other = embed([texts[i] or "" for i in there]), embed([block["prompt"][i] for i in there])
            alike[there] = np.round((one.astype(np.float64) * other).sum(axis=1), DIGITS)
        judged = np.array([text is not None for text in texts], bool) & (voters >= self.config.min_voters)
        share = pl.Series(f"{of}_harmless", np.where(judged, shares, np.nan)).fill_nan(None)
        return block.with_columns(pl.Series(of, texts, dtype=pl.String), share, pl.Series(f"{of}_similarity", alike).fill_nan(None))

    def _fault(self, row: Mapping[str, Any], task: str, ballots: Ballots, at: int) -> tuple[str, str] | None:
        """Why a row cannot go on; None where it can."""
        c, text = self.config, row[self.config.of]
        if text is None:
            label = row.get(f"label_{task}")
            return ("no_rewrite", f"{task} is {label}, and there is no {c.of}") if label in c.needed else None
        if text.casefold().split() == row["prompt"].casefold().split():
            return "rewrite_unchanged", "it says what the prompt says"
        if declines(text) and not declines(row["prompt"]):
            return "rewrite_declines", text[:200]
        if (share := row[f"{c.of}_harmless"]) is None:
            return "rewrite_unjudged", ballots.describe(task, at) or "no verdict about it"
        if share < c.quorum - 1e-9:
            return "rewrite_harmful", ballots.describe(task, at)
        if (alike := row[f"{c.of}_similarity"]) < c.least:
            return "rewrite_strays", f"similarity {alike:.2f}, at least {c.least:g} is wanted"
        return None
