"""A budget is a cap: a backend that says nothing of its price is refused before any step is built."""

from __future__ import annotations

import pytest
from world import World

from toolkit.common.errors import InputError
from toolkit.pipeline import run_plan


def test_a_backend_that_an_operator_made_itself_has_no_price(world: World) -> None:
    world.recipe({"id": "loud", "use": "loud"}, {"id": "asked", "use": "ask"})
    with pytest.raises(InputError, match="a budget needs a price, and a backend that an operator made itself states none"):
        run_plan(world.plan(), output=world.folder / "out", budget=1.0)
    assert (
        not (world.folder / "calls.log").exists() and not (world.folder / "out" / "seeds").exists() and not (world.folder / "out" / "loud").exists()
    )
    assert run_plan(world.plan(), output=world.folder / "out").built, "without a budget nobody asks for prices"
