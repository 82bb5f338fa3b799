"""Same recipe, same seed, same bytes: at any block size, thread count, time and place."""

from __future__ import annotations

import itertools
import json
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from world import World, environment, seed, steps_of

from toolkit.common.files import sha256_file
from toolkit.common.parquet import ParquetFile
from toolkit.guards import load_guard, render_input
from toolkit.pipeline._finished import read_blocks
from toolkit.pipeline._store import ROW_GROUP
from toolkit.records import Column, to_arrow

STEPS: list[dict[str, Any]] = [
    {"id": "clean", "use": "normalise"},
    {"id": "unique", "use": "deduplicate"},
    {"id": "parts", "use": "split", "with": {"parts": {"train": 0.7, "test": 0.3}}},
    {"id": "told", "use": "synthesise", "with": {"backend": {"backend": "template"}}},
    {"id": "valid", "use": "validate"},
    {"id": "noise", "use": "loud", "with": {"reject": "number 3", "fail_on": "thorn"}},
    {"id": "drawn", "use": "select", "with": {"share": 0.8}},
    {"id": "sft", "use": "render_sft"},
    {"id": "shards", "use": "shards"},
    {"id": "asked", "use": "ask_many", "from": "drawn"},
]

RUN = """
import sys
from pathlib import Path
from toolkit.pipeline import load_recipe, make_plan, run_plan
world, out, block = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
run_plan(make_plan(load_recipe(world / "recipe.yaml")), output=world / out, block_rows=block)
"""


@pytest.fixture
def busy(world: World) -> World:
    """Some of everything: duplicates, a conflict, rows that are rejected and one that an operator fails on."""
    rows = [seed(i) for i in range(40)] + [seed(i) for i in range(5)] + [seed(50, "a thorn"), seed(51, " \n "), seed(52, "caf\u0065\u0301 \x1b[1m!")]
    rows.append({**seed(9), "label_prompt": "harmful", "label_refusal": "refusal"})
    world.seeds(rows)
    world.recipe(*STEPS, failures=1.0)
    return world


def everywhere(world: World) -> set[str]:
    """Run at several block sizes and thread counts, each in a process of its own; the reasons for which rows left."""
    found = {}
    for block, threads in ((1, 2), (7, 1), (8192, 1), (8192, 2)):
        out = f"{block}-{threads}"
        arguments = [sys.executable, "-c", RUN, str(world.folder), out, str(block)]
        subprocess.run(arguments, env=environment(POLARS_MAX_THREADS=str(threads)), check=True, timeout=120)
        found[out] = steps_of(world.folder / out)
    first = found.popitem()[1]
    for out, steps in found.items():
        assert steps == first, out
    return {r for s in first for r in pq.read_table(world.folder / "8192-1" / s / "rejects.parquet")["reason"].to_pylist()}


def test_block_sizes_and_thread_counts(busy: World) -> None:
    reasons = everywhere(busy)
    assert {"unwanted", "operator_error", "empty_prompt", "conflicting_labels", "merged", "not_drawn"} <= reasons, "the recipe exercises them all"


def test_block_sizes_and_thread_counts_in_mining(world: World) -> None:
    guard = load_guard("guardreasoner")
    block = "Answers: \nRequest: {}\nCompletion: None\nResponse: None"
    says = {"h": block.format("harmful"), "u": block.format("unharmful"), "?": "I would rather not say."}
    for name, words in (("a", "hhuu?hh"), ("b", "huhu?uh"), ("c", "huuhuhh")):
        lines = []
        for i in range(40):
            prompt = render_input(guard, {"prompt": f"question {i} about a garden", "response": None})
            lines.append(
                {
                    "prompt": prompt,
                    "label": "harmful" if i % 2 else "unharmful",
                    "predict": f"{'.' * (i % 5)}\n{says[words[i % 7]]}" + "\nSo." * (i % 3 == 0),
                }
            )
        (world.folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + "{torn\n")
    files = {n: str(world.folder / f"{n}.jsonl") for n in "abc"}
    world.recipe(
        {"id": "predictions", "use": "load_predictions", "with": {"files": files, "task": "prompt"}},
        {"id": "verdicts", "use": "verdicts"},
        {"id": "hard", "use": "mine", "with": {"tasks": ["prompt"]}},
        {"id": "pairs", "use": "pair", "from": {"rows": "hard", "verdicts": "verdicts"}},
        {"id": "rendered", "use": "render_dpo"},
        {"id": "shards", "use": "shards"},
        load=False,
    )
    assert {"always_right", "always_wrong", "undecided"} <= everywhere(world)


def test_times_and_hosts_stand_in_the_log_alone(busy: World) -> None:
    run = busy.run()
    for file in (p for p in run.folder.rglob("*") if p.is_file() and p.name != "events.jsonl"):
        held = file.read_bytes()
        if file.name != ".guardkit.lock":
            assert platform.node().encode() not in held or len(platform.node()) < 4, file
        if file.name != "recipe.yaml":
            assert str(busy.folder).encode() not in held, file
    events = [json.loads(line) for line in (run.folder / "events.jsonl").read_text().splitlines()]
    assert {e["event"] for e in events} == {"started", "built", "done"}
    assert all({"time", "host", "pid"} <= set(e) for e in events)
    assert all(e["seconds"] >= 0 for e in events if e["event"] == "built")


def test_another_folder_another_day(busy: World, tmp_path: Path) -> None:
    other = World(tmp_path / "another" / "place")
    for name in ("seeds.jsonl", "tiny.yaml", "recipe.yaml"):
        (other.folder / name).write_bytes((busy.folder / name).read_bytes())
    assert steps_of(other.run(output="elsewhere").folder) == steps_of(busy.run().folder)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, 2 * ROW_GROUP), min_size=1, max_size=6))
def test_a_file_does_not_show_how_its_rows_came(tmp_path_factory: pytest.TempPathFactory, cuts: list[int]) -> None:
    folder = tmp_path_factory.mktemp("rows")
    n = 2 * ROW_GROUP + 77
    texts = pl.Series([f"row {i % 900}" if i % 7 else None for i in range(n)], dtype=pl.String)
    rows = pl.DataFrame({"n": range(n), "text": texts, "list": [[f"{i}"] * (i % 3) for i in range(n)]})
    schema = to_arrow((Column("n", "int64"), Column("text", "string", nullable=True), Column("list", {"list": "string"})))
    digests = set()
    for edges in ([0, n], [0, *sorted(cuts), n]):
        out = ParquetFile(folder / f"{len(edges)}.parquet", schema, group=ROW_GROUP)
        for a, b in itertools.pairwise(edges):
            out.write(rows[a:b])
        out.close()
        digests.add(sha256_file(out.path))
    assert len(digests) == 1
    assert pq.ParquetFile(out.path).metadata.num_row_groups == 3
    assert pl.concat(read_blocks(out.path, size=1000)).equals(rows)
