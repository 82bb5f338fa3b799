"""The command line: a thin face over the other rooms. `main` turns errors into messages and exit codes."""

from __future__ import annotations

import errno
import logging
import sys
from contextlib import suppress
from typing import Any, NoReturn

from toolkit.common.text import plain

INTERRUPTED = 130
"""What typer returns for Ctrl-C outside a run; a run that is interrupted raises `Stopped`."""


def main() -> NoReturn:
    """Entry point of ``guardkit``. Exit codes: 0, 1, 2, 3, 4, 70 (see the README)."""
    from toolkit.cli._streams import open_streams

    open_streams()
    from toolkit.common.errors import FAILS, GuardkitError, on_command_line
    from toolkit.common.secrets import LogFilter

    if logging.lastResort is not None:  # what prints the warnings of libraries, and ours
        logging.lastResort.addFilter(LogFilter())

    try:
        with on_command_line():
            code = _run()
        sys.stdout.flush()
    except GuardkitError as e:
        code = _failed(e)
    except KeyboardInterrupt:
        code = _interrupted()
    except OSError as e:
        code = _full() if e.errno == errno.ENOSPC else _failed(_refused(e)) if e.filename is not None or e.errno in FAILS else _bug()
    except Exception:  # noqa: BLE001  whatever else escapes is a bug of ours, and the user should see where
        code = _bug()
    sys.exit(code)


def _run() -> int:
    from typer import Abort
    from typer.main import get_command

    from toolkit.cli._app import only
    from toolkit.cli._complete import ask_first

    try:
        # Not standalone: typer would end an interrupt in its own way.
        code: Any = ask_first(get_command(only("".join(sys.argv[1:2]))))(prog_name="guardkit", standalone_mode=False)
    except Abort:  # Ctrl-C, or the end of the input, where something is asked
        return _interrupted()
    except Exception as e:
        error: Any = e
        if not hasattr(error, "format_message"):
            raise
        from typer.rich_utils import rich_format_error  # errors of usage: unknown options, missing arguments

        _document("UsageError", 2, _fault(error.format_message()))
        rich_format_error(error)
        return 2
    if code == INTERRUPTED:
        return _interrupted()
    return code if isinstance(code, int) else 0


def _interrupted() -> int:
    _document("Stopped", 3, _fault("interrupted"))
    sys.stderr.write("guardkit: interrupted; all finished steps and answers are kept\n")
    return 3


def _refused(error: OSError) -> Any:
    """The error of a file that the system does not give, at a place where nothing else is known of it."""
    from toolkit.common.errors import FAILS, InputError, Stopped

    kind = Stopped if error.errno in FAILS else InputError
    return kind(f"the system refuses: {error.strerror or error}", where=str(error.filename or "") or None)


def _failed(error: Any) -> int:
    from toolkit.cli import _say

    _document(type(error).__name__, error.exit_code, *_say.faults(error))
    sys.stderr.write(f"guardkit: {plain(str(error))}\n")
    return int(error.exit_code)


def _full() -> int:
    from toolkit.cli._streams import to_nowhere

    to_nowhere(1)  # whatever is still buffered
    sys.stderr.write("guardkit: what it prints could not be written (no space left); all finished steps and answers are kept\n")
    return 3


def _bug() -> int:
    import traceback

    from toolkit._version import __version__
    from toolkit.common.secrets import shown

    lines = shown(traceback.format_exc())
    _document("Bug", 70, _fault(lines.strip().rpartition("\n")[2]))
    sys.stderr.write(plain(lines))
    sys.stderr.write(
        f"guardkit: this is a bug in guardkit {__version__}. Please report it with the lines above and the command that you ran "
        "(check that the lines hold nothing private).\n"
    )
    return 70


def _fault(message: str) -> dict[str, str | None]:
    return {"message": message, "where": None, "hint": None}


def _document(error: str, code: int, *faults: dict[str, Any]) -> None:
    """The one JSON document of a command that ended before it printed its own."""
    from toolkit.cli import _say

    if "--json" in sys.argv and not _say.documents:
        with suppress(OSError):
            _say.document({"error": error, "exit_code": code, "faults": faults})
