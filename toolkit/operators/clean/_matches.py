"""What a block of rows shares with benchmarks: one line for each match, and what follows from them for each row.

Lines and verdicts of a row follow from that row alone, so they depend on no block.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from toolkit.operators.clean._against import Against
from toolkit.operators.clean.ngrams import exact_key

MOST = 20
"""Matches of one text of a row with one benchmark that are listed, the longest runs first."""
NGRAM, PROMPT, INTERACTION = "ngram", "exact_prompt", "exact_interaction"
LINE = {"at": pl.Int64, "field": pl.String, "row": pl.Int64, "other_field": pl.String, "kind": pl.String, "run": pl.Int64, "runs": pl.Int64,
        "share": pl.Float64, "words": pl.String}  # fmt: skip


def match(block: pl.DataFrame, fields: Sequence[str], against: Against, exact: str, threads: int, most: int = MOST) -> tuple[pl.DataFrame, int]:
    """The matches of some rows.

    Args:
        block: the rows.
        fields: their columns of text: prompt, response, context.
        against: what they are compared with.
        exact: what of a short prompt's row must be equal: prompt, interaction; off: short prompts are not compared.
        threads: that look up texts at once.
        most: lines for a text and a benchmark, the longest runs first.

    Returns:
        One line a match, in the order of rows and fields, with the columns of `LINE`: at (place of the row in the block), field, row (of the
        benchmarks, see `Against`), other_field, kind, run (words of the longest run), runs, share (of the text's words that are in any
        benchmark's n-gram), words. And how many lines `most` left out.
    """
    parts, left_out = [pl.DataFrame(schema=LINE)], 0
    few = None
    for field in fields:
        at, texts = _texts(block, field)
        found = against.index.find(texts, most=most, threads=threads)
        left_out += found.left_out
        counts = pl.Series(found.counts, dtype=pl.Int64)
        if field == "prompt":
            few = counts < against.index.n
        if not found.lines.height:
            continue
        lines = found.lines
        share = pl.Series(found.covered, dtype=pl.Int64) / counts
        other = against.texts[lines["other"]]
        parts.append(
            lines.select(
                at[lines["text"]].alias("at"),
                pl.lit(field).alias("field"),
                other["row"],
                other["field"].alias("other_field"),
                pl.when(pl.col("run") == counts[lines["text"]]).then(None).otherwise(pl.lit(NGRAM)).alias("kind"),
                "run",
                "runs",
                share[lines["text"]].alias("share"),
                "words",
            )
        )
    lines = _kinds(pl.concat(parts), block, against)
    if few is not None and exact != "off" and against.short.height:
        lines = pl.concat([lines, _short(block, few, against, exact, most)])
    order = [pl.col("field").replace_strict({f: i for i, f in enumerate(fields)}, return_dtype=pl.Int64)] if lines.height else []
    return lines.sort("at", *order, maintain_order=True), left_out


def _texts(block: pl.DataFrame, field: str) -> tuple[pl.Series, pl.Series]:
    """The texts of a column, and the row of each: of the messages before the prompt every one is a text."""
    places = pl.Series("at", range(block.height), dtype=pl.Int64)
    column = block[field]
    if column.dtype == pl.String:
        return places, column
    messages = pl.DataFrame({"at": places, "text": column}).explode("text", empty_as_null=False, keep_nulls=False)
    return messages["at"], messages["text"].struct.field("content")


def _kinds(lines: pl.DataFrame, block: pl.DataFrame, against: Against) -> pl.DataFrame:
    """Lines whose kind is not known yet (all words of the text are one run): whether the prompt, or all of the row, is that of the other."""
    whole = pl.col("kind").is_null() & (pl.col("field") == "prompt") & (pl.col("other_field") != "response")
    some = lines.with_row_index("line").filter(whole)
    if not some.height:
        return lines.with_columns(pl.col("kind").fill_null(NGRAM))
    kinds = _compared(some.select("line", "at", "row"), block, against)
    lines = lines.with_row_index("line").join(kinds, on="line", how="left", maintain_order="left")
    return lines.with_columns(pl.coalesce("exact", "kind", pl.lit(NGRAM)).alias("kind")).select(list(LINE))


def _short(block: pl.DataFrame, few: pl.Series, against: Against, exact: str, most: int) -> pl.DataFrame:
    """Lines of the prompts that have too few words for an n-gram, and are those of a benchmark."""
    rows = block.select("prompt").with_columns(at=pl.int_range(pl.len(), dtype=pl.Int64)).filter(few)
    pairs = rows.select("at", exact_key(pl.col("prompt")).alias("key")).join(against.short, on="key", maintain_order="left_right")
    if not pairs.height:
        return pl.DataFrame(schema=LINE)
    pairs = pairs.join(against.rows.select("row", "set"), on="row", maintain_order="left").with_row_index("line")
    pairs = pairs.join(_compared(pairs.select("line", "at", "row"), block, against), on="line", maintain_order="left")
    if exact == "interaction":
        pairs = pairs.filter(pl.col("exact") == INTERACTION)
    pairs = pairs.filter(pl.int_range(pl.len()).over("at", "set") < most)
    words = pl.col("key").str.count_matches("[a-z0-9]+").cast(pl.Int64)
    field = against.texts.filter(pl.col("field") != "response").select("row", other_field="field")
    return pairs.join(field, on="row", maintain_order="left").select(
        "at", pl.lit("prompt").alias("field"), "row", "other_field", pl.col("exact").alias("kind"), words.alias("run"),
        pl.lit(1, pl.Int64).alias("runs"), pl.lit(1.0).alias("share"), pl.col("key").alias("words"),
    )  # fmt: skip


def _compared(pairs: pl.DataFrame, block: pl.DataFrame, against: Against) -> pl.DataFrame:
    """For pairs of a row and a benchmark's row, `line` and `exact`: the prompts are equal, all is equal, or null."""
    places = pairs["at"].unique()
    response = exact_key(pl.col("response")) if "response" in block.columns else pl.lit(None, pl.String)
    own = block[places].select(places, exact_key(pl.col("prompt")).alias("prompt"), response.alias("response"))
    both = pairs.join(own, on="at").join(against.rows.select("row", "key", "key_response"), on="row")
    prompt = pl.col("prompt") == pl.col("key")
    all_ = prompt & pl.col("response").eq_missing(pl.col("key_response"))
    return both.select("line", pl.when(all_).then(pl.lit(INTERACTION)).when(prompt).then(pl.lit(PROMPT)).alias("exact"))


def report_lines(lines: pl.DataFrame, block: pl.DataFrame, against: Against, min_share: float) -> pl.DataFrame:
    """The lines as they are shown: both sides by id; `counted`: whether the match counts against the row."""
    names = pl.DataFrame({"set": range(len(against.names)), "benchmark": against.names}, schema={"set": pl.Int64, "benchmark": pl.String})
    other = against.rows.select("row", "set", "id").join(names, on="set").rename({"id": "benchmark_row"})
    shown = lines.rename({"row": "_row"}).join(other, left_on="_row", right_on="row", how="left", maintain_order="left")
    return shown.select(
        "at",
        block["id"].cast(pl.String)[lines["at"]].alias("row"),
        "field",
        "benchmark",
        "benchmark_row",
        pl.col("other_field").alias("benchmark_field"),
        "kind",
        "run",
        "runs",
        "share",
        (pl.col("kind").ne(NGRAM) | (pl.col("share") >= min_share)).alias("counted"),
        "words",
    )


def verdicts(report: pl.DataFrame, height: int) -> pl.DataFrame:
    """For each of `height` rows: names (of the benchmarks), run, reason and detail; names is empty and reason null where nothing counts."""
    found = report.filter("counted").with_columns(exact=pl.col("kind") != NGRAM)
    best = found.sort("at", "exact", "run", descending=[False, True, True], maintain_order=True)
    best = best.group_by("at", maintain_order=True).agg(
        pl.col("benchmark").unique(maintain_order=True).sort().alias("names"),
        pl.col("run").max(),
        pl.len().alias("matches"),
        pl.col("field", "benchmark_field", "kind", "benchmark_row").first(),
        pl.col("benchmark").first().alias("first"),
        pl.col("run").first().alias("first_run"),
    )
    place = pl.format("{}, row {}", "first", "benchmark_row")
    matched = (
        pl.when(pl.col("kind") == INTERACTION)
        .then(pl.format("prompt and response are those of {}", place))
        .when(pl.col("kind") == PROMPT)
        .then(pl.format("the prompt is that of {}", place))
        .otherwise(pl.format("{} words of the {} are in the {} of {}", "first_run", "field", "benchmark_field", place))
    )
    more = (
        pl.when(pl.col("matches") > 1)
        .then(pl.format("; {} more in {}", pl.col("matches") - 1, pl.col("names").list.join(", ")))
        .otherwise(pl.lit(""))
    )
    reason = pl.when(pl.col("kind") == NGRAM).then(pl.lit("contaminated_ngram")).otherwise(pl.lit("contaminated_exact"))
    best = best.select("at", "names", "run", reason.alias("reason"), pl.concat_str(matched, more).alias("detail"))
    rows = pl.DataFrame({"at": pl.Series(range(height), dtype=pl.Int64)}).join(best, on="at", how="left", maintain_order="left")
    return rows.with_columns(pl.col("names").fill_null([]), pl.col("run").fill_null(0))
