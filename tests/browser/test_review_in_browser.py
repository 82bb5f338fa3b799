"""A review in a browser: ten labels by the keyboard alone, and what was decided is what the operator `review` applies."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from look import Look

import toolkit


def test_ten_labels_by_keyboard_alone_end_in_decisions_that_the_operator_applies(
    look: Callable[..., Look], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    labels = {f"label_{t}{s}": pl.lit(v, pl.String) for t in ("refusal", "response") for s, v in (("", None), ("_source", "absent"))}
    rows = pl.DataFrame({"id": [f"r{n}" for n in range(10)], "prompt": "<img src=x onerror=alert(1)>\u202e", "label_prompt": "harmful"})
    rows = rows.with_columns(label_prompt_source=pl.lit("human"), **labels)
    rows.write_parquet("rows.parquet")
    with toolkit.review("rows.parquet", reviewer="anna") as review, toolkit.view("rows.parquet", port=0, review=review) as viewer:
        seen = look().open(viewer.address)
        seen.open(viewer.url + "/review")
        keys = seen.page.keyboard
        assert seen.barriers() == [] and not seen.find("details pre").first.is_visible()
        keys.press("v")
        seen.find("details pre").first.wait_for()
        assert "\u202e" not in seen.text and r"\u202e" in seen.text
        keys.press("n")
        keys.type("2 is no decision here")
        keys.press("Escape")
        for n, key in enumerate("12zu1sd111121"):
            before = seen.find("[role=status]").inner_text() + seen.find("main").inner_text()
            keys.press(key)
            seen.page.wait_for_function(
                "text => document.querySelector('[role=status]').innerText + document.querySelector('main').innerText !== text", arg=before
            )
            assert "anna" in seen.text, n
        assert "Nothing is left for you" in seen.text and "10 of 10" in seen.text and seen.barriers() == []
        assert not seen.harmed() and (seen.others, seen.faults) == ([], [])
        assert review.export("decisions.csv")["lines"] == 10
        viewer.stop(at_once=True)
    kept, rest = toolkit.apply("review", rows, decisions="decisions.csv")
    assert rest["id"].to_list() == ["r4"]
    found = dict(kept.select("id", "label_prompt").iter_rows())
    assert (found["r0"], found["r1"], found["r2"]) == ("unharmful", "harmful", "unharmful")
    assert "2 is no decision here" in kept.filter(pl.col("id") == "r0")["label_trail"][0]
