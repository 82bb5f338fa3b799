"""The proof's size curve: R-SFT on all checked rows, a quarter and a sixteenth of them, chosen in four ways, in as many updates (recipes/proof/size.yaml)."""

from __future__ import annotations

from pathlib import Path

import proof_kept
from proof_figures import PARTS, arm_line
from proof_runs import by_arm

WAYS = {
    "random": "drawn at random",
    "hard": "only rows on which the three released guards do not agree",
    "balanced": "as many of each label",
    "unlike": "near-duplicates taken out, then at random",
}
SIZES = {"all": "all there are", "quarter": "a quarter", "sixteenth": "a sixteenth"}
ARMS = tuple(f"{way}-{size}" for way in WAYS for size in SIZES if (way, size) != ("hard", "all"))
"""There are fewer hard rows than a quarter of all."""


def section(folder: Path, kept: Path | None) -> list[str]:
    """The size curve as lines of the page."""
    title = "## How much data is enough?"
    each = proof_kept.seeds(folder, kept, "size", "size")
    found = by_arm(each)
    if not found:
        return [title, "", "Not run yet (`make proof SIZES=1`)."]
    seeds = max(map(len, found.values()))
    rows = {arm: count for seed in each.values() for arm, count in seed.rows.items()}
    words = (
        f"The small guard from scratch, R-SFT in 228 updates whatever the rows, of {seeds} seed{'s' if seeds > 1 else ''}. Shares of right answers, ± half of the 95 % interval "
        "over seeds; the other rows of the tables above are not in it."
    )
    lines = [
        "| rows chosen | size | rows | seeds | " + " | ".join(part.name for part in PARTS[:3]) + " | could be read |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for arm in ARMS:
        if arm not in found:
            continue
        way, size = arm.rsplit("-", 1)
        line = arm_line(found[arm], PARTS[:3])
        figures = [f"{mean:.1%}" + ("" if half != half else f" ± {half:.1%}") for mean, half in (line["figures"][part.name] for part in PARTS[:3])]
        lines.append(f"| {WAYS[way]} | {SIZES[size]} | {rows[arm]} | {line['seeds']} | {' | '.join(figures)} | {line['read']:.1%} |")
    return [title, "", words, "", *lines]
