"""What of a recipe an operator is shown: what it says that it reads (`Operator.used`), and nothing else.

The fingerprint of a step covers the same words. So a part that an operator reads and does not name is an error the first time that it is read
(`toolkit.common.facets.Undeclared`), never a step that is reused although what it was made from has changed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import TYPE_CHECKING, NoReturn, TypeVar

from toolkit.common.errors import BrokenContract, did_you_mean
from toolkit.common.facets import Faceted, Undeclared

if TYPE_CHECKING:
    from toolkit.guards import Guard
    from toolkit.operators.base import Operator
    from toolkit.taxonomy import Taxonomy

F = TypeVar("F", bound=Faceted)


def shown(operator: Operator, guard: Guard, taxonomy: Taxonomy) -> tuple[Guard, Taxonomy]:
    """Guard and taxonomy as the operator sees them.

    Raises:
        BrokenContract: it names what there is not.
    """
    return guard_for(operator, guard), _shown(operator, "taxonomy", taxonomy)


def guard_for(operator: Operator, guard: Guard) -> Guard:
    """The guard as the operator sees it (BrokenContract: as `shown`)."""
    return _shown(operator, "guard", guard)


def counted(operator: Operator, guard: Guard, taxonomy: Taxonomy) -> dict[str, dict[str, str]]:
    """For the guard and the taxonomy, where the operator reads any of it, the digest of each facet that it does."""
    both: Mapping[str, Faceted] = {"guard": guard, "taxonomy": taxonomy}
    found = {name: whole.digests(_facets(operator, name, whole)) for name, whole in both.items()}
    return {name: facets for name, facets in found.items() if facets}


def withheld(operator: Operator, what: str) -> Callable[[], NoReturn]:
    """Stands in for what an operator does not say that it reads."""
    return partial(_refuse, operator.name, what)


def _refuse(operator: str, what: str) -> NoReturn:
    raise Undeclared(f"the operator {operator!r} reads the {what} and does not name it in its `uses`")


def _shown(operator: Operator, name: str, whole: F) -> F:
    return whole if name in operator.used() else whole.only(_facets(operator, name, whole))


def _facets(operator: Operator, name: str, whole: Faceted) -> Collection[str]:
    used = operator.used()
    if name in used:
        return list(whole.facets)
    found = [word.partition(".")[2] for word in used if word.startswith(f"{name}.")]
    for facet in found:
        if facet not in whole.facets:
            raise BrokenContract(f"the operator {operator.name!r} uses {name}.{facet}: there is no such facet ({did_you_mean(facet, whole.facets)})")
    return found
