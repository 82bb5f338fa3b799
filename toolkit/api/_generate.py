"""Prompts in, completions out, through the journal: the engine on its own."""

from __future__ import annotations

import json
import logging
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from toolkit.api._prompts import check_prompts, hold_prompts, prompt_files, read_prompts
from toolkit.api._results import Generated
from toolkit.api._trained import guard_of, trained_name
from toolkit.common.errors import InputError, InputErrors, TooManyFailures, short_path
from toolkit.common.files import new_file
from toolkit.common.models import model_folder
from toolkit.common.outputs import check_output
from toolkit.common.paths import Roots, at_door
from toolkit.common.reach import hub_names, refused, unknown
from toolkit.common.resources import workspace
from toolkit.common.several import several
from toolkit.pipeline import JOURNAL, Progress, stopping

if TYPE_CHECKING:
    from toolkit.common.reading import Files
    from toolkit.generation import Backend, BaseBackendConfig, Completion, Completions, Request

_log = logging.getLogger(__name__)

_BUFFER = 1 << 20
"""Bytes of output that are written at once."""

COLUMNS = ("id", "content", "error", "detail", "finish", "reasoning", "model", "prompt_tokens", "completion_tokens", "key")
"""Of the output. `content` is null where the generation failed, and `error` then names the class (`toolkit.generation.FAILURES`)."""


def generate(
    prompts: str | Path,
    output: str | Path,
    backend: BaseBackendConfig | Mapping[str, Any],
    *,
    work: str | Path | None = None,
    response_format: str | Path | None = None,
    budget: float | None = None,
    failures: float = 0.0,
    progress: Progress | None = None,
    raise_failures: bool = True,
    allow: str | Collection[str] = (),
) -> Generated:
    """Ask a model every prompt of a file.

    Every answer is durable in the journal before it counts, and a run that is stopped or killed asks, when it is started again, only for what is
    missing. The output appears whole, in the order of the prompts, and holds nothing that differs from run to run but what the model answers.

    Args:
        prompts: JSON Lines or parquet, or a folder of such files; see `toolkit.api._prompts`.
        output: JSON Lines, or parquet where the name ends in ``.parquet``; columns: `COLUMNS`.
        backend: the model, as a recipe declares it.
        work: folder for the journal (``WORK/journal``); default: the workspace, so that recipes and this share one.
        response_format: JSON file that is sent as ``response_format`` (structured output).
        budget: dollars that may be spent; None for no cap.
        failures: share of prompts that may fail without an error.
        progress: where progress is shown; default nowhere.
        raise_failures: raise `TooManyFailures`, or leave its words in ``too_many``.
        allow: what the backend may do beyond the prompts, by name (``trust_remote_code``, ``api_key_env=MY_KEY``): see `toolkit.common.reach`.

    Returns:
        ``output``, ``rows``, ``answered``, ``failed``, ``errors`` (failures by class), ``messages`` (the words of the first of each),
        ``asked`` (calls answered or failed in this run),
        ``from_journal``, ``unreadable`` (records of the journal that cannot be read: they were asked for again), ``shared`` (prompts asked twice in
        the file), ``prompt_tokens``, ``completion_tokens``, ``cost`` (dollars of this run; None where the price is not known), ``estimated``
        (dollars of these that are worst cases, as the endpoint's count of tokens is missing or not to be believed), ``seconds``, ``too_many`` (None
        where no more failed than allowed).

    Raises:
        InputErrors: faults of the prompts or of the backend's options, all of them. Nothing has been asked then.
        Stopped: interrupted, the budget is used up, or the disk is full; every answer is kept, no output is written.
        Missing: a key, a service or an extra.
        TooManyFailures: more failed than `failures` allows; the output is written.

    Example:
        Where `url` is the base URL of an OpenAI-compatible server, ``http://127.0.0.1:8000/v1`` say:

        >>> backend = {"backend": "openai", "model": "m", "base_url": url}
        >>> done = toolkit.generate("prompts.jsonl", "answers.jsonl", backend)
        >>> done["rows"], done["failed"]
        (2, 0)
    """
    prompts, output, folder = at_door(prompts), at_door(output), (at_door(work) if work else workspace()) / JOURNAL
    config = read_config(backend)
    if left := refused(config, several(allow), lambda key: ".".join(map(str, key))) or unknown([config], several(allow)):
        raise InputErrors(left)
    form = None if response_format is None else at_door(response_format)
    schema = "" if form is None else _response_format(form)
    if not 0 <= failures <= 1:
        raise InputError(f"failures is a share from 0 to 1, not {failures}")
    roots, files = Roots.of(None), prompt_files(prompts)
    roots.saw(prompts, *([form] if form is not None else []))
    _find_model(config, roots)
    check_output(folder, reads=roots.read, own="journal", hint="name another folder with {--work|work}")
    check_output(output, reads=roots.read, journal=folder)
    with stopping():
        found = _ask(files, output, config, schema, folder, budget, progress or Progress.silent())
    if found["failed"] > failures * found["rows"]:
        kinds = ", ".join(f"{name} {n:,}" for name, n in sorted(found["errors"].items(), key=lambda e: -e[1]))
        found["too_many"] = f"the output is written, but {found['failed']:,} of {found['rows']:,} prompts failed: {kinds}"
        if raise_failures:
            raise too_many(found)
    return found


def too_many(found: Mapping[str, Any]) -> TooManyFailures:
    """The error for what `generate` left in ``too_many``."""
    hint = "their content is null; the same command asks again for what may come out better, and only for that"
    return TooManyFailures(found["too_many"], where=found["output"], hint=hint)


def _ask(
    prompts: Sequence[Path], output: Path, config: BaseBackendConfig, schema: str, folder: Path, budget: float | None, progress: Progress
) -> Generated:
    """Check the prompts, ask, write; the figures. `folder` is the journal's."""
    from toolkit.generation import Journal, Meter, complete, open_backend

    with ExitStack() as stack:
        held = hold_prompts(prompts)
        total = check_prompts(prompts, held, config.carries)
        meter = Meter(cap=budget)
        backend = open_backend(config, work=folder)
        price = meter.register(backend, config)
        journal = stack.enter_context(Journal(folder))
        stack.callback(backend.close)  # before the journal: openai-batch hands over to it what it still keeps
        stack.enter_context(progress)
        progress.start(f"generate {output.name}")
        done = 0

        def waits(note: str = "") -> None:
            spent = f", ${meter.spent:,.2f}" if meter.spent else ""
            progress.update(done, total, config.backend + spent + (f": {note}" if note else ""))

        def settled(completion: Completion) -> None:
            nonlocal done
            done += 1
            waits()

        asking = _Asking(prompts, held, backend, config, schema)
        with complete(asking.requests(), backend, journal, settled, meter=meter, on_wait=waits) as results:
            _write(output, asking, results)
        stats = results.stats
        progress.finish(f"{total:,} rows in {stats.seconds:.1f} s")
    return Generated(
        {
            "output": short_path(output),
            "rows": total,
            "answered": stats.completions - stats.failed,
            "failed": stats.failed,
            "errors": dict(stats.errors),
            "messages": dict(stats.messages),
            "asked": stats.asked,
            "from_journal": stats.from_journal,
            "unreadable": stats.unreadable,
            "shared": stats.shared,
            "prompt_tokens": stats.prompt_tokens,
            "completion_tokens": stats.completion_tokens,
            "cost": None if price is None else meter.spent,
            "estimated": meter.estimated,
            "seconds": round(stats.seconds, 3),
            "too_many": None,
        }
    )


def read_config(backend: BaseBackendConfig | Mapping[str, Any]) -> BaseBackendConfig:
    """A backend's config from its keys.

    Raises:
        InputErrors: unknown keys and wrong values, all of them.
    """
    from toolkit.generation import read_config as from_keys

    config = from_keys(backend)
    if not config.is_model:
        raise InputError("the template teacher writes about rows of a recipe and reads no prompts", hint="take openai, vllm, transformers, …")
    if config.structure != "off":
        raise InputError(
            "`structured` asks by a guard's schema, which only a recipe has",
            where="structured",
            hint="take {--response-format FILE|response_format=FILE}",
        )
    return config


def _find_model(config: BaseBackendConfig, roots: Roots) -> None:
    """Note the folders of a local model (InputError: there is none of that name)."""
    for _, _, name in hub_names(config):
        model_folder(name, roots)


def _response_format(path: Path) -> str:
    from toolkit.common.files import canonical_json
    from toolkit.common.jsontext import loads_once
    from toolkit.common.yamlfile import FILE_BYTES, read_text

    def no_number(text: str) -> Any:
        raise ValueError(f"{text} is no number of JSON's")

    try:
        value = loads_once(read_text(path, FILE_BYTES), parse_constant=no_number)
        text = canonical_json(value)
    except RecursionError:
        raise InputError("not JSON: nested too deeply", where=str(path)) from None
    except ValueError as e:
        raise InputError(f"not JSON: {e}", where=str(path)) from None
    if not isinstance(value, dict) or value.get("type") not in ("json_schema", "json_object", "text"):
        raise InputError('expected {"type": "json_schema", "json_schema": {…}}', where=str(path))
    return text


class _Asking:
    """Requests for prompts, and the ids of those that have no completion yet."""

    def __init__(self, prompts: Sequence[Path], held: Files, backend: Backend, config: BaseBackendConfig, schema: str) -> None:
        self._held = held
        self._prompts, self._backend, self._config, self._schema = prompts, backend, config, schema
        self.ids: deque[str | int] = deque()
        self._instruction = _instruction(config)

    def requests(self) -> Iterator[Request]:
        """One for each prompt."""
        from toolkit.generation import Request, attached

        shaping = {"model_id": self._backend.model_id, "endpoint": self._backend.endpoint, "schema": self._schema, **self._config.shaping()}
        shaping["reasoning"] = self._config.reads_reasoning
        for path, prompt in ((file, prompt) for file in self._prompts for prompt in read_prompts(file, self._held)):
            self.ids.append(prompt.id)
            self._look(prompt.messages)
            media = attached(prompt.media, path.parent) if prompt.media else ()
            yield Request(messages=prompt.messages, row=str(prompt.id), media=media, **shaping)

    def _look(self, messages: Sequence[tuple[str, str]]) -> None:
        """Warn once of a prompt without the words that the model was trained to read: it answers to it all the same, in the form of a verdict."""
        if self._instruction and not any(self._instruction in content for _, content in messages):
            self._instruction = ""
            words = "%s was trained as a guard, and a prompt (id %s) lacks its instruction: what it answers looks like a verdict and is none"
            _log.warning(f"{words}; `guardkit moderate` and toolkit.open_guard ask it as it was trained", self._config.model_name, self.ids[-1])


def _instruction(config: BaseBackendConfig) -> str:
    """What each prompt of a guard begins with; empty where the model is no guard that is known here."""
    try:
        return guard_of(config).instruction.strip() if trained_name(config) is not None else ""
    except InputError:
        return ""


class _Lines(Protocol):
    def write(self, row: dict[str, Any]) -> None: ...
    def close(self) -> None: ...


def _write(output: Path, asking: _Asking, results: Completions) -> None:
    """The output, under its name only once it is whole."""
    with new_file(output) as new:
        lines: _Lines = _Parquet(new) if output.suffix == ".parquet" else _JsonLines(new)
        try:
            for completion in results:
                lines.write(_line(asking.ids.popleft(), completion))
        finally:
            lines.close()


def _line(name: str | int, c: Completion) -> dict[str, Any]:
    return {
        "id": name,
        "content": c.text,
        "error": c.error,
        "detail": c.detail,
        "finish": c.finish,
        "reasoning": c.reasoning,
        "model": c.model,
        "prompt_tokens": c.prompt_tokens,
        "completion_tokens": c.completion_tokens,
        "key": c.key,
    }


class _JsonLines:
    def __init__(self, path: Path) -> None:
        import orjson

        self._dumps: Callable[[Any], bytes] = orjson.dumps
        self._file = path.open("r+b", buffering=_BUFFER)

    def write(self, row: dict[str, Any]) -> None:
        try:
            text = self._dumps(row)
        except TypeError:  # half of a surrogate pair, which UTF-8 has no bytes for, or a number beyond 64 bits: JSON's escapes hold both
            text = json.dumps(row).encode()
        self._file.write(text + b"\n")

    def close(self) -> None:
        self._file.close()


class _Parquet:
    """Rows in groups of 8,192; an id is text there, and half of a surrogate pair a question mark."""

    def __init__(self, path: Path) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        types = {n: pa.int64() if n.endswith("_tokens") else pa.string() for n in COLUMNS}
        self._schema = pa.schema(list(types.items()))
        self._writer = pq.ParquetWriter(path, self._schema, compression="zstd")
        self._rows: list[dict[str, Any]] = []

    def write(self, row: dict[str, Any]) -> None:
        self._rows.append({k: v.encode("utf-8", "replace").decode() if isinstance(v, str) else v for k, v in {**row, "id": str(row["id"])}.items()})
        if len(self._rows) == 8192:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa

        self._writer.write_table(pa.Table.from_pylist(self._rows, schema=self._schema))
        self._rows = []

    def close(self) -> None:
        if self._rows:
            self._flush()
        self._writer.close()
