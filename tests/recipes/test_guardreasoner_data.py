"""recipes/guardreasoner: the data part, on small files with the hub's columns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hub_shaped import HUB_SHAPED, hub_shaped
from published import PARTS, read

from toolkit import api
from toolkit.shards import verify


@pytest.fixture
def data_part(tmp_path: Path) -> Path:
    """8b.yaml without what trains or needs a trained guard: its own steps and options, nothing else changed."""
    recipe = read("8b")
    needs_model = {"train_sft", "sample", "verdicts", "mine", "pair", "render_dpo", "train_dpo", "benchmarks", "evaluate", "compare"}
    recipe["steps"] = [s for s in recipe["steps"] if s["use"] not in needs_model and s["id"] != "dpo-shards"]
    path = tmp_path / "data-part.yaml"
    path.write_text(yaml.safe_dump(recipe, sort_keys=False), encoding="utf-8")
    return path


def test_the_data_part_from_hub_shaped_files_to_leave_one_out_shards(
    data_part: Path, tmp_path: Path, teacher: tuple[str, list[dict[str, Any]]]
) -> None:
    """The recipe's own steps and teacher settings; only the endpoint's address is another."""
    pytest.importorskip("openai")
    url, asked = teacher
    done = api.run(data_part, overrides=[f"reasoning.backend.base_url={url}"], sources=hub_shaped(tmp_path), output=tmp_path / "run")
    counts = {s["step"]: s for s in done.summary["steps"]}
    read_in = sum(map(len, HUB_SHAPED.values()))
    assert (counts["seeds"]["in"], counts["seeds"]["kept"], counts["seeds"]["set_aside"]) == (read_in, read_in - 1, {"filtered": 1})
    assert (counts["unique"]["merged"], counts["unique"]["rejected"]) == (2, {"conflicting_labels": 2})
    kept = read_in - 1 - 2 - 2
    assert counts["valid"]["kept"] == counts["sft-rows"]["kept"] == len(asked) == kept
    assert {(a["model"], a["temperature"], a["max_tokens"]) for a in asked} == {("gpt-4o-2024-08-06", 0.0, 2048)}
    assert not any({"top_p", "seed", "stop"} & a.keys() for a in asked)

    def sources(step: str) -> dict[str, int]:
        folder = tmp_path / "run" / step / "shards"
        found: dict[str, int] = verify(folder)["counts"]["source"]
        return found

    whole = sources("sft-shards")
    assert whole == {"wildguard_train": 5, "aegis_train": 2, "beavertails_30k_train": 2, "toxicchat_train": 2}
    for part, source in PARTS.items():
        assert sources(f"shards-no-{part}") == {s: n for s, n in whole.items() if s != source}
    again = api.run(data_part, overrides=[f"reasoning.backend.base_url={url}"], sources=hub_shaped(tmp_path), output=tmp_path / "run")
    assert again.built == []
    assert len(asked) == kept


def test_labels_that_the_teacher_supplied_are_marked(data_part: Path, tmp_path: Path, teacher: tuple[str, list[dict[str, Any]]]) -> None:
    """BeaverTails has the response's label alone; the other two are the teacher's and say so (spec A.3)."""
    pytest.importorskip("openai")
    recipe = yaml.safe_load(data_part.read_text(encoding="utf-8"))
    recipe["steps"] = recipe["steps"][:5]
    data_part.write_text(yaml.safe_dump(recipe, sort_keys=False), encoding="utf-8")
    done = api.run(data_part, overrides=[f"reasoning.backend.base_url={teacher[0]}"], sources=hub_shaped(tmp_path), output=tmp_path / "run")
    rows = [r for b in api.read_run(done.folder)["valid"].blocks() for r in b.to_dicts()]
    for row in rows:
        labels = [(row[f"label_{t}"], row[f"label_{t}_source"]) for t in ("prompt", "refusal", "response")]
        if row["source"] == "beavertails_30k_train":
            assert labels[:2] == [("unharmful", "inferred"), ("compliance", "inferred")]
            assert labels[2][1] == "human"
        if row["source"] in ("aegis_train", "toxicchat_train"):
            assert [v for v, _ in labels[1:]] == [None, None]
    assert sum(r["source"] == "beavertails_30k_train" for r in rows) == 2
