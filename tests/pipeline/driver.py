"""Runs the recipe in a folder and kills itself (SIGKILL) at a named moment: ``python driver.py FOLDER MOMENT STEP``.

write       rows of the step are being written
manifest    the manifest is half-written
moved       the old folder has been moved away, the new one has not its name yet (only where there is an old one)
rename      just before the new folder takes its name
renamed     just after
claim       while the run's folder is made: before run.json is there
log         half a line of the log is written
commit      an answer has been given and is not yet in the journal
ready       not at all: says "ready" once all is imported, for one who kills from outside
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from toolkit.generation import Journal
from toolkit.pipeline import _current, _folder, _store, load_recipe, make_plan, run_plan


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def arm(moment: str, step: str) -> None:
    store: Any = _store
    current: Any = _current
    rename, write_atomic = Path.rename, store.write_atomic

    if moment == "write":
        write = store.ParquetFile.write

        def dying_write(self: Any, rows: Any) -> None:
            write(self, rows)
            if f".{step}.guardkit" in self.path.parts:
                if self._waiting:
                    self._submit(self._table(self._waiting))
                self._worker.wait()
                die()

        store.ParquetFile.write = dying_write
    elif moment == "manifest":

        def half(path: Path, data: str) -> None:
            if path.parent.parent.name == f".{step}.guardkit":
                path.write_text(data[: len(data) // 2])
                die()
            write_atomic(path, data)

        store.write_atomic = half
    elif moment in ("moved", "rename", "renamed"):

        def dying_rename(self: Path, target: Path) -> Path:
            new = self.parts[-2:] == (f".{step}.guardkit", "new")
            if moment == "rename" and new:
                die()
            done = rename(self, target)
            if (moment == "renamed" and new) or (moment == "moved" and self.name == step):
                die()
            return done

        Path.rename = dying_rename  # type: ignore[assignment, method-assign]
    elif moment == "claim":

        def half_claim(path: Path, data: str) -> None:
            if path.name == "run.json":
                path.with_name(".run.json.guardkit").write_text(data[:5])
                die()
            write_atomic(path, data)

        current.write_atomic = half_claim
    elif moment == "log":
        log = _folder.log

        def half_log(folder: Path, event: str, **values: Any) -> None:
            if event == "built" and values["step"] == step:
                with (folder / "events.jsonl").open("a") as f:
                    f.write('{"time": 1.0, "event": "bui')
                    f.flush()
                    die()
            log(folder, event, **values)

        from toolkit.pipeline import _run

        run: Any = _run
        run.log = half_log
    elif moment == "commit":
        put = Journal.put
        seen = []

        def dying_put(self: Journal, done: Any, shared: Any = ()) -> None:
            seen.append(done)
            if len(seen) == 2:
                die()
            put(self, done, shared)

        Journal.put = dying_put  # type: ignore[method-assign]


if __name__ == "__main__":
    world, moment, step = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    arm(moment, step)
    plan = make_plan(load_recipe(world / "recipe.yaml"))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    run_plan(plan, output=world / "out")
