"""What of a row is compared, as text, and when two texts count as equal.

The prompt, or the whole interaction: earlier messages (role and content), the prompt, and the response where there is one, with a mark of its own
before each, so that a message's end is part of the text. `fold` is the one normalisation: lower case (Unicode), every run of white space (Unicode's
White_Space) to one space, none at the ends. A row whose prompt is missing has no text, and is equal to nothing.
"""

from __future__ import annotations

from typing import Literal

import polars as pl

On = Literal["interaction", "prompt"]
MESSAGE, RESPONSE = " \x1e ", " \x1f "


def columns(on: On, *, whole: bool) -> list[str]:
    """Columns that the text is made of; `whole`: the text itself is wanted, not only whether it is equal."""
    if on == "prompt":
        return ["prompt"]
    return ["context", "prompt", "response"] if whole else ["content_id"]


def text(rows: pl.DataFrame, on: On, *, whole: bool) -> pl.Series:
    """The text of each row, out of its `columns`."""
    if on == "prompt" or not whole:
        return rows[columns(on, whole=whole)[0]]
    message = pl.element().struct
    earlier = pl.col("context").list.eval(pl.concat_str(message.field("role"), pl.lit(" "), message.field("content"), pl.lit(MESSAGE)))
    response = pl.concat_str(pl.lit(RESPONSE), "response").fill_null("")
    return rows.select(pl.concat_str(earlier.list.join("").fill_null(""), "prompt", response).alias("text"))["text"]


def apart(rows: pl.DataFrame, on: On) -> pl.Series:
    """A number for each row: rows with different ones are never near each other. An interaction with a response is another thing than one without."""
    return pl.zeros(rows.height, dtype=pl.UInt64, eager=True) if on == "prompt" else rows["response"].is_not_null().cast(pl.UInt64)


def fold(texts: pl.Series) -> pl.Series:
    """The texts normalised."""
    low = texts.str.to_lowercase().str.strip_chars()
    odd = low.str.contains(r"\s\s|[^\S ]").fill_null(False)  # three times as quick as replacing where there is little to replace
    if not odd.any():
        return low
    where = odd.arg_true()
    return low.scatter(where, low.gather(where).str.replace_all(r"\s+", " "))


def keys(texts: pl.Series, name: str) -> list[pl.Series]:
    """128 bits of hash in two columns: texts with equal keys count as equal (10^7 texts: chance of one wrong pair below 10^-24).

    They are good for comparing within one process and are not written anywhere: polars may hash otherwise in its next version.
    """
    return [texts.hash(seed).alias(f"{name}{seed}") for seed in (1, 2)]
