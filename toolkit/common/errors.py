"""The errors that a user sees, and the exit code of each.

Every error names what was wrong, where (``file:line:key`` when there is one) and what to do, without the secrets in use and without what a
URL holds of them (`toolkit.common.secrets.shown`). The CLI prints
``str(error)`` and exits with ``error.exit_code``; a Python user catches `GuardkitError`. Anything else that escapes is a
bug of ours (exit code 70).
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from toolkit.common.secrets import shown

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Error numbers of a disk without room."""
FAILS = (errno.EIO, errno.EROFS)
"""Error numbers of a disk that fails: never a bug of ours, whatever was being done."""


_OPTION = re.compile(r"\{(--[a-z][^{}|]*)\|([^{}|]*)\}")


_reader = ["python"]
"""Who reads errors, the last one."""


@contextmanager
def on_command_line() -> Iterator[None]:
    """Here a command runs: errors name its options as they are given there, else as arguments of Python's functions."""
    _reader.append("command")
    try:
        yield
    finally:
        _reader.pop()


def worded(text: str) -> str:
    """A text in which each option, ``{--min-parse-rate|min_parse_rate}``, is named as whoever reads it gives it."""
    return _OPTION.sub(lambda found: found[1 if _reader[-1] == "command" else 2], text) if "{--" in text else text


def short_path(path: object) -> str:
    """A path (or a place in a file, which begins with one) as people write it: without the working folder, where it is below that."""
    text = str(path)
    try:
        here = os.getcwd()  # noqa: PTH109  a text, and so is `path`
    except OSError:  # it has been removed
        return text
    return "." if text == here else text.removeprefix(here.rstrip("/") + "/")


class GuardkitError(Exception):
    """Base of all errors with a message meant for the user.

    Args:
        message: what was wrong.
        where: file, ``file:line`` or ``file:line:key``; of a path below the working folder the part after that.
        hint: what to do about it.

    Example:
        >>> try:
        ...     toolkit.load_guard("guardreasonr")
        ... except toolkit.GuardkitError as error:
        ...     error.message, error.hint, error.exit_code
        ("no guard called 'guardreasonr'", "did you mean 'guardreasoner'?", 2)
    """

    exit_code = 2

    def __init__(self, message: str, *, where: str | None = None, hint: str | None = None) -> None:
        self.message = message = shown(worded(message))
        self.where = where = where and shown(worded(short_path(where)))
        self.hint = hint = hint and shown(worded(hint))
        text = f"{where}: {message}" if where else message
        super().__init__(f"{text}\n  {hint}" if hint else text)

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (type(self), self.args, self.__dict__)


def _again(cls: type[GuardkitError], args: tuple[Any, ...], state: dict[str, Any]) -> GuardkitError:
    """An error of another process, which may know fewer secrets, as it was."""
    error = cls.__new__(cls, *(shown(a) if isinstance(a, str) else a for a in args))
    error.__dict__.update({name: shown(value) if isinstance(value, str) else value for name, value in state.items()})
    return error


class InputError(GuardkitError):
    """Bad arguments, a bad recipe, schema file or input (exit code 2)."""


class InputErrors(InputError):  # noqa: N818 (named by what happened)
    """Several `InputError`, all found at once (exit code 2). A hint that goes for some that follow each other stands once, under the last of them."""

    def __init__(self, errors: Iterable[GuardkitError]) -> None:
        self.errors = list(errors)
        hints = [e.hint for e in self.errors]
        same = [hint is not None and hint == after for hint, after in zip(hints, [*hints[1:], None], strict=True)]
        super().__init__("\n".join(str(e).removesuffix(f"\n  {e.hint}") if again else str(e) for e, again in zip(self.errors, same, strict=True)))


class TooManyFailures(GuardkitError):  # noqa: N818 (named by what happened)
    """All is written, but more failed than may: generations, rows that a step validates, or a certificate that had to pass (exit code 1)."""

    exit_code = 1


class Stopped(GuardkitError):  # noqa: N818 (named by what happened)
    """Stopped early with all progress kept: interrupt, full disk, budget (exit code 3)."""

    exit_code = 3


class Missing(GuardkitError):  # noqa: N818 (named by what happened)
    """An extra, key, token, file of a gated source, or service that this machine lacks (exit code 4)."""

    exit_code = 4


_STOPPED_BY = {
    "KeyboardInterrupt": "interrupted",
    "Stopped": "interrupted, the budget reached or the disk full",
    "Missing": "a package, key, file or service was missing",
    "TooManyFailures": "more failed than may",
    "InputError": "something was wrong with the input",
    "InputErrors": "something was wrong with the input",
}


def stopped_by(error: str) -> str:
    """What stopped a run in words, of its error's class, which is all that the run's log has of it; classes that are not ours by their names."""
    return _STOPPED_BY.get(error, error)


class BrokenContract(RuntimeError):  # noqa: N818 (named by what happened)
    """Code does not keep what it promises its callers, an operator's of another package say: a bug in it, never a user's fault (exit code 70)."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``"did you mean 'x'?"`` for the nearest of `known`, else ``"known: a, b, c"``."""
    names = sorted(known)
    return nearest(word, names) or f"known: {', '.join(names)}"


_COMPARED = 5000
"""Names up to which all are compared letter by letter; of more, those that begin alike."""


def nearest(word: str, known: Iterable[str]) -> str | None:
    """``"did you mean 'x'?"`` for the nearest of `known`, of which there may be any number; None where none is near."""
    from difflib import get_close_matches

    names, plain = sorted(known), word.strip().casefold()
    if same := [n for n in names if n.casefold() == plain]:
        return f"did you mean {same[0]!r}?"
    if len(plain) >= 4 and len(begun := [n for n in names if n.casefold().startswith(plain)]) == 1:  # an id of which the beginning was copied
        return f"did you mean {begun[0]!r}?"
    some = names if len(names) <= _COMPARED else [n for n in names if n[:4].casefold() == plain[:4]]
    near = get_close_matches(word, some[:_COMPARED], n=1, cutoff=0.6)
    return f"did you mean {near[0]!r}?" if near else None


def require(module: str, extra: str, why: str) -> None:
    """Raise `Missing` with the install command unless `module` can be imported (it is not imported here)."""
    from importlib.util import find_spec

    if find_spec(module) is None:
        raise Missing(f"{why} needs the package {module!r}", hint=f"install it: pip install 'guardkit[{extra}]'")
