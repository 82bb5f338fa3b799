"""What becomes of each row: first by equal text, then by pairs of texts that are alike.

Everything here counts rows by rank: their place in the order in which they are preferred. Of a text whose rows were merged, the row that was kept
stands for it in the second stage, with the labels that any of them has, and has one vote; the others go where it goes. A text of which several rows
were kept because their labels conflict takes part in no merge.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import polars as pl

from toolkit.operators.clean._clusters import components, stars
from toolkit.operators.clean._conflicts import Policy, decide, differ, torn

if TYPE_CHECKING:
    import numpy as np

    Ints = np.ndarray[Any, Any]

KEEP, MERGE, REJECT = 0, 1, 2
FATES = ("keep", "merge", "reject")
_CODES = {name: code for code, name in enumerate(FATES)}


class Finder(Protocol):
    """Finds texts that are alike."""

    threshold: float

    def add(self, normalised: pl.Series, plain: pl.Series, apart: pl.Series) -> None:
        """Add texts, normalised and as they are; texts with different numbers in `apart` are never alike."""

    def pairs(self, order: Ints) -> tuple[Ints, Ints]:
        """Pairs among the texts with the numbers `order`, as positions in it, the lower one first; each once."""

    def similarity(self, one: Ints, other: Ints) -> Ints:
        """Similarity of each pair of texts, by their numbers."""


@dataclass
class Fates:
    """By rank: fate (code of `FATES`), survivor (rank; its own where it is kept, -1 where rejected), the method that found it (index into the step's
    methods, -1 for none), similarity to the survivor (NaN where it is kept or rejected), cluster (lowest rank in it), and the labels that are torn
    between it and its like (bits)."""

    fate: Ints
    survivor: Ints
    method: Ints
    similarity: Ints
    cluster: Ints
    torn: Ints


def same_text(table: pl.DataFrame, labels: Sequence[str], policy: Policy, methods: tuple[int, int]) -> Fates:
    """Fates by equal text alone.

    Args:
        table: in order of rank: `text` (lowest rank with an equal text), `raw` (a number for the text as it was written) and the labels.
        labels: columns whose values conflict when they differ.
        policy: for rows that conflict.
        methods: what to write for a merged row whose text is equal as it stands, and for one that is equal when normalised.
    """
    import numpy as np

    n = table.height
    rank = np.arange(n)  # at first every row is its own survivor
    text = table["text"].to_numpy()
    fates = Fates(np.zeros(n, np.int8), rank, np.full(n, -1, np.int8), np.full(n, np.nan), text.copy(), np.zeros(n, np.int64))
    many = table.with_row_index("rank").filter(pl.len().over("text") > 1)
    done = decide(many.select(pl.col("text").alias("cluster"), *labels), labels, policy)
    at = many["rank"].to_numpy().astype(np.int64)
    fates.fate[at] = done["fate"].replace_strict(_CODES, return_dtype=pl.Int8).to_numpy()
    own = done["survivor"].fill_null(-1).to_numpy()
    fates.survivor[at] = np.where(own >= 0, at[own], -1) if len(at) else own
    fates.torn[at] = done["torn"].to_numpy()
    merged = np.flatnonzero(fates.fate == MERGE)
    raw = table["raw"].to_numpy()
    fates.method[merged] = np.where(raw[merged] == raw[fates.survivor[merged]], *methods)
    fates.similarity[merged] = 1.0
    return fates


def alike(fates: Fates, table: pl.DataFrame, labels: Sequence[str], policy: Policy, finders: Sequence[tuple[int, Finder]]) -> None:
    """Go on to texts that are alike; `fates` is changed.

    Args:
        fates: by equal text.
        table: as in `same_text`, with `place` (a row's number at the finders) and `blank` (it has no text).
        labels: columns whose values conflict when they differ.
        policy: for texts that conflict. With `keep`, a text is not merged into one that it conflicts with; the others are handled as `decide` does.
        finders: each with its number as a method; the first one that finds a pair is named.
    """
    import numpy as np

    text, place = table["text"].to_numpy(), table["place"].to_numpy()
    kept = (fates.fate == KEEP) & ~table["blank"].to_numpy()
    ranks = np.flatnonzero(kept)
    ranks = ranks[np.sort(np.unique(text[ranks], return_index=True)[1])]
    low, high = _pairs(finders, place[ranks])
    low, high = ranks[low], ranks[high]
    fates.cluster = _joined(fates.cluster, text, low, high)
    free = (fates.torn[low] == 0) & (fates.torn[high] == 0)
    low, high = low[free], high[free]
    nodes = np.unique(np.concatenate([low, high]))
    low, high = np.searchsorted(nodes, low), np.searchsorted(nodes, high)
    done, bits = _decided(_known(table, fates, nodes, labels), labels, policy, low, high)
    fates.torn[nodes] = bits
    fate = done["fate"].replace_strict(_CODES, return_dtype=pl.Int8).to_numpy()
    own = done["survivor"].fill_null(-1).to_numpy()
    fates.fate[nodes] = fate
    fates.survivor[nodes] = np.where(own >= 0, nodes[own], -1) if len(nodes) else own
    merged = nodes[fate == MERGE]
    _measure(fates, merged, place, finders)
    _follow(fates)


def _pairs(finders: Sequence[tuple[int, Finder]], order: Ints) -> tuple[Ints, Ints]:
    """The pairs of all finders, each once."""
    import numpy as np

    found = np.zeros(0, np.int64)
    for _, finder in finders:
        low, high = finder.pairs(order)
        found = np.union1d(found, low * len(order) + high)
    return found // max(len(order), 1), found % max(len(order), 1)


def _joined(cluster: Ints, text: Ints, low: Ints, high: Ints) -> Ints:
    """Clusters of texts, joined wherever a pair links two."""
    joined = components(len(cluster), text[low], text[high])
    return joined[cluster]


def _known(table: pl.DataFrame, fates: Fates, nodes: Ints, labels: Sequence[str]) -> pl.DataFrame:
    """The labels that are known of the texts of some kept rows: their own, or those of a row that was merged into them."""
    if not labels:
        return pl.DataFrame({"node": nodes})
    owners = pl.DataFrame({"owner": pl.Series(nodes, dtype=pl.Int64)})
    rows = table.select(labels).with_columns(pl.Series("owner", fates.survivor)).join(owners, on="owner", how="semi", maintain_order="left")
    known = rows.group_by("owner").agg(pl.col(c).drop_nulls().first() for c in labels)
    return owners.join(known, on="owner", how="left", maintain_order="left").select(labels)


def _decided(known: pl.DataFrame, labels: Sequence[str], policy: Policy, low: Ints, high: Ints) -> tuple[pl.DataFrame, Ints]:
    """What `decide` says of the stars of texts that pair, and the labels that each is torn between."""
    import numpy as np

    n = known.height
    known = known.with_columns(pl.Series("cluster", stars(n, low, high)))
    whole = known.select(torn(labels, "cluster").alias("torn"))["torn"].to_numpy()
    if policy == "keep" and labels:
        calm = ~differ(known[low], known[high], labels).to_numpy()
        known = known.with_columns(pl.Series("cluster", stars(n, low[calm], high[calm])))
    done = decide(known, labels, policy)
    if policy == "majority":
        done = _again(done, known["cluster"].to_numpy(), low, high)
    return done, np.bitwise_or(whole, done["torn"].to_numpy())


def _again(done: pl.DataFrame, star: Ints, low: Ints, high: Ints) -> pl.DataFrame:
    """`decide`'s table where the middle of a star may be rejected: what is left of it may pair with each other or not, and only pairs are merged."""
    left = (done["fate"] != "reject").to_numpy()
    pairs = left[low] & left[high] & (star[low] == star[high])
    own = pl.Series("survivor", stars(len(left), low[pairs], high[pairs]))
    fate = pl.when(~pl.Series(left)).then("fate").when(own == done["at"]).then(pl.lit("keep")).otherwise(pl.lit("merge"))
    return done.with_columns(fate.alias("fate"), pl.when(pl.Series(left)).then(own).alias("survivor"))


def _measure(fates: Fates, merged: Ints, place: Ints, finders: Sequence[tuple[int, Finder]]) -> None:
    """Method and similarity of merged rows: of the first finder by which they are alike."""
    import numpy as np

    one, other = place[merged], place[fates.survivor[merged]]
    for method, finder in reversed(finders):
        found = finder.similarity(one, other)
        better = found >= finder.threshold
        fates.method[merged[better]] = method
        fates.similarity[merged[better]] = found[better]
    assert not np.isnan(fates.similarity[merged]).any()  # noqa: S101


def _follow(fates: Fates) -> None:
    """Rows that were merged into a row which was then merged or rejected itself go where it goes."""
    import numpy as np

    rows = np.flatnonzero(fates.fate == MERGE)
    via = fates.survivor[rows]
    fates.torn[rows] |= fates.torn[via]
    moved = fates.fate[via] != KEEP
    rows, via = rows[moved], via[moved]
    for column in (fates.fate, fates.method, fates.similarity, fates.survivor):
        column[rows] = column[via]
