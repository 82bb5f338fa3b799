"""Duplicates, cluster by cluster, with what differs between their rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from toolkit.common.errors import InputError
from toolkit.viewing._differences import differences
from toolkit.viewing._life import row_that_came
from toolkit.viewing._paged_table import NUMBER, Table
from toolkit.viewing._rows_page import number_of
from toolkit.viewing._subject import Subject
from toolkit.viewing._viewed import Page, Viewed

if TYPE_CHECKING:
    import polars as pl
    from markupsafe import Markup
    from starlette.requests import Request
    from starlette.responses import Response

SIZE = 10
"""Clusters of a page."""
MEMBERS = 20
"""Rows of a cluster that are shown."""
_TEXTS = ("prompt", "response")


@dataclass(frozen=True)
class Member:
    """A row of a cluster: what stands of it in the table of clusters, and its texts, in which is marked what the kept row has otherwise."""

    about: Mapping[str, Any]
    texts: Sequence[tuple[str, Markup]]
    kept: bool


@dataclass(frozen=True)
class Cluster:
    """Rows that are duplicates of each other, the one that was kept first."""

    name: str
    rows: int
    members: Sequence[Member]


def duplicates(viewed: Viewed, request: Request) -> Response:
    """The clusters of a step that looks for duplicates, some at a time."""
    steps = [name.partition("/")[0] for name in viewed.subject.tables() if name.endswith("/clusters")]
    step = request.query_params.get("step") or (steps[0] if steps else "")
    if step not in steps:
        raise InputError(f"no step {step!r} with clusters of duplicates" if step else "no step of this run has looked for duplicates")
    conflicts = request.query_params.get("conflicts") == "1"
    table = viewed.subject.table(f"{step}/{'conflicts' if conflicts else 'clusters'}")
    page = number_of(request.query_params.get("page", "1"), "page")
    order = _order(viewed, table)
    shown = order[(page - 1) * SIZE : page * SIZE]
    more: dict[str, Any] = {
        "steps": steps,
        "step": step,
        "conflicts": conflicts,
        "page": page,
        "pages": -(-order.height // SIZE) or 1,
        "found": order.height,
    }
    return viewed.page(request, "clusters.html", "Duplicates", clusters=_clusters(viewed.subject, step, table, shown), **more)


def _order(viewed: Viewed, table: Table) -> pl.DataFrame:
    """The clusters, largest first: name, number of rows, numbers of the first of them. Kept until the files change."""
    import polars as pl

    key = ("clusters", table.name)
    kept = viewed.state.get(str(key))
    if kept is None or kept[0] != table.version:
        parts = [chunk.read(lambda rows: rows.select("cluster", pl.col(NUMBER).cast(pl.Int64).alias("n"))) for chunk in table.chunks()]
        rows = pl.concat(parts) if parts else pl.DataFrame(schema={"cluster": pl.String, "n": pl.Int64})
        found = rows.group_by("cluster").agg(pl.len().alias("rows"), pl.col("n").min().alias("first"), pl.col("n").head(MEMBERS).alias("numbers"))
        kept = viewed.state[str(key)] = (table.version, found.sort("rows", "first", descending=[True, False]).drop("first"))
    order: pl.DataFrame = kept[1]
    return order


def _clusters(subject: Subject, step: str, table: Table, shown: pl.DataFrame) -> list[Cluster]:
    numbers = [n for of_one in shown["numbers"].to_list() for n in of_one]
    rows = dict(zip(numbers, table.take(numbers).iter_rows(named=True), strict=True))
    texts = _texts(subject, step, {row["id"] for row in rows.values()} | {row["survivor"] for row in rows.values()} - {None})
    out = []
    for name, n, of_one in shown.iter_rows():
        members = sorted((rows[i] for i in of_one), key=lambda row: row["fate"] == "merge")
        first = texts.get(members[0]["survivor"] or members[0]["id"], texts.get(members[0]["id"], {}))
        out.append(Cluster(name, n, [_member(row, texts.get(row["id"], {}), first, i == 0) for i, row in enumerate(members)]))
    return out


def _member(row: Mapping[str, Any], texts: Mapping[str, Any], first: Mapping[str, Any], kept: bool) -> Member:
    found = [(name, differences(first.get(name) or "", texts.get(name) or "")[1]) for name in _TEXTS if texts.get(name) or first.get(name)]
    return Member(row, found, kept)


def _texts(subject: Subject, step: str, ids: set[str]) -> dict[str, dict[str, Any]]:
    """The texts of rows that a step kept or merged, by their ids."""
    import polars as pl

    out: dict[str, dict[str, Any]] = {}
    there, wanted = subject.tables(), pl.col("id").is_in(list(ids))
    for name in (step, f"{step}/rejects"):
        if name not in there:
            continue
        table = subject.table(name)
        numbers = [n for chunk in table.chunks() for n in chunk.read(lambda rows: rows.filter(wanted).select(NUMBER))[NUMBER].to_list()]
        columns = [c for c in ("id", "row", *_TEXTS) if c in table.columns]
        for row in table.take(numbers, columns).iter_rows(named=True):
            out[row["id"]] = row_that_came(row["row"]) if "row" in row else row
    return out


PAGES = [Page("/duplicates", "Duplicates", duplicates, shows=lambda subject: any(name.endswith("/clusters") for name in subject.tables()))]
