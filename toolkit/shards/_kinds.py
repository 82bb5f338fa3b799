"""What the rows of shards are for: supervised rows, preference pairs, prompts with labels, and kinds of other packages (``guardkit.shard_kinds``).

guardkit's own kinds are known by their columns. One of another package is so only where the shards' manifest names it (`kind` of the operator
`shards`): no package changes what a folder is by being installed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from toolkit.common.errors import InputError
from toolkit.common.plugins import Registry
from toolkit.records import MEDIA

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class ShardKind:
    """A kind of shards.

    Attributes:
        name: of the kind.
        words: what its rows are, for messages.
        answers: columns beside ``prompt`` that hold what a model is to write, or not to: an assistant's one message, or plain text.
        columns: further columns that its rows must have.
        faults: for what makes a row none of this kind, in words, the expression that finds it.
    """

    name: str
    words: str
    answers: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    faults: Callable[[], Mapping[str, pl.Expr]] = dict

    @property
    def wants(self) -> tuple[str, ...]:
        """All columns that its rows must have."""
        return ("prompt", *self.answers, *self.columns)

    def check(self, rows: pl.DataFrame, where: str, *, hint: str = "leave the rows out in a step before the shards") -> None:
        """Refuse rows that are none of this kind.

        Raises:
            InputError: with the first of them.
        """
        for words, found in self.faults().items():
            refuse(rows.filter(found), words, where, hint)


def holds_media(columns: Iterable[tuple[str, str]]) -> bool:
    """Whether rows with these columns, each with its type as Arrow writes it, may have media."""
    return any(name == MEDIA and "sha256" in kind for name, kind in columns)


def refuse(rows: pl.DataFrame, what: str, where: str, hint: str) -> None:
    """Raise InputError for these rows, where there are any."""
    if rows.height:
        ids = ", ".join(map(str, rows["id"][:3])) if "id" in rows.columns else "without ids"
        raise InputError(f"{what} ({ids})", where=where, hint=hint)


def _equal_answers() -> Mapping[str, pl.Expr]:
    import polars as pl

    return {"the chosen and the rejected answer are the same": pl.col("chosen") == pl.col("rejected")}


SFT = ShardKind("sft", "supervised rows", ("completion",))
PREFERENCE = ShardKind("preference", "preference pairs", ("chosen", "rejected"), faults=_equal_answers)
RL = ShardKind("rl", "prompts with labels", columns=("has_response",))

SHARD_KINDS: Registry[ShardKind] = Registry(
    "kind of shards",
    "guardkit.shard_kinds",
    {kind.name: f"{__name__}:{kind.name.upper()}" for kind in (SFT, PREFERENCE, RL)},
    lambda name, found: isinstance(found, ShardKind) and found.name == name,
    "ShardKind of that name",
)


def kind_of(columns: Collection[str], named: str | None, where: str) -> ShardKind:
    """The kind of shards with these columns.

    Args:
        columns: of the shards.
        named: the kind that their manifest names; None: it names none.
        where: for errors.

    Raises:
        InputError: none that is known here, or columns that the kind must have are not there.
    """
    if named is not None:
        kind = SHARD_KINDS.get(named)
        if lacking := [c for c in kind.wants if c not in columns]:
            raise InputError(f"shards of the kind {named!r} have the column {lacking[0]!r}, and these have not", where=where)
        return kind
    own = [SHARD_KINDS.get(name) for name in SHARD_KINDS.own]
    found = next((kind for kind in own if set(kind.wants) <= set(columns)), None)
    if found is None:
        wants = " or ".join(", ".join(kind.wants) for kind in own)
        raise InputError(f"the shards have neither of the columns {wants}", where=where, hint="render the rows: render_sft, render_dpo, render_rl")
    return found
