"""recipes/guardreasoner/benchmark-rows: the data part on the released benchmark rows."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from published import RECIPES

import toolkit
from toolkit import api
from toolkit.guards import load_guard, parse
from toolkit.shards import verify

BENCHMARK = "guardreasoner/benchmark-rows"
TASK_OF = {
    "ToxicChat": "prompt", "OpenAIModeration": "prompt", "AegisSafetyTest": "prompt", "SimpleSafetyTests": "prompt", "HarmBenchPrompt": "prompt",
    "HarmBenchResponse": "response", "SafeRLHF": "response", "BeaverTails": "response", "XSTestResponseHarmful": "response", "XSTestResponseRefusal": "refusal",
}  # fmt: skip


def guardkit(*args: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The command line, in a process of its own."""
    code = "import sys; from toolkit.cli import main; sys.argv[0] = 'guardkit'; main()"
    root = str(Path(toolkit.__file__).resolve().parent.parent)
    return subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {root!r}); {code}", *args], cwd=cwd, capture_output=True, text=True, check=False
    )


@pytest.mark.usefixtures("bare")
def test_the_benchmark_recipe_says_where_its_rows_are_to_be_had() -> None:
    needs = "\n".join(api.check(BENCHMARK)["needs"])
    assert "--source guardreasoner_benchmark=" in needs
    assert "github.com/yueliu1999/GuardReasoner" in needs
    assert {s["rows"] for s in api.plan(BENCHMARK)["steps"]} == {11_749}


@pytest.fixture(scope="module")
def benchmark_run(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The recipe run by the command line on the real files: the run's folder and the JSON that was printed."""
    folder = tmp_path_factory.mktemp("benchmark-rows")
    source = f"guardreasoner_benchmark={real_data / 'guardreasoner' / 'benchmark'}"
    done = guardkit("run", BENCHMARK, "--source", source, "--output", "run", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "run", json.loads(done.stdout)


def test_real_rows_are_conserved_to_verified_shards(benchmark_run: tuple[Path, dict[str, Any]]) -> None:
    folder, summary = benchmark_run
    counts = {s["step"]: s for s in summary["steps"]}
    assert counts["seeds"]["in"] == counts["seeds"]["kept"] == 11_749
    unique = counts["unique"]
    assert unique["kept"] + unique["merged"] + sum(unique["rejected"].values()) == 11_749
    assert unique["rejected"] == {"conflicting_labels": 66}
    assert unique["merged"] == 846
    for step in ("parts", "reasoning", "valid", "rendered", "shards"):
        assert (counts[step]["in"], counts[step]["kept"]) == (10_837, 10_837), step
    checked = guardkit("verify", str(folder / "shards" / "shards"), "--json", cwd=folder)
    assert checked.returncode == 0, checked.stderr
    assert json.loads(checked.stdout)["rows"] == 10_837
    assert set(verify(folder / "shards" / "shards")["counts"]["split"]) == {"train", "test"}


def test_real_rows_have_their_file_s_label_and_no_invented_one(benchmark_run: tuple[Path, dict[str, Any]]) -> None:
    folder, _ = benchmark_run
    made = api.read_run(folder)
    for row in (r for b in made["seeds"].blocks() for r in b.to_dicts()):
        own = TASK_OF[row["source"].removeprefix("guardreasoner_benchmark-")]
        for task in ("prompt", "refusal", "response"):
            label, why = row[f"label_{task}"], row[f"label_{task}_source"]
            if task == own:
                assert label is not None
                assert why in ("human", "vote")
            else:
                assert (label, why) == (None, "absent")


def test_a_survivor_has_the_labels_of_the_rows_merged_into_it_and_no_other(benchmark_run: tuple[Path, dict[str, Any]]) -> None:
    """The two XSTest files share 445 texts (spec E.1); one file says whether they were refused, the other whether the answer is harmful."""
    folder, _ = benchmark_run
    made = api.read_run(folder)
    labels = {
        step: {t: Counter(v for b in made[step].blocks([f"label_{t}"]) for (v,) in b.iter_rows()) for t in set(TASK_OF.values())}
        for step in ("seeds", "reasoning")
    }
    assert labels["seeds"]["refusal"].total() == 11_749
    assert labels["reasoning"]["refusal"]["refusal"] == labels["seeds"]["refusal"]["refusal"] == 178
    assert labels["reasoning"]["refusal"]["compliance"] == labels["seeds"]["refusal"]["compliance"] == 271
    rows = [r for b in made["reasoning"].blocks() for r in b.to_dicts()]
    both = [r for r in rows if sum(r[f"label_{t}"] is not None for t in labels["seeds"]) == 2]
    assert len(both) == 445
    assert {r["source"] for r in both} == {"guardreasoner_benchmark-XSTestResponseHarmful"}
    assert {r["label_refusal_source"] for r in both} == {"human"}
    assert sum(all(r[f"label_{t}"] is None for t in labels["seeds"]) for r in rows) == 0
    answers = [m["content"] for b in made["rendered"].blocks(["completion"]) for (c,) in b.iter_rows() for m in c]
    guard = load_guard("guardreasoner")
    assert {sum(v is not None for v in parse(guard, a, "strict").labels.values()) for a in answers[::50]} <= {1, 2}


def test_saferlhf_s_conflicting_labels_are_found(real_data: Path, tmp_path: Path) -> None:
    """Spec E.1: 28 inputs with conflicting labels among SafeRLHF's 2,000 rows."""
    recipe: dict[str, Any] = yaml.safe_load((RECIPES / "benchmark-rows.yaml").read_text(encoding="utf-8"))
    recipe["steps"] = recipe["steps"][:3]
    (tmp_path / "conflicts.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    sources = {"guardreasoner_benchmark": [real_data / "guardreasoner" / "benchmark"]}
    found = {}
    for policy in ("reject", "keep"):
        overrides = ["seeds.parts=[SafeRLHF]", f"unique.conflicts={policy}"]
        done = api.run(tmp_path / "conflicts.yaml", overrides=overrides, sources=sources, output=tmp_path / policy)
        found[policy] = api.read_run(done.folder)["unique"]
        assert found[policy].manifest["stats"]["conflicting_clusters"] == 28
    rows = pl.read_parquet(found["reject"].artefact("conflicts") / "conflicts.parquet")
    assert rows["cluster"].n_unique() == 28
    assert rows.group_by("cluster").agg(pl.col("label_response").n_unique())["label_response"].to_list() == [2] * 28
    assert found["reject"].manifest["counts"][-1]["rejected"] == {"conflicting_labels": rows.height}
    assert found["keep"].rows == found["reject"].rows + rows.height
