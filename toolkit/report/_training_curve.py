"""A training at a glance, for a terminal: a small curve of each figure, where it began and where it ended."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from toolkit.training import read_metrics

_BARS = "▁▂▃▄▅▆▇█"
_SHOWN = (
    *(f"{prefix}{name}" for name in ("loss", "pairs_right", "margin", "reward", "form", "accuracy", "length", "cut") for prefix in ("", "eval_")),
    "no_spread",
    "gradient_norm",
)
_WIDTH = 40


def sparkline(values: Sequence[float], width: int = _WIDTH) -> str:
    """Values as a line of bars, the lowest and the highest of them at its ends; of more than `width` the means of as many equal parts.

    Example:
        >>> sparkline([3.0, 2.0, 1.0])
        '█▅▁'
    """
    n = min(width, len(values))
    parts = [values[i * len(values) // n : (i + 1) * len(values) // n] for i in range(n)]
    means = [sum(part) / len(part) for part in parts]
    low, high = min(means, default=0.0), max(means, default=0.0)
    return "".join(_BARS[round((m - low) / (high - low) * (len(_BARS) - 1)) if high > low else 0] for m in means)


def training_lines(folder: str | Path) -> list[str]:
    """The figures of `metrics.jsonl` in a model's folder, a line each; none where it has no such file.

    Example:
        >>> training_lines("outputs/small")
        []
    """
    lines = read_metrics(folder)
    out = []
    for name in _SHOWN:
        points = [(line["update"], line[name]) for line in lines if _finite(line.get(name))]
        if points:
            values = [y for _, y in points]
            at, lowest = min(points, key=lambda p: p[1])
            more = f"  lowest {lowest:.4g} after update {at:,}" if name.endswith("loss") else ""
            out.append(f"{name:18s}{sparkline(values):{_WIDTH}s}  {values[0]:.4g} → {values[-1]:.4g}{more}")
    speeds = [line["tokens_per_second"] for line in lines if _finite(line.get("tokens_per_second"))]
    if speeds:
        seconds, tokens = lines[-1]["seconds"], lines[-1]["tokens"]
        mfu = [line["mfu"] for line in lines if _finite(line.get("mfu"))]
        used = f", {sum(mfu) / len(mfu):.1%} of the device's peak" if mfu else ""
        out.append(f"{'tokens_per_second':18s}{sparkline(speeds):{_WIDTH}s}  {tokens / seconds if seconds else 0:,.0f} on the whole{used}")
    return out


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and value == value and abs(value) != float("inf")
