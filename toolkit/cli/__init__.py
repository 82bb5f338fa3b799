"""The command line: a thin face over the other rooms. `main` turns errors into messages and exit codes."""

from __future__ import annotations

import errno
import io
import os
import sys
from contextlib import suppress
from typing import Any, NoReturn

from toolkit.common.text import plain

INTERRUPTED = 130
"""What typer returns for Ctrl-C outside a run; a run that is interrupted raises `Stopped`."""


def main() -> NoReturn:
    """Entry point of ``guardkit``. Exit codes: 0, 1, 2, 3, 4, 70 (see the README)."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever started us
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123  for as long as we run
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a letter that the terminal's encoding lacks is shown as an escape
            stream.reconfigure(errors="backslashreplace")
    from toolkit.cli._say import ReaderGone
    from toolkit.common.errors import GuardkitError

    try:
        code = _run()
    except GuardkitError as e:
        code = _failed(e)
    except KeyboardInterrupt:
        code = _interrupted()
    except (BrokenPipeError, ReaderGone):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # whatever is still buffered goes nowhere
        code = 0
    except OSError as e:
        code = _full() if e.errno == errno.ENOSPC else _bug()
    except Exception:  # noqa: BLE001  whatever else escapes is a bug of ours, and the user should see where
        code = _bug()
    sys.exit(code)


def _run() -> int:
    from toolkit.cli._app import app

    try:
        # Not standalone: typer would end an interrupt in its own way.
        code: Any = app(prog_name="guardkit", standalone_mode=False)
    except Exception as e:
        error: Any = e
        if not hasattr(error, "format_message"):
            raise
        from typer.rich_utils import rich_format_error  # errors of usage: unknown options, missing arguments

        from toolkit.cli import _say

        if "--json" in sys.argv and not _say.documents:
            fault = {"message": plain(error.format_message()), "where": None, "hint": None}
            _say.document({"error": "UsageError", "exit_code": 2, "faults": [fault]})
        rich_format_error(error)
        return 2
    if code == INTERRUPTED:
        return _interrupted()
    return code if isinstance(code, int) else 0


def _interrupted() -> int:
    _document("Stopped", 3, "interrupted")
    sys.stderr.write("guardkit: interrupted; all finished steps and answers are kept\n")
    return 3


def _failed(error: Any) -> int:
    from toolkit.cli import _say

    if "--json" in sys.argv and not _say.documents:
        _say.document({"error": type(error).__name__, "exit_code": error.exit_code, "faults": _say.faults(error)})
    sys.stderr.write(f"guardkit: {plain(str(error))}\n")
    return int(error.exit_code)


def _full() -> int:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # as above
    with suppress(OSError):
        sys.stderr.write("guardkit: what it prints could not be written (no space left); all finished steps and answers are kept\n")
    return 3


def _bug() -> int:
    import traceback

    from toolkit._version import __version__

    _document("Bug", 70, plain(traceback.format_exc().strip().rpartition("\n")[2]))
    sys.stderr.write(plain(traceback.format_exc()))
    sys.stderr.write(
        f"guardkit: this is a bug in guardkit {__version__}. Please report it with the lines above and the command that you ran "
        "(check that the lines hold nothing private).\n"
    )
    return 70


def _document(error: str, code: int, message: str) -> None:
    """The one JSON document of a command that ended before it printed its own."""
    from toolkit.cli import _say

    if "--json" in sys.argv and not _say.documents:
        with suppress(OSError, _say.ReaderGone):
            _say.document({"error": error, "exit_code": code, "faults": [{"message": message, "where": None, "hint": None}]})
