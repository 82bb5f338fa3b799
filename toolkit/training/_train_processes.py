"""A training by several processes of this machine, one for each GPU, or several on its CPU.

The process that was asked for it holds the new folder and shows progress. It starts the others (`toolkit.training._train_worker`) by torch's elastic
launcher and reads no row itself. They meet at a store of this process, on a port that the system gives. Each does what a training of one process
does; torch and accelerate average their gradients. The first of them writes the model, and reports.

Failure semantics: a process that fails ends the others at once, and its error is raised here; of one that is killed the number and last words
(`Stopped`). No process outlives this one, even where it is killed (`toolkit.training._train_worker`). Checkpoints stay.
"""

from __future__ import annotations

import json
import logging
import os
import pickle
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from toolkit.common.errors import GuardkitError, InputError, Stopped
from toolkit.common.machine import cores, how_ended
from toolkit.training._parallel import check_parallel, processes_in
from toolkit.training._train_worker import PARENT, START, Job

if TYPE_CHECKING:
    from toolkit.training._train_options import TrainOptions
    from toolkit.training._training_report import Begin, Progress

_log = logging.getLogger(__name__)
_TOOLS = "torch.distributed.elastic"
_SIZES = ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")
"""Where launchers say how many processes they have started."""
_WORDS = 600
"""Characters of a killed process's last words."""


def refuse_launchers() -> None:
    """Refuse to be one of several processes that another program started (InputError)."""
    if PARENT in os.environ:
        return
    for name in _SIZES:
        if (size := os.environ.get(name, "1")).isdecimal() and int(size) > 1:
            hint = f"run guardkit itself, once, with `processes: {size}` beside `trainer`: it starts them"
            raise InputError(f"{size} processes were started, as {name} says: each would train by itself, and all would write one model", hint=hint)


def processes_of(config: TrainOptions) -> int:
    """How many processes a training has.

    Raises:
        InputError: more than there are GPUs, or they cannot share the model as `parallel` says. Missing: deepspeed is not installed.
    """
    import torch

    gpus = 0 if config.trainer.get("use_cpu") else torch.cuda.device_count()
    wanted = processes_in(config.parallel) if config.processes is None else config.processes
    count = max(1, gpus) if wanted == "auto" else wanted or 1
    if wanted is None and gpus > 1:
        _log.warning("training on one of %d GPUs; with `processes: auto` it would be all of them", gpus)
    if gpus and count > gpus:
        hint = "`processes: auto` is one for each GPU"
        raise InputError(f"{count} processes, and {gpus} GPU{'s' * (gpus > 1)} that can be seen", where="processes", hint=hint)
    check_parallel(config.parallel, count, cpu=not gpus)
    return count


def together(
    job: Job,
    count: int,
    place: Path,
    on_progress: Progress | None,
    on_begin: Begin | None,
    environment: Mapping[str, str] | None = None,
    port: int = 0,
) -> dict[str, Any]:
    """Do a job with several processes, and give the metrics of the first.

    Args:
        job: of each; what it raises is raised here.
        count: of processes.
        place: a fresh folder for what they are sent and what they leave.
        on_progress, on_begin: as for `toolkit.training.train_sft`.
        environment: more for each; see `toolkit.training._parallel.environment_of`.
        port: where they meet; 0 for one that is free.

    Raises:
        InputError: the port is in use.
        Stopped: a process was killed, or ended by itself.
    """
    from torch.distributed import DistNetworkError, TCPStore  # type: ignore[attr-defined]
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, Std, start_processes

    place.mkdir(parents=True)
    (place / "job").write_bytes(pickle.dumps(job))
    (place / "events").touch()
    try:
        store = TCPStore("127.0.0.1", port, is_master=True, wait_for_workers=False)
    except DistNetworkError:
        hint = "leave main_process_port out: a free one is then taken"
        raise InputError(f"the port {port} is in use", where="parallel", hint=hint) from None
    arguments = ("-P", "-c", START, json.dumps(list(map(str, sys.path))), str(place))
    with _own_signals():
        workers = start_processes(
            name="guardkit",
            entrypoint=sys.executable,
            args=dict.fromkeys(range(count), arguments),
            envs={rank: {**(environment or {}), **_environment(rank, count, store.port)} for rank in range(count)},
            logs_specs=DefaultLogsSpecs(str(place / "printed"), Std.ALL),
        )
        try:
            with (place / "events").open("rb") as events:
                metrics = None
                while (ended := workers.wait(0)) is None:
                    metrics = _pass_on(events, on_progress, on_begin) or metrics
                    time.sleep(0.05)
                metrics = _pass_on(events, on_progress, on_begin) or metrics
        finally:
            workers.close(signal.SIGKILL, timeout=10)
    if ended.is_failed() or metrics is None:
        raise _failure(place, count, {rank: failure.exitcode for rank, failure in ended.failures.items()}, workers.stderrs)
    return metrics


def _environment(rank: int, count: int, port: int) -> dict[str, str]:
    """What torch and accelerate ask of a launcher."""
    found = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "TORCHELASTIC_USE_AGENT_STORE": "True"}
    found |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count)}
    found |= {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(max(1, cores() // count)))}
    if sys.platform == "linux":
        found["GLOO_SOCKET_IFNAME"] = os.environ.get("GLOO_SOCKET_IFNAME", "lo")
    return found | {PARENT: str(os.getpid())}


@contextmanager
def _own_signals() -> Iterator[None]:
    """Let the launcher take no signal over, and say nothing of its own."""
    logger, name = logging.getLogger(_TOOLS), "TORCHELASTIC_SIGNALS_TO_HANDLE"
    level, before = logger.level, os.environ.get(name)
    logger.setLevel(logging.CRITICAL)
    os.environ[name] = "none"
    try:
        yield
    finally:
        logger.setLevel(level)
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _pass_on(events: IO[bytes], on_progress: Progress | None, on_begin: Begin | None) -> dict[str, Any] | None:
    """Pass on what was reported since; the metrics, once they are."""
    while line := events.readline():
        if not line.endswith(b"\n"):  # the rest is still being written
            events.seek(-len(line), os.SEEK_CUR)
            break
        kind, *values = json.loads(line)
        if kind == "done":
            return dict(values[0])
        if kind == "log":
            logging.getLogger(values[0]).log(values[1], "%s", values[2])
        elif kind == "progress" and on_progress is not None:
            on_progress(*values)
        elif kind == "begin" and on_begin is not None:
            on_begin(values[0])
    return None


def _failure(place: Path, count: int, codes: Mapping[int, int], printed: Mapping[int, str]) -> BaseException:
    """The error for processes that failed: what the first of them raised, or which of them was killed.

    Args:
        place: with the errors.
        count: of processes.
        codes: exit code of each that failed; those that were ended because of it among them.
        printed: file with what each wrote to stderr.
    """
    raised = {rank: pickle.loads(file.read_bytes()) for rank in range(count) if (file := place / f"error-{rank}").is_file()}  # noqa: S301  a worker's
    ordered = sorted(raised, key=lambda rank: raised[rank][0])
    ours = next((rank for rank in ordered if isinstance(raised[rank][1], GuardkitError)), None)
    killed = next((rank for rank, code in codes.items() if code < 0 and code != -signal.SIGTERM), None)
    if ours is None and killed is None and ordered:
        _, error, trace = raised[ordered[0]]
        error.add_note(f"In process {ordered[0]} of {count}:\n{trace}")
        return cast("BaseException", error)
    if ours is not None:
        return cast("BaseException", raised[ours][1])
    rank = killed if killed is not None else min(codes, default=0)
    words = Path(printed[rank]).read_text(encoding="utf-8", errors="replace").strip()[-_WORDS:]
    hint = "where memory was short, set a smaller trainer.per_device_train_batch_size or fewer processes"
    return Stopped(f"process {rank} of {count} {how_ended(codes.get(rank, 0))}" + (f"; its last words: {words}" if words else ""), hint=hint)
