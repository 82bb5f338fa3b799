"""The rows of benchmarks that some rows have text of: `decontaminate` asked the other way round, by the same rule."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import polars as pl

from toolkit.operators.clean._against import Side, build
from toolkit.operators.clean._matches import INTERACTION, NGRAM, PROMPT, match

KINDS = {INTERACTION: "interaction", PROMPT: "prompt", NGRAM: "ngram"}
_EVERY = 1 << 40


def contaminated_rows(benchmarks: Mapping[str, pl.DataFrame], blocks: Iterable[pl.DataFrame], ngram: int) -> pl.DataFrame:
    """The rows of benchmarks that any of the rows shares text with, whatever its number of matches.

    Args:
        benchmarks: by name their `id`, `prompt` and `response` (null: none).
        blocks: the rows: id, prompt and, where there are any, response and context.
        ngram: words of a run that both sides share; a prompt of fewer words is compared whole.

    Returns:
        One line for each such row, in their order: n (its number among all rows of `benchmarks`), benchmark, id, kind (interaction, prompt or ngram:
        the most that any row has of it) and against_row (id of the first such row).
    """
    against = build([Side(name, rows.select("id", "prompt", "response"), {}) for name, rows in benchmarks.items()], ngram)
    found = pl.DataFrame(schema={"row": pl.Int64, "rank": pl.Int64, "against_row": pl.String})
    ranks = {kind: n for n, kind in enumerate(KINDS)}
    for block in blocks:
        fields = [f for f in ("context", "prompt", "response") if f in block.columns]
        lines, _ = match(block, fields, against, "prompt", pl.thread_pool_size(), _EVERY)
        if lines.height:
            rank = pl.col("kind").replace_strict(ranks, return_dtype=pl.Int64)
            new = lines.select("row", rank.alias("rank"), block["id"].cast(pl.String)[lines["at"]].alias("against_row"))
            found = pl.concat([found, new]).sort("row", "rank", maintain_order=True).unique("row", keep="first", maintain_order=True)
    names = pl.DataFrame({"set": range(len(against.names)), "benchmark": against.names}, schema={"set": pl.Int64, "benchmark": pl.String})
    kind = pl.col("rank").replace_strict(dict(enumerate(KINDS.values())), return_dtype=pl.String).alias("kind")
    whole = found.join(against.rows, on="row", maintain_order="left").join(names, on="set", maintain_order="left")
    return whole.select(pl.col("row").alias("n"), "benchmark", "id", kind, "against_row")
