"""The benchmarks: what their files say against the paper's table and the released rows, and how a benchmark's rows are found and read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from toolkit.common.errors import InputError, Missing
from toolkit.evaluation import (
    Benchmark,
    benchmark_names,
    benchmark_needs,
    choose_benchmarks,
    find_among,
    find_benchmark,
    load_benchmark,
    read_benchmark,
)
from toolkit.guards import load_guard, render_input

GUARD = load_guard("guardreasoner")

# Name, task, adversarial, rows in the paper, rows of the released file, rows by label (spec E.1: paper, table 3, and the files).
TABLE = [
    ("toxic_chat", "prompt", True, 2853, 2853, {"harmful": 362, "unharmful": 2491}),
    ("openai_moderation", "prompt", False, 1680, 1680, {"harmful": 522, "unharmful": 1158}),
    ("aegis_safety_test", "prompt", False, 359, 359, {"harmful": 232, "unharmful": 127}),
    ("simple_safety_tests", "prompt", False, 100, 100, {"harmful": 100, "unharmful": 0}),
    ("harmbench_prompt", "prompt", False, 239, 239, {"harmful": 239, "unharmful": 0}),
    ("wildguard_test_prompt", "prompt", True, 1756, None, {"harmful": 754, "unharmful": 945}),
    ("harmbench_response", "response", True, 602, 602, {"harmful": 273, "unharmful": 329}),
    ("safe_rlhf", "response", False, 2000, 2000, {"harmful": 1000, "unharmful": 1000}),
    ("beavertails", "response", False, 3021, 3021, {"harmful": 1733, "unharmful": 1288}),
    ("xstest_response_harmful", "response", False, 446, 446, {"harmful": 78, "unharmful": 368}),
    ("wildguard_test_response", "response", True, 1768, None, {"harmful": 284, "unharmful": 1425}),
    ("xstest_response_refusal", "refusal", False, 499, 449, {"refusal": 178, "compliance": 271}),
    ("wildguard_test_refusal", "refusal", True, 1777, None, None),
]


def test_there_are_the_thirteen_of_the_paper() -> None:
    assert set(benchmark_names()) == {name for name, *_ in TABLE}


@pytest.mark.parametrize(("name", "task", "adversarial", "paper", "released", "labels"), TABLE)
def test_a_benchmark_says_what_the_papers_table_says(name: str, task: str, adversarial: bool, paper: int, released: int | None, labels: Any) -> None:
    b = load_benchmark(name)
    assert (b.name, b.task, b.adversarial, b.sizes.paper, b.sizes.released, b.label_counts) == (name, task, adversarial, paper, released, labels)
    assert b.licence and (b.hub is None) == (b.url is None) == (b.gated is None)
    assert (b.released is None) == (released is None), "a file that was not released has no rows"


def test_what_is_known_of_the_hub() -> None:
    wild = [load_benchmark(n) for n in benchmark_names() if n.startswith("wildguard_test")]
    assert all(b.gated and b.hub and (b.hub.id, b.hub.config, b.sizes.hub) == ("allenai/wildguardmix", "wildguardtest", 1725) for b in wild)
    beavertails = load_benchmark("beavertails").hub
    assert beavertails is not None and beavertails.split == "30k_test"
    assert load_benchmark("xstest_response_refusal").hub is None, "not known, and not made up"


@pytest.mark.parametrize(("name", "task", "adversarial", "paper", "released", "labels"), [t for t in TABLE if t[4]])
def test_the_released_rows(real_data: Path, name: str, task: str, adversarial: bool, paper: int, released: int, labels: dict[str, int]) -> None:
    b = load_benchmark(name)
    found = find_among(b, [real_data / "guardreasoner" / "benchmark"])
    assert found is not None
    read = read_benchmark(found)
    assert read.rows.columns == ["id", "prompt", "response", "label"] and read.unread == {}
    assert read.rows.height == released and read.rows["id"].n_unique() == released
    counts = dict(read.rows["label"].value_counts().iter_rows())
    assert {k: counts.get(k, 0) for k in labels} == labels and sum(counts.values()) == released
    assert read.rows["response"].is_null().all() == (task == "prompt")


# Files of a user ------------------------------------------------------------------------------------------------------


def released(path: Path, *rows: tuple[str, str | None, str]) -> Path:
    """A file of the released form."""
    made = [
        {
            "instruction": GUARD.instruction,
            "input": render_input(GUARD, {"prompt": p, "response": r}).removeprefix(GUARD.instruction + "\n"),
            "output": o,
        }
        for p, r, o in rows
    ]
    path.write_text(json.dumps(made))
    return path


def own(path: Path, **columns: list[Any]) -> Path:
    pl.DataFrame(columns).write_parquet(path)
    return path


def test_a_file_is_read_by_its_columns_whatever_its_name(tmp_path: Path) -> None:
    b = load_benchmark("beavertails")
    first = released(tmp_path / "any.json", ("Where is the post office?", "Round the corner.", "unharmful"))
    second = own(tmp_path / "b.parquet", prompt=["A question"], response=["An answer"], is_safe=[False])
    rows = read_benchmark(find_benchmark(b, [first])).rows
    assert rows.select("prompt", "response", "label").rows() == [("Where is the post office?", "Round the corner.", "unharmful")]
    assert rows.drop("id").equals(read_benchmark(find_benchmark(b, ["any.json"], beside=tmp_path)).rows.drop("id"))
    assert read_benchmark(find_benchmark(b, [second])).rows.select("prompt", "response", "label").rows() == [("A question", "An answer", "harmful")]
    odd = own(tmp_path / "odd.parquet", question=["x"])
    with pytest.raises(InputError, match="not the columns of benchmark 'beavertails'") as e:
        find_benchmark(b, [odd])
    assert "it has input and output, or prompt and response" in str(e.value)


def test_a_row_that_cannot_be_read_is_counted_and_the_others_are_there(tmp_path: Path) -> None:
    path = released(tmp_path / "x.json", ("One", None, "harmful"), ("Two", None, "maybe"), ("Three", None, "unharmful"))
    read = read_benchmark(find_benchmark(load_benchmark("aegis_safety_test"), [path]))
    assert read.rows["prompt"].to_list() == ["One", "Three"] and read.unread == {"unknown_label": 1}


def test_a_folder_of_several_benchmarks(tmp_path: Path) -> None:
    released(tmp_path / "0_0_SimpleSafetyTests.json", ("One", None, "harmful"))
    own(
        tmp_path / "wildguard_test.parquet",
        prompt=["Two"],
        response=["Three"],
        prompt_harm_label=[None],
        response_harm_label=["harmful"],
        response_refusal_label=["refusal"],
    )
    (tmp_path / "notes.txt").write_text("no data")
    chosen = choose_benchmarks(None, [tmp_path])
    names = ["simple_safety_tests", "wildguard_test_prompt", "wildguard_test_refusal", "wildguard_test_response"]
    assert [f.benchmark.name for f in chosen.found] == names and len(chosen.without) == 9 and chosen.missing == []
    rows = {f.benchmark.name: read_benchmark(f).rows.select("prompt", "response", "label").rows() for f in chosen.found}
    assert rows["wildguard_test_prompt"] == [("Two", None, None)], "a null label is none, and a prompt benchmark has no response"
    assert rows["wildguard_test_refusal"] == [("Two", "Three", "refusal")]
    with pytest.raises(InputError, match="no file of benchmark 'safe_rlhf'") as e:
        find_benchmark(load_benchmark("safe_rlhf"), [tmp_path])
    assert "0_9_safe_rlhf.json" in str(e.value)


def test_a_named_benchmark_that_is_nowhere_says_how_to_give_it(tmp_path: Path) -> None:
    released(tmp_path / "0_0_SimpleSafetyTests.json", ("One", None, "harmful"))
    chosen = choose_benchmarks(["simple_safety_tests", "safe_rlhf"], [tmp_path])
    assert [f.benchmark.name for f in chosen.found] == ["simple_safety_tests"]
    assert (
        len(chosen.missing) == 1 and "needs its file 0_9_safe_rlhf.json (files: {safe_rlhf: [FILE]} or --source safe_rlhf=FILE)" in chosen.missing[0]
    )
    with pytest.raises(Missing, match="git clone"):
        find_benchmark(load_benchmark("openai_moderation"), None)
    hub = find_benchmark(load_benchmark("beavertails"), None).way.hub
    assert hub is not None and hub.split == "30k_test", "what the hub has is read from there"
    with pytest.raises(InputError, match="no such file"):
        choose_benchmarks(None, [tmp_path / "gone"])
    with pytest.raises(InputError, match="did you mean 'safe_rlhf'"):
        choose_benchmarks(["safe_rlfh"], None)


# A user's own benchmark -----------------------------------------------------------------------------------------------

OURS = """name: ours
version: 1
title: Ours
description: Made by a test.
task: prompt
adversarial: false
licence: CC0-1.0
gated: null
url: null
citation: https://example.org
released: null
hub: null
sizes: {paper: null, released: null, hub: null}
label_counts: null
columns: {prompt: question}
label: {column: bad, map: {"yes": harmful, "no": unharmful}, source: human}
"""


def test_ones_own_benchmark_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "ours.yaml").write_text(OURS)
    own(tmp_path / "q.parquet", question=["Why?", "How?"], bad=["no", "yes"])
    b = load_benchmark("ours.yaml", tmp_path)
    assert isinstance(b, Benchmark)
    assert read_benchmark(find_benchmark(b, [tmp_path / "q.parquet"])).rows["label"].to_list() == ["unharmful", "harmful"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("adversarial:", "adversarail:", "ours.yaml:6:adversarail: unknown key 'adversarail'"),
        ("task: prompt", "task: prompts", "guard 'guardreasoner' knows no such task"),
        ("label_counts: null", "label_counts: {bad: 3}", "or not these labels of it"),
        ("columns: {prompt: question}\n", "", "columns and label belong together"),
        (
            "\nreleased: null",
            "\nreleased: {source: guardreasoner_benchmark, part: SafeRHLF}",
            "ours.yaml:11:released: source 'guardreasoner_benchmark' has no part",
        ),
        ("version: 1", "version: one", "ours.yaml:2:version"),
        ("licence: CC0-1.0\n", "", "the key 'licence' is missing"),
    ],
)
def test_a_faulty_file_is_named_with_its_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    (tmp_path / "ours.yaml").write_text(OURS.replace(old, new))
    with pytest.raises(InputError) as e:
        load_benchmark("ours.yaml", tmp_path)
    assert message in str(e.value)


def test_the_hubs_own_columns(tmp_path: Path) -> None:
    none: list[str | None] = [None, None]
    votes: dict[str, list[Any]] = {
        "labels_0": ["Safe", "Violence"],
        "labels_1": ["Safe", "Threat, Violence"],
        "labels_2": ["Needs Caution", None],
        "labels_3": none,
        "labels_4": none,
    }
    aegis = own(tmp_path / "a.parquet", text=["One", "Two"], num_annotations=[3, 2], **votes)
    assert read_benchmark(find_benchmark(load_benchmark("aegis_safety_test"), [aegis])).rows["label"].to_list() == ["unharmful", "harmful"]
    chat = own(tmp_path / "t.parquet", user_input=["One", "Two"], toxicity=[0, 1])
    assert read_benchmark(find_benchmark(load_benchmark("toxic_chat"), [chat])).rows.select("prompt", "label").rows() == [
        ("One", "unharmful"),
        ("Two", "harmful"),
    ]


def test_a_gated_set_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    (need,) = benchmark_needs(find_benchmark(load_benchmark("wildguard_test_prompt"), None))
    assert "is gated: accept its terms" in need and "--source wildguard_test_prompt=FILE" in need


def test_a_benchmark_on_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    folder = tmp_path / "hub"
    folder.mkdir()
    own(folder / "x.parquet", question=["Why?", "How?"], bad=["no", "yes"], more=[1, 2])
    (folder / "README.md").write_text("---\nconfigs:\n- config_name: default\n  data_files:\n  - split: test\n    path: x.parquet\n---\n")
    (tmp_path / "ours.yaml").write_text(OURS.replace("\nhub: null", f"\nhub: {{id: {folder}, split: test}}"))
    b = load_benchmark("ours.yaml", tmp_path)
    assert benchmark_needs(find_benchmark(b, None)) == []
    rows = read_benchmark(find_benchmark(b, None)).rows
    assert rows.equals(read_benchmark(find_benchmark(b, [folder / "x.parquet"])).rows) and rows["prompt"].to_list() == ["Why?", "How?"]
