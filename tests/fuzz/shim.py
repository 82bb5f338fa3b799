"""Runs a command and makes one of its system calls fail, or kills it there: ``python shim.py --under FOLDER --at N --fault FAULT -- COMMAND …``.

Only calls that touch files below FOLDER count; the Nth of them, over all threads and children, meets the fault:

    kill      SIGKILL instead of the call
    torn      a write of half the bytes, then SIGKILL; another call is made whole first
    enospc    No space left on device, from there on, for every call that needs room (a disk that is full stays full)
    eio       Input/output error, once
    none      nothing: the calls are counted

What is counted: writes, syncs, truncations, renames, links, removals, new files and folders; with ``eio`` reads as well. On stderr's last line stands a
JSON object: how many calls there were, which one was hit, and the most resident memory in bytes. The exit code is the command's, or 128 + the signal that ended it.

How: the command's process installs a seccomp filter that stops at these calls alone, and this process, its tracer (ptrace), decides (seccomp(2), ptrace(2)).
No library is preloaded, so what C code does counts as well. Linux on x86-64 or arm64.
"""

from __future__ import annotations

import argparse
import ctypes
import errno
import json
import os
import platform
import resource
import signal
import struct
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
LIBC.ptrace.restype = ctypes.c_long

CONT, SYSCALL, GETREGSET, SETREGSET, SEIZE = 7, 24, 0x4204, 0x4205, 0x4206
OPTIONS = 0x1 | 0x2 | 0x4 | 0x8 | 0x10 | 0x80 | 0x100000  # sysgood, fork, vfork, clone, exec, seccomp, exitkill
EVENT_SECCOMP, WALL = 7, 0x40000000
NT_PRSTATUS, NT_ARM_SYSTEM_CALL = 1, 0x404

X86 = platform.machine() == "x86_64"
ARCH = 0xC000003E if X86 else 0xC00000B7
"""As seccomp names it (linux/audit.h)."""

# name: (number on x86-64, on arm64, where the file is: fd:argument, path:argument or at:argument of the path, needs room)
CALLS: dict[str, tuple[int | None, int | None, str, bool]] = {
    "write": (1, 64, "fd:0", True),
    "pwrite64": (18, 68, "fd:0", True),
    "writev": (20, 66, "fd:0", True),
    "ftruncate": (77, 46, "fd:0", False),
    "fallocate": (285, 47, "fd:0", True),
    "fsync": (74, 82, "fd:0", True),
    "fdatasync": (75, 83, "fd:0", True),
    "rename": (82, None, "path:0", False),
    "renameat": (264, 38, "at:1", False),
    "renameat2": (316, 276, "at:1", False),
    "link": (86, None, "path:0", True),
    "linkat": (265, 37, "at:1", True),
    "unlink": (87, None, "path:0", False),
    "unlinkat": (263, 35, "at:1", False),
    "rmdir": (84, None, "path:0", False),
    "mkdir": (83, None, "path:0", True),
    "mkdirat": (258, 34, "at:1", True),
    "open": (2, None, "path:0", True),
    "openat": (257, 56, "at:1", True),
    "read": (0, 63, "fd:0", False),
    "pread64": (17, 67, "fd:0", False),
}
READS = ("read", "pread64")
WRITES = ("write", "pwrite64", "writev")
NUMBERS = {n: name for name, (x86, arm, *_) in CALLS.items() if (n := x86 if X86 else arm) is not None}


class Registers:
    """The registers of a stopped thread, as far as a system call has them there."""

    def __init__(self, tid: int) -> None:
        self._tid = tid
        self._data = (ctypes.c_uint64 * (27 if X86 else 34))()
        _regset(GETREGSET, tid, NT_PRSTATUS, self._data)

    @property
    def number(self) -> int:
        return ctypes.c_int64(self._data[15] if X86 else self._data[8]).value

    def argument(self, i: int) -> int:
        return int(self._data[(14, 13, 12)[i] if X86 else i])

    def set_argument(self, i: int, value: int) -> None:
        self._data[(14, 13, 12)[i] if X86 else i] = value
        _regset(SETREGSET, self._tid, NT_PRSTATUS, self._data)

    def fail(self, number: int) -> None:
        """The call is not made and gives this error."""
        back = ctypes.c_uint64(-number).value
        if X86:
            self._data[15], self._data[10] = ctypes.c_uint64(-1).value, back
        else:
            _regset(SETREGSET, self._tid, NT_ARM_SYSTEM_CALL, (ctypes.c_int * 1)(-1))
            self._data[0] = back
        _regset(SETREGSET, self._tid, NT_PRSTATUS, self._data)


def _regset(request: int, tid: int, kind: int, data: Any) -> None:
    iovec = (ctypes.c_void_p * 2)(ctypes.addressof(data), ctypes.sizeof(data))
    ptrace(request, tid, kind, ctypes.addressof(iovec))


def ptrace(request: int, tid: int, address: int = 0, data: int = 0) -> None:
    """ptrace(2)."""
    if LIBC.ptrace(request, tid, address, data) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def path_of(tid: int, registers: Registers, where: str) -> str:
    """The file that a call is about, as an absolute path; empty where it is none."""
    kind, _, argument = where.partition(":")
    try:
        if kind == "fd":
            return str(Path(f"/proc/{tid}/fd/{ctypes.c_int(registers.argument(int(argument))).value}").readlink())
        with Path(f"/proc/{tid}/mem").open("rb", buffering=0) as memory:
            memory.seek(registers.argument(int(argument)))
            name = os.fsdecode(memory.read(4096).partition(b"\0")[0])
        fd = ctypes.c_int(registers.argument(0)).value if kind == "at" else -100
        start = Path(f"/proc/{tid}/cwd" if fd == -100 else f"/proc/{tid}/fd/{fd}").readlink()
        return os.path.normpath(start / name)
    except OSError:
        return ""


@dataclass
class Shim:
    """What is to happen, and what has."""

    under: str
    at: int
    fault: str
    calls: int = 0
    hit: dict[str, Any] = field(default_factory=dict)
    _full: bool = False
    _dying: set[int] = field(default_factory=set)

    def stop(self, tid: int) -> int:
        """A thread is about to make one of the calls. Returns how it goes on: `CONT`, `SYSCALL` or 0 for not at all."""
        registers = Registers(tid)
        name = NUMBERS.get(registers.number)
        if name is None or (name in ("open", "openat") and not self._creates(name, registers)) or (name in READS and self.fault != "eio"):
            return CONT
        path = path_of(tid, registers, CALLS[name][2])
        if not path.startswith(self.under + "/"):
            return CONT
        if self._full:
            return self._refuse(registers, name, path)
        self.calls += 1
        if self.calls != self.at or self.fault == "none":
            return CONT
        self.hit = {"call": name, "path": os.path.relpath(path, self.under)}
        if self.fault == "kill":
            return 0
        if self.fault == "torn":
            if name in WRITES[:2]:
                registers.set_argument(2, registers.argument(2) // 2)
            self._dying.add(tid)
            return SYSCALL
        if self.fault == "eio":
            registers.fail(errno.EIO)
        else:
            self._full = True
            return self._refuse(registers, name, path)
        return CONT

    @staticmethod
    def _creates(name: str, registers: Registers) -> bool:
        return bool(registers.argument(1 if name == "open" else 2) & os.O_CREAT)

    @staticmethod
    def _refuse(registers: Registers, name: str, path: str) -> int:
        if CALLS[name][3] and not (name in ("open", "openat") and Path(path).exists()):
            registers.fail(errno.ENOSPC)
        return CONT


def filter_program(numbers: list[int]) -> bytes:
    """A seccomp filter that hands these calls to the tracer and lets all others pass."""
    load, jump_equal, give = 0x20, 0x15, 0x06
    trace, allow = 0x7FF00000, 0x7FFF0000
    n = len(numbers)
    lines = [(load, 0, 0, 4), (jump_equal, 0, n + 1, ARCH), (load, 0, 0, 0)]
    lines += [(jump_equal, n - i, 0, number) for i, number in enumerate(numbers)]
    lines += [(give, 0, 0, allow), (give, 0, 0, trace)]
    return b"".join(struct.pack("=HBBI", *line) for line in lines)


def child(command: list[str], ready: int, numbers: list[int]) -> None:
    """Wait for the tracer, install the filter, become the command."""
    if not os.read(ready, 1):
        return
    program = filter_program(numbers)
    code = ctypes.create_string_buffer(program, len(program))
    head = struct.pack("=HxxxxxxQ", len(program) // 8, ctypes.addressof(code))
    about = ctypes.create_string_buffer(head, len(head))
    if LIBC.prctl(38, 1, 0, 0, 0) or LIBC.prctl(22, 2, ctypes.byref(about), 0, 0):  # PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP
        raise OSError(ctypes.get_errno(), "seccomp")
    os.execvp(command[0], command)  # noqa: S606  no shell is wanted


def run(shim: Shim, command: list[str]) -> int:
    """Run the command under the shim; its exit code, or 128 + the signal that ended it."""
    numbers = [n for n, name in NUMBERS.items() if name not in READS or shim.fault == "eio"]
    waits, goes = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(goes)  # or it would wait for ever for a tracer that is gone
        try:
            child(command, waits, numbers)
        finally:
            os._exit(127)
    ptrace(SEIZE, pid, 0, OPTIONS)
    os.write(goes, b"x")
    code = 127
    while True:
        try:
            tid, status = os.waitpid(-1, WALL)
        except ChildProcessError:
            return code
        if not os.WIFSTOPPED(status):
            if tid == pid:
                code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)
            continue
        how, number = CONT, 0
        if status >> 16 == EVENT_SECCOMP:
            how = shim.stop(tid)
        elif os.WSTOPSIG(status) == signal.SIGTRAP | 0x80:
            how = 0 if tid in shim._dying else CONT
        elif not status >> 16:
            number = os.WSTOPSIG(status)
        try:
            if how:
                ptrace(how, tid, 0, number)
            else:
                os.kill(pid, signal.SIGKILL)
        except (ProcessLookupError, OSError):  # it is gone already
            continue


def main() -> int:
    """The command line."""
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--under", required=True)
    ap.add_argument("--at", type=int, default=0)
    ap.add_argument("--fault", choices=("kill", "torn", "enospc", "eio", "none"), default="none")
    ap.add_argument("command", nargs=argparse.REMAINDER)
    a = ap.parse_args()
    shim = Shim(os.path.realpath(a.under), a.at, a.fault)
    code = run(shim, a.command[1:] if a.command[:1] == ["--"] else a.command)
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss << 10
    sys.stderr.write("\n" + json.dumps({"calls": shim.calls, "hit": shim.hit, "memory": memory}) + "\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
