"""Asking a guard: its requests for a row, what came of one as columns, and a guard that is open for questions.

A guard that was trained elsewhere may be asked by several calls about a row. They are one question: one verdict comes of them (`_several`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain, islice
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from pydantic import ValidationError

from toolkit.common.errors import InputError
from toolkit.common.paths import Beside, at_door
from toolkit.generation import BACKENDS, BaseBackendConfig, MediaError, attached_to, build_request, complete, open_backend, read_config
from toolkit.guards import Call, Guard, Mode, check_reading, in_reading, label_words, render_call, render_input
from toolkit.judging._forced_answers import Forced, check_forced, forced_answer, forced_question
from toolkit.judging._several import failure, finish, keys, output_of, parsed_of, read_plain, read_scored, total
from toolkit.judging._verdict import Verdict
from toolkit.records import MEDIA, child_id, content_id, media_of

if TYPE_CHECKING:
    from toolkit.generation import Attached, Backend, Completion, Completions, Journal, Meter, Request
    from toolkit.generation._stats import Stats


def questions(guard: Guard, row: Mapping[str, Any], backend: Backend, config: BaseBackendConfig, draws: int = 1, *, folder: Path) -> list[Request]:
    """The requests that ask a guard about a row, one for each draw; of a guard with calls, for each draw one for each call that is made.

    Args:
        guard: the definition.
        row: `id`, `prompt`, `response` (may be None) and, optionally, `context` and `media`.
        backend: the opened model.
        config: its config.
        draws: how often it is asked.
        folder: what the uris of its media are relative to.

    Raises:
        MediaError: media that the guard does not judge, or the backend cannot carry.
    """
    if guard.calls:
        calls = guard.calls_about(row)
        return [question(guard, call, row, backend, config, draw, folder=folder) for draw in range(draws) for call in calls]
    messages = [{"role": "user", "content": render_input(guard, row)}]
    media, words = media_for(guard, row, config, folder), label_words(guard) if scores(config) else ()
    return [build_request(backend, config, messages, draw=draw, row=row["id"], as_it_comes=True, media=media, words=words) for draw in range(draws)]


def question(
    guard: Guard, call: Call, row: Mapping[str, Any], backend: Backend, config: BaseBackendConfig, draw: int = 0, *, folder: Path
) -> Request:
    """The request of one call about a row; arguments and errors as for `questions`."""
    return build_request(
        backend,
        config,
        render_call(guard, call, row),
        draw=draw,
        row=row["id"],
        as_it_comes=True,
        media=media_for(guard, row, config, folder),
        template_arguments=call.chat_template_kwargs,
        max_tokens=call.max_tokens,
        raw=bool(call.text),
        words=label_words(guard) if scores(config) else (),
    )


def media_for(guard: Guard, row: Mapping[str, Any], config: BaseBackendConfig, folder: Path) -> tuple[Attached, ...]:
    """The files of a row that go to whoever is asked in a guard's words (MediaError: see `questions`)."""
    if not row.get(MEDIA):
        return ()
    return attached_to(row, folder, asker=f"the guard {guard.name!r}", judged=guard.media, carried=config.carries)


def generation_record(row_id: str, name: str, draw: int, request: Request, completion: Completion) -> dict[str, Any]:
    """What came of a request, as the record ``generation`` has it beside the columns of its row."""
    return {
        "id": child_id(row_id, name, draw),
        "parent": row_id,
        "guard_model": name,
        "model_id": request.model_id,
        "draw": draw,
        "output": completion.text,
        "output_key": completion.key,
        "finish": completion.finish,
        "error": completion.error,
    }


def check_plays(guard: Guard, config: BaseBackendConfig) -> None:
    """Raise InputError where a model cannot be asked as a guard is."""
    if (fault := config.guard_fault(guard)) is not None:
        raise InputError(f"the guard {guard.name!r} cannot be played by this backend: {fault}")


def as_guard(config: BaseBackendConfig) -> BaseBackendConfig:
    """The config of a model that can play a guard.

    Raises:
        ValueError: it cannot.
    """
    if not config.is_model:
        raise ValueError("the template teacher writes from labels and is no guard: a guard is a model (transformers, vllm or openai)")
    if config.structure != "off":
        raise ValueError("a guard writes the text that it was trained on: structured is for teachers")
    if config.reads_reasoning not in ("auto", "keep"):
        raise ValueError("a guard's reasoning is part of what it writes, and stays there: reasoning is for teachers")
    return config


LIKELIEST = 20
"""Alternatives to each token that are asked for where probabilities are wanted: the most that OpenAI and vLLM give."""


def scores(config: BaseBackendConfig) -> bool:
    """Whether a config asks for log-probabilities; then `questions` reads how the guard writes its answers."""
    return bool(getattr(config, "logprobs", 0))


def scoring(config: BaseBackendConfig) -> BaseBackendConfig:
    """The config with log-probabilities asked for; itself where it asks for some.

    Raises:
        InputError: its backend gives none, or its other options do not go with them.
    """
    if (asked := getattr(config, "logprobs", None)) is None:
        hint = "ask without probabilities, or through one of " + ", ".join(n for n in BACKENDS.names() if "logprobs" in BACKENDS.get(n).model_fields)
        raise InputError(f"the backend {config.backend!r} gives no log-probabilities of its answers, and probabilities were asked for", hint=hint)
    if asked:
        return config
    try:
        return type(config).model_validate({**config.model_dump(exclude_unset=True), "logprobs": LIKELIEST})
    except ValidationError as e:
        raise InputError(f"the backend {config.backend!r} cannot be asked for log-probabilities: {e.errors()[0]['msg']}") from None


class OpenGuard:
    """A guard's definition and the model that plays it, open for questions; a context manager.

    The model is loaded with the first question and kept until `close`.

    Args:
        guard: the definition.
        config: the model, as a recipe declares it: a config, or its keys with their values.
        name: what the guard is called in its verdicts.
        beside: folder that a relative path of the model is also looked up from.
        work: folder of the journal, for a backend that keeps there what it has sent.
        media: folder that the uris of rows' media are relative to; None: the working folder.
        probabilities: ask for log-probabilities too, and give each verdict the probabilities of its labels. Answers that were asked for without them
            are asked for again. A config with `logprobs` has them anyway.
        backend: the opened model of another `OpenGuard`, which loads it and lets go of it; `config` then says how else it is asked.

    Raises:
        Missing: an extra is not installed, or a key is not set.
        InputError: there is no such model, it was trained for another guard, or can play none; or it gives no log-probabilities.
        InputErrors: faults of the keys.
    """

    def __init__(
        self,
        guard: Guard,
        config: BaseBackendConfig | Mapping[str, Any],
        *,
        name: str = "guard",
        beside: Beside = None,
        work: Path | None = None,
        media: Path | None = None,
        probabilities: bool = False,
        backend: Backend | None = None,
    ) -> None:
        config = read_config(config)
        try:
            as_guard(config)
        except ValueError as e:
            raise InputError(str(e)) from None
        check_plays(guard, config)
        self.guard, self.name = guard, name
        self._config = config = scoring(config) if probabilities else config
        self.stats: Stats | None = None
        """Of the latest `verdicts`, as they come: what was asked, and what the journal had."""
        self._folder = at_door(media or ".")
        self._shared = backend is not None
        self._backend: Backend = backend or open_backend(config, guard=guard, beside=beside, work=work, judges=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the model, unless it is another's; harmless when called twice."""
        if not self._shared:
            self._backend.close()

    @property
    def backend(self) -> Backend:
        """The model, for whoever feeds it by himself (`toolkit.serving`)."""
        return self._backend

    def ask(self, row: Mapping[str, Any]) -> tuple[dict[str, Any], list[Request]]:
        """A row with all that its questions need, and the requests of one draw, for whoever feeds `backend` by himself.

        Raises:
            InputError: a row without a prompt, or with media that the guard does not judge or the backend cannot carry.
        """
        return self._questions(row, 0, 1)

    def _questions(self, row: Mapping[str, Any], number: int, draws: int) -> tuple[dict[str, Any], list[Request]]:
        whole = _whole(row, number)
        try:
            return whole, questions(self.guard, whole, self._backend, self._config, draws, folder=self._folder)
        except MediaError as e:
            raise InputError(str(e), where=f"rows[{number}]") from None

    def read(
        self, row: Mapping[str, Any], completions: Sequence[Completion], draw: int = 0, *, mode: Mode = "lenient", reading: str | None = None
    ) -> Verdict:
        """The verdict of one draw from what came of all of its requests, in their order; each completion with its request in ``asked``."""
        parsed = parsed_of(self.guard, row, completions, partial(read_scored if scores(self._config) else read_plain, self.guard, row, mode))
        if reading is not None:
            parsed = in_reading(self.guard, parsed, reading)
        first = completions[0] if completions else None
        failed = failure(completions)
        return Verdict(
            row["id"],
            self.name,
            draw,
            parsed.labels,
            parsed.reasons,
            {t: row.get(f"label_{t}") for t in self.guard.task_names},
            output_of(self.guard, row, completions),
            finish(completions),
            failed.error if failed else None,
            failed.detail if failed else first.detail if first else None,
            first.asked.model_id if first and first.asked else None,
            keys(completions),
            total(c.completion_tokens for c in completions),
            total(c.seconds for c in completions),
            parsed.probabilities or {},
            parsed.categories,
        )

    def verdicts(
        self,
        rows: Iterable[Mapping[str, Any]],
        draws: int = 1,
        *,
        mode: Mode = "lenient",
        reading: str | None = None,
        journal: Journal | None = None,
        meter: Meter | None = None,
        on_done: Callable[[Completion], None] | None = None,
    ) -> Iterator[Verdict]:
        """The verdicts on rows, `draws` of each, in their order, as they come.

        Args:
            rows: pulled lazily. Each has `prompt` and may have `response`, `context`, `media`, ``label_<task>`` and `id`; a row without an id gets
                that of its text and media. With `only_tasks`, a list, calls about other tasks are not made.
            draws: how often the guard is asked about each row.
            mode: how outputs are read (`toolkit.guards.parse`).
            reading: likewise.
            journal: what it has is not asked; None asks everything.
            meter: counts what is spent, and holds the cap.
            on_done: called with each completion as it becomes known, in no order.

        Raises:
            InputError: no reading of that name, several draws at temperature 0, a row without a prompt, or with media that the guard does not judge
                or the backend cannot carry.
            Stopped: the budget is used up, or the journal could not be written.
            GuardkitError: no request can succeed.
        """
        if reading is not None:
            check_reading(self.guard, reading)
        if draws > 1 and getattr(self._config, "temperature", None) == 0:
            raise InputError(f"{draws} draws at temperature 0 are {draws} times the same", hint="set a temperature, or ask once")
        if meter is not None:
            meter.register(self._backend, self._config)
        ask = partial(complete, backend=self._backend, journal=journal, on_done=on_done, meter=meter)
        return self._asked(rows, draws, mode, reading, ask)

    def _asked(
        self, rows: Iterable[Mapping[str, Any]], draws: int, mode: Mode, reading: str | None, ask: Callable[[Iterable[Request]], Completions]
    ) -> Iterator[Verdict]:
        waiting: deque[tuple[dict[str, Any], int]] = deque()

        def requests() -> Iterator[Request]:
            for number, row in enumerate(rows):
                whole, asked = self._questions(row, number, draws)
                waiting.append((whole, len(asked) // draws))
                yield from asked

        with ask(requests()) as completions:
            self.stats = completions.stats
            for first in completions:
                yield from self._unasked(waiting, draws)
                row, calls = waiting.popleft()
                left = chain([first], islice(completions, draws * calls - 1))
                for draw in range(draws):
                    yield self.read(row, list(islice(left, calls)), draw, mode=mode, reading=reading)
            yield from self._unasked(waiting, draws)

    def forced(
        self,
        rows: Iterable[Mapping[str, Any]],
        *,
        journal: Journal | None = None,
        meter: Meter | None = None,
        on_done: Callable[[Completion], None] | None = None,
    ) -> Iterator[Forced]:
        """What the guard answers behind given beginnings of its output, in their order, as it comes.

        Args:
            rows: pulled lazily; each as for `verdicts`, without media, with `begun` (the beginning; empty for none) and `opened` (see
                `toolkit.guards.answer_form`).
            journal, meter, on_done: as for `verdicts`.

        Raises:
            InputError: a guard that was trained elsewhere, a backend that gives no log-probabilities of a given text, a row without a prompt.
            GuardkitError: no request can succeed.
        """
        check_forced(self.guard, self._config)
        waiting: deque[dict[str, Any]] = deque()

        def requests() -> Iterator[Request]:
            for number, row in enumerate(rows):
                waiting.append(whole := _whole(row, number))
                yield forced_question(self.guard, whole, row["begun"], self._backend, self._config, opened=row["opened"])

        with complete(requests(), self._backend, journal, on_done, meter=meter) as completions:
            self.stats = completions.stats
            for completion in completions:
                yield forced_answer(self.guard, waiting.popleft(), completion)

    def _unasked(self, waiting: deque[tuple[dict[str, Any], int]], draws: int) -> Iterator[Verdict]:
        """The verdicts on the next rows, as long as no call is made about them."""
        while waiting and not waiting[0][1]:
            row, _ = waiting.popleft()
            yield from (self.read(row, [], draw) for draw in range(draws))


def _whole(row: Mapping[str, Any], number: int) -> dict[str, Any]:
    """A row with all that a question needs."""
    if not isinstance(row.get("prompt"), str):
        raise InputError("a row without a prompt", where=f"rows[{number}]")
    out = {"response": None, "context": [], **row}
    if out.get("id") is None:
        messages = [(m["role"], m["content"]) for m in out["context"] or []]
        try:
            media = [m.sha256 for m in media_of(out.get(MEDIA))]
        except ValueError as e:
            raise InputError(str(e), where=f"rows[{number}]") from None
        out["id"] = content_id(messages, out["prompt"], out["response"], media)
    return out
