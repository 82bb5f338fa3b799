"""Row steps shared among processes: the bytes of one process, an operator of a user's own module, workers that die, Ctrl-C, errors, messages."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from world import World, environment, rejects, seed, steps_of

import toolkit
from toolkit.common.errors import InputError, Stopped
from toolkit.guards import load_guard
from toolkit.operators import Context, operator_class
from toolkit.pipeline import ConservationError, Counts, Processes, Progress, Work, _processes
from toolkit.pipeline._row_engine import through
from toolkit.pipeline._step_output import reject_lines
from toolkit.records import Column
from toolkit.taxonomy import load_taxonomy

MODULE = '''
"""A user's own operators. Where the file `flag` is, `how` goes wrong on a row whose prompt has the word thorn."""

import logging, os, signal, sys, threading, time, warnings
from pathlib import Path
import polars as pl
from toolkit.common.errors import InputError
from toolkit.operators import Column, Config, RowOperator, mark


class StampConfig(Config):
    how: str = "well"
    flag: str = "nowhere"
    pids: str | None = None


class Stamp(RowOperator):
    name = "stamp"
    row_local = True
    uses = frozenset()
    config_class = StampConfig

    def identity(self):
        return {}

    def reads(self, guard):
        return ["prompt"]

    def writes(self, guard):
        return [Column("stamp", "string")]

    def apply(self, rows, ctx):
        c, wrong = self.config, Path(self.config.flag).exists()

        def stamp(text):
            if c.pids is not None:
                with open(c.pids, "a") as f:
                    f.write(f"{os.getpid()}\\n")
            if wrong and "thorn" in text:
                if c.how == "killed":
                    os.kill(os.getpid(), signal.SIGKILL)
                if c.how == "exit":
                    os._exit(3)
                if c.how == "memory":
                    raise MemoryError
                if c.how == "refuse":
                    raise InputError("the rows are of the wrong kind", where=text, hint="bring others")
                if c.how == "slow":
                    time.sleep(0.3)
            if c.how == "fail" and "thorn" in text:
                raise ValueError(f"cannot stamp {text!r}")
            if c.how == "told":
                warnings.warn("stamps are old", UserWarning)
                logging.getLogger("stamps").warning("the ink is %s", "dry")
                print("stamped")
            return text[::-1]

        rows = rows.with_columns(pl.col("prompt").map_elements(stamp, return_dtype=pl.String).alias("stamp"))
        if c.how == "lose":
            return rows.slice(1)
        return mark(rows, pl.col("prompt").str.contains("number 3"), "unwanted", pl.col("prompt"))


class Still(Stamp):
    name = "still"
    row_local = False


class Over(Stamp):
    name = "over"

    def apply(self, rows, ctx):
        return super().apply(rows, ctx)


class Held(Stamp):
    name = "held"

    def __init__(self, config):
        super().__init__(config)
        self.lock = threading.Lock()
'''


SMALL = "from toolkit.pipeline import _processes; _processes.PIECE = 7; from toolkit.cli import main; main()"
"""The command, which sends a few rows at once."""


class Its(World):
    """A world with a user's own package on the path."""

    def __init__(self, folder: Path, site: Path) -> None:
        super().__init__(folder, 0)
        self.site, self.flag, self.pids = site, folder / "flag", folder / "pids"
        self.flag.touch()
        self.seeds([seed(i, "a thorn, they say" if i in (29, 41) else None) for i in range(60)] + [seed(i) for i in range(5)])

    def stamp(self, how: str = "well", use: str = "stamp") -> dict[str, Any]:
        return {"id": "stamped", "use": use, "with": {"how": how, "flag": str(self.flag), "pids": str(self.pids)}}

    def share(self, processes: int, out: str = "out", **options: Any) -> toolkit.Result:
        return toolkit.run(self.folder / "recipe.yaml", output=self.folder / out, processes=processes, **options)

    def who(self) -> set[int]:
        """The processes that an operator has run in."""
        return set(map(int, self.pids.read_text().split())) if self.pids.exists() else set()

    def start(self, *more: str) -> subprocess.Popen[str]:
        """The command with two workers, in a group of processes of its own, as a terminal has it; once both are at work."""
        process = subprocess.Popen(
            [sys.executable, "-c", SMALL, "run", "recipe.yaml", "--output", "out", "--processes", "2", *more],
            env=self.environment(),
            cwd=self.folder,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        while len(self.who()) < 2:
            assert process.poll() is None, process.stderr.read() if process.stderr else ""
            time.sleep(0.01)
        return process

    def environment(self) -> dict[str, str]:
        whole = environment()
        return {**whole, "PYTHONPATH": os.pathsep.join([str(self.site), whole["PYTHONPATH"]])}


@pytest.fixture
def its(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Its:
    site = tmp_path / "site"
    info = site / "stamps-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "stamps_of_mine.py").write_text(MODULE)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stamps\nVersion: 1.0\n")
    names = "".join(f"{n} = stamps_of_mine:{n.capitalize()}\n" for n in ("stamp", "still", "over", "held"))
    (info / "entry_points.txt").write_text(f"[guardkit.operators]\n{names}")
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.delitem(sys.modules, "stamps_of_mine", raising=False)
    monkeypatch.setattr(_processes, "PIECE", 7)
    return Its(tmp_path / "world", site)


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


READ = {"id": "rows", "use": "read", "with": {"files": ["seeds.jsonl"], "columns": {"prompt": "prompt", "response": "response"}, "record": "seed"}}


def test_the_bytes_are_those_of_one_process(its: Its) -> None:
    its.recipe(
        {"id": "clean", "use": "normalise", "with": {"max_chars": 40}},
        its.stamp("fail"),
        {"id": "told", "use": "synthesise", "with": {"backend": {"backend": "template"}}},
        {"id": "valid", "use": "validate"},
        {"id": "measured", "use": "measure"},
        {"id": "drawn", "use": "select", "with": {"share": 0.8}},
        {"id": "sft", "use": "render_sft"},
        {"id": "shards", "use": "shards"},
        failures=1.0,
    )
    one = its.share(1, "one")
    assert its.who() == {os.getpid()}
    first = steps_of(one.folder)
    left = {r["reason"] for s in first for r in pl.read_parquet(one.folder / s / "rejects.parquet").iter_rows(named=True)}
    assert {"unwanted", "operator_error", "not_drawn"} <= left, "the recipe exercises them all"
    for processes in (2, 3):
        its.pids.unlink()
        made = its.share(processes, str(processes), block_rows=30 if processes == 3 else 8192)
        assert steps_of(made.folder) == first
        assert os.getpid() not in its.who() and 1 <= len(its.who()) <= processes
    assert its.share(2, "one").built == [], "how many processes there were shapes no fingerprint"


def test_a_stream_goes_through_the_workers(its: Its) -> None:
    its.recipe(READ, its.stamp(), {"id": "shards", "use": "shards"}, load=False)
    one, two = (steps_of(its.share(n, str(n)).folder) for n in (1, 2))
    assert one == two and set(one) == {"shards"}
    assert len(its.who() - {os.getpid()}) in (1, 2)
    its.pids.unlink()
    its.recipe(READ, {"id": "clean", "use": "normalise"}, its.stamp(), load=False)
    one, two = (steps_of(its.share(n, f"rows{n}").folder) for n in (1, 2))
    assert one == two and set(one) == {"stamped"}


@pytest.mark.parametrize(
    ("how", "words"), [("killed", r"was killed \(SIGKILL\)"), ("exit", r"ended by itself \(exit code 3\)"), ("memory", "ran out of memory")]
)
def test_a_worker_that_dies_stops_the_run_and_it_goes_on(its: Its, how: str, words: str) -> None:
    its.recipe({"id": "clean", "use": "normalise"}, {"id": "parts", "use": "split"}, its.stamp(how))
    with pytest.raises(Stopped, match=f"a worker process of step 'stamped' {words}") as e:
        its.share(2)
    assert e.value.exit_code == 3 and "fewer processes" in str(e.value.hint)
    assert set(steps_of(its.folder / "out")) == {"seeds", "clean", "parts"}, "no half-written step, no leftover"
    assert all(gone(pid) for pid in its.who() - {os.getpid()})
    its.flag.unlink()
    done = its.share(2)
    assert done.reused == ["seeds", "clean", "parts"] and steps_of(done.folder) == steps_of(its.share(1, "other").folder)


def test_a_worker_that_is_killed_from_outside_is_found(its: Its) -> None:
    its.recipe(its.stamp("slow"))
    its.seeds([seed(i, f"thorn {i}") for i in range(400)])
    process = its.start()
    os.kill(min(its.who()), signal.SIGKILL)
    printed = process.communicate(timeout=60)[1]
    assert process.returncode == 3 and "was killed (SIGKILL)" in printed and "Traceback" not in printed, printed
    assert set(steps_of(its.folder / "out")) == {"seeds"} and all(map(gone, its.who()))


def test_an_interrupt_stops_the_workers(its: Its) -> None:
    its.recipe(its.stamp("slow"))
    its.seeds([seed(i, f"thorn {i}") for i in range(400)])
    process = its.start()
    os.killpg(process.pid, signal.SIGINT)
    printed = process.communicate(timeout=60)[1]
    assert process.returncode == 3 and "interrupted" in printed and "Traceback" not in printed, printed
    assert set(steps_of(its.folder / "out")) == {"seeds"}
    assert len(its.who()) == 2 and all(map(gone, its.who()))


def test_no_worker_outlives_a_run_that_is_killed(its: Its) -> None:
    its.recipe(its.stamp("slow"))
    its.seeds([seed(i, f"thorn {i}") for i in range(400)])
    process = its.start()
    process.kill()
    process.communicate(timeout=60)
    until = time.monotonic() + 60
    while not all(map(gone, its.who())):
        assert time.monotonic() < until
        time.sleep(0.05)


def test_an_error_has_the_words_that_it_has_in_one_process(its: Its) -> None:
    its.recipe(its.stamp("refuse"))
    found = []
    for processes in (1, 2):
        with pytest.raises(InputError) as e:
            its.share(processes, str(processes))
        found.append((type(e.value), str(e.value), e.value.where, e.value.hint))
    assert found[0] == found[1] and "the rows are of the wrong kind" in found[0][1]
    its.recipe(its.stamp("lose"))
    with pytest.raises(ConservationError, match="lost, doubled or moved rows"):
        its.share(2)


def test_what_is_reported_is_reported_once(its: Its) -> None:
    its.recipe(its.stamp("told"))
    process = its.start("--json")
    printed = process.communicate(timeout=60)[1]
    assert process.returncode == 0, printed
    assert printed.count("UserWarning: stamps are old") == 1 and printed.splitlines().count("the ink is dry") == 1


@pytest.mark.parametrize("use", ["still", "over"])
def test_an_operator_that_does_not_say_that_it_may_stays(its: Its, use: str) -> None:
    """One that has an `apply` of its own does not say it through the class that it comes from."""
    its.recipe(its.stamp(use=use))
    its.share(2)
    assert its.who() == {os.getpid()}


def test_an_operator_that_cannot_be_sent_stays_and_that_is_reported(its: Its) -> None:
    its.recipe(its.stamp(use="held"))
    shown = StringIO()
    its.share(2, progress=Progress(shown))
    assert its.who() == {os.getpid()}
    assert "runs in one process: its operator cannot be sent to another (TypeError" in shown.getvalue()


def test_a_script_needs_no_guard_around_its_main_part(its: Its) -> None:
    its.recipe(its.stamp())
    script = its.folder / "mine.py"
    script.write_text(
        "import toolkit\nfrom toolkit.pipeline import _processes\n_processes.PIECE = 7\nprint(toolkit.run('recipe.yaml', output='out', processes=2).built)\n"
    )
    done = subprocess.run([sys.executable, str(script)], env=its.environment(), cwd=its.folder, capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.stderr) == ("['seeds', 'stamped']\n", "") and len(its.who()) in (1, 2)


def test_a_worker_imports_nothing_out_of_the_working_folder(its: Its, monkeypatch: pytest.MonkeyPatch) -> None:
    its.recipe(its.stamp())
    (its.folder / "json.py").write_text("raise SystemExit(9)")
    monkeypatch.chdir(its.folder)
    assert its.share(2).built == ["seeds", "stamped"] and os.getpid() not in its.who()


def test_how_many_processes_must_be_a_number_of_them(its: Its) -> None:
    its.recipe(its.stamp())
    with pytest.raises(InputError, match="at least one process"):
        its.share(0)
    done = its.cli("run", "recipe.yaml", "--processes", "0")
    assert done.returncode == 2 and "--processes" in done.stderr


# The engine by itself ---------------------------------------------------------------------------------------------------


def work(name: str, **options: Any) -> Work[Any]:
    cls = operator_class(name)
    op = cls(cls.config_class.model_validate(options))
    guard = load_guard("guardreasoner")
    columns = {"id": Column("id", "string"), "prompt": Column("prompt", "string")}
    return Work(op, Context(guard, load_taxonomy(), 0, name, Path()), op.columns({"rows": columns}, guard), Counts(name, name, op.shape))


def numbered(sizes: list[int]) -> Iterator[pl.DataFrame]:
    start = 0
    for n in sizes:
        yield pl.DataFrame({"id": [str(i) for i in range(start, start + n)], "prompt": [f"number {i}" for i in range(start, start + n)]})
        start += n


@pytest.mark.parametrize("sizes", [[40] * 12, [1] * 60, [0, 3, 0, 100, 0]])
def test_blocks_come_back_in_order_and_few_are_under_way(its: Its, sizes: list[int]) -> None:
    taken = given = 0

    def blocks() -> Iterator[pl.DataFrame]:
        nonlocal taken
        for block in numbered(sizes):
            taken += 1
            yield block

    group = [work("stamp"), work("select", where_not={"prompt": "number 4"})]
    rows = []
    with Processes(2) as engine:
        for block in through(engine, group, blocks(), reject_lines):
            given += 1
            assert taken - given <= (1 if sizes[0] == 40 else 4)
            rows += block.kept["id"].to_list()
    assert rows == [str(i) for i in range(sum(sizes)) if not str(i).startswith("3") and i != 4]
    assert group[0].counts.came == sum(sizes) and group[1].counts.kept == len(rows)


def test_an_operator_is_loaded_from_its_own_file(tmp_path: Path, its: Its) -> None:
    """Its module is on no path: whoever made it loaded it by its file."""
    file = tmp_path / "elsewhere" / "loaded_by_file.py"
    file.parent.mkdir()
    file.write_text(MODULE)
    spec = importlib.util.spec_from_file_location("loaded_by_file", file)
    assert spec is not None and spec.loader is not None
    sys.modules["loaded_by_file"] = module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        cls = module.Stamp
        pids = tmp_path / "pids"
        op = cls(cls.config_class(pids=str(pids)))
        stamped = work("stamp")
        group = [Work(op, stamped.ctx, stamped.columns, Counts("s", "s", op.shape))]
        with Processes(2) as engine:
            blocks = list(through(engine, group, numbered([20]), reject_lines))
        assert blocks[0].kept["stamp"].to_list()[0] == "0 rebmun" and str(os.getpid()) not in pids.read_text().split()
        file.unlink()
        with Processes(2) as engine, pytest.raises(InputError, match="a worker process cannot load the operators of loaded_by_file"):
            list(through(engine, group, numbered([20]), reject_lines))
    finally:
        del sys.modules["loaded_by_file"]


class Loses:
    """An engine that forgets the last block, or hands on what it has not done."""

    def __init__(self, change: Callable[[list[Any]], list[Any]]) -> None:
        self.change = change

    def rows(self, group: Any, blocks: Any, lines: Any) -> Iterator[Any]:
        from toolkit.pipeline import LOCAL

        yield from self.change(list(LOCAL.rows(group, blocks, lines)))


@pytest.mark.parametrize("change", [lambda b: b[:-1], lambda b: b[::-1], lambda b: [b[0], b[0]], lambda b: [*b, b[-1]]])
def test_an_engine_that_loses_rows_is_found(its: Its, change: Callable[[list[Any]], list[Any]]) -> None:
    with pytest.raises(ConservationError, match="block"):
        list(through(Loses(change), [work("stamp")], numbered([5, 3]), reject_lines))


def test_rejects_name_the_row_at_which_an_operator_failed(its: Its) -> None:
    its.recipe(its.stamp("fail"), failures=1.0)
    run = its.share(3)
    from toolkit.pipeline import Run

    left = [r for r in rejects(Run(run.folder), "stamped") if r["reason"] == "operator_error"]
    assert len(left) == 2 and all("cannot stamp 'a thorn, they say'" in r["detail"] for r in left)
