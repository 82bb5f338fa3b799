"""Where the rows went that did not reach a step, in words: for errors of steps to which none came."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from toolkit.operators.base import Context

STEPS, REASONS = 3, 3
"""Steps that are named, and reasons of each: those that kept none come first, then those that lost most."""


def losses(ctx: Context) -> str:
    """What the steps before did not keep: ``of 640 rows seeds rejected 640 (unknown_label 640)``; empty where they kept all, or nothing is known."""
    steps = [s for s in ctx.history().get("steps", ()) if _lost(s)]
    most = sorted(steps, key=lambda s: (not s["kept"], _lost(s)), reverse=True)[:STEPS]
    lines = [_line(s) for s in steps if s in most]
    return "; ".join([*lines, *([f"{len(steps) - STEPS} more steps lost some"] if len(steps) > STEPS else [])])


def with_losses(message: str, ctx: Context) -> str:
    """A message, and after a colon what the steps before did not keep."""
    found = losses(ctx)
    return f"{message}: {found}" if found else message


def _lost(step: Mapping[str, Any]) -> int:
    return int(step["merged"] + sum(step["rejected"].values()) + sum(step["set_aside"].values()))


def _line(step: Mapping[str, Any]) -> str:
    parts = []
    for words, by in (("rejected", step["rejected"]), ("set aside", step["set_aside"])):
        if by:
            top = sorted(by.items(), key=lambda item: (-item[1], item[0]))
            reasons = [f"{reason} {n:,}" for reason, n in top[:REASONS]] + (["…"] if len(top) > REASONS else [])
            parts.append(f"{words} {sum(by.values()):,} ({', '.join(reasons)})")
    if step["merged"]:
        parts.append(f"merged {step['merged']:,}")
    return f"of {step['in']:,} {'row' if step['in'] == 1 else 'rows'} {step['step']} {', '.join(parts)}"
