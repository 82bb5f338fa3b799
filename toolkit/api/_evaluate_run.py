"""Asking and reading the models of an evaluation, and the document of what came of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.api._evaluate_plan import Judge, model_name
from toolkit.common.secrets import shown
from toolkit.evaluation import ChangedSets, Evaluation, RowSet, Written, breakdown, figures, write_evaluation
from toolkit.guards import Guard, input_fingerprint
from toolkit.judging import OpenGuard, asked_lines, judged_tasks, to_ask, written_lines
from toolkit.pipeline import Progress

if TYPE_CHECKING:
    import polars as pl

    from toolkit.generation import BaseBackendConfig, Completion, Meter

_OF_CATEGORY = ("benchmark", "model", "task", "policy", "n", "f1", "precision", "recall", "accuracy", "fpr", "tp", "fp", "fn", "tn", "unparsable")
COUNTS = ("asked", "from_journal", "failed", "prompt_tokens", "completion_tokens")


class Run:
    """One evaluation.

    Args:
        judges: the models.
        sets: the rows.
        settings: as for `toolkit.evaluation.figures`.
        remarks: what is reported before anything is asked.
        draws, reading, probabilities: as for `toolkit.evaluate`.
        journal: folder of the journal.
        meter: counts what is spent.
        progress: where progress is shown.
        changed: the rows under changes, about which those models are asked, too, that are asked at all.
    """

    def __init__(
        self,
        judges: Sequence[Judge],
        sets: Sequence[RowSet],
        settings: Mapping[str, Any],
        remarks: Sequence[str],
        *,
        draws: int,
        reading: str | None,
        probabilities: bool,
        journal: Path,
        meter: Meter,
        progress: Progress,
        changed: ChangedSets | None = None,
    ) -> None:
        self._judges, self._sets, self._settings, self._remarks = judges, sets, dict(settings), list(remarks)
        self._draws, self._reading, self._probabilities = draws, reading, probabilities
        self._folder, self._meter, self._progress = journal, meter, progress
        self._changed = changed
        self._asked: dict[str, dict[str, Any]] = {}
        self.spent: dict[str, Any] = dict.fromkeys(COUNTS, 0) | {"errors": {}, "messages": {}}

    def write(self, folder: Path) -> Evaluation:
        """Ask, read and write (raises as `toolkit.evaluate`)."""
        with ExitStack() as stack:
            stack.enter_context(self._progress)
            found = write_evaluation(folder, self._document, self._lines(stack))
        self.spent["cost"] = self._meter.spent if self.spent["asked"] or self.spent["from_journal"] else 0.0
        self.spent["estimated"] = self._meter.estimated
        return found

    def _lines(self, stack: ExitStack) -> Iterator[pl.DataFrame]:
        from toolkit.generation import Journal

        journal = stack.enter_context(Journal(self._folder)) if any(j.config for j in self._judges) else None
        for judge in self._judges:
            self._progress.start(f"evaluate {judge.name}")
            if judge.config is not None:
                yield from self._ask(judge, judge.config, journal)
                continue
            assert judge.written is not None  # noqa: S101  a model is asked or has written
            for one in self._sets:
                if (joined := judge.joined.get(one.name)) is None:
                    continue
                done = 0
                for block in written_lines(judge.guard, one, judge.written, joined, judge.name):
                    yield block
                    done += block.height
                    self._progress.update(done, joined.rows.height * len(one.tasks), f"lines of {one.name}")

    def _ask(self, judge: Judge, config: BaseBackendConfig, journal: Any) -> Iterator[pl.DataFrame]:
        changed = self._changed.sets if self._changed is not None else []
        total = sum(to_ask(judge.guard, one).height for one in (*self._sets, *changed)) * self._draws
        done = 0

        def settled(completion: Completion) -> None:
            nonlocal done
            done += 1
            spent = f", ${self._meter.spent:,.2f}" if self._meter.spent else ""
            self._progress.update(done, total, config.backend + spent)

        asked: dict[str, Any] = {"probabilities": True} if self._probabilities else {}
        with OpenGuard(judge.guard, config, name=judge.name, work=self._folder, **asked) as one:
            yield from asked_lines(one, self._sets, self._draws, journal=journal, meter=self._meter, on_done=settled)
            self._count(one, done)
            model_id = one.backend.model_id
            name = model_name(config.model_name) if config.runs_here and config.model_name else config.model_name
            self._asked[judge.name] = {"model_id": model_id, "model": name, "endpoint": shown(config.endpoint_name)}
            if self._changed is not None:
                before = done
                self._progress.start(f"evaluate {judge.name} on changed rows")
                yield from self._changed.lines(asked_lines(one, changed, self._draws, journal=journal, meter=self._meter, on_done=settled))
                self._count(one, done - before)

    def _count(self, one: OpenGuard, answers: int) -> None:
        """Add what the guard was asked last."""
        if (stats := one.stats) is None:
            return
        for name in COUNTS:
            self.spent[name] += getattr(stats, name)
        for kind, n in stats.errors.items():
            self.spent["errors"][kind] = self.spent["errors"].get(kind, 0) + n
        self.spent["messages"] = {**stats.messages, **self.spent["messages"]}
        self._progress.finish(f"{answers:,} answers in {stats.seconds:.1f} s, {stats.from_journal:,} of them from the journal")

    def _document(self, rows: pl.LazyFrame, changed: pl.LazyFrame | None = None) -> dict[str, Any]:
        models = [self._model(judge) for judge in self._judges]
        benchmarks = [entry for one in self._sets for entry in one.entries()]
        found = figures(rows, benchmarks, models, self._settings)
        of_sets = [words for one in self._sets for words in one.remarks]
        remarks = [*self._remarks, *of_sets, *_of_files(self._judges), *_of_readings(self._judges, self._sets, self._reading), *found["remarks"]]
        more: dict[str, Any] = {name: found[name] for name in ("look_alikes", "ordinal") if name in found}
        return self._robustness(rows, changed, models) | {
            "settings": self._settings,
            "models": models,
            "benchmarks": benchmarks,
            "results": found["results"],
            "means": found["means"],
            "remarks": list(dict.fromkeys(remarks)),
            **more,
            **({"categories": parts} if (parts := self._categories(rows, models, found["results"])) else {}),
        }

    def _categories(self, rows: pl.LazyFrame, models: Sequence[Mapping[str, Any]], whole: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Figures by the benchmarks' own categories, of what has figures as a whole, under the first policy that counts each row once."""
        import polars as pl

        named = [one.name for one in self._sets if (one.rows["categories"].list.len() > 0).any()]
        policy = next((p for p in self._settings["policies"] if p != "reference"), None)
        if not named or policy is None:
            return []
        positives = {task: positive for one in self._sets if one.name in named for task, positive in one.positives.items()}
        readings = {m["name"]: m["readings"] for m in models if m["readings"]}
        has = {(r["benchmark"], r["model"], r["task"]): r["title"] for r in whole if r["policy"] == policy and r["judged"] and not r["withheld"]}
        some = rows.filter(pl.col("benchmark").cast(pl.String).is_in(named))
        found = breakdown(some, positives, "categories", policies=(policy,), k=self._settings["k"], readings=readings, draws=0)
        kept = [(r, has[key]) for r in found if (key := (r["benchmark"], r["model"], r["task"])) in has and r["n"]]
        order = {key: i for i, key in enumerate(dict.fromkeys((b, t) for b, _, t in has))}
        kept.sort(key=lambda x: (order[x[0]["benchmark"], x[0]["task"]], x[0]["part"] is None, -x[0]["n"], x[0]["part"] or ""))
        return [{"title": title, "category": r["part"], **{n: r[n] for n in _OF_CATEGORY}} for r, title in kept]

    def _robustness(self, rows: pl.LazyFrame, changed: pl.LazyFrame | None, models: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        if self._changed is None:
            return {}
        positives = {task: positive for one in self._sets for task, positive in one.positives.items()}
        readings = {m["name"]: m["readings"] for m in models if m["readings"]}
        return {"robustness": self._changed.figures(changed, rows, positives, readings)}

    def _model(self, judge: Judge) -> dict[str, Any]:
        guard, config = judge.guard, judge.config
        readings = {t.name: t.readings[self._reading] for t in guard.tasks if self._reading in t.readings} if self._reading else {}
        out: dict[str, Any] = {"name": judge.name, "guard": guard.name, "guard_version": guard.version, "guard_fingerprint": guard.fingerprint}
        out |= {"reading": self._reading if readings else None, "readings": readings or None}
        out |= {"without_reading": [t.name for t in guard.tasks if t.readings and t.name not in readings]}
        if config is not None:
            out |= {
                "backend": config.backend,
                **self._asked.get(judge.name, {}),
                "sampling": sampling_words(config, self._draws, self._settings["k"]),
            }
            return out | {"prompt": input_fingerprint(guard), "draws": self._draws, "files": None}
        return out | {"backend": None, "model_id": None, "model": None, "endpoint": None, "sampling": None, **_files_entry(judge, guard)}


def sampling_words(config: BaseBackendConfig, draws: int, combine: str) -> str:
    """How a model was sampled, in words: two cohorts that differ in them are not set side by side."""
    shaping = config.shaping()
    temperature, top_p = shaping.get("temperature"), shaping.get("top_p")
    if temperature == 0:
        return "greedy"
    heat = "the endpoint's own temperature" if temperature is None else f"temperature {temperature:g}"
    share = f", top_p {top_p:g}" if top_p not in (None, 1) else ""
    return f"{draws} draw{'s' if draws > 1 else ''}, {heat}{share}" + (f", {combine}" if draws > 1 else "")


def _files_entry(judge: Judge, guard: Guard) -> dict[str, Any]:
    written = judge.written
    assert written is not None  # noqa: S101  of a model that has written
    rendered = written.has("rendered") and bool(written.rows["rendered"].fill_null(False).all())
    draws = written.rows["draw"].n_unique() if written.has("draw") else 1
    files = [p.name for p in written.paths]
    return {"prompt": input_fingerprint(guard) if rendered else None, "draws": draws, "files": files, "joined": judge.about}


def _verdict_columns(written: Written) -> list[str]:
    """What files say of verdicts, beside outputs."""
    return [c for c in written.rows.columns if c == "verdict" or c.startswith("verdict_")]


def _of_files(judges: Sequence[Judge]) -> Iterator[str]:
    """What did not fit of what files say, in words."""
    for judge in judges:
        about, name = judge.about, judge.name
        if not about:
            continue
        if about["unreadable"]:
            reasons = ", ".join(f"{why} {n:,}" for why, n in sorted(about["unreadable"].items()))
            yield f"{name}: {sum(about['unreadable'].values()):,} rows of its files cannot be read ({reasons}; first {about['first_unreadable']})"
        if about["extra"]:
            yield f"{name}: {about['extra']:,} rows of its files are about none of these rows (first {about['first_extra']})"
        if judge.written is not None and judge.written.has("output") and (columns := _verdict_columns(judge.written)):
            yield f"{name}: its verdicts are those of {', '.join(columns)}, not read from its outputs, which 'reference' alone looks at"
        for where, one in about["sets"].items():
            if one["missing"]:
                yield f"{name} on {where}: {one['missing']:,} rows have no prediction; they count as not read"
            if one.get("answered"):
                aside = "another question; if the guard saw the prompt alone, leave the column response out"
                yield f"{name} on {where}: of {one['answered']:,} of these rows the files have the prompt with a response, which is {aside}"
            if one.get("again"):
                yield f"{name} on {where}: {one['again']:,} rows have the text of an earlier one, and count again (first {one['first_again']})"
            if one["repeated"]:
                yield f"{name} on {where}: {one['repeated']:,} rows are there again, saying the same; they count once"
            if one.get("text_differs"):
                first = one["first_text"]
                yield f"{name} on {where}: {one['text_differs']:,} rows have another text than the row of their id, which counts (first {first})"
            if one["label_differs"]:
                yield f"{name} on {where}: {one['label_differs']:,} labels of the file are not the set's, which count (first {one['first_label']})"


def _of_readings(judges: Sequence[Judge], sets: Sequence[RowSet], reading: str | None) -> Iterator[str]:
    """Labels that readings of a guard take for others, where none of them was asked for."""
    for judge in judges:
        for task in dict.fromkeys(t for one in sets for t in judged_tasks(judge.guard, one)):
            of = judge.guard.task(task)
            if of.readings and reading not in of.readings:
                words = ", ".join(sorted({word for stands_for in of.readings.values() for word in stands_for}))
                how = " or ".join(of.readings)
                yield f"{judge.name}, {task}: {words} counts as it is, not as {of.positive}; published figures are by a reading ({how})"
