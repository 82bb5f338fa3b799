"""What a guard says of rows: the guard asked, its outputs read."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from toolkit.api._frames import polars_frame
from toolkit.api._generate import read_config
from toolkit.api._trained import by_policy
from toolkit.common.errors import InputError, InputErrors
from toolkit.common.outputs import check_output
from toolkit.common.paths import Roots, at_door
from toolkit.common.reach import refused, unknown
from toolkit.common.resources import workspace
from toolkit.common.several import several
from toolkit.guards import Guard, load_guard, unknown_label
from toolkit.judging import OpenGuard, Verdict, row_table, score_table
from toolkit.pipeline import JOURNAL, Progress, output_file, stopping, write_rows
from toolkit.report import Lines, as_html, as_text

if TYPE_CHECKING:
    import polars as pl

    from toolkit.generation import BaseBackendConfig


class Judged(list[Verdict]):
    """Verdicts, in the order of the rows and their draws.

    Example:
        >>> toolkit.Judged(toolkit.load_guard("guardreasoner"), []).scores
        nothing
    """

    def __init__(self, guard: Guard, verdicts: Iterable[Verdict]) -> None:
        super().__init__(verdicts)
        self.guard = guard

    @property
    def table(self) -> pl.DataFrame:
        """A line for each row, draw and task: `toolkit.judging.TABLE`."""
        return row_table(self, self.guard)

    @property
    def scores(self) -> Lines:
        """Accuracy and F1 on each task that the rows have labels for (``label_<task>``), beside a constant answer."""
        return Lines(score_table(self.table, self.guard))

    def _lines(self) -> list[dict[str, Any]]:
        return [{"id": v.id, "draw": v.draw, **{t: v.labels[t] or f"({v.unread[t]})" for t in self.guard.task_names}} for v in self]

    def __repr__(self) -> str:
        return as_text(self._lines(), "verdicts")

    def _repr_html_(self) -> str:
        return as_html(self._lines(), "verdicts")


def judge(
    rows: Any,
    backend: BaseBackendConfig | Mapping[str, Any],
    *,
    guard: str | Path = "guardreasoner",
    draws: int = 1,
    mode: Literal["lenient", "strict"] = "lenient",
    reading: str | None = None,
    guard_policy: str | Path | Sequence[str] | None = None,
    name: str = "guard",
    work: str | Path | None = None,
    budget: float | None = None,
    allow: str | Collection[str] = (),
    media_folder: str | Path | None = None,
    progress: Progress | None = None,
    output: str | Path | None = None,
) -> Judged:
    """Ask a guard about rows and read what it says. Answers go through the journal: the same call again asks for nothing that it has.

    Args:
        rows: one row, several, or a table of polars, pandas, pyarrow or datasets. A row has `prompt` and may have `response`, `context` (earlier
            messages), `media`, `id` and, to be scored, ``label_<task>``.
        backend: the model that plays the guard, as a recipe declares it: ``{"backend": "transformers", "model": "outputs/run/guard-main/model"}``.
        guard: guard definition, by name or file.
        draws: how often it is asked about each row.
        mode: lenient takes the last label of each task in what the guard answers; strict wants the exact form.
        reading: for labels of which some stand for others: one of the readings that the guard's tasks declare.
        guard_policy: for a guard that is given its policy with the question, for rows without a column `policy`: as for `open_guard`.
        name: what the guard is called in its verdicts.
        work: folder for the journal (``WORK/journal``); default: the workspace.
        budget: dollars that may be spent; None for no cap.
        allow: what the backend may do beyond the rows, by name: see `toolkit.common.reach`.
        media_folder: folder that the uris of rows' media are relative to; default: the working folder.
        progress: where progress is shown; default nowhere.
        output: file for the verdicts' table (.parquet, .jsonl or .csv).

    Returns:
        A list of verdicts, each with `labels` and `unread` (why there is no label) by task; its `table` and its `scores`.

    Raises:
        InputError: rows, a label, a guard, a reading or an output that cannot be; InputErrors: faults of the backend's options.
        Stopped: interrupted, or the budget is used up; every answer is kept. Missing: a key, a service or an extra.

    Example:
        Where `url` is the base URL of an OpenAI-compatible server, ``http://127.0.0.1:8000/v1`` say, that answers, but not as a guard does:

        >>> found = toolkit.judge({"prompt": "How do I bake bread?"}, {"backend": "openai", "model": "m", "base_url": url})
        >>> found[0].labels["prompt"], found[0].unread["prompt"]
        (None, 'field_missing')
    """
    from toolkit.generation import Journal, Meter

    definition, config, folder = by_policy(load_guard(guard), guard_policy), read_config(backend), (at_door(work) if work else workspace()) / JOURNAL
    if left := refused(config, several(allow), lambda key: ".".join(map(str, key))) or unknown([config], several(allow)):
        raise InputErrors(left)
    if draws < 1:
        raise InputError(f"draws is a number from 1, not {draws}")
    if (file := output_file(output)) is not None:
        check_output(file, journal=folder, hint="name another file")
    check_output(folder, reads=Roots.of(None).read, own="journal", hint="name another folder with `work`")
    given = list(given_rows(rows))
    _check_labels(given, definition)
    with stopping(), ExitStack() as stack:
        journal = stack.enter_context(Journal(folder))
        one = stack.enter_context(OpenGuard(definition, config, name=name, work=folder, media=at_door(media_folder) if media_folder else None))
        shown = stack.enter_context(progress or Progress.silent())
        shown.start(f"judge with {name}")
        done = 0

        def settled(_: object) -> None:
            nonlocal done
            done += 1
            shown.update(done, None, config.backend)

        asked = one.verdicts(given, draws, mode=mode, reading=reading, journal=journal, meter=Meter(cap=budget), on_done=settled)
        found = Judged(definition, asked)
    if file is not None:
        write_rows(file, [found.table])
    return found


def _check_labels(rows: Iterable[Mapping[str, Any]], guard: Guard) -> None:
    """Refuse labels that the guard does not know (InputError), which would count as wrong, before anything is asked."""
    for number, row in enumerate(rows):
        for task in guard.tasks:
            if (label := row.get(f"label_{task.name}")) is not None and label not in task.labels:
                hint = "`toolkit.seeds` makes a guard's labels of other values"
                raise InputError(unknown_label(str(label), task.labels), where=f"rows[{number}].label_{task.name}", hint=hint)


def given_rows(rows: Any) -> Iterator[Mapping[str, Any]]:
    """Each of some rows that a caller gives: one, several, or a table.

    Raises:
        InputError: what is neither.
    """
    if isinstance(rows, Mapping) and "prompt" in rows and isinstance(rows["prompt"], str):
        yield rows
    elif isinstance(rows, list | tuple):
        for number, row in enumerate(rows):
            if not isinstance(row, Mapping):
                raise InputError(f"a row is a dict of its columns, not {type(row).__name__}", where=f"rows[{number}]")
            yield row
    else:
        yield from polars_frame(rows).iter_rows(named=True)
