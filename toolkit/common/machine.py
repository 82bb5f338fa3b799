"""What this machine has to run and train models on: GPUs and memory, as far as that is known without loading torch; how its processes end."""

from __future__ import annotations

import os
import signal
from functools import lru_cache
from pathlib import Path

GIB = 1 << 30
_DEVICES = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")
"""Of the drivers of NVIDIA and AMD, and of Windows' subsystem for Linux."""


def has_gpu() -> bool:
    """Whether there is a GPU that this process may use."""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    return not (hidden is not None and hidden.strip() in ("", "-1")) and any(Path(d).exists() for d in _DEVICES)


def gpu_memory() -> int | None:
    """Bytes of the largest GPU; None where there is none, or its driver does not say."""
    return max(_gpus(), default=None) if has_gpu() else None


def gpu_count() -> int:
    """How many GPUs this process may use; 0 where there is none, or their driver does not say."""
    seen = os.environ.get("CUDA_VISIBLE_DEVICES")
    return 0 if not has_gpu() else len(_gpus()) if seen is None else min(len(_gpus()), len(seen.split(",")))


@lru_cache(maxsize=1)
def _gpus() -> tuple[int, ...]:
    """Bytes of each GPU."""
    import shutil
    import subprocess

    tool = shutil.which("nvidia-smi")
    if tool is None:
        return ()
    try:
        asked = [tool, "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
        answer = subprocess.run(asked, capture_output=True, text=True, timeout=10, check=True).stdout.split()  # noqa: S603
        return tuple(int(n) << 20 for n in answer)
    except (OSError, subprocess.SubprocessError, ValueError):
        return ()


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory() -> int | None:
    """Bytes of the machine's own memory; None where the system does not say."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return None


def wants_gpu(package: str) -> bool:
    """Whether a package that is installed is a build for GPUs, as its version says (vLLM marks its other builds: ``+cpu``)."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return not any(word in version(package) for word in ("cpu", "tpu", "xpu"))
    except PackageNotFoundError:
        return False


def how_ended(code: int) -> str:
    """How a process ended, in words, by its exit code (negative: the signal that killed it, as `subprocess` has it)."""
    if code >= 0:
        return f"ended by itself (exit code {code})"
    try:
        return f"was killed ({signal.Signals(-code).name})"
    except ValueError:
        return f"was killed (signal {-code})"
