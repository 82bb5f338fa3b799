"""An operator is shown what it says that it reads of the guard, the taxonomy and the recipe, and nothing else."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import toolkit
from toolkit.common.errors import BrokenContract, GuardkitError
from toolkit.common.facets import Undeclared
from toolkit.guards import load_guard
from toolkit.operators import Context, RowOperator, operator_class, operator_names
from toolkit.operators._uses import counted, shown, withheld
from toolkit.taxonomy import load_taxonomy

GUARD, TAXONOMY = load_guard("guardreasoner"), load_taxonomy()
ROWS = pl.DataFrame({"id": ["a"], "prompt": ["How do tulips grow?"]})


def reading(read: Callable[[Context], Any], *uses: str) -> type[RowOperator]:
    """An operator that reads something of its context."""

    class Reads(RowOperator):
        name = "reads"

        def apply(self, rows: pl.LazyFrame, ctx: Context) -> pl.LazyFrame:
            def look(text: str) -> str:
                return str(read(ctx))

            return rows.with_columns(pl.col("prompt").map_elements(look, return_dtype=pl.String))

    Reads.uses = frozenset(uses)
    return Reads


READS: dict[str, Callable[[Context], Any]] = {
    "guard.input": lambda ctx: ctx.guard.instruction,
    "guard.feedback": lambda ctx: ctx.guard.taught.feedback,
    "guard.questions": lambda ctx: ctx.guard.tasks[0].subject,
    "taxonomy.descriptions": lambda ctx: ctx.taxonomy.categories[0].definition,
    "seed": lambda ctx: ctx.rng_seed("draw"),
}


@pytest.mark.parametrize("word", READS)
def test_it_reads_what_it_names_and_nothing_else(word: str) -> None:
    assert toolkit.apply(reading(READS[word], word), ROWS).kept.height == 1
    with pytest.raises(Undeclared) as e:
        toolkit.apply(reading(READS[word], "guard.tasks", "taxonomy.names"), ROWS)
    assert not isinstance(e.value, GuardkitError), "a bug in the operator, not the user's"


def test_one_that_names_nothing_of_its_own_is_shown_the_whole_guard() -> None:
    assert reading(READS["guard.input"]).uses == frozenset() and RowOperator.uses == {"guard"}
    assert toolkit.apply(reading(READS["guard.input"], "guard"), ROWS).kept.height == 1
    operator = reading(READS["guard.input"], "guard", "taxonomy")(RowOperator.config_class())
    assert shown(operator, GUARD, TAXONOMY) == (GUARD, TAXONOMY)
    found = counted(operator, GUARD, TAXONOMY)
    assert set(found["guard"]) == set(GUARD.facets) and set(found["taxonomy"]) == set(TAXONOMY.facets)


def test_a_facet_that_there_is_not_is_refused() -> None:
    with pytest.raises(BrokenContract, match="there is no such facet"):
        toolkit.apply(reading(READS["guard.input"], "guard.inputs"), ROWS)


def test_how_rows_were_made_is_shown_to_those_who_name_it() -> None:
    refuse = withheld(reading(READS["seed"])(RowOperator.config_class()), "lineage")
    with pytest.raises(Undeclared, match="'reads' reads the lineage"):
        pickle.loads(pickle.dumps(refuse))()  # noqa: S301  our own


@pytest.mark.parametrize("name", operator_names())
def test_every_operator_names_words_that_there_are(name: str) -> None:
    cls = operator_class(name)
    operator = cls(cls.config_class.model_validate(dict(cls.example)))
    counted(operator, GUARD, TAXONOMY)
    assert {w for w in operator.used() if "." not in w} <= {"guard", "taxonomy", "seed", "recipe"}
    views = shown(operator, GUARD, TAXONOMY)
    assert pickle.loads(pickle.dumps(views)) == views  # noqa: S301  our own
    assert Context(*views, None, "s", Path()).guard is shown(operator, GUARD, TAXONOMY)[0], "one object, for caches"
