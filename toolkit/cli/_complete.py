"""What the shell completes beside files: names of operators, recipes, sources, guards, benchmarks, steps. A fault completes nothing.

typer's ``--install-completion`` writes to the shell's start-up file; `ask_first` makes it say so and ask.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import typer


def _quietly(names: Callable[[], Iterable[str]], incomplete: str) -> list[str]:
    try:
        return [n for n in names() if n.startswith(incomplete)]
    except Exception:  # noqa: BLE001  whatever is wrong the command reports, not by a key press
        return []


def operators(incomplete: str) -> list[str]:
    """Operators."""
    from toolkit.api.command import operator_names

    return _quietly(operator_names, incomplete)


def recipes(incomplete: str) -> list[str]:
    """Recipes by name; the shell adds files where none fits."""
    from toolkit.common.resources import recipe_names

    return _quietly(recipe_names, incomplete)


def schemas(kind: str, after: str = "") -> Callable[[str], list[str]]:
    """Names of a kind of schema (`toolkit.common.resources.find`), each with `after` behind it."""

    def complete(incomplete: str) -> list[str]:
        from toolkit.common.resources import names

        return _quietly(lambda: [n + after for n in names(kind)], incomplete)

    return complete


def extras(incomplete: str) -> list[str]:
    """Extras of the package."""
    from toolkit.api.command import EXTRAS

    return _quietly(lambda: EXTRAS, incomplete)


def run_steps(ctx: typer.Context, incomplete: str) -> list[str]:
    """Steps of the run that the command names before."""
    from toolkit.api.command import recipe_steps

    folder = _first_argument(ctx)
    return [] if folder is None else _quietly(lambda: recipe_steps(Path(folder)), incomplete)


def recipe_options(ctx: typer.Context, incomplete: str) -> list[str]:
    """``STEP.OPTION=`` of the recipe that the command names before, for ``--set``."""
    from toolkit.api.command import describe_operator, load_recipe

    recipe = _first_argument(ctx)

    def named() -> Iterable[str]:
        for step in load_recipe(recipe or "").steps:
            yield from (f"{step.id}.{option['name']}=" for option in describe_operator(step.use)["options"])

    return _quietly(named, incomplete) if recipe else []


def _first_argument(ctx: typer.Context) -> str | None:
    """What is behind the command's name; the words of the line are read, as an option without its value yet leaves the others unparsed."""
    line = os.environ.get("COMP_WORDS") or os.environ.get("_TYPER_COMPLETE_ARGS") or ""
    try:
        words = shlex.split(line)
        behind = words[words.index(ctx.info_name or "") + 1]
    except (ValueError, IndexError):
        return None
    return None if behind.startswith("-") else behind


def ask_first(command: Any) -> Any:
    """The command, which says what ``--install-completion`` would change, and asks, before it does."""
    for param in command.params:
        if param.name == "install_completion":
            param.callback = _asking(param.callback)
    return command


_FILES = {
    "bash": "~/.bashrc and ~/.bash_completions/guardkit.sh",
    "zsh": "~/.zshrc and ~/.zfunc/_guardkit",
    "fish": "~/.config/fish/completions/guardkit.fish",
}


def _asking(install: Callable[..., Any]) -> Callable[..., Any]:
    def callback(ctx: Any, param: Any, value: Any) -> Any:
        if not value or ctx.resilient_parsing:
            return value
        from toolkit.common.errors import InputError

        files = _FILES.get(value, "") if isinstance(value, str) else "; ".join(f"{shell}: {names}" for shell, names in _FILES.items())
        sys.stderr.write(f"This writes to the start-up file of your shell ({files or 'its profile'}).\n")
        if not (sys.stdin.isatty() and typer.confirm("Write it?", err=True)):
            raise InputError("nothing was written", hint="guardkit --show-completion prints the script, to be put where you want it")
        return install(ctx, param, value)

    return callback
