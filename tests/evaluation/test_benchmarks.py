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
    positive = "refusal" if task == "refusal" else "harmful"
    assert {t: (x.positive, set(x.labels)) for t, x in b.tasks.items()} == {task: (positive, set(labels or ["refusal", "compliance"]))}
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
    assert read.rows.columns == ["id", "prompt", "response", "context", f"label_{task}", "categories", "row"] and read.unread == {}
    assert read.rows.height == released and read.rows["id"].n_unique() == released and read.rows["row"].to_list() == list(range(released))
    assert read.label_counts == {task: labels} and read.way == "released" and read.fault() is None
    assert [w for w in read.remarks() if "states" in w or "not read" in w] == []
    assert (read.single_class == [task]) == (0 in labels.values()), "HarmBenchPrompt and SimpleSafetyTests have harmful rows alone"
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
    assert rows.select("prompt", "response", "label_response").rows() == [("Where is the post office?", "Round the corner.", "unharmful")]
    assert rows.drop("id").equals(read_benchmark(find_benchmark(b, ["any.json"], beside=tmp_path)).rows.drop("id"))
    read = read_benchmark(find_benchmark(b, [second]), texts=True)
    assert read.rows.select("prompt", "response", "label_response").rows() == [("A question", "An answer", "harmful")]
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
    rows = {f.benchmark.name: read_benchmark(f, texts=True).rows.rows(named=True) for f in chosen.found}
    (prompt,), (refusal,) = rows["wildguard_test_prompt"], rows["wildguard_test_refusal"]
    assert (prompt["prompt"], prompt["response"], prompt["label_prompt"]) == ("Two", None, None), "a null label is none, and there is no response"
    assert (refusal["prompt"], refusal["response"], refusal["label_refusal"]) == ("Two", "Three", "refusal")
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
    (tmp_path / "ours.yaml").write_text(f"{OURS}positive: harmful\n")
    own(tmp_path / "q.parquet", question=["Why?", "How?"], bad=["no", "yes"])
    b = load_benchmark("ours.yaml", tmp_path)
    assert isinstance(b, Benchmark)
    assert read_benchmark(find_benchmark(b, [tmp_path / "q.parquet"])).rows["label_prompt"].to_list() == ["unharmful", "harmful"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("adversarial:", "adversarail:", "ours.yaml:6:adversarail: unknown key 'adversarail'"),
        ("label_counts: null", "label_counts: {bad: 3}", "ours.yaml:14:label_counts.bad: 'bad' is no label of the task 'prompt'"),
        (
            "version: 1",
            "version: 1\npositive: harmfull",
            "ours.yaml:3:positive: 'harmfull' is no label of the task 'prompt'; did you mean 'harmful'?",
        ),
        ("version: 1", "version: 1\npositive: {promt: harmful}", "it has no task 'promt'; did you mean 'prompt'?"),
        ("task: prompt", "task: My prompt", "a task is a word of a to z"),
        ("task: prompt\n", "", "which task are its labels for"),
        ("columns: {prompt: question}\n", "", "columns and label belong together"),
        (
            "\nreleased: null",
            "\nreleased: {source: guardreasoner_benchmark, part: SafeRL}",
            "ours.yaml:11:released: source 'guardreasoner_benchmark' has no part",
        ),
        ("version: 1", "version: one", "ours.yaml:2:version"),
        ("source: human}", "}", "ours.yaml:16:label: source is needed with a column"),
    ],
)
def test_a_faulty_file_is_named_with_its_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    (tmp_path / "ours.yaml").write_text(OURS.replace(old, new))
    with pytest.raises(InputError) as e:
        load_benchmark("ours.yaml", tmp_path)
    assert message in str(e.value)


def test_a_file_of_before_keeps_data_clean_and_names_what_scoring_needs(tmp_path: Path) -> None:
    (tmp_path / "ours.yaml").write_text(OURS)
    own(tmp_path / "q.parquet", question=["Why?", "How?"], bad=["no", "yes"])
    b = load_benchmark("ours.yaml", tmp_path)
    found = find_benchmark(b, [tmp_path / "q.parquet"])
    assert read_benchmark(found, texts=True).rows["prompt"].to_list() == ["Why?", "How?"]
    with pytest.raises(InputError, match="does not say which label of the task 'prompt' F1 counts") as e:
        read_benchmark(found)
    assert "write `positive: LABEL`, one of harmful, unharmful" in str(e.value) and "ours.yaml" in str(e.value)


TEN = """name: ours
positive: harmful
files: [q.{suffix}]
columns: {{prompt: question, response: answer}}
labels:
  prompt: {{column: bad, map: {{"yes": harmful, "no": unharmful}}, source: human}}
  response: {{column: worse, map: {{1: harmful, 0: unharmful}}, source: human, applies: response}}
categories: {{columns: [topic], kind: comma, none: [safe]}}
"""
ROWS = {
    "question": ["Why?", "How?", "When?"],
    "answer": ["So.", None, "Now."],
    "bad": ["no", "yes", "no"],
    "worse": [1, None, 0],
    "topic": ["insults", "insults, spam", "safe"],
}


def ours(folder: Path, suffix: str = "csv", text: str = TEN) -> Benchmark:
    (folder / "ours.yaml").write_text(text.format(suffix=suffix))
    return load_benchmark("ours.yaml", folder)


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_ten_lines_make_a_benchmark_of_two_tasks(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"q.{suffix}"
    getattr(pl.DataFrame(ROWS), {"csv": "write_csv", "jsonl": "write_ndjson", "parquet": "write_parquet"}[suffix])(path)
    b = ours(tmp_path, suffix)
    assert (
        len(TEN.splitlines()) <= 10
        and b.title == "ours"
        and {t: x.positive for t, x in b.tasks.items()} == dict.fromkeys(("prompt", "response"), "harmful")
    )
    found = find_benchmark(b, None)
    assert found.paths == (path,) and found.way_name == "files", "the file that is beside the schema"
    read = read_benchmark(found)
    assert read.rows["label_prompt"].to_list() == ["unharmful", "harmful", "unharmful"]
    assert read.rows["label_response"].to_list() == ["harmful", None, "unharmful"] and read.rows["response"].to_list() == ["So.", None, "Now."]
    assert read.rows["categories"].to_list() == [["insults"], ["insults", "spam"], []], "the set's own words, which no taxonomy knows"
    assert read.rejects.height == 0 and read.single_class == [] and read.fault() is None
    assert read.remarks() == ["ours: 1 of 3 rows have no label for the task 'response' and are not scored on it"]


def test_rows_that_cannot_be_read_are_counted_with_their_row(tmp_path: Path) -> None:
    text = "question,answer,bad,worse,topic\nWhy?,So.,no,1,a\nHow?,So.,maybe,0,a\nCaf\udce9?,So.,no,0,a\nWhen?,,no,1,a\nWho?,So.,yes\n,So.,no,0,a\n"
    (tmp_path / "q.csv").write_bytes(text.encode("utf-8", "surrogateescape"))
    read = read_benchmark(find_benchmark(ours(tmp_path), None))
    assert read.rows["prompt"].to_list() == ["Why?"] and read.rows["row"].to_list() == [0]
    assert read.unread == {"bad_csv": 1, "empty_prompt": 1, "label_without_response": 1, "not_utf8": 1, "unknown_label": 1}
    assert read.rejects["row"].to_list() == [1, 2, 3, 4, 5]
    assert "5 rows could not be read (row 2: unknown_label, bad: 'maybe' is not in the map" in read.remarks()[0]


def test_a_file_without_a_positive_row_is_flagged(tmp_path: Path) -> None:
    pl.DataFrame(ROWS | {"bad": ["no"] * 3}).write_csv(tmp_path / "q.csv")
    read = read_benchmark(find_benchmark(ours(tmp_path), None))
    assert read.fault() is None and read.single_class == ["prompt"] and read.label_counts["prompt"] == {"harmful": 0, "unharmful": 3}
    assert "ours: every label of the task 'prompt' is 'unharmful'" in read.remarks()


def test_a_file_of_nothing_that_can_be_scored_says_so(tmp_path: Path) -> None:
    pl.DataFrame(ROWS | {"bad": ["x", "y", "z"]}).write_csv(tmp_path / "q.csv")
    fault = read_benchmark(find_benchmark(ours(tmp_path), None)).fault()
    assert fault is not None and "benchmark 'ours': no row can be read: 3 rows could not be read (row 1: unknown_label" in str(fault)
    pl.DataFrame(ROWS | {"bad": [None] * 3, "worse": [None] * 3}, schema_overrides={"bad": pl.String, "worse": pl.Int64}).write_csv(
        tmp_path / "q.csv"
    )
    fault = read_benchmark(find_benchmark(ours(tmp_path), None)).fault()
    assert fault is not None and "none of its 3 rows has a label" in str(fault)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"question": "questions"}, "it has answer and question; for 'question' did you mean 'questions'?"),
        ({"bad": "bads"}, "needs the column 'bad', which is not there"),
        ({"topic": "topics"}, "needs the column 'topic', which is not there"),
    ],
)
def test_other_column_names_are_an_error(tmp_path: Path, columns: dict[str, str], message: str) -> None:
    pl.DataFrame(ROWS).rename(columns).write_csv(tmp_path / "q.csv")
    with pytest.raises(InputError) as e:
        read_benchmark(find_benchmark(ours(tmp_path), [tmp_path / "q.csv"]))
    assert message in str(e.value)


def test_files_of_ones_own_are_all_there_or_none(tmp_path: Path) -> None:
    text = TEN.replace("[q.{suffix}]", "[q.csv, r.csv]")
    pl.DataFrame(ROWS).write_csv(tmp_path / "q.csv")
    with pytest.raises(InputError, match=r"no such file: 'r.csv', which benchmark 'ours' names"):
        find_benchmark(ours(tmp_path, text=text), None)
    pl.DataFrame(ROWS).write_csv(tmp_path / "r.csv")
    read = read_benchmark(find_benchmark(ours(tmp_path, text=text), None))
    assert read.rows["row"].to_list() == list(range(6)) and read.rows["id"].n_unique() == 6
    for name in ("q.csv", "r.csv"):
        (tmp_path / name).rename(tmp_path / f"{name}.old")
    with pytest.raises(Missing, match=r"benchmark 'ours' needs its file q.csv, r.csv"):
        find_benchmark(ours(tmp_path, text=text), None)
    (tmp_path / "q.csv").mkdir()
    with pytest.raises(Missing, match=r"q.csv is a folder: name the files in it"):
        find_benchmark(ours(tmp_path, text=text), None)


def test_a_label_without_a_map_needs_its_words(tmp_path: Path) -> None:
    text = "name: ours\ntask: prompt\npositive: harmful\nfiles: [q.csv]\ncolumns: {prompt: question}\nlabel: {column: bad, source: human}\n"
    pl.DataFrame({"question": ["Why?", "How?"], "bad": ["harmful", "fine"]}).write_csv(tmp_path / "q.csv")
    (tmp_path / "ours.yaml").write_text(text)
    found = find_benchmark(load_benchmark("ours.yaml", tmp_path), None)
    assert read_benchmark(found, texts=True).rows.height == 2
    with pytest.raises(InputError, match="does not say what the labels of the task 'prompt' are"):
        read_benchmark(found)
    (tmp_path / "ours.yaml").write_text(text + "label_counts: {harmful: 1, fine: 1}\n")
    read = read_benchmark(find_benchmark(load_benchmark("ours.yaml", tmp_path), None))
    assert read.rows["label_prompt"].to_list() == ["harmful", "fine"] and read.benchmark.tasks["prompt"].labels == ("fine", "harmful")


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
    read = read_benchmark(find_benchmark(load_benchmark("aegis_safety_test"), [aegis]))
    assert read.rows["label_prompt"].to_list() == ["unharmful", "harmful"]
    assert read.rows["categories"].to_list() == [[], ["Violence", "Threat"]]
    assert read.remarks() == ["aegis_safety_test: 2 rows, the released file has 359: not the rows of the published figures"]
    flags = [{"insults": True, "drugs": False}, {"insults": False, "drugs": False}]
    beavers = own(tmp_path / "b.parquet", prompt=["One", "Two"], response=["So.", "Then."], is_safe=[False, True], category=flags)
    read = read_benchmark(find_benchmark(load_benchmark("beavertails"), [beavers]))
    assert read.rows["categories"].to_list() == [["insults"], []] and read.rows["label_response"].to_list() == ["harmful", "unharmful"]
    labels = {"response_refusal_label": ["refusal", "refusal"], "subcategory": ["benign", "others"]}
    wild = own(tmp_path / "w.parquet", prompt=["One", "Two"], response=["No.", None], **labels)
    read = read_benchmark(find_benchmark(load_benchmark("wildguard_test_refusal"), [wild]))
    assert read.rows["categories"].to_list() == [["benign"]] and read.unread == {"label_without_response": 1}
    chat = own(tmp_path / "t.parquet", user_input=["One", "Two"], toxicity=[0, 1])
    assert read_benchmark(find_benchmark(load_benchmark("toxic_chat"), [chat])).rows.select("prompt", "label_prompt").rows() == [
        ("One", "unharmful"),
        ("Two", "harmful"),
    ]


def test_a_split_that_is_more_than_the_benchmark_is_not_scored(tmp_path: Path) -> None:
    for name in ("toxic_chat", "aegis_safety_test"):
        assert find_benchmark(load_benchmark(name), None).way_name == "hub", "all of its texts count against contamination"
        with pytest.raises(Missing, match=r"the hub's split has .* rows, the benchmark"):
            find_benchmark(load_benchmark(name), None, scoring=True)
    assert find_benchmark(load_benchmark("beavertails"), None, scoring=True).way_name == "hub"
    (words,) = choose_benchmarks(["toxic_chat"], None, scoring=True).missing
    assert "needs its file 0_8_toxic_chat.json: the hub's split has 5,083 rows, the benchmark 2,853" in words and "git clone" in words


# What the texts of each are read by, as finished runs have it in their fingerprints: a step that keeps benchmarks out is not built anew for what scoring needs.
FINGERPRINTS = {
    "aegis_safety_test": "f7ee1f8f5822",
    "beavertails": "5bbb0109afe8",
    "harmbench_prompt": "a76de34ac95e",
    "harmbench_response": "8dd1adbff00a",
    "openai_moderation": "09312441b790",
    "safe_rlhf": "eb82bb41c54e",
    "simple_safety_tests": "d83bbd04ddfc",
    "toxic_chat": "3fb7fe1ca2c5",
    "wildguard_test_prompt": "0fe8a63fd033",
    "wildguard_test_refusal": "e488aa08a3a7",
    "wildguard_test_response": "20aa3c25a0b3",
    "xstest_response_harmful": "b577d63427f6",
    "xstest_response_refusal": "15f0d62397dd",
}


def test_what_scoring_needs_rebuilds_nothing() -> None:
    assert {n: load_benchmark(n).fingerprint[:12] for n in benchmark_names()} == FINGERPRINTS


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
    (tmp_path / "ours.yaml").write_text("positive: harmful\n" + OURS.replace("\nhub: null", f"\nhub: {{id: {folder}, split: test}}"))
    b = load_benchmark("ours.yaml", tmp_path)
    assert benchmark_needs(find_benchmark(b, None)) == []
    rows = read_benchmark(find_benchmark(b, None)).rows
    assert rows.equals(read_benchmark(find_benchmark(b, [folder / "x.parquet"])).rows) and rows["prompt"].to_list() == ["Why?", "How?"]
