"""The rows of an evaluation under changes that keep their labels: those of `toolkit.evaluation.CHANGES`, and what a model makes of prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from toolkit.common.errors import InputError, did_you_mean
from toolkit.evaluation import CHANGE_KINDS, CHANGES, Change, ChangedSets, RowSet, changed_sets, choose_changes

if TYPE_CHECKING:
    pass

WRITTEN = ("translation", "paraphrase")
"""Changes that a model writes."""


@dataclass(frozen=True)
class Wanted:
    """The changes that are asked for.

    Attributes:
        changes: made here.
        written: written by `model`: the options of the operator `rephrase` of each.
        model: backend of that model.
    """

    changes: Sequence[Change]
    written: Sequence[Mapping[str, Any]]
    model: Any = None

    def make(self, sets: Sequence[RowSet], seed: int, **options: Any) -> ChangedSets:
        """The sets under them.

        Args:
            sets: as they are.
            seed: of what is drawn.
            options: of `toolkit.apply`: work, budget, allow.
        """
        import polars as pl

        from toolkit.api._apply import apply

        found = changed_sets(sets, self.changes, seed)
        names, made, left = list(found.names), list(found.sets), list(found.left)
        writer: str | None = None
        for how in self.written:
            names.append(how["change"])
            for n, one in enumerate(sets):
                rows = one.rows.filter(one.labelled)
                done = apply("rephrase", rows.select("id", "prompt"), backend=self.model, **how, **options)
                writer = writer or next(iter(done.kept["change_model"]), None)
                new = done.kept.select("id", "prompt", "parent", "change").join(rows.drop("prompt"), left_on="parent", right_on="id")
                made[n] = replace(made[n], rows=pl.concat([made[n].rows, new.select(made[n].rows.columns)]))
                for reason, count in sorted(done.rejected["_reason"].value_counts().iter_rows()):
                    left.append({"benchmark": one.name, "change": how["change"], "reason": reason, "rows": count})
        return ChangedSets(names, seed, made, left, writer)


def wanted(names: Sequence[str], model: Any, asked: bool) -> Wanted | None:
    """What is asked for; None where nothing is.

    Args:
        names: changes, kinds or ``all``; ``paraphrase``, ``translation:LANGUAGE``.
        model: backend of the model that writes these.
        asked: whether any model is asked.

    Raises:
        InputError: no such change, a written one without a model, or nothing is asked.
    """
    if not names:
        if model is not None:
            raise InputError("a model that writes changes is named, and no change", hint="paraphrase, or translation:LANGUAGE")
        return None
    if not asked:
        raise InputError(
            "changes of the rows are for a model that is asked, and none is named", hint="{--model NAME-OR-FOLDER|models=[NAME-OR-FOLDER]}"
        )
    plain: list[str] = []
    written: dict[str, dict[str, Any]] = {}
    for name in names:
        kind, colon, language = name.partition(":")
        if kind not in WRITTEN:
            plain.append(name)
            continue
        if (kind == "translation") != bool(language.strip()) or (colon and kind == "paraphrase"):
            raise InputError(f"{name!r} is no change", hint="translation:LANGUAGE, translation:French say, or paraphrase")
        if kind in written:
            raise InputError(f"{kind} is there twice", hint="evaluate once for each language")
        written[kind] = {"change": kind, **({"language": language.strip()} if language else {})}
    if written and model is None:
        raise InputError(
            f"{next(iter(written))} is written by a model, and none is named",
            hint="{--perturb-model NAME-OR-FOLDER|perturb_model=NAME-OR-FOLDER}; no guard",
        )
    if model is not None and not written:
        raise InputError("a model that writes changes is named, and no change is for it", hint="paraphrase, or translation:LANGUAGE")
    if odd := next((n for n in plain if n not in ("all", *CHANGE_KINDS, *CHANGES)), None):
        raise InputError(f"no change is called {odd!r}", hint=did_you_mean(odd, ["all", *CHANGE_KINDS, *CHANGES, *WRITTEN]))
    return Wanted(choose_changes(plain) if plain else [], list(written.values()), model)
