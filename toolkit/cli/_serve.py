"""The verb ``guardkit serve``."""

from __future__ import annotations

import logging
import signal
import sys
from types import FrameType
from typing import Annotated, Any

import typer

from toolkit.cli import _say
from toolkit.cli._moderate import (
    BackendOpt,
    GuardOpt,
    GuardPolicyOpt,
    KeyOpt,
    ModelArg,
    OptionOpt,
    ProbabilitiesOpt,
    ReadingOpt,
    TokensOpt,
    UrlOpt,
    backend_of,
)
from toolkit.cli._reach import AllowOpt


def serve(
    model: ModelArg,
    host: Annotated[str, typer.Option("--host", help="Address to listen at; other than this machine's own need GUARDKIT_SERVE_TOKEN.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 takes a free one.")] = 8000,
    backend: BackendOpt = None,
    base_url: UrlOpt = None,
    guard: GuardOpt = None,
    name: Annotated[str | None, typer.Option("--name", help="What the server calls the model (default: the guard's name).")] = None,
    flag_on: Annotated[
        list[str] | None,
        typer.Option("--flag-on", metavar="LABEL", help="What flags an interaction: a label, TASK=LABEL or `positive`. Default harmful. Repeatable."),
    ] = None,
    fail_open: Annotated[bool, typer.Option("--fail-open", help="Do not flag an interaction whose verdict cannot be read.")] = False,
    queue: Annotated[int | None, typer.Option("--queue", min=1, help="Questions that may wait or be under way; then 429. Default 1,024.")] = None,
    timeout: Annotated[float | None, typer.Option("--timeout", help="Seconds for an answer; then 504. Default 60.")] = None,
    max_text: Annotated[int | None, typer.Option("--max-text", min=1, help="Characters of an interaction, at most. Default 100,000.")] = None,
    limit: Annotated[
        list[str] | None, typer.Option("--limit", metavar="NAME=NUMBER", help="Another bound: body, rows, body_seconds, stop_seconds, connections.")
    ] = None,
    probabilities: ProbabilitiesOpt = False,
    reading: ReadingOpt = None,
    guard_policy: GuardPolicyOpt = None,
    max_tokens: TokensOpt = None,
    api_key_env: KeyOpt = None,
    set_: OptionOpt = None,
    allow: AllowOpt = None,
    log_text: Annotated[bool, typer.Option("--log-text", help="Log texts and what the guard writes. Default: no text is logged.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Do not log each request.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout, with the address, once the server listens.")] = False,
) -> None:
    """A guard behind HTTP, in the shape of OpenAI's moderation API and its own, until SIGTERM or Ctrl-C.

    Example: guardkit serve outputs/quickstart/guard-main --port 8000
    """
    from toolkit.api import serve as start

    _log_to_stderr()
    options = backend_of(backend, set_, base_url=base_url, max_tokens=max_tokens, api_key_env=api_key_env)
    leaves = [*(allow or ()), *([f"api_key_env={api_key_env}"] if api_key_env else [])]
    limits = {k: v for k, v in {"places": queue, "seconds": timeout, "text": max_text}.items() if v is not None} | _numbers(limit)
    named: dict[str, Any] = {"backend": options, "guard": guard, "reading": reading, "probabilities": probabilities, "allow": leaves}
    named["guard_policy"] = guard_policy
    flags: dict[str, Any] = {"flag_on": flag_on or "harmful", "fail_open": fail_open, "log": not quiet, "log_text": log_text}
    served = start(model, host=host, port=port, name=name, limits=limits, **flags, **named)

    asked = 0

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        asked += 1
        sys.stderr.write("guardkit: stopping; again to stop at once\n" if asked == 1 else "guardkit: stopping at once\n")
        served.stop(at_once=asked > 1)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    if json:
        _say.document({"url": served.url, "model": served.name, "guard": served.guard.name, "model_id": served.model_id})
    else:
        _say.lines(f"{served.guard.name} ({served.model_id}) at {served.url}: POST /v1/moderations, /v1/judge; GET /health, /metrics")
    served.wait()


def _log_to_stderr() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    from toolkit.common.secrets import LogFilter

    handler.addFilter(LogFilter())
    log = logging.getLogger("toolkit.serving")
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False


def _numbers(texts: list[str] | None) -> dict[str, float]:
    from toolkit.common.errors import InputError

    out: dict[str, float] = {}
    for text in texts or ():
        key, _, value = text.partition("=")
        try:
            out[key] = float(value)
        except ValueError:
            raise InputError(f"{text!r} is not of the form NAME=NUMBER", where="--limit") from None
    return out
