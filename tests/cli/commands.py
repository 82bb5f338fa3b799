"""Commands of guardkit: what they printed, and how they ended."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parent.parent.parent


@dataclass(frozen=True)
class Result:
    """What a command printed, and how it ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one document on stdout."""
        return json.loads(self.out)


def environment(**more: str) -> dict[str, str]:
    """The environment of a command in another process."""
    return {**os.environ, "PYTHONPATH": str(CHECKOUT), "COLUMNS": "150", **more}


def guardkit(*args: object, cwd: Path, **more: str) -> Result:
    """``python -m toolkit`` in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "toolkit", *map(str, args)], cwd=cwd, env=environment(**more), capture_output=True, text=True, timeout=300
    )
    return Result(done.returncode, done.stdout, done.stderr)
