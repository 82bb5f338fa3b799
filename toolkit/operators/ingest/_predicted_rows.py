"""The rows that predictions are about: which generations are about the same one, and its labels.

Rows are the same where their ids are (those of a file of samples, or of the predictions), or where their input is: then the n-th with that input in
each draw of each guard is the same row. Ids and inputs are known by 64 bits of their hash: at 10 million rows a chance of 3e-6 that any two agree.
Memory: about 200 bytes a row, and a byte for each row and draw of a guard.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import polars as pl

from toolkit.common.errors import InputError
from toolkit.guards import Guard, parse, without_tokens
from toolkit.records import content_id, row_id
from toolkit.sources import split_released_input

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

UNKNOWN, NOT_STATED, NONE = -3, -2, -1
"""In place of a label's number: no label of the task; not stated; stated to have none."""


class Parents:
    """Ids and labels of the rows, by number in order of first appearance."""

    def __init__(self, guard: Guard) -> None:
        import numpy as np

        self._guard = guard
        self._ids = pl.Series("parent", [], dtype=pl.String)
        self._new: list[str] = []
        self._labels = {t: np.full(1024, NOT_STATED, np.int8) for t in guard.task_names}
        self._drawn: dict[tuple[str, int], NDArray[np.bool_]] = {}
        self.height = 0

    def add(self, ids: Sequence[str]) -> None:
        """More rows."""
        self._new += ids
        self.height += len(ids)
        for task, labels in self._labels.items():
            self._labels[task] = _grown(labels, self.height, NOT_STATED)

    def ids(self, numbers: NDArray[np.int64]) -> pl.Series:
        """Ids by number."""
        if self._new:
            self._ids.append(pl.Series("parent", self._new, dtype=pl.String))
            self._new = []
            if self._ids.n_chunks() > 32:
                self._ids = self._ids.rechunk()
        return self._ids.gather(numbers)

    def tell(self, task: str, numbers: NDArray[np.int64], codes: NDArray[np.int8]) -> NDArray[np.bool_]:
        """Note the stated labels of some rows; where they contradict earlier ones."""
        import numpy as np

        labels = self._labels[task]
        fresh = np.flatnonzero((labels[numbers] == NOT_STATED) & (codes != NOT_STATED))
        labels[numbers[fresh[::-1]]] = codes[fresh[::-1]]  # of several the first stays
        return np.asarray((codes != NOT_STATED) & (codes != labels[numbers]))

    def labels(self, task: str, numbers: NDArray[np.int64]) -> pl.Series:
        """Labels by number."""
        import numpy as np

        words = pl.Series(f"label_{task}", [*self._guard.task(task).labels, None], dtype=pl.String)
        codes = self._labels[task][numbers].astype(np.int64)
        return words.gather(np.where(codes < 0, len(words) - 1, codes))

    def count_labels(self, numbers: NDArray[np.int64]) -> dict[str, dict[str, int]]:
        """How many of some rows have each label, by task; no tasks that none has a label for."""
        found = {t: self.labels(t, numbers).drop_nulls().value_counts().sort("count", f"label_{t}", descending=[True, False]) for t in self._labels}
        return {t: dict(counts.iter_rows()) for t, counts in found.items() if counts.height}

    def draw(self, guard: str, draw: int, numbers: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Note a draw of some rows; where it was there before."""
        import numpy as np

        drawn = self._drawn[guard, draw] = _grown(self._drawn.get((guard, draw), np.zeros(1024, np.bool_)), self.height, False)
        again = drawn[numbers]
        drawn[numbers] = True
        first = np.zeros(len(numbers), np.bool_)
        first[np.unique(numbers, return_index=True)[1]] = True
        return again | ~first

    def of(self, guard: str) -> dict[int, NDArray[np.bool_]]:
        """By draw of a guard which rows it has."""
        return {draw: _grown(drawn, self.height, False)[: self.height] for (name, draw), drawn in sorted(self._drawn.items()) if name == guard}


def _grown(values: NDArray, height: int, fill: int) -> NDArray:  # type: ignore[type-arg]
    import numpy as np

    if len(values) >= height:
        return values
    return np.concatenate([values, np.full(max(height, 2 * len(values)) - len(values), fill, values.dtype)])


class ById:
    """Rows that are known by their ids.

    Args:
        parents: gets those that are new.
        closed: those that are not there yet are none.
    """

    def __init__(self, parents: Parents, *, closed: bool = False) -> None:
        import numpy as np

        self._parents, self.closed = parents, closed
        self._hashes, self._numbers = np.zeros(0, np.uint64), np.zeros(0, np.int64)  # in the order of the hashes

    def numbers(self, ids: pl.Series) -> NDArray[np.int64]:
        """The rows' numbers; -1 for one that is not known, or has no id."""
        import numpy as np

        hashes, there = ids.hash(0).to_numpy(), ids.is_not_null().to_numpy()
        found = np.where(there, self._find(hashes), -1)
        if not self.closed and (new := there & (found < 0)).any():
            _, first = np.unique(hashes[new], return_index=True)
            first = np.flatnonzero(new)[np.sort(first)]
            numbers = np.arange(self._parents.height, self._parents.height + first.size)
            self._parents.add(ids.gather(first).to_list())
            self._hashes, self._numbers = np.concatenate([self._hashes, hashes[first]]), np.concatenate([self._numbers, numbers])
            order = np.argsort(self._hashes, kind="stable")
            self._hashes, self._numbers = self._hashes[order], self._numbers[order]
            found[new] = self._find(hashes[new])
        return found

    def _find(self, hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
        import numpy as np

        if not self._hashes.size:
            return np.full(hashes.size, -1)
        at = np.minimum(np.searchsorted(self._hashes, hashes), self._hashes.size - 1)
        return np.where(self._hashes[at] == hashes, self._numbers[at], -1)


class ByText:
    """Rows that are known by their input.

    Args:
        parents: gets those that are new.
        guard: whose rendered inputs the prompts are.
    """

    def __init__(self, parents: Parents, guard: Guard) -> None:
        import numpy as np

        self._parents, self._guard = parents, guard
        self._known: dict[int, int] = {}
        self._contents: list[str] = []
        self._faults: dict[int, str] = {}
        self._first = np.full(1024, -1, np.int64)
        self._more: dict[tuple[int, int], int] = {}
        self._times: dict[tuple[str, int], NDArray[np.int32]] = {}

    def texts(self, rows: pl.DataFrame) -> tuple[NDArray[np.int64], dict[int, str]]:
        """The number of each row's input, -1 for what is none; and by place what is wrong with that."""
        import numpy as np

        hashes = _hashes(rows).to_list()
        for i, h in enumerate(hashes):
            if h not in self._known and h not in self._faults:
                self._learn(h, rows[i])
        found = np.array([self._known.get(h, -1) for h in hashes], np.int64)
        self._first = _grown(self._first, len(self._contents), -1)
        return found, {int(i): self._faults[hashes[i]] for i in np.flatnonzero(found < 0)}

    def _learn(self, h: int, row: pl.DataFrame) -> None:
        try:
            plain = "response" in row.columns
            prompt, response = parted(row["prompt"][0], row["response"][0] if plain else None, plain, self._guard)
        except InputError as e:
            self._faults[h] = f"{e.message} (a prompt alone is read where the ids' column is named, or there is a column `response`)"
            return
        self._known[h] = len(self._contents)
        self._contents.append(content_id([], prompt, response))

    def numbers(self, texts: NDArray[np.int64], guard: str, draws: NDArray[np.int64]) -> NDArray[np.int64]:
        """The rows' numbers: the n-th of a text in a draw is the same one in each."""
        import numpy as np

        out = np.empty(len(texts), np.int64)
        for draw in np.unique(draws):
            at = np.flatnonzero(draws == draw)
            out[at] = self._of_draw(texts[at], self._times_of(guard, int(draw)))
        return out

    def _times_of(self, guard: str, draw: int) -> NDArray[np.int32]:
        import numpy as np

        times = self._times[guard, draw] = _grown(self._times.get((guard, draw), np.zeros(1024, np.int32)), len(self._contents), 0)
        return times

    def _of_draw(self, texts: NDArray[np.int64], times: NDArray[np.int32]) -> NDArray[np.int64]:
        import numpy as np

        nth = times[texts].astype(np.int64)
        if len(np.unique(texts)) < len(texts):
            nth += pl.DataFrame({"text": texts}).select(pl.int_range(pl.len()).over("text")).to_series().to_numpy()
        np.add.at(times, texts, 1)
        found = np.where(nth == 0, self._first[texts], -1)
        for i in np.flatnonzero(found < 0):
            text, n = int(texts[i]), int(nth[i])
            number = self._more.get((text, n), -1) if n else int(self._first[text])
            if number < 0:
                number = self._parents.height
                self._parents.add([row_id("predictions", self._contents[text], n)])
                if n:
                    self._more[text, n] = number
                else:
                    self._first[text] = number
            found[i] = number
        return found


def _hashes(rows: pl.DataFrame) -> pl.Series:
    return rows.select(pl.struct("prompt", "response").hash(0) if "response" in rows.columns else pl.col("prompt").hash(0)).to_series()


def parted(prompt: str, response: str | None, plain: bool, guard: Guard, *, else_plain: bool = False) -> tuple[str, str | None]:
    """Prompt and response of a row; `plain`: as they stand, else the prompt is the guard's rendered input (`else_plain`: or the prompt alone).

    Raises:
        InputError: it is not.
    """
    if plain:
        return prompt, response or None
    try:
        return split_released_input(prompt, guard)
    except InputError:
        if else_plain:
            return prompt, None
        raise


class LabelWords:
    """Words of files as the labels of a task.

    Args:
        guard: the definition.
        task: its name.
        strict: a word for "no label" is none.
    """

    def __init__(self, guard: Guard, task: str, *, strict: bool) -> None:
        self._guard, self._task = guard, task
        self._known: dict[str, int] = {}
        if not strict:
            self._known |= {"": NOT_STATED} | dict.fromkeys((guard.output.missing_word, "None"), NONE)

    def codes(self, values: pl.Series) -> NDArray[np.int8]:
        """Their numbers; null says nothing."""
        import numpy as np

        words = values.unique().drop_nulls()
        for word in words:
            if word not in self._known:
                self._known[word] = self._code(word)
        codes = values.replace_strict(words, [self._known[w] for w in words], default=NOT_STATED, return_dtype=pl.Int8)
        return np.asarray(codes.to_numpy(), np.int8).copy()

    def _code(self, text: str) -> int:
        """The label of a task: a plain word, or one in an answers block."""
        labels: Sequence[str] = self._guard.task(self._task).labels
        word: str | None = without_tokens(text)
        if word not in labels:
            word = parse(self._guard, text).labels[self._task]
        return UNKNOWN if word is None else labels.index(word)


def coverage(parents: Parents, guards: Sequence[str]) -> dict[str, Mapping[str, object]]:
    """Figures of how the guards cover the rows: rows without any output of one, with fewer draws than it has, numbers that its draws leave out; and
    how many of the rows have each label."""
    import numpy as np

    by = {name: parents.of(name) for name in guards}
    counts = {name: sum((drawn.astype(np.int32) for drawn in draws.values()), np.zeros(parents.height, np.int32)) for name, draws in by.items()}
    seen = np.zeros(parents.height, np.bool_)
    for n in counts.values():
        seen |= n > 0
    out: dict[str, Mapping[str, object]] = {"missing": {name: int((seen & (n == 0)).sum()) for name, n in counts.items()}}
    if any(len(draws) > 1 for draws in by.values()):
        out["draws"] = {name: len(draws) for name, draws in by.items()}
        out["fewer_draws"] = {name: int(((n > 0) & (n < len(by[name]))).sum()) for name, n in counts.items()}
    if gaps := {name: sorted(set(range(max(draws))) - set(draws)) for name, draws in by.items() if draws}:
        out |= {"gaps": found} if (found := {name: g for name, g in gaps.items() if g}) else {}
    return out | {"labels": parents.count_labels(np.flatnonzero(seen))}
