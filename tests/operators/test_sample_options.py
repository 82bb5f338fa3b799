"""Options of `sample`: what would change a guard's text is refused, for guards of earlier steps as for others."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from toolkit.operators.judge.sample import Sample, SampleConfig


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


def test_a_later_round_draws_with_another_seed() -> None:
    here, there = {"backend": "transformers", "temperature": 1.0}, {"backend": "openai", "model": "m", "seed": 7}
    greedy = {"backend": "vllm", "temperature": 0}
    unseeded = {"backend": "openai", "model": "m", "seed": None}
    options = {"k": 2, "backend": here, "models": {"far": there, "greedy": greedy, "unseeded": unseeded}}
    assert Sample.in_round(options, 3) == {
        "k": 2,
        "backend": {**here, "seed": 2},
        "models": {"far": {**there, "seed": 9}, "greedy": greedy, "unseeded": unseeded},
    }
    assert options["backend"] == here, "those of the first round stay as they are"
    for faulty in ({"backend": "nobody"}, {"backend": {"backend": "nobody"}}, {"models": {"a": 3}}, {"backend": {"seed": "x"}}):
        assert Sample.in_round(faulty, 2) == faulty, "a fault is reported where options are checked"
