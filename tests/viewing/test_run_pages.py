"""The pages about a run: a row's life, rejects, duplicates, disputes, recipe and plan, progress."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import time
from collections.abc import Callable, Iterator
from html import unescape
from pathlib import Path
from typing import Any

import httpx2 as httpx
import polars as pl
import pytest

import toolkit
from toolkit.pipeline import StepFolder


@pytest.fixture
def opened() -> Iterator[Callable[[toolkit.Viewer, str], str]]:
    """The text of a page as it is read, markup taken out."""
    clients: dict[str, httpx.Client] = {}

    def text(viewer: toolkit.Viewer, address: str) -> str:
        client = clients.setdefault(viewer.url, httpx.Client(base_url=viewer.url, follow_redirects=True, timeout=60))
        if not client.cookies:
            client.get(viewer.address)
        page = client.get(address)
        assert page.status_code == 200, page.text
        return " ".join(unescape(re.sub(r"<[^>]+>", " ", page.text.partition("<main")[2])).split())

    yield text
    for client in clients.values():
        client.close()


Opened = Callable[[toolkit.Viewer, str], str]


def one(run: Path, step: str, where: Any) -> dict[str, Any]:
    """A row of a step."""
    return StepFolder.open(run / step).polars().filter(where).row(0, named=True)


def test_a_row_is_followed_from_seed_to_shard(viewed_run: toolkit.Viewer, run: Path, opened: Opened) -> None:
    row = one(run, "rendered", True)
    page = opened(viewed_run, f"/life?id={row['id']}")
    became = page.partition("What became of it")[2]
    steps = [became.index(f" {step} ") for step in ("load", "normalise", "deduplicate", "split", "synthesise", "render_sft", "shards")]
    assert steps == sorted(steps), "in the order of the recipe"
    assert "Reasoning by template" in page and "Task 1 Step 1" in page and "Conclusion" in page
    assert str(one(run, "seeds", pl.col("id") == row["id"])["prompt"]) in page


def test_a_row_that_left_says_where_and_why(viewed_run: toolkit.Viewer, run: Path, opened: Opened) -> None:
    merged = pl.read_parquet(run / "unique" / "rejects.parquet").row(0, named=True)
    page = opened(viewed_run, f"/life?id={merged['id']}")
    assert "merged into another row" in page and merged["survivor"] in page
    assert "another row was merged into it" in opened(viewed_run, f"/life?id={merged['survivor']}")


def test_guards_stand_side_by_side_with_their_verdicts_and_pairs(viewed_mined: toolkit.Viewer, mined: Path, opened: Opened) -> None:
    step = next(p.parent.parent.name for p in mined.glob("*/rows/rows.parquet") if {"chosen", "parent"} <= pl.read_parquet_schema(p).keys())
    pair = one(mined, step, True)
    page = opened(viewed_mined, f"/life?id={pair['id']}")
    assert f"The row of which {pair['id']} was made" in page and str(pair["parent"]) in page
    assert "What guards answered anna" in page and " berta " in page
    assert "prompt: harmful, wrong" in page or "prompt: unharmful, wrong" in page
    assert "Preference pairs prompt" in page and "Chosen" in page and "Rejected" in page
    with httpx.Client(base_url=viewed_mined.url, follow_redirects=True) as client:
        client.get(viewed_mined.address)
        chosen, rejected = (
            client.get(f"/life?id={pair['id']}").text.split('<section aria-label="Chosen">')[1].split('<section aria-label="Rejected">')[:2]
        )
    assert "<ins>" in chosen and "<del>" not in chosen and "<ins>" not in rejected.split("</section>")[0], "what is taken out is the rejected one's"
    draw = one(mined, "predictions", pl.col("parent") == pair["parent"])
    assert opened(viewed_mined, f"/life?id={draw['id']}").startswith(page[:20]), "a draw's life is its row's"


def test_rejects_by_reason_lead_to_their_rows(viewed_run: toolkit.Viewer, run: Path, opened: Opened) -> None:
    page = opened(viewed_run, "/rejects")
    counts = {(c["step"], c["outcome"], c["reason"]): c["rows"] for c in toolkit.rejects(run, limit=0).counts}
    assert counts
    for (step, outcome, reason), rows in counts.items():
        assert re.search(rf"\b{step} \w+ {outcome.replace('_', ' ')} {reason if outcome != 'merged' else ''} ?{rows}\b", page), (
            step,
            outcome,
            reason,
        )
    (step, _, reason), rows = next(item for item in counts.items() if item[0][1] == "rejected")
    assert f"{rows} row" in opened(viewed_run, f"/rows/{step}/rejects?column=reason&operator=is&value={reason}")


def test_duplicates_stand_by_each_other_with_their_differences(viewed_run: toolkit.Viewer, run: Path) -> None:
    with httpx.Client(base_url=viewed_run.url, follow_redirects=True) as client:
        client.get(viewed_run.address)
        page = client.get("/duplicates").text
        assert "2 clusters" in page and "<ins> Thanks!</ins>" in page and page.count("<ins>") == 1
        assert "0 clusters" in client.get("/duplicates?conflicts=1").text
        assert client.get("/duplicates?step=reasoning").status_code == 422


def test_disputes_show_who_is_against_whom(viewed_mined: toolkit.Viewer, mined: Path, opened: Opened) -> None:
    page = opened(viewed_mined, "/disputes?task=prompt")
    found = toolkit.disputes(mined, task="prompt")
    assert f"{found.disputed} disputed" in page and all(row["why"] in page for row in found.shown)
    assert "not as the label" in page and "as the label" in page


def test_the_recipe_and_its_plan(viewed_run: toolkit.Viewer, opened: Opened) -> None:
    page = opened(viewed_run, "/recipe")
    assert "small, version 1; guard guardreasoner; taxonomy guardkit; seed 3" in page
    assert re.search(r"unique deduplicate clean built \d+ \d+ [\d.]+ s methods", page) and "use: synthesise" in page


def at_work(run: Path, folder: Path, *events: dict[str, object], unbuilt: tuple[str, ...] = ("rendered", "shards")) -> Path:
    """A copy of a run in which steps are not there yet, with more events in its log."""
    copy = folder / "run"
    shutil.copytree(run, copy)
    for step in unbuilt:
        shutil.rmtree(copy / step)
    with (copy / "events.jsonl").open("a") as log:
        for event in events:
            log.write(json.dumps({"time": time.time(), "host": platform.node(), "pid": os.getpid(), **event}) + "\n")
        log.write('{"torn')
    return copy


@pytest.mark.parametrize(
    ("events", "words"),
    [
        ([], ["5 of 8 steps are there"]),
        ([{"event": "started", "step": "rendered"}], ["The run is going on: 5 of 8", "rendered building"]),
        (
            [{"event": "started", "step": "rendered"}, {"event": "progress", "step": "rendered", "done": 1500, "total": 2000, "words": "rows"}],
            ["1,500 of 2,000 rows"],
        ),
        ([{"event": "started", "step": "rendered", "pid": 2**22 + 1}], ["broke off", "rendered stopped", "goes on where it stopped"]),
        ([{"event": "started", "step": "rendered"}, {"event": "stopped", "error": "TooManyFailures"}], ["was stopped (more failed than may)"]),
        ([{"event": "started", "step": "rendered", "host": "elsewhere"}], ["written on elsewhere"]),
    ],
)
def test_how_far_a_run_is(run: Path, tmp_path: Path, opened: Opened, events: list[dict[str, object]], words: list[str]) -> None:
    with toolkit.view(at_work(run, tmp_path, *events), port=0) as viewer:
        page = opened(viewer, "/progress")
        assert all(w in page for w in words), page
        assert "rendered" not in opened(viewer, "/").partition("Rows Columns")[2]


def test_steps_that_are_built_meanwhile_are_shown(run: Path, tmp_path: Path, opened: Opened) -> None:
    copy = at_work(run, tmp_path)
    with toolkit.view(copy, port=0) as viewer:
        assert " rendered not built" in opened(viewer, "/")
        shutil.copytree(run / "rendered", copy / "rendered")
        assert re.search(r"valid validate built with rendered rendered render_sft built \d+", opened(viewer, "/"))
        assert re.search(r"^[^>]*> rendered .* [1-9]\d* rows\.", opened(viewer, "/rows/rendered"))


def test_a_run_whose_recipe_was_changed_shows_what_is_there(run: Path, tmp_path: Path, opened: Opened) -> None:
    copy = at_work(run, tmp_path)
    with (copy / "recipe.yaml").open("a") as recipe:
        recipe.write("# x\n")
    with toolkit.view(copy, port=0) as viewer:
        page = opened(viewer, "/")
        assert "has been changed since the run wrote it" in page and "reasoning/rejects" in page
        assert "22 rows" in opened(viewer, "/rows/seeds")
