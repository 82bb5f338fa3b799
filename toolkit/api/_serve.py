"""A guard behind HTTP."""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from toolkit.api._moderate import open_desk
from toolkit.common.errors import InputError, did_you_mean
from toolkit.common.secrets import protect
from toolkit.guards import Guard
from toolkit.serving import TOKEN, Alarm, Limits, Served, Settings, check_access


def serve(
    model: str | Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    backend: str | Mapping[str, Any] | None = None,
    guard: str | Path | None = None,
    name: str | None = None,
    flag_on: str | Collection[str] = "harmful",
    fail_open: bool = False,
    mode: Literal["lenient", "strict"] = "lenient",
    reading: str | None = None,
    guard_policy: str | Path | Sequence[str] | None = None,
    probabilities: bool = False,
    limits: Mapping[str, float] | None = None,
    log: bool = False,
    log_text: bool = False,
    allow: str | Collection[str] = (),
    **options: Any,
) -> Served:
    """Put a guard behind HTTP: ``POST /v1/moderations`` in the shape of OpenAI's API, ``POST /v1/judge``, ``/health``, ``/metrics``.

    The model is loaded and asked once before this returns. The token that clients must show is taken from ``$GUARDKIT_SERVE_TOKEN``.

    Args:
        model: as for `open_guard`; so are `backend`, `guard`, `mode`, `reading`, `guard_policy`, `probabilities`, `allow` and `options`.
        host: address to listen at; others than this machine's own need a token.
        port: 0 takes a free one.
        name: what the server calls the model; default: the guard's name.
        flag_on: labels that flag an interaction: ``TASK=LABEL``, a label of any task that has it, or ``positive``. ``harmful`` is ``positive`` for a
            guard that has no label of that name.
        fail_open: do not flag an interaction whose verdict cannot be read.
        limits: other bounds than those of `toolkit.serving.Limits`, by name: ``{"places": 256, "seconds": 20}``.
        log: log each request (address, status, seconds; no text).
        log_text: log texts and outputs, too.

    Returns:
        The running server: its ``url``, ``stop()`` and ``wait()``; as a context manager it is stopped at the end, and answers what it has taken.

    Raises:
        InputError: no such model, guard, label or limit; an address or token that cannot be; a label between the two of which nothing states
            whether it flags.
        Missing: an extra, a key or a service; or no token, where others than this machine can reach it.

    Example:
        Where `url` is the base URL of an OpenAI-compatible server, ``http://127.0.0.1:8000/v1`` say:

        >>> with toolkit.serve("m", backend="openai", base_url=url, port=0) as server:
        ...     server.url
        'http://127.0.0.1:...'
    """
    token = os.environ.get(TOKEN, "").strip() or None
    protect(token)
    check_access(host, token)
    bounds = limits_of(limits or {})
    desk = open_desk(model, backend, guard, mode, reading, guard_policy, probabilities, allow, options, places=bounds.places)
    try:
        alarm = Alarm.of(desk.guard, flag_on, closed=not fail_open)
        if reading is None:
            _check_decided(desk.guard, alarm)
    except BaseException:
        desk.close(0.0)
        raise
    settings = Settings(name or desk.guard.name, alarm, bounds, token, log, log_text)
    return Served(desk, settings, host=host, port=port)


def _check_decided(guard: Guard, alarm: Alarm) -> None:
    """Refuse (InputError) to pass by default what some readings of the guard flag."""
    for task in guard.tasks:
        flagging = alarm.labels.get(task.name, frozenset())
        for name, stands_for in task.readings.items():
            for label, other in stands_for.items():
                if other in flagging and label not in flagging:
                    raise InputError(
                        f"the guard {guard.name} may call a {task.name} {label}, and nothing says whether that flags it",
                        hint=f"choose a reading ({', '.join(guard.readings)}): {name} takes it for {other}; or name it among the labels that flag",
                    )


def limits_of(given: Mapping[str, float]) -> Limits:
    """Bounds by name.

    Raises:
        InputError: no bound of that name, or one that is not a positive number.
    """
    for key, value in given.items():
        if key not in Limits.__dataclass_fields__:
            raise InputError(f"no limit called {key!r}", hint=did_you_mean(key, Limits.__dataclass_fields__))
        if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
            raise InputError(f"a number, not {value!r}", where=key)
    whole = {k: int(v) if isinstance(getattr(Limits, k), int) else float(v) for k, v in given.items()}
    return Limits(**whole)  # type: ignore[arg-type]
