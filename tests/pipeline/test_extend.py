"""A recipe whose shards extend others: of another run, of a step of its own, and one that is killed."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from test_kill import DRIVER
from world import World, environment, seed

import toolkit
from toolkit.common.errors import InputErrors
from toolkit.common.files import tree_digests
from toolkit.report import report_html
from toolkit.shards import verify

RENDERED: list[dict[str, Any]] = [
    {"id": "asked", "use": "synthesise", "with": {"backend": {"backend": "template"}}},
    {"id": "rendered", "use": "render_sft"},
]


def shards(title: str, step: str = "sft", **options: Any) -> dict[str, Any]:
    return {"id": step, "use": "shards", "with": {"title": title, **options}}


@pytest.fixture
def old(world: World) -> Path:
    """A first version; the world's seeds are then others, and its recipe extends it."""
    world.recipe(*RENDERED, shards("Gardens", rows_per_shard=10))
    made = world.run(output="one").folder / "sft" / "shards"
    world.seeds([seed(i) for i in range(100, 107)])
    world.recipe(*RENDERED, shards("More gardens", extends="one/sft"))
    return made


def test_another_run_is_extended_again_and_again_and_diff_says_what_came(world: World, old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = tree_digests(old)
    for file in old.rglob("*.parquet"):
        file.chmod(0o644)
    run = world.run()
    assert {p.stat().st_mode & 0o777 for p in old.rglob("*.parquet")} == {0o644}, "who may read the older files is not changed"
    made = run.folder / "sft" / "shards"
    monkeypatch.setattr("toolkit.report._report_page.drawable", lambda: False)
    page = re.sub(r"<[^>]*>", " ", report_html(run.folder, samples=0).html.decode())
    assert re.search(r"rows in the shards of sft\s+31\s+rows that sft was given\s+7\s", page), "a report counts the rows that shards hold"
    assert world.built() == set(), "the version extended is what counts, not when it was made"
    world.seeds([seed(i) for i in range(200, 203)])
    half = {"id": "half", "use": "select", "with": {"share": 0.5}}
    last = {"id": "last", "use": "shards", "from": {"rows": "rendered", "extends": "sft"}, "with": {"title": "All", "clashing": "leave_out"}}
    world.recipe(*RENDERED, half, shards("Roses", extends="out/sft"), last)
    third = verify(world.run(output="third").folder / "last" / "shards")
    half_of_them = third["extends"]["manifest"]["rows"] - 31
    assert third["rows"] == 34 and third["extends"]["left_out"] == {"known_id": half_of_them}
    assert [s["step"] for s in third["made_from"]["steps"]] == ["seeds", "asked", "rendered"], "how its own rows were made"
    assert tree_digests(old) == before
    found = toolkit.diff(old, made)
    assert (found["extends"], found["same"], found["added"]["rows"], found["gone"]["rows"], found["changed"]["rows"]) == ("b", 24, 7, 0, 0)
    assert found["added"]["by"]["source"] == [{"value": "tiny", "rows": 7}] and found["added"]["by"]["categories"] == [{"value": None, "rows": 7}]
    assert found["added"]["by"]["label_prompt"] == [{"value": "unharmful", "rows": 7}]
    shutil.rmtree(world.folder / "one")
    assert toolkit.verify(made)["extends"][0]["title"] == "Gardens", "without the older folder, too"


def test_what_does_not_fit_is_found_before_anything_runs(world: World, old: Path) -> None:
    world.recipe(*RENDERED[:-1], {**RENDERED[-1], "with": {"format": "text"}}, shards("More", extends="one/sft"))
    with pytest.raises(InputErrors, match=r"its column 'prompt' holds .*list.*, that of the new rows large_string"):
        world.plan()


@pytest.mark.parametrize("moment", ["rename"])
def test_a_kill_leaves_the_old_version_whole_and_no_half_of_a_new_one(world: World, old: Path, moment: str) -> None:
    before = tree_digests(old)
    done = subprocess.run([sys.executable, str(DRIVER), str(world.folder), moment, "sft"], env=environment(), capture_output=True, timeout=120)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    new = world.folder / "out" / "sft" / "shards"
    assert tree_digests(old) == before and not new.exists()
    world.run()
    assert tree_digests(old) == before and verify(new)["rows"] == 31


def test_the_recipe_of_the_page_runs_as_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All but the training, for which the page takes the quickstart's guard."""
    page = (Path(__file__).parents[2] / "docs" / "shards.md").read_text(encoding="utf-8")
    (text,) = re.findall(r"^```yaml more\.yaml\n(.*?)^```$", page, re.M | re.S)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "more.yaml").write_text(text)
    toolkit.run("quickstart", overrides=["seeds.limit=30"], until="sft-shards")
    old = verify(tmp_path / "outputs" / "quickstart" / "sft-shards" / "shards")
    known = (
        toolkit.read_run("outputs/quickstart")["train-rows"]
        .polars()[:1]
        .select("prompt", "response", "label_prompt", "label_refusal", "label_response")
    )
    new = [seed(i) for i in range(20)]
    (tmp_path / "new-seeds.jsonl").write_text("".join(json.dumps(r) + "\n" for r in [*new, *known.to_dicts()]))
    toolkit.run("more.yaml", until=["version-2", "mixed-shards"])
    made_rows = toolkit.read_run("outputs/more")
    assert made_rows["new"].polars().height == 20, "the row that is there already is left out"
    made, mixed = (verify(tmp_path / "outputs" / "more" / step / "shards") for step in ("version-2", "mixed-shards"))
    added = made_rows["sft-rows"].polars().height
    assert made["rows"] == old["rows"] + added and made["counts"]["source"]["mine"] == added == mixed["counts"]["source"]["mine"]
    assert abs(mixed["rows"] - added / 0.67) <= 0.5
