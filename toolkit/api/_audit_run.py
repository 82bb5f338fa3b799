"""`toolkit.audit` in its steps: options checked, rows found, the guard and its twin asked, the figures made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.api._audit_rows import audited_rows, same_tasks
from toolkit.api._evaluate_plan import Places, model_name
from toolkit.api._generate import read_config
from toolkit.api._results import Audited
from toolkit.api._trained import guard_of
from toolkit.common.errors import InputError, InputErrors
from toolkit.common.outputs import check_output
from toolkit.common.paths import Roots, at_door
from toolkit.common.reach import refused, unknown
from toolkit.common.resources import workspace
from toolkit.common.several import several
from toolkit.evaluation import CHAINS, ROWS, as_rows, chain_flips, chain_settled, chain_stages, redrawn
from toolkit.guards import Guard, load_guard, not_ours
from toolkit.judging import Forced, OpenGuard, Probe, Verdict, answered_tasks, chain_probes, check_forced
from toolkit.operators.judge._audit_sides import contradictions, held_against
from toolkit.operators.reason._voice import stated_labels
from toolkit.pipeline import JOURNAL, Progress, output_file, stopping, write_rows

if TYPE_CHECKING:
    import polars as pl

    from toolkit.generation import BaseBackendConfig, Completion, Journal, Meter

BEFORE, BEHIND = "without the chain", "behind the chain"
"""What the two sides of `early` are called."""


@dataclass(frozen=True)
class AuditOptions:
    """How a guard is audited: as for `toolkit.audit`."""

    guard: str | Path | None
    columns: Mapping[str, str] | None
    draws: int
    temperature: float
    forced: bool
    limit: int | None
    seed: int
    bootstrap: int
    work: str | Path | None
    allow: str | Collection[str]
    output: str | Path | None
    progress: Progress

    def check(self) -> None:
        """Raise InputError for a number that cannot be."""
        for name, n, least in (("draws", self.draws, 0), ("bootstrap", self.bootstrap, 100), ("limit", self.limit, 1)):
            if n is not None and (not isinstance(n, Integral) or isinstance(n, bool) or n < least):
                raise InputError(f"{name} is a number from {least}, not {n}")
        if not isinstance(self.temperature, Real) or not self.temperature > 0:
            raise InputError(f"temperature is a number above 0, not {self.temperature}: at 0 each draw of a chain is the same")


def audited(
    model: Any,
    rows: Any,
    twin: Any,
    benchmarks: str | Sequence[str] | Mapping[str, Places | None] | None,
    data: Places,
    task: str | Sequence[str] | None,
    how: AuditOptions,
) -> Audited:
    """What `toolkit.audit` returns, which says the rest."""
    how.check()
    config = _config(model, how)
    guard = load_guard(how.guard) if how.guard is not None else guard_of(config)
    if guard.grammar is not None:
        raise not_ours(guard, "has no reasoning of ours to audit")
    if how.forced:
        check_forced(guard, config)
    other = None if twin is None else _config(twin, how)
    if other is not None:
        check_forced(guard, other)
        same_tasks(guard, guard_of(other), other.model_name)
    found, tasks = audited_rows(guard, rows, benchmarks, data, several(task), how.columns, how.limit, how.seed)
    journal = (at_door(how.work) if how.work else workspace()) / JOURNAL
    check_output(journal, reads=Roots.of(None).read, own="journal", hint="name another folder with `work`")
    if (file := output_file(how.output)) is not None:
        check_output(file, journal=journal, hint="name another file")
    with stopping():
        done = _Audit(guard, tasks, found, how, journal).made(config, other)
    if file is not None:
        write_rows(file, [done.pop("lines")])
    done.pop("lines", None)
    return Audited(done)


def _config(model: Any, how: AuditOptions) -> BaseBackendConfig:
    config = read_config({"backend": "transformers", "model": str(model)} if isinstance(model, str | Path) else model)
    if left := refused(config, several(how.allow), lambda key: ".".join(map(str, key))) or unknown([config], several(how.allow)):
        raise InputErrors(left)
    return config


class _Audit:
    """An audit in the making.

    Args:
        guard: the definition.
        tasks: those that are audited.
        rows: by id.
        how: the options.
        folder: of the journal.
    """

    def __init__(self, guard: Guard, tasks: Sequence[str], rows: Mapping[str, Mapping[str, Any]], how: AuditOptions, folder: Path) -> None:
        self._guard, self._tasks, self._rows, self._how, self._folder = guard, tuple(tasks), rows, how, folder
        self._positives = {t: guard.task(t).positive for t in tasks}
        self._spent: Counter[str] = Counter({"asked": 0, "from_journal": 0, "failed": 0})
        self._notes: list[str] = []

    def made(self, config: BaseBackendConfig, other: BaseBackendConfig | None) -> dict[str, Any]:
        """The result, with the table of `CHAINS` under ``lines``."""
        from toolkit.generation import Journal, Meter

        name, meter = model_name(config.model_name), Meter(cap=None)
        lines = _table([])
        with self._how.progress as shown, Journal(self._folder) as journal:
            with OpenGuard(self._guard, config, name=name, work=self._folder) as one:
                identity = one.backend.model_id
                first = self._asked(one, shown, f"ask {name}", journal, meter)
                probes, chains = self._probes(first, name)
                if self._how.forced:
                    lines = self._lines(first, probes, one, name, shown, journal, meter)
                again = self._again(config, one, probes, name, shown, journal, meter)
            found = self._figures(lines, first, again)
            twin = None if other is None else self._twin(other, identity, lines, first, shown, journal, meter)
        return {
            "model": name,
            "guard": self._guard.name,
            "tasks": list(self._tasks),
            "chains": chains,
            **found,
            "contradictions": self._contradictions(first),
            "twin": twin,
            "notes": self._notes,
            "spent": dict(self._spent),
            "lines": lines,
        }

    # Asking -----------------------------------------------------------------------------------------------------------

    def _asked(self, one: OpenGuard, shown: Progress, words: str, journal: Journal, meter: Meter, ids: Sequence[str] = (), draws: int = 1) -> Any:
        """The verdicts by row; of several draws lists of them."""
        rows = [self._rows[i] for i in ids] if ids else list(self._rows.values())
        out: dict[str, list[Verdict]] = {}
        tell = _telling(shown, words, len(rows) * draws)
        for verdict in one.verdicts(rows, draws, journal=journal, meter=meter, on_done=tell):
            out.setdefault(verdict.id, []).append(verdict)
        self._count(one)
        return out if draws > 1 else {i: v for i, (v,) in out.items()}

    def _probes(self, first: Mapping[str, Verdict], name: str) -> tuple[list[Probe], dict[str, Any]]:
        read = [
            {"id": i, "response": self._rows[i].get("response"), "output": v.output, **{f"verdict_{t}": v.labels[t] for t in self._tasks}}
            for i, v in first.items()
        ]
        probes, left = chain_probes(self._guard, read, tasks=self._tasks, seed=self._how.seed)
        steps = [p.steps for p in probes if p.kind == "before"]
        why: dict[str, dict[str, Any]] = {}
        for row, reason in left.items():
            entry = why.setdefault(reason, {"rows": 0, "first": row, "output": (first[row].output or "")[:200]})
            entry["rows"] += 1
        if not steps:
            reasons = ", ".join(f"{reason} {one['rows']:,} (first {one['first']})" for reason, one in why.items())
            message = f"none of {name}'s {len(first):,} outputs has a chain of reasoning to audit: {reasons}"
            raise InputError(message, hint="is it a guard without reasoning (then it is a twin: --twin), or of another definition (--guard)?")
        mean = round(sum(steps) / len(steps), 2)
        return probes, {"rows": len(first), "with": len(steps), "steps": mean, "without": why}

    def _forced(self, rows: Sequence[Mapping[str, Any]], one: OpenGuard, words: str, shown: Progress, journal: Journal, meter: Meter) -> list[Forced]:
        done = list(one.forced(rows, journal=journal, meter=meter, on_done=_telling(shown, words, len(rows))))
        self._count(one)
        if failed := [f for f in done if f.error is not None]:
            message = f"{words}: {len(failed):,} of {len(rows):,} could not be answered, and are left out ({failed[0].error}: {failed[0].detail})"
            self._notes.append(message)
        return done

    def _count(self, one: OpenGuard) -> None:
        if one.stats is not None:
            self._spent.update({name: getattr(one.stats, name) for name in self._spent})

    def _lines(
        self,
        first: Mapping[str, Verdict],
        probes: Sequence[Probe],
        one: OpenGuard,
        name: str,
        shown: Progress,
        journal: Journal,
        meter: Meter,
    ) -> pl.DataFrame:
        asked = [{**self._rows[p.row], "begun": p.begun, "opened": p.opened} for p in probes]
        answers = self._forced(asked, one, f"{name} behind parts of chains", shown, journal, meter)
        out = []
        for probe, answer in zip(probes, answers, strict=True):
            row = self._rows[probe.row]
            for task in self._tasks if probe.task is None else [probe.task]:
                if task in answered_tasks(self._guard, row):
                    final, label = first[probe.row].labels[task], answer.label(task)
                    likely = answer.probabilities.get(task, {}).get(self._positives[task])
                    gold = row.get(f"label_{task}")
                    out.append((name, probe.row, task, gold, final, probe.kind, probe.step, probe.steps, label, likely))
        self._note_swaps(probes)
        return _table(out)

    def _note_swaps(self, probes: Iterable[Probe]) -> None:
        got = {(p.task, p.kind) for p in probes}
        for task in self._tasks:
            for kind, words in (("same", "the same verdict"), ("other", "another verdict")):
                if (task, kind) not in got:
                    self._notes.append(f"{task}: no two rows of one kind have {words} and a chain, so that none could be swapped for such a one")

    def _again(
        self, config: BaseBackendConfig, one: OpenGuard, probes: Sequence[Probe], name: str, shown: Progress, journal: Journal, meter: Meter
    ) -> dict[str, list[Verdict]]:
        """The verdicts of further draws on the rows that have a chain."""
        if not self._how.draws:
            return {}
        warmer = type(config).model_validate({**config.model_dump(exclude_unset=True), "temperature": float(self._how.temperature)})
        ids = [p.row for p in probes if p.kind == "before"]
        with OpenGuard(self._guard, warmer, name=name, work=self._folder, backend=one.backend) as more:
            found = self._asked(more, shown, f"draw {name} again", journal, meter, ids, self._how.draws)
        return found if self._how.draws > 1 else {i: [v] for i, v in found.items()}

    # Figures ----------------------------------------------------------------------------------------------------------

    def _figures(self, lines: pl.DataFrame, first: Mapping[str, Verdict], again: Mapping[str, Sequence[Verdict]]) -> dict[str, Any]:
        how: dict[str, Any] = {"draws": self._how.bootstrap, "seed": self._how.seed}
        flips: list[dict[str, Any]] = []
        if again:
            flips += redrawn(self._verdicts(v for i, v in first.items() if i in again), self._verdicts(_flat(again)), self._positives, **how)
        if not lines.height:
            return {"stages": [], "settled": [], "flips": flips, "early": []}
        import polars as pl

        own = lines.filter(pl.col("probe").is_in(["before", "step"]))
        sides = {BEFORE: own.filter(pl.col("step") == 0), BEHIND: own.filter(pl.col("step") == pl.col("steps"))}
        rows = pl.concat(as_rows(part, side) for side, part in sides.items())
        return {
            "stages": chain_stages(lines, self._positives, **how),
            "settled": chain_settled(lines),
            "flips": [*chain_flips(lines, self._positives), *flips],
            "early": held_against(rows, BEFORE, BEHIND, self._positives, **how),
        }

    def _verdicts(self, verdicts: Iterable[Verdict]) -> pl.DataFrame:
        import polars as pl

        lines = [(v.guard, v.id, t, v.labels[t]) for v in verdicts for t in self._tasks if t in answered_tasks(self._guard, self._rows[v.id])]
        return pl.DataFrame(lines, schema={"model": pl.String, "id": pl.String, "task": pl.String, "verdict": pl.String}, orient="row")

    def _contradictions(self, first: Mapping[str, Verdict]) -> list[dict[str, Any]]:
        return contradictions(self._guard, ((v.id, v.output, v.labels) for v in first.values()), self._tasks)

    # The twin ---------------------------------------------------------------------------------------------------------

    def _twin(
        self,
        config: BaseBackendConfig,
        identity: str,
        lines: pl.DataFrame,
        first: Mapping[str, Verdict],
        shown: Progress,
        journal: Journal,
        meter: Meter,
    ) -> dict[str, Any]:
        """The guard and a twin without reasoning on the same rows."""
        import polars as pl

        name = model_name(config.model_name)
        name = f"{name} (twin)" if name in {v.guard for v in first.values()} else name
        with OpenGuard(self._guard, config, name=name, work=self._folder) as one:
            if one.backend.model_id == identity:
                raise InputError("the twin is the model itself", where=config.model_name, hint="train one with `render_sft` and `reasoning: false`")
            verdicts = self._asked(one, shown, f"ask {name}", journal, meter)
            bare = [{**row, "begun": "", "opened": True} for row in self._rows.values()]
            answers = dict(zip(self._rows, self._forced(bare, one, f"{name} without a chain", shown, journal, meter), strict=True))
        chained = sum(v.output is not None and bool(stated_labels(self._guard, v.output)) for v in verdicts.values())
        if chained:
            self._notes.append(
                f"{name}: {chained:,} of its {len(verdicts):,} outputs conclude something before the answer: it is no twin without reasoning"
            )
        mine = {v.guard for v in first.values()}.pop()
        own = {}
        if lines.height:
            whole = lines.filter(pl.col("probe") == "step", pl.col("step") == pl.col("steps"))
            own = {(i, t): p for i, t, p in whole.select("id", "task", "probability").iter_rows()}
        made = list(self._as_rows(first.values(), own))
        made += self._as_rows(
            verdicts.values(), {(i, t): a.probabilities.get(t, {}).get(p) for i, a in answers.items() for t, p in self._positives.items()}
        )
        rows = pl.DataFrame(made, schema=ROWS, orient="row")
        how: dict[str, Any] = {"draws": self._how.bootstrap, "seed": self._how.seed}
        return {"model": name, "guard": mine, "held": held_against(rows, mine, name, self._positives, **how)}

    def _as_rows(self, verdicts: Iterable[Verdict], probabilities: Mapping[tuple[str, str], float | None]) -> Iterator[dict[str, Any]]:
        for v in verdicts:
            for task in self._tasks:
                if task in answered_tasks(self._guard, self._rows[v.id]):
                    same = dict.fromkeys(ROWS) | {"benchmark": "rows", "id": v.id, "model": v.guard, "draw": 0, "task": task}
                    gold, likely = self._rows[v.id].get(f"label_{task}"), probabilities.get((v.id, task))
                    yield same | {"gold": gold, "verdict": v.labels[task], "unread": v.unread[task], "probability": likely}


def _flat(again: Mapping[str, Sequence[Verdict]]) -> Iterator[Verdict]:
    return (v for several_draws in again.values() for v in several_draws)


def _table(lines: Sequence[tuple[Any, ...]]) -> pl.DataFrame:
    import polars as pl

    return pl.DataFrame(lines, schema=CHAINS, orient="row")


def _telling(shown: Progress, words: str, total: int) -> Any:
    """What is called with each completion."""
    shown.start(words)
    done = 0

    def tell(completion: Completion) -> None:
        nonlocal done
        done += 1
        shown.update(done, total, "answers")

    return tell
