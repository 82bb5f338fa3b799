"""Interrupts that a library has swallowed: some modules catch whatever is raised while they are imported, a Ctrl-C too.

Who handles a signal notes it; who begins a long piece of work asks.
"""

from __future__ import annotations

_noted: list[str] = []


def note_interrupt(name: str) -> None:
    """A signal of this name has come, and is about to be raised as `KeyboardInterrupt`."""
    _noted.append(name)


def forget_interrupts() -> None:
    """Those that have come are dealt with."""
    _noted.clear()


def raise_swallowed() -> None:
    """Raise again an interrupt that has come and that nobody has dealt with.

    Raises:
        KeyboardInterrupt: there is one.
    """
    if _noted:
        raise KeyboardInterrupt
