"""A short stretch of the fuzz harness (`fuzz`): the same cases each time; ``make fuzz`` runs on from a new seed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from fuzz import Fuzz
from fuzz_endpoint import serving
from fuzz_verbs import VERBS

SEED, CASES = 1, 20


@pytest.fixture(scope="module")
def fuzz(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fuzz]:
    with serving() as endpoint:
        yield Fuzz(SEED, tmp_path_factory.mktemp("fuzz"), endpoint, VERBS)


@pytest.mark.parametrize("number", range(CASES))
def test_the_invariants_hold_after_a_fault(fuzz: Fuzz, number: int) -> None:
    case = fuzz.case(number)
    assert not case.wrong, str(case)
