"""`check_rewrites`: a harmless version of a prompt stays only where guards call it harmless and it is about the same."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from frames import reasons, seed, seeds, verdict, verdicts

import toolkit
from toolkit.common.errors import InputError
from toolkit.operators import _embedding

LOCK = "How do I pick my neighbour's lock?"


@pytest.fixture
def letters(monkeypatch: pytest.MonkeyPatch) -> None:
    """An embedding model for which texts are alike by their letters."""

    def embed(texts: Sequence[str]) -> Any:
        return _embedding.unit(np.array([[text.lower().count(c) for c in "abcdefghijklmnopqrstuvwxyz"] for text in texts], np.float32))

    monkeypatch.setattr(_embedding, "open_model", lambda *a, **k: embed)
    monkeypatch.setattr(_embedding, "needs", lambda model: [])


def checked(rewrites: Sequence[str | None], answers: Sequence[Sequence[str | None]], **options: Any) -> tuple[pl.DataFrame, pl.DataFrame]:
    made = [seed(n, prompt=LOCK, label_prompt="harmful") for n in range(len(rewrites))]
    votes = [verdict(row, f"g{k}", 0, prompt=word) for row, words in zip(made, answers, strict=True) for k, word in enumerate(words)]
    rows = seeds(*made).with_columns(rewrite=pl.Series(rewrites, dtype=pl.String))
    kept, rest = toolkit.apply("check_rewrites", {"rows": rows, "verdicts": verdicts(*votes)}, **options)
    return kept, rest


def test_a_rewrite_that_is_harmful_strays_or_rewrites_nothing_is_rejected(letters: None) -> None:
    good, bad = ["unharmful", "unharmful"], ["unharmful", "harmful"]
    rewrites = ["How do locks work?", "How do I pick their locks?", "zzz", f" {LOCK.upper()} ", "I can't help with that.", "How do locks work?", None]
    kept, rest = checked(rewrites, [good, bad, good, good, good, [None, None], good])
    assert kept["rewrite"].to_list() == [rewrites[0], None] and kept["rewrite_harmless"].to_list() == [1.0, None]
    assert kept["rewrite_similarity"][0] > 0.6 and set(kept["label_prompt"]) == {"harmful"}, "the row's own labels stay"
    assert reasons(rest) == dict.fromkeys(["rewrite_declines", "rewrite_harmful", "rewrite_strays", "rewrite_unchanged", "rewrite_unjudged"], 1)
    details = dict(rest.select("_reason", "_detail").iter_rows())
    assert details["rewrite_harmful"] == "g0: unharmful 1; g1: harmful 1" and details["rewrite_strays"].startswith("similarity 0.00")
    kept, rest = checked(rewrites[:3], [bad, bad, good], quorum=0.5, least=0)
    assert kept.height == 3 and kept["rewrite_harmless"].to_list() == [0.5, 0.5, 1.0]
    kept, rest = checked([None, rewrites[0]], [good, good], needed=["harmful"], min_voters=2)
    assert kept.height == 1 and reasons(rest) == {"no_rewrite": 1}


def test_a_rewrite_in_the_reasoning_of_a_guard_becomes_a_column(letters: None) -> None:
    guard = toolkit.load_guard("intentionreasoner")
    made = [seed(n, prompt=LOCK, label_prompt=label) for n, label in enumerate(["borderline harmful", "borderline harmful", "unharmful"])]
    own = [c for c in seeds(seed(0)).columns if "refusal" not in c and not c.startswith("label_response")]
    text = "<think>\nx\n</think>\nIntent: BH\n"
    wrote = [f"{text}<rewrite>\nHow do locks work?\n</rewrite>", text, "<think>\nx\n</think>\nIntent: CU"]
    rows = seeds(*made).select(own).with_columns(reasoning=pl.Series(wrote))
    answers = [verdict(made[0], "g", 0, prompt=word) for word in ["borderline unharmful"]]
    table = verdicts(*answers).select(c for c in verdicts(*answers).columns if not c.endswith(("refusal", "_response")) and "label_re" not in c)
    options: dict[str, Any] = {"needed": ["borderline unharmful", "borderline harmful"], "guard": guard.name}
    kept, rest = toolkit.apply("check_rewrites", {"rows": rows, "verdicts": table}, **options)
    assert kept["rewrite"].to_list() == [None] and reasons(rest) == {"no_rewrite": 1, "rewrite_harmful": 1}, "on a scale the least severe alone"
    kept, _ = toolkit.apply("check_rewrites", {"rows": rows, "verdicts": table}, **options, harmless=["unharmful", "borderline unharmful"])
    assert kept["rewrite"].to_list() == ["How do locks work?", None] and kept["reasoning"][0] == wrote[0]


def test_what_does_not_fit_is_named(letters: None) -> None:
    with pytest.raises(InputError, match="no label of 'prompt'"):
        checked(["a"], [["harmful"]], harmless=["fine"])
    with pytest.raises(InputError, match="the rows have no 'refined'"):
        checked(["a"], [["harmful"]], of="refined")
    with pytest.raises(InputError, match="has no votes to go by"):
        toolkit.apply("check_rewrites", seeds({}).with_columns(rewrite=pl.lit("a")))


@pytest.mark.skipif(find_spec("wordllama") is None, reason="the extra wordllama is not installed")
def test_the_shipped_model_tells_what_is_about_the_same(tmp_path: Path) -> None:
    kept, rest = checked(["How do locks work, and how can I secure mine?", "Write a poem about spring"], [["unharmful"], ["unharmful"]])
    assert kept.height == 1 and reasons(rest) == {"rewrite_strays": 1}
