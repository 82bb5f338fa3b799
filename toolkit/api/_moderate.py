"""One interaction, or many, through a guard that stays open."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from toolkit.api._generate import read_config
from toolkit.api._trained import backend_for, by_policy, guard_of
from toolkit.common.errors import InputError, InputErrors
from toolkit.common.reach import refused, unknown
from toolkit.common.several import several
from toolkit.guards import Guard, input_columns, load_guard
from toolkit.judging import OpenGuard
from toolkit.serving import Desk, Judgement, checked

_PLACES = 1 << 20
"""Rows at hand wait in nobody's queue."""


class Moderator:
    """A guard that is open for questions, which any number of threads may ask at once; a context manager. What `open_guard` returns.

    Nothing that it is asked is kept: neither in the journal nor anywhere else.

    Example:
        Where `url` is the base URL of an OpenAI-compatible server, ``http://127.0.0.1:8000/v1`` say:

        >>> with toolkit.open_guard("m", backend="openai", base_url=url) as guard:
        ...     isinstance(guard, toolkit.Moderator), guard.guard.name
        (True, 'guardreasoner')
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._desk.__exit__(kind, error, trace)

    @property
    def guard(self) -> Guard:
        """The definition that the model is asked as."""
        return self._desk.guard

    @property
    def streams(self) -> bool:
        """Whether the backend tells of a text while it is being written (transformers does)."""
        return self._desk.streams

    def judge(
        self,
        prompt: str,
        response: str | None = None,
        context: Sequence[Mapping[str, str]] = (),
        *,
        timeout: float | None = None,
        on_text: Callable[[str], None] | None = None,
    ) -> Judgement:
        """What the guard says of one interaction. The model is loaded with the first question.

        Args:
            prompt: of the user.
            response: of the assistant; None where there is none.
            context: earlier messages, ``{"role", "content"}`` each.
            timeout: seconds that it may take.
            on_text: called, in the engine's thread, with the text so far while it is written, where the backend tells (`streams`).

        Raises:
            InputError: what is no text, or a model that cannot be asked.
            Missing: a key, a service or an extra.
            TimeoutError: not within `timeout`.
        """
        return self._desk.judge(checked({"prompt": prompt, "response": response, "context": list(context)}), timeout, on_text)

    def judge_many(self, rows: Iterable[Mapping[str, Any]], *, ahead: int | None = None) -> Iterator[Judgement]:
        """The same of many rows, in their order, as they come.

        Args:
            rows: with `prompt`, and `response`, `context`, `id` and `policy` where there are any; pulled in another thread, as the guard has room for
                them.
            ahead: rows that may be under way; None: as many as the backend wants.

        Raises:
            InputError: a row that cannot be asked about, by its number; the verdicts of those before it have been given then.
            Missing: a key, a service or an extra.
        """
        return self._desk.judge_many((checked(row, f"rows[{number}]") for number, row in enumerate(rows)), ahead)

    def close(self) -> None:
        """Answer what was asked, and let go of the model; harmless when called twice."""
        self._desk.close()


def open_guard(
    model: str | Path,
    *,
    backend: str | Mapping[str, Any] | None = None,
    guard: str | Path | None = None,
    mode: Literal["lenient", "strict"] = "lenient",
    reading: str | None = None,
    guard_policy: str | Path | Sequence[str] | None = None,
    probabilities: bool = False,
    allow: str | Collection[str] = (),
    **options: Any,
) -> Moderator:
    """Open a guard, to be asked again and again.

    Args:
        model: folder of a model or adapter (a step's folder, ``outputs/quickstart/guard-main``, stands for the model in it), name of a hub model, or
            of a model at an endpoint.
        backend: what runs it, by name or with its options as a recipe has them; None: ``openai`` where `options` have a ``base_url``, else ``vllm``
            where that is installed and there is a GPU, else ``transformers``.
        guard: definition that it is asked as, by name or file; None: the one that its folder says it was trained for, else ``guardreasoner``.
        mode: lenient takes the last label of each task in what the guard answers; strict wants the exact form.
        reading: for labels of which some stand for others: one of the readings that the guard's tasks declare.
        guard_policy: for a guard that judges by a policy given with the question: a taxonomy (``guardkit``), some of its categories
            (``guardkit:privacy,cybercrime``, or a list of names), or a text file (.txt, .md).
        probabilities: also ask for the probability of each label, where the backend can tell.
        allow: what the backend may do beyond the rows, by name: see `toolkit.common.reach`.
        options: of the backend: ``base_url``, ``max_tokens``, ``dtype``, …

    Raises:
        InputError: no such model or guard, or a model that was trained for another guard; InputErrors: faults of the backend's options.
        Missing: a key or an extra.

    Example:
        Where `url` is the base URL of an OpenAI-compatible server that answers, but not as a guard does:

        >>> with toolkit.open_guard("m", backend="openai", base_url=url) as guard:
        ...     judged = guard.judge("How do I bake bread?", "Knead, rest, bake.")
        >>> judged.labels["prompt"], judged.unread["prompt"]
        (None, 'field_missing')
    """
    return Moderator(open_desk(model, backend, guard, mode, reading, guard_policy, probabilities, allow, options, places=_PLACES))


def open_desk(
    model: str | Path,
    backend: str | Mapping[str, Any] | None,
    guard: str | Path | None,
    mode: Literal["lenient", "strict"],
    reading: str | None,
    guard_policy: str | Path | Sequence[str] | None,
    probabilities: bool,
    allow: str | Collection[str],
    options: Mapping[str, Any],
    *,
    places: int,
) -> Desk:
    """As `open_guard`, for as many requests at once as there are `places`."""
    from toolkit.guards import check_reading

    config = read_config(_options(model, backend, options))
    if left := refused(config, several(allow), lambda key: ".".join(map(str, key))) or unknown([config], several(allow)):
        raise InputErrors(left)
    if config.deferred:
        raise InputError(f"{config.backend} answers within hours: it judges no interaction while somebody waits", hint="take openai")
    definition = by_policy(load_guard(guard) if guard is not None else guard_of(config), guard_policy)
    input_columns(definition, ())
    if reading is not None:
        check_reading(definition, reading)
    asked: dict[str, Any] = {"probabilities": True} if probabilities else {}
    return Desk(OpenGuard(definition, config, **asked), places=places, mode=mode, reading=reading)


def _options(model: str | Path, backend: str | Mapping[str, Any] | None, options: Mapping[str, Any]) -> dict[str, Any]:
    given = {"backend": backend} if isinstance(backend, str) else dict(backend or {})
    if given.get("backend") is None:
        given["backend"] = backend_for({**given, **options})
    return {"model": str(model), **given, **options}
