"""What the browser tests rely on: a page's requests, faults and barriers are seen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
from look import Look
from small_run import HOSTILE

import toolkit

BAD = """<!doctype html><title>x</title><img src="https://example.org/a.png"><script>window.harmed = 1; alert("x"); null.x</script>
<input type="text"><p id="bold" style="color: #ccc; background: #fff">pale</p>"""


def test_what_is_wrong_with_a_page_is_seen(look: Callable[..., Look], tmp_path: Path) -> None:
    (tmp_path / "bad.html").write_text(BAD)
    seen = look().open(tmp_path / "bad.html")
    assert seen.others == ["https://example.org/a.png"] and seen.harmed()
    assert {fault.partition(":")[0] for fault in seen.faults} >= {"dialog", "script", "failed"}
    assert {"image-alt", "label", "color-contrast", "html-has-lang"} <= {one.partition(" ")[0] for one in seen.barriers()}


def test_nothing_is_found_in_a_sound_page(look: Callable[..., Look], tmp_path: Path) -> None:
    (tmp_path / "good.html").write_text('<!doctype html><html lang="en"><title>x</title><main><h1>Title</h1><p>Text.</p></main></html>')
    seen = look(colours="dark").open(tmp_path / "good.html")
    assert (seen.others, seen.faults, seen.barriers(), seen.harmed()) == ([], [], [], False)


def test_the_small_run_has_something_for_every_page(shared_run: Path) -> None:
    rows = toolkit.read_run(shared_run)
    texts = rows["seeds"].polars()["prompt"].to_list()
    assert set(HOSTILE.values()) - set(texts) == {HOSTILE["nul"]}
    listed = pl.read_parquet(rows["noise"].artefact("review") / "review.parquet")
    assert listed.height >= 10 and rows["pairs"].polars().height > 10
