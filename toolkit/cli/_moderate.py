"""The verb ``guardkit moderate``."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from toolkit.cli import _complete, _say
from toolkit.cli._generate import options_of
from toolkit.cli._reach import AllowOpt
from toolkit.common.text import plain

if TYPE_CHECKING:
    from toolkit.api import Judgement, Moderator

ModelArg = Annotated[str, typer.Argument(help="Folder of a trained guard, or the model's name on the hub or at an endpoint.", show_default=False)]
GuardOpt = Annotated[
    str | None,
    typer.Option(
        "--guard",
        help="Guard definition (default: the one that the model was trained for, else guardreasoner).",
        autocompletion=_complete.schemas("guards"),
    ),
]
BackendOpt = Annotated[
    str | None, typer.Option("--backend", help="transformers, vllm, vllm-server or openai (default: openai with --base-url, else what is here).")
]
UrlOpt = Annotated[str | None, typer.Option("--base-url", help="Where the endpoint is.")]
KeyOpt = Annotated[str | None, typer.Option("--api-key-env", help="Environment variable that holds the endpoint's key.")]
TokensOpt = Annotated[int | None, typer.Option("--max-tokens", help="Tokens of output, at most. Default 2,048.")]
ReadingOpt = Annotated[str | None, typer.Option("--reading", metavar="NAME", help="A reading of the guard's: some labels stand for others.")]
GuardPolicyOpt = Annotated[
    str | None,
    typer.Option(
        "--guard-policy",
        metavar="POLICY",
        help="For a guard that judges by a given policy: a taxonomy (guardkit), some of its categories (guardkit:privacy,cybercrime), a text file.",
    ),
]
ProbabilitiesOpt = Annotated[bool, typer.Option("--probabilities", help="Also the probability of each label, where the backend can tell.")]
OptionOpt = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any other option of the backend. Repeatable.")]


def moderate(
    model: ModelArg,
    prompt: Annotated[str | None, typer.Argument(help="What the user says (default: stdin, as plain text).", show_default=False)] = None,
    response: Annotated[str | None, typer.Option("--response", help="What the assistant answers.")] = None,
    input: Annotated[
        Path | None, typer.Option("--input", metavar="FILE", help='JSON Lines {"prompt", "response", "context", "id", "policy"}: many interactions.')
    ] = None,
    jsonl: Annotated[bool, typer.Option("--jsonl", help="stdin holds such lines.")] = False,
    backend: BackendOpt = None,
    base_url: UrlOpt = None,
    guard: GuardOpt = None,
    fail_on: Annotated[
        list[str] | None,
        typer.Option("--fail-on", metavar="LABEL", help="Exit with 1 on this label of any task, on TASK=LABEL, or on `positive`. Repeatable."),
    ] = None,
    fail_closed: Annotated[bool, typer.Option("--fail-closed", help="With --fail-on: a verdict that cannot be read counts as that label.")] = False,
    stream: Annotated[bool, typer.Option("--stream", help="Show the guard's text on stderr while it is written, where the backend can.")] = False,
    probabilities: ProbabilitiesOpt = False,
    reading: ReadingOpt = None,
    guard_policy: GuardPolicyOpt = None,
    max_tokens: TokensOpt = None,
    api_key_env: KeyOpt = None,
    set_: OptionOpt = None,
    allow: AllowOpt = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout; of many interactions a line of JSON each.")] = False,
) -> None:
    """One interaction, or many, through a guard: verdicts, reasoning, probabilities. Exits with 0 whatever the verdict, but for --fail-on.

    Example: guardkit moderate outputs/quickstart/guard-main "How do I bake bread?"
    """
    from toolkit.api import open_guard
    from toolkit.api.command import Alarm
    from toolkit.common.errors import InputError

    if fail_closed and not fail_on:
        raise InputError("--fail-closed says what --fail-on does with a verdict that cannot be read", hint="add --fail-on harmful")
    rows, single = _rows(prompt, response, input, jsonl)
    options = backend_of(backend, set_, base_url=base_url, max_tokens=max_tokens, api_key_env=api_key_env)
    leaves = [*(allow or ()), *([f"api_key_env={api_key_env}"] if api_key_env else [])]
    asked: dict[str, Any] = {"guard": guard, "reading": reading, "guard_policy": guard_policy, "probabilities": probabilities}
    with open_guard(model, backend=options, **asked, allow=leaves) as one:
        alarm = Alarm.of(one.guard, fail_on, closed=fail_closed) if fail_on else None
        raised = failed = n = 0
        for judged in _judged(one, rows, stream and single):
            n += 1
            is_raised = alarm is not None and alarm.raised(judged.labels, judged.applying)
            raised, failed = raised + is_raised, failed + (judged.error is not None)
            _show(one, judged, is_raised if alarm is not None else None, json, single)
    _end(n, raised, failed, fail_on)


def backend_of(name: str | None, texts: list[str] | None, **named: Any) -> dict[str, Any]:
    """The backend with its options: its name, options that were given by name, and those of ``--set KEY=VALUE``."""
    from toolkit.common.errors import InputError

    found = options_of(texts, **named)
    if "model" in found:
        raise InputError("the model is the first argument", where="--set model")
    return found if name is None else {**found, "backend": name}


def _judged(one: Moderator, rows: Iterable[dict[str, Any]], stream: bool) -> Iterator[Judgement]:
    if not stream:
        yield from one.judge_many(rows)
        return
    written = 0

    def tell(text: str) -> None:
        nonlocal written
        sys.stderr.write(plain(text[written:]))
        sys.stderr.flush()
        written = len(text)

    for row in rows:
        if not one.streams:
            sys.stderr.write("guardkit: this backend gives a text when it is whole: --stream has nothing to show before\n")
        yield one.judge(row["prompt"], row["response"], row["context"], on_text=tell)
        if written:
            sys.stderr.write("\n")


def _rows(prompt: str | None, response: str | None, input: Path | None, jsonl: bool) -> tuple[Iterable[dict[str, Any]], bool]:
    """The interactions, and whether it is a single one."""
    from toolkit.api.command import interactions, plain_text, written
    from toolkit.common.errors import InputError

    if (input is not None) + jsonl + (prompt is not None) > 1:
        raise InputError("a PROMPT, --input FILE and --jsonl are three ways to say what is judged", hint="take one of them")
    if response is not None and (input is not None or jsonl):
        raise InputError("--response belongs to one prompt", hint='write {"prompt": …, "response": …} into the lines')
    if input is not None:
        return interactions(input), False
    stdin: Any = getattr(sys.stdin, "buffer", None)
    if prompt is None and (stdin is None or sys.stdin.isatty()):
        raise InputError("nothing to judge", hint='guardkit moderate MODEL "a prompt", or a text on stdin, or --input FILE')
    if jsonl:
        return written(stdin), False
    from toolkit.api.command import checked

    return [checked({"prompt": plain_text(stdin) if prompt is None else prompt, "response": response})], True


def _show(one: Moderator, judged: Judgement, raised: bool | None, json: bool, single: bool) -> None:
    if json:
        found = judged.as_dict() if raised is None else {"flagged": raised, **judged.as_dict()}
        head = {"guard": one.guard.name, "model_id": judged.model_id}
        _say.document(head | found) if single else _say.line(head | found)
        return
    if not single:
        _say.lines(_say.short(judged.id, 40) + "  " + "  ".join(f"{t}={_word(judged, t)}" for t in judged.applying))
        return
    known = ["probability"] if judged.probabilities else []
    rows = [[t, _word(judged, t), *([_chance(judged, t)] if known else [])] for t in judged.labels]
    _say.table(one.guard.name, ["task", "verdict"], known, rows)
    for task, steps in ((t, s) for t, s in judged.steps.items() if t in judged.applying):
        _say.lines(f"{task}:", *(f"  {k}. {_say.folded(step, 5)}" for k, step in enumerate(steps, 1)))
        if task in judged.conclusions:
            _say.lines(f"  Conclusion: {_say.folded(judged.conclusions[task], 5)}")
    if not judged.read and judged.output:
        _say.lines("The guard wrote:", f"  {_say.folded(judged.output[:4000], 2)}")


def _word(judged: Judgement, task: str) -> str:
    if task not in judged.applying:
        return "(no response)"
    return judged.labels[task] or f"unread ({judged.unread[task]})"


def _chance(judged: Judgement, task: str) -> str:
    p = judged.probabilities.get(task, {}).get(judged.labels[task] or "")
    return "" if p is None else f"{p:.4f}"


def _end(n: int, raised: int, failed: int, fail_on: list[str] | None) -> None:
    if not n:
        sys.stderr.write("guardkit: nothing was judged: there was no interaction\n")
    if failed:
        sys.stderr.write(f"guardkit: the guard gave no answer to {failed:,} of {n:,} interactions\n")
    if raised:
        sys.stderr.write(f"guardkit: {raised:,} of {n:,} interactions: {', '.join(fail_on or ())}\n")
    if raised or failed:
        raise typer.Exit(1)
