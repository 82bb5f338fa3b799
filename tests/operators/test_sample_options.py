"""Options of `sample`: what would change a guard's text is refused, for guards of earlier steps as for others."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from toolkit.operators.judge.sample import SampleConfig


@pytest.mark.parametrize("own", [{"backend": {"backend": "transformers"}}, {"models": {"main": {"backend": "transformers", "model": "m"}}}])
def test_a_guards_reasoning_stays_in_what_it_writes(own: dict[str, Any]) -> None:
    def config(**more: Any) -> SampleConfig:
        [(key, value)] = own.items()
        inner = {"main": value["main"] | more} if key == "models" else value | more
        return SampleConfig.model_validate({"k": 1, key: inner})

    for kept in ("auto", "keep"):
        config(reasoning=kept)
    with pytest.raises(ValidationError, match="reasoning is for teachers"):
        config(reasoning="think")
