"""Tables of verdicts from a few words."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

import toolkit

GUARD = toolkit.load_guard("guardreasoner")
H, U = "harmful", "unharmful"


def table(lines: Sequence[tuple[str, str, str | None]], label: str | None = H) -> pl.DataFrame:
    """Verdicts (parent, guard, prompt verdict) on rows of one label; the other tasks have none."""
    parent, guard, verdict = (list(c) for c in zip(*lines, strict=True)) if lines else ([], [], [])
    rows = pl.DataFrame({"parent": parent, "guard_model": guard, "verdict_prompt": verdict}, schema_overrides={"verdict_prompt": pl.String})
    draws = rows.select(pl.int_range(pl.len()).over("parent", "guard_model"))
    none = [pl.lit(None, pl.String).alias(f"{kind}_{t}") for t in ("refusal", "response") for kind in ("label", "verdict")]
    return rows.with_columns(pl.Series("draw", draws.to_series()), pl.lit(label, pl.String).alias("label_prompt"), *none)
