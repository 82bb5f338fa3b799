"""vLLM engines of this process: started when asked for, kept for the next model on the same base, and really freed (vLLM 0.32).

An engine lives in a process of its own, which holds the weights and the cache; freeing an engine ends it. `take` gives an engine to one
backend at a time, `give_back` frees it, unless a `kept_warm` block is open: then it stays for the next backend that wants the same base
(with another adapter, or the same), until another one is wanted, or the block ends. So an ensemble of adapters loads its base once, and
two models never share the memory.

Failure semantics: a model or adapter that vLLM cannot load is an `InputError`. Should this process be killed, a watcher ends the
engine's process.
"""

from __future__ import annotations

import gc
import os
import select
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from toolkit.common.errors import InputError
from toolkit.common.files import sha256_file
from toolkit.generation.backends import _watch

QUIET = {"VLLM_LOGGING_LEVEL": "WARNING", "VLLM_LOGGING_STREAM": "ext://sys.stderr", "VLLM_NO_USAGE_STATS": "1"}
"""vLLM logs to stdout, which is the CLI's document, and reports its use to a server; a user's own settings stay."""

_RANKS = (16, 32, 64, 128, 256, 320, 512)
"""What vLLM's ``max_lora_rank`` may be, from its default on (`vllm.config.lora.MaxLoRARanks`)."""

_TOKENIZER = ("tokenizer.json", "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "chat_template.jinja")


@dataclass(frozen=True)
class Base:
    """What an engine is started with, but for room for adapters; engines with equal ones are the same.

    Args:
        folder: of the whole model.
        tokenizer: folder of the tokenizer (an adapter may bring its own).
        dtype: as in `VllmConfig`.
        max_model_len: likewise.
        engine: canonical JSON of further arguments.
    """

    folder: Path
    tokenizer: Path = field(compare=False)
    dtype: str
    max_model_len: int | None
    engine: str
    state: tuple[Any, ...] = field(init=False)
    """The model's files as they are now, and what the tokenizer's hold: a model retrained at the same path is another."""

    def __post_init__(self) -> None:
        files = sorted(p for p in self.folder.iterdir() if p.is_file())
        stats = [(p.name, s.st_size, s.st_mtime_ns) for p in files for s in [p.stat()]]
        words = [(n, sha256_file(self.tokenizer / n)) for n in _TOKENIZER if (self.tokenizer / n).is_file()]
        object.__setattr__(self, "state", (*stats, *words))


class Engine:
    """A running engine.

    Args:
        base: what it is started with.
        rank: largest rank of the adapters that it takes; 0 for none.

    Raises:
        InputError: vLLM cannot run the model.
    """

    def __init__(self, base: Base, rank: int) -> None:
        for name, value in QUIET.items():
            os.environ.setdefault(name, value)
        import json

        import vllm

        self.base, self.rank = base, rank
        before = _watch.engines()
        self._guard, self._freed = _guard(), False
        room = {"enable_lora": True, "max_lora_rank": rank} if rank else {}
        arguments = {"enable_prefix_caching": True, **json.loads(base.engine), **room}
        try:
            self.llm: Any = vllm.LLM(
                model=str(base.folder), tokenizer=str(base.tokenizer), dtype=base.dtype, max_model_len=base.max_model_len, seed=0, **arguments
            )
        except Exception as e:  # vLLM raises whatever its engine process died of; its own log says more
            self._dismiss()
            raise InputError(f"vLLM cannot run this model: {type(e).__name__}: {str(e)[:300]}", where=str(base.folder)) from e
        for pid in _watch.engines() - before:
            threading.Thread(target=self._tell_of_death, args=(pid,), name="guardkit-vllm", daemon=True).start()
        self._adapters: dict[str, Any] = {}
        if not self.llm.get_tokenizer().chat_template:
            self.free()
            raise InputError("the tokenizer has no chat template", where=str(base.tokenizer), hint="save one with the model")

    def adapter(self, name: str, folder: Path) -> Any:
        """vLLM's handle of an adapter, loaded once.

        Args:
            name: its content hash: prefixes are cached by it.
            folder: where it is.

        Raises:
            InputError: vLLM cannot load it.
        """
        if name not in self._adapters:
            from vllm.lora.request import LoRARequest

            request = LoRARequest(name, len(self._adapters) + 1, str(folder.resolve()))
            try:
                self.llm.llm_engine.add_lora(request)
            except Exception as e:  # as for the model: whatever it is, it is about the user's files
                raise InputError(f"vLLM cannot load this adapter: {str(e)[:300]}", where=str(folder)) from e
            self._adapters[name] = request
        return self._adapters[name]

    def _tell_of_death(self, pid: int) -> None:
        """Wait for the engine's process to end, and wake up who waits for its output: vLLM 0.32 leaves them waiting for ever."""
        from vllm.v1.engine.exceptions import EngineDeadError

        try:
            handle = os.pidfd_open(pid)
        except (OSError, AttributeError):  # it has ended, or this is no Linux: then vLLM's own monitor has to do
            return
        try:
            ended = select.poll()
            ended.register(handle, select.POLLIN)
            ended.poll()
        finally:
            os.close(handle)
        if not self._freed and (outputs := getattr(self.llm.llm_engine.engine_core, "outputs_queue", None)) is not None:
            outputs.put_nowait(EngineDeadError())

    def free(self) -> None:
        """End the engine's process and what this process holds of it."""
        self._freed = True
        self.llm.llm_engine.engine_core.shutdown()
        del self.llm
        gc.collect()
        from vllm.distributed.parallel_state import cleanup_dist_env_and_memory

        cleanup_dist_env_and_memory()
        self._dismiss()

    def _dismiss(self) -> None:
        """Send the watcher home."""
        self._guard.kill()
        self._guard.wait()
        if self._guard.stdin:
            self._guard.stdin.close()


def _guard() -> subprocess.Popen[bytes]:
    """A process that ends the engine's process when this one is gone: vLLM's own would stay."""
    return subprocess.Popen([sys.executable, _watch.__file__, "--engines"], stdin=subprocess.PIPE, start_new_session=True)  # noqa: S603


_idle: list[Engine] = []
_warm = 0


def take(base: Base, rank: int) -> Engine:
    """An engine for `base` with room for an adapter of `rank` (0 for none): a kept one, or a new one, for which all kept ones are freed first.

    Raises:
        InputError: vLLM cannot run the model.
    """
    for engine in _idle:
        if engine.base == base and engine.rank >= rank:
            _idle.remove(engine)
            return engine
    free_idle()
    return Engine(base, room_for(rank) if rank else 0)


def room_for(rank: int) -> int:
    """The smallest ``max_lora_rank`` that takes an adapter of that rank (at least vLLM's default)."""
    return min((r for r in _RANKS if r >= rank), default=rank)


def give_back(engine: Engine, *, broken: bool = False) -> None:
    """Keep an engine for the next one inside a `kept_warm` block, else free it."""
    if _warm and not broken:
        _idle.append(engine)
    else:
        engine.free()


def free_idle() -> None:
    """Free every engine that nobody uses; whoever loads another local model calls this first."""
    while _idle:
        _idle.pop().free()


@contextmanager
def kept_warm() -> Iterator[None]:
    """Inside this block an engine that its backend closes is kept for the next backend; at its end all that are not in use are freed."""
    global _warm
    _warm += 1
    try:
        yield
    finally:
        _warm -= 1
        if not _warm:
            free_idle()
