"""The verb `generate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from toolkit.cli import _say
from toolkit.cli._reach import AllowOpt


def generate(
    model: Annotated[str, typer.Option("--model", help="The model's name at the endpoint, or its folder.", show_default=False)],
    input: Annotated[
        Path,
        typer.Option(
            "--input",
            help='JSON Lines {"id", "system", "user"} or {"id", "messages"}, or parquet with these columns, or a folder of such files.',
            show_default=False,
        ),
    ],
    output: Annotated[Path, typer.Option("--output", help="JSON Lines (or .parquet), in the order of the input.", show_default=False)],
    backend: Annotated[
        str, typer.Option("--backend", help="openai, openai-batch, vllm, vllm-server, transformers, or one that another package brings.")
    ] = "openai",
    base_url: Annotated[str | None, typer.Option("--base-url", help="Where the endpoint is (default: OpenAI's).")] = None,
    concurrency: Annotated[int | None, typer.Option("--concurrency", help="Requests in flight at once, at most.")] = None,
    timeout: Annotated[float | None, typer.Option("--timeout", help="Seconds for one attempt.")] = None,
    retries: Annotated[int | None, typer.Option("--retries", help="Further attempts after a fault; a 429 spends none.")] = None,
    work: Annotated[Path | None, typer.Option("--work", help="Folder for the journal (default: the workspace, outputs).")] = None,
    temperature: Annotated[float | None, typer.Option("--temperature", help="Default 0.")] = None,
    top_p: Annotated[float | None, typer.Option("--top-p", help="Default 1.")] = None,
    max_tokens: Annotated[int | None, typer.Option("--max-tokens", help="Tokens of output, at most. Default 2,048.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Default 0.")] = None,
    api_key_env: Annotated[str | None, typer.Option("--api-key-env", help="Environment variable that holds the key.")] = None,
    slow_start: Annotated[bool | None, typer.Option("--slow-start/--no-slow-start", help="Begin with few requests in flight (default: yes).")] = None,
    response_format: Annotated[
        Path | None, typer.Option("--response-format", metavar="FILE", help="JSON file sent as response_format: structured output.")
    ] = None,
    budget: Annotated[float | None, typer.Option("--budget", metavar="DOLLARS", min=0, help="Hard cap on what this run may spend.")] = None,
    price: Annotated[
        str | None, typer.Option("--price", metavar="IN,OUT", help="Dollars for a million tokens read and written (default: the price table).")
    ] = None,
    failures: Annotated[float, typer.Option("--failures", min=0, max=1, help="Share of prompts that may fail without an error.")] = 0.0,
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any other option of the backend. Repeatable.")] = None,
    allow: AllowOpt = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout; progress goes to stderr.")] = False,
) -> None:
    """Prompts in, completions out, through the journal; run again it finishes what is missing.

    Example: guardkit generate --base-url http://localhost:8000/v1 --model my-model --input prompts.jsonl --output out.jsonl
    """
    from toolkit.api import generate as generate_file
    from toolkit.api.command import Progress, too_many

    named = {
        "backend": backend,
        "model": model,
        "base_url": base_url,
        "concurrency": concurrency,
        "timeout": timeout,
        "retries": retries,
        "temperature": temperature,
        "top_p": top_p,
        "max_tokens": max_tokens,
        "seed": seed,
        "api_key_env": api_key_env,
        "slow_start": slow_start,
    }
    config = {k: v for k, v in named.items() if v is not None} | _price(price) | _set(set_)
    leaves = [*(allow or ()), *([f"api_key_env={api_key_env}"] if api_key_env else [])]  # the option by that name says it
    options: Any = {"work": work, "response_format": response_format, "budget": budget, "failures": failures, "allow": leaves}
    found = generate_file(input, output, config, **options, progress=Progress(), raise_failures=False)
    if json:
        _say.document(found)
    else:
        _shown(found)
    if found["too_many"]:
        raise too_many(found)


def _shown(found: dict[str, Any]) -> None:
    names = ("rows", "answered", "failed", "asked", "from_journal", "prompt_tokens", "completion_tokens")
    cost = "?" if found["cost"] is None else f"{found['cost']:,.4f}"
    _say.table("Generated", [], [*(n.replace("_", " ") for n in names), "dollars"], [[*(f"{found[n]:,}" for n in names), cost]])
    if found["estimated"]:
        _say.lines(f"Dollars that are estimated, as the endpoint's count of tokens is missing or not to be believed: {found['estimated']:,.4f}")
    if found["unreadable"]:
        _say.lines(f"Records of the journal that cannot be read, and were asked for again: {found['unreadable']:,}")
    _say.lines(
        *(f"failed, {name}: {n:,} ({' '.join(found['messages'][name].split())[:300]})" for name, n in found["errors"].items()),
        f"Output: {found['output']}",
    )


def _price(text: str | None) -> dict[str, Any]:
    from toolkit.common.errors import InputError

    if text is None:
        return {}
    try:
        read, written = (float(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"{text!r} is not of the form IN,OUT", where="--price", hint="dollars for a million tokens: --price 2.5,10") from None
    return {"price": {"input": read, "output": written}}


def options_of(texts: list[str] | None, **named: Any) -> dict[str, Any]:
    """Options of a backend: those that were given by name, and those of ``--set KEY=VALUE``."""
    return {k: v for k, v in named.items() if v is not None} | _set(texts)


def _set(texts: list[str] | None) -> dict[str, Any]:
    from toolkit.common.errors import InputError
    from toolkit.common.yamlfile import parse_yaml

    out = {}
    for text in texts or ():
        key, eq, value = text.partition("=")
        if not (eq and key):
            raise InputError(f"{text!r} is not of the form KEY=VALUE", where="--set")
        out[key] = parse_yaml(value, f"--set {key}").data
    return out
