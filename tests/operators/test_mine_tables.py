"""`mine` over rows and several tables of verdicts: what counts together, what is counted, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from frames import reasons, seed, seeds, verdict, verdicts

import toolkit
from toolkit.common.errors import InputError
from toolkit.mining import load_rule

H, U = "harmful", "unharmful"
ROWS = [{"prompt": f"{n}", "label_prompt": H} for n in range(3)]
SEEDS = seeds(*ROWS)


def draws_of(rows: dict[int, str], guard: str, first: int = 0, **labels: Any) -> pl.DataFrame:
    """Draws of one guard by row: H, U, or ? for unread."""
    out = []
    for n, draws in rows.items():
        of = seed(n, **ROWS[n]) | labels
        out += [verdict(of, guard, first + d, prompt={"H": H, "U": U, "?": None}[s]) for d, s in enumerate(draws)]
    return verdicts(*out)


def mine(tables: dict[str, pl.DataFrame], **options: Any) -> Any:
    return toolkit.apply("mine", {"rows": SEEDS, **tables}, **options)


def test_tables_count_together_in_the_order_of_the_rows() -> None:
    found = mine({"one": draws_of({2: "HH", 0: "HH"}, "a"), "two": draws_of({2: "HU", 0: "HH", 1: "UU"}, "b")})
    assert found.kept["id"].to_list() == [SEEDS["id"][2]] and found.kept["n_wrong_prompt"].to_list() == [1]
    assert reasons(found[1]) == {"always_right": 1, "undecided": 1}
    asked = mine({"one": draws_of({2: "HH", 0: "HH"}, "a"), "two": draws_of({2: "HU", 0: "HH", 1: "UU"}, "b")}, missing="not_asked")
    assert reasons(asked[1]) == {"always_right": 1, "always_wrong": 1}


def test_lines_that_go_through_the_rows_again_and_again_count_as_any_other_order() -> None:
    lines = pl.concat([draws_of({n: draws}, "a", first) for first in range(2) for n, draws in enumerate("HUH" if first else "HHH")])
    rounds = [[*range(n, 6), *range(n)] for n in range(4)]
    for order in (*rounds, [0, 1, 2, 4, 3, 5]):
        found = mine({"one": lines[order]}, rule="paper")
        assert found.kept.select("id", "n_wrong_prompt").rows() == [(SEEDS["id"][1], 1)] and reasons(found[1]) == {"always_right": 2}


def test_draws_of_one_guard_may_stand_in_several_tables_but_not_the_same_ones() -> None:
    found = mine({"one": draws_of({0: "HH"}, "a"), "two": draws_of({0: "UH"}, "a", first=2)}, rule="paper")
    assert found.kept["hard_of"].to_list() == [[{"task": "prompt", "guard": "a", "right": 3, "wrong": 1, "unread": 0}]]
    with pytest.raises(InputError, match="the same draw of a guard for one row: draw 0 of 'a'"):
        mine({"one": draws_of({0: "HH"}, "a"), "two": draws_of({0: "UH"}, "a")})


def test_what_is_odd_is_counted_and_noted() -> None:
    strange = verdicts(verdict(seed(99, prompt="not there", label_prompt=H), "a", 0, prompt=H))
    gap = draws_of({0: "HU"}, "b").with_columns(pl.when(pl.col("draw") == 1).then(3).otherwise("draw").alias("draw"))
    other = draws_of({1: "UU"}, "a", label_prompt=U)
    found = mine({"one": pl.concat([draws_of({0: "HHH"}, "a"), strange, other]), "two": gap})
    stats = found.figures
    assert stats["verdicts_of_other_rows"] == 1 and stats["labels_differ"] == {"prompt": 2} and stats["draws"] == {"a": 3, "b": 2}
    assert "no row has draw 1, 2 of b: 2 draws count, not 4" in stats["remarks"]
    assert any("not drawn from equally often (a 3, b 2)" in r for r in stats["remarks"])
    assert reasons(found[1])["undecided"] == 2, "the row's own label counts, and two outputs of five are not there"
    with pytest.raises(InputError, match="no id matches"):
        mine({"one": strange})


def test_verdicts_alone_whose_labels_contradict_each_other_cost_their_row() -> None:
    one, other = draws_of({0: "HU", 1: "HU"}, "a"), draws_of({1: "HU"}, "b", label_prompt=U)
    found = toolkit.apply("mine", pl.concat([one, other]))
    assert reasons(found[1]) == {"conflicting_labels": 1} and found.kept.height == 1


def test_a_rule_that_no_row_can_meet_runs_with_a_note_where_the_draws_were_not_known_before() -> None:
    found = mine({"one": draws_of({0: "HU"}, "a")}, rule={"hard": "wrong > 5"})
    assert not found.kept.height and any("reaches to 5" in r or "no row of which" in r for r in found.figures["remarks"])


def test_measures_and_hard_units_of_each_row() -> None:
    row = mine({"one": draws_of({0: "HH"}, "a"), "two": draws_of({0: "UU"}, "b")}).kept.row(0, named=True)
    assert (row["error_rate_prompt"], row["entropy_prompt"], row["margin_prompt"], row["divergence_prompt"]) == (0.5, 1.0, 0.0, 1.0)
    assert row["entropy_refusal"] is None and row["hard_of"][0]["guard"] is None


def test_a_recipe_shows_its_rule_in_words_and_refused_one_that_cannot_be() -> None:
    models = {"m": {"backend": "transformers", "model": "x/y", "temperature": 1.0}}
    steps: list[dict[str, Any]] = [
        {"id": "seeds", "use": "load", "with": {"source": "quickstart"}},
        {"id": "samples", "use": "sample", "with": {"k": 4, "models": models}},
        {"id": "verdicts", "use": "verdicts"},
        {"id": "hard", "use": "mine", "with": {"rule": {"hard": "0 < wrong < k", "guards": {"count": "each"}}}},
    ]
    recipe = {"recipe": "small", "seed": 1, "steps": steps}
    assert "of a guard's 4 outputs, at least 1 and at most 3 are wrong" in toolkit.check(recipe)["words"][0]
    assert toolkit.explain(recipe)["steps"][-1]["words"][0].startswith("A row is hard on a task when, of a guard's 4 outputs")
    steps[-1]["with"] = {"rule": {"hard": "wrong > 4"}}
    with pytest.raises(InputError, match="no row of which there are 4 outputs can be 'wrong > 4'"):
        toolkit.check(recipe)


def test_a_rule_that_names_no_guard_of_the_files_is_refused_before_the_run(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("{}\n")
    steps: list[dict[str, Any]] = [
        {"id": "predictions", "use": "load_predictions", "with": {"files": {"a": str(tmp_path / "a.jsonl")}, "task": "prompt"}},
        {"id": "hard", "use": "mine", "with": {"rule": {"guards": {"only": ["b"]}}}},
    ]
    with pytest.raises(InputError, match="names the guard 'b', which is not asked"):
        toolkit.check({"recipe": "small", "steps": steps})


def test_the_options_list_the_rules() -> None:
    option = next(o for o in toolkit.describe_operator("mine")["options"] if o["name"] == "rule")
    assert option["choices"]["paper"] == load_rule("paper").description
