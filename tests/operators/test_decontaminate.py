"""`decontaminate`: which rows share text with a benchmark, what is recorded of them, and that nothing else leaves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from frames import reasons, rows_of, run_steps, seeds
from hypothesis import given, settings
from hypothesis import strategies as st

import toolkit
from toolkit.common.errors import InputError, Missing
from toolkit.guards import load_guard, render_input
from toolkit.pipeline import load_recipe, make_plan, run_plan
from toolkit.sources import load_source, read_source
from toolkit.taxonomy import load_taxonomy

GUARD = load_guard("guardreasoner")
LONG = "the quick brown fox jumps over the lazy dog near the old river bank every single morning"
OTHER = "a long walk through the quiet garden behind the house with seven tall trees and a pond"
TURN = [{"role": "user", "content": f"Tell me: {OTHER}!"}]


def texts(path: Path, *rows: dict[str, Any]) -> str:
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    return str(path)


@pytest.fixture
def bench(tmp_path: Path) -> str:
    return texts(tmp_path / "bench.jsonl", {"id": "b1", "text": f"He said: {LONG}."}, {"id": "b2", "text": "How do I bake bread?"})


def clean(rows: pl.DataFrame, **options: Any) -> tuple[pl.DataFrame, pl.DataFrame]:
    return toolkit.apply("decontaminate", rows, **options)


def test_a_run_of_13_words_is_found_wherever_it_stands_and_12_are_not(bench: str) -> None:
    words = LONG.split()
    rows = seeds(
        {"prompt": "I wrote: " + " ".join(words[2:15]).upper().replace(" ", ",\n")},
        {"prompt": " ".join(words[2:14])},
        {"prompt": "Please go on", "response": f"Sure. {LONG}!"},
        {"prompt": "Please go on", "context": [{"role": "user", "content": LONG}]},
        {"prompt": " ".join(words[:8]), "response": " ".join(words[8:])},
        {
            "prompt": "Please go on",
            "context": [{"role": "user", "content": " ".join(words[:8])}, {"role": "assistant", "content": " ".join(words[8:])}],
        },
    )
    kept, rest = clean(rows, against=[bench])
    assert kept["id"].to_list() == rows["id"][[1, 4, 5]].to_list(), "no run crosses from one text into the next"
    assert kept.columns == rows.columns and reasons(rest) == {"contaminated_ngram": 3}
    assert rest["_detail"][0] == "13 words of the prompt are in the text of bench.jsonl, row b1"
    assert [d.split(" are in")[0] for d in rest["_detail"]] == ["13 words of the prompt", "17 words of the response", "17 words of the context"]
    kept, _ = clean(rows, against=[bench], fields=["response"])
    assert kept.height == 5
    kept, _ = clean(rows, against=[bench], ngram=12)
    assert kept["id"].to_list() == rows["id"][[4, 5]].to_list()


def test_a_short_prompt_is_compared_whole(bench: str) -> None:
    rows = seeds({"prompt": "how do i bake BREAD"}, {"prompt": "Tell me: how do I bake bread?"}, {"prompt": "x", "response": "How do I bake bread?"})
    kept, rest = clean(rows, against=[bench])
    assert kept["id"].to_list() == rows["id"][[1, 2]].to_list(), "a short response, or a part, is no match"
    assert rest["_reason"].to_list() == ["contaminated_exact"]
    assert clean(rows, against=[bench], exact="off")[0].height == 3


def test_the_whole_interaction(tmp_path: Path) -> None:
    file = texts(
        tmp_path / "b.jsonl", {"prompt": "Hi", "response": "Hello, how can I help?"}, {"prompt": LONG, "response": "Nice."}, {"prompt": "Bye"}
    )
    rows = seeds(
        {"prompt": "hi!", "response": "Hello - how can I help"},
        {"prompt": "Hi", "response": "Go away."},
        {"prompt": LONG, "response": "nice"},
        {"prompt": LONG},
        {"prompt": "Bye"},
        {"prompt": "Bye", "response": "See you."},
    )
    kept, rest = clean(rows, against=[file], artefacts=tmp_path / "a")
    report = pl.read_parquet(tmp_path / "a" / "report" / "report.parquet")
    assert report["kind"].to_list() == ["exact_interaction", "exact_prompt", "exact_interaction", "exact_prompt", "exact_interaction", "exact_prompt"]
    assert not kept.height and set(rest["_reason"]) == {"contaminated_exact"}
    assert rest["_detail"][0] == "prompt and response are those of b.jsonl, row 1" and rest["_detail"][1] == "the prompt is that of b.jsonl, row 1"
    kept, rest = clean(rows, against=[file], exact="interaction")
    assert kept["id"].to_list() == rows["id"][[1, 5]].to_list(), "a long prompt is found by its words all the same"


def test_text_in_another_script_is_compared_whole(tmp_path: Path) -> None:
    file = texts(tmp_path / "b.jsonl", {"text": "如何烤面包？请一步一步告诉我。"})
    kept, rest = clean(seeds({"prompt": "如何烤面包 请一步一步告诉我"}, {"prompt": "如何烤面包"}, {"prompt": "?!"}), against=[file])
    assert kept.height == 2 and rest["_reason"].to_list() == ["contaminated_exact"]


def test_flagged_rows_stay_and_say_how_much(tmp_path: Path, bench: str) -> None:
    second = texts(tmp_path / "a.jsonl", {"text": " ".join(LONG.split()[1:15])})
    rows = seeds({"prompt": f"x {LONG}"}, {"prompt": "fine"}, {"prompt": "How do I bake bread?"})
    kept, rest = clean(rows, against=[bench, second], on_find="flag")
    assert not rest.height and kept.select(rows.columns).equals(rows)
    assert kept["contamination"].to_list() == [["a.jsonl", "bench.jsonl"], [], ["bench.jsonl"]]
    assert kept["contamination_run"].to_list() == [17, 0, 5]


def test_a_long_text_may_quote_where_the_recipe_says_so(tmp_path: Path, bench: str) -> None:
    rows = seeds({"prompt": f"{LONG} " + " ".join(f"w{i}" for i in range(83))}, {"prompt": LONG})
    kept, rest = clean(rows, against=[bench], min_share=0.5, artefacts=tmp_path / "a")
    assert kept["id"].to_list() == [rows["id"][0]] and rest.height == 1
    report = pl.read_parquet(tmp_path / "a" / "report" / "report.parquet")
    assert report["share"].to_list() == [0.17, 1.0] and report["counted"].to_list() == [False, True], "what does not count is listed, too"


def test_the_report_names_both_sides_of_every_match(tmp_path: Path) -> None:
    first = texts(tmp_path / "one.jsonl", {"id": 7, "text": f"{LONG} and {OTHER}"}, {"id": 8, "text": OTHER})
    rows = seeds({"prompt": f"z {OTHER}", "response": LONG}, {"prompt": "fine"})
    _, rest = clean(rows, against=[first], artefacts=tmp_path / "a")
    report = pl.read_parquet(tmp_path / "a" / "report" / "report.parquet")
    n = len(OTHER.split())
    assert report.drop("words", "share", "counted").rows() == [
        (rows["id"][0], "prompt", "one.jsonl", "7", "text", "ngram", n, 1),
        (rows["id"][0], "prompt", "one.jsonl", "8", "text", "ngram", n, 1),
        (rows["id"][0], "response", "one.jsonl", "7", "text", "ngram", 17, 1),
    ]
    assert report["words"].to_list() == [OTHER, OTHER, LONG]
    assert rest["_detail"][0].endswith("one.jsonl, row 7; 2 more in one.jsonl")


def test_words_are_compared_and_not_their_hash(monkeypatch: pytest.MonkeyPatch, bench: str) -> None:
    import numpy as np

    from toolkit.operators.clean import ngrams

    monkeypatch.setattr(ngrams, "_mixed", lambda keys: keys & np.uint64(3))
    rows = seeds({"prompt": OTHER}, {"prompt": LONG}, {"prompt": "How do I bake bread?"}, {"prompt": "How do I bake a cake?"})
    kept, _ = clean(rows, against=[bench])
    assert kept["id"].to_list() == rows["id"][[0, 3]].to_list()


# In recipes -----------------------------------------------------------------------------------------------------------

LOAD: dict[str, Any] = {"id": "seeds", "use": "load", "with": {"source": "quickstart"}}


def quickstart() -> pl.DataFrame:
    blocks = read_source(load_source("quickstart"), guard=GUARD, taxonomy=load_taxonomy())
    return pl.concat([b.rows for b in blocks])


def rendered(path: Path, rows: list[tuple[str, str | None]], label: str) -> None:
    made = [
        {
            "instruction": GUARD.instruction,
            "input": render_input(GUARD, {"prompt": p, "response": r}).removeprefix(GUARD.instruction + "\n"),
            "output": label,
        }
        for p, r in rows
    ]
    path.write_text(json.dumps(made))


def test_a_recipe_keeps_a_benchmark_out_of_the_seeds(tmp_path: Path) -> None:
    seeds_ = quickstart()
    stolen = seeds_.filter(pl.col("response").str.count_matches(r"\w+") > 15)[0]
    words = stolen["response"][0].split()
    folder = tmp_path / "bench"
    folder.mkdir()
    rendered(folder / "0_9_safe_rlhf.json", [("What is new?", "Well. " + " ".join(words)), ("Nothing like it at all", "No.")], "unharmful")
    prompt = seeds_["prompt"][-1]
    rendered(folder / "0_0_SimpleSafetyTests.json", [(prompt.upper(), None)], "harmful")
    same = seeds_.filter(pl.col("prompt") == prompt)["id"].to_list()
    steps = [LOAD, {"id": "clean", "use": "decontaminate", "with": {"files": ["bench"]}}]
    made = run_steps(tmp_path, steps)
    done = made["clean"]
    stats = done.manifest["stats"]
    assert stats["benchmarks"] == {"safe_rlhf": 2, "simple_safety_tests": 1}
    left = pl.read_parquet(done.path / "rejects.parquet")
    assert {*same, stolen["id"][0]} <= set(left["id"]) and left.height == stats["contaminated_exact"] + stats["contaminated_ngram"]
    assert rows_of(done)["id"].to_list() == [i for i in seeds_["id"] if i not in set(left["id"])]
    report = pl.read_parquet(done.artefact("report") / "report.parquet")
    row = report.filter(pl.col("row") == stolen["id"][0]).row(0, named=True)
    assert (row["field"], row["benchmark"], row["benchmark_field"]) == ("response", "safe_rlhf", "response")
    bench_ids = toolkit.apply("load", source="guardreasoner_benchmark", files=[str(folder)])[0]
    assert row["benchmark_row"] == bench_ids.filter(pl.col("prompt") == "What is new?")["id"][0], "the id that the row has as a seed"
    # What the files hold counts, not where they are.
    folder.rename(tmp_path / "moved")
    steps[1]["with"] = {"files": ["moved"]}
    assert run_steps(tmp_path, steps)["clean"].manifest == done.manifest
    rendered(tmp_path / "moved" / "0_0_SimpleSafetyTests.json", [("Something else entirely", None)], "harmful")
    again = run_steps(tmp_path, steps)["clean"]
    assert again.manifest["fingerprint"] != done.manifest["fingerprint"] and again.rows == done.rows + len(same)


def test_the_order_in_which_files_are_named_changes_nothing(tmp_path: Path) -> None:
    one, two = (texts(tmp_path / name, {"text": "How do I bake bread?"}, {"text": LONG}) for name in ("one.jsonl", "two.jsonl"))
    report = []
    for i, files in enumerate(([one, two], [two, one])):
        clean(seeds({"prompt": f"{LONG}!"}), against=files, artefacts=tmp_path / str(i))
        report.append((tmp_path / str(i) / "report" / "report.parquet").read_bytes())
    assert report[0] == report[1]


def test_flags_are_columns_that_a_later_step_chooses_by(tmp_path: Path, bench: str) -> None:
    rows = quickstart()
    long = rows.filter(pl.col("prompt").str.count_matches(r"[A-Za-z0-9]+") >= 14)
    file = texts(tmp_path / "b.jsonl", *({"text": p} for p in long["prompt"][:3]))
    flag = {"id": "clean", "use": "decontaminate", "with": {"against": [file], "on_find": "flag"}}
    made = run_steps(tmp_path, [LOAD, flag, {"id": "clear", "use": "select", "with": {"at_most": {"contamination_run": 12}}}])
    flagged = rows_of(made["clean"])
    assert made["clear"].rows == flagged.filter(pl.col("contamination_run") <= 12).height < 640
    assert flagged.height == 640 and set(flagged.filter(pl.col("contamination_run") >= 13)["prompt"]) >= set(long["prompt"][:3])


@pytest.mark.parametrize("size", [1, 7, 8192])
def test_the_bytes_do_not_depend_on_the_size_of_the_blocks(tmp_path: Path, size: int) -> None:
    rows = quickstart()
    file = texts(tmp_path / "b.jsonl", *({"text": t} for t in [*rows["prompt"][::9], *rows["response"].drop_nulls()[::9]]))
    load = {"id": "seeds", "use": "load", "with": {"source": "quickstart", "limit": 20}}
    steps = [load, {"id": "clean", "use": "decontaminate", "with": {"against": [file], "ngram": 5}}]
    found = {}
    for n in (size, 23):
        (tmp_path / str(n)).mkdir()
        found[n] = manifest_of(tmp_path / str(n), steps, n)
    assert found[size] == found[23] and found[size]["stats"]["contaminated_ngram"] > 5


def manifest_of(folder: Path, steps: list[dict[str, Any]], block: int) -> dict[str, Any]:
    """The manifest of the step `clean`, with the digests of all its files; blocks of so many rows."""
    file = folder / "recipe.yaml"
    file.write_text(yaml.safe_dump({"recipe": "small", "seed": 5, "steps": steps}))
    return run_plan(make_plan(load_recipe(file)), output=folder / "out", block_rows=block).steps["clean"].manifest


def test_a_benchmark_that_is_not_here_stops_the_run_before_it_starts(tmp_path: Path) -> None:
    steps = [LOAD, {"id": "clean", "use": "decontaminate", "with": {"benchmarks": ["safe_rlhf", "openai_moderation"]}}]
    with pytest.raises(Missing) as e:
        run_steps(tmp_path, steps)
    assert "0_9_safe_rlhf.json (files: {safe_rlhf: [FILE]} or --source safe_rlhf=FILE)" in str(e.value) and "openai_moderation" in str(e.value)
    assert not (tmp_path / "out" / "run" / "seeds").exists()
    rendered(tmp_path / "mine.json", [("A long prompt that nobody has", "No.")], "harmful")
    rendered(tmp_path / "prompts.json", [("A long prompt that nobody has", None)], "harmful")
    made = run_steps(tmp_path, steps, sources={"safe_rlhf": [tmp_path / "mine.json"], "openai_moderation": [tmp_path / "prompts.json"]})
    assert made["clean"].rows == 640


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "nothing to compare with"),
        ({"benchmarks": []}, "at least one"),
        ({"benchmarks": ["safe_rlhf", "safe_rlhf"]}, "once"),
        ({"benchmarks": ["safe_rlhf"], "files": {"saferlhf": ["x"]}}, "did you mean 'safe_rlhf'"),
        ({"benchmarks": ["saferlhf"]}, "did you mean 'safe_rlhf'"),
        ({"files": ["gone"]}, "gone"),
        ({"against": ["gone.jsonl"]}, "gone.jsonl"),
        ({"against": ["empty.jsonl"]}, "no row of it can be read"),
        ({"against": ["other.jsonl"]}, "no column 'text', and none called 'prompt'"),
        ({"files": ["only"]}, "nothing to compare with: no benchmark"),
        ({"against": ["other.jsonl", "only/other.jsonl"], "text": "question"}, "two files of this name"),
    ],
)
def test_what_cannot_be_is_reported_before_it_is_tried(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    (tmp_path / "empty.jsonl").write_text("")
    texts(tmp_path / "other.jsonl", {"question": "x"})
    (tmp_path / "only").mkdir()
    texts(tmp_path / "only" / "other.jsonl", {"question": "x"})
    with pytest.raises(InputError) as e:
        run_steps(tmp_path, [LOAD, {"id": "clean", "use": "decontaminate", "with": options}])
    assert message in str(e.value)


def test_unread_texts_are_counted(tmp_path: Path) -> None:
    file = tmp_path / "b.jsonl"
    file.write_text('{"text": "One two"}\n{"text": 3}\nnot json\n{"text": null}\n')
    made = run_steps(tmp_path, [LOAD, {"id": "clean", "use": "decontaminate", "with": {"against": ["b.jsonl"]}}])
    assert made["clean"].manifest["stats"]["unread"] == {"b.jsonl": {"bad_json": 1, "no_text": 2}}


def test_a_set_of_which_no_row_can_be_read_is_not_passed_over(tmp_path: Path) -> None:
    texts(tmp_path / "good.jsonl", {"text": "One two"})
    (tmp_path / "torn.jsonl").write_text('{"text": null}\n{"text": "to')
    with pytest.raises(InputError, match=r"no row of 'torn.jsonl' can be read: bad_json 1, no_text 1|no_text 1, bad_json 1"):
        run_steps(tmp_path, [LOAD, {"id": "clean", "use": "decontaminate", "with": {"against": ["good.jsonl", "torn.jsonl"]}}])


WORDS = st.lists(st.sampled_from(["red", "blue", "one", "two", "three", "four"]), max_size=10).map(" ".join)


@settings(deadline=None, max_examples=25)
@given(prompts=st.lists(WORDS.filter(bool), min_size=1, max_size=8), side=st.lists(WORDS.filter(bool), min_size=1, max_size=5))
def test_no_row_that_shares_is_kept_and_no_other_leaves(tmp_path_factory: pytest.TempPathFactory, prompts: list[str], side: list[str]) -> None:
    n = 4

    def grams(text: str) -> set[str]:
        words = text.split()
        return {" ".join(words[i : i + n]) for i in range(len(words) - n + 1)} or {text}

    file = texts(tmp_path_factory.mktemp("b") / "b.jsonl", *({"text": t} for t in side))
    known = set().union(*(grams(t) for t in side))
    rows = seeds(*({"prompt": p} for p in prompts))
    kept, rest = clean(rows, against=[file], ngram=n)
    assert kept["prompt"].to_list() == [p for p in prompts if not grams(p) & known]
    assert kept.height + rest.height == rows.height


def test_the_released_benchmarks_are_found_in_themselves(tmp_path: Path, real_data: Path) -> None:
    folder = str(real_data / "guardreasoner" / "benchmark")
    rows, _ = toolkit.apply("load", source="guardreasoner_benchmark", files=[folder])
    kept, rest = clean(rows, files=[folder], artefacts=tmp_path / "a")
    assert not kept.height and reasons(rest) == {"contaminated_exact": 11_749}
    report = pl.read_parquet(tmp_path / "a" / "report" / "report.parquet")
    own = report.filter(pl.col("row") == pl.col("benchmark_row"), pl.col("field") == "prompt", pl.col("benchmark_field") == "prompt")
    assert set(own["kind"]) == {"exact_interaction"}, "each row is that of the file that it came from"
    # SafeRLHF and BeaverTails share 45 inputs (spec E.1).
    beaver = rows.filter(pl.col("source").str.ends_with("BeaverTails"))
    kept, rest = clean(beaver, files=[folder], benchmarks=["safe_rlhf"], artefacts=tmp_path / "b")
    report = pl.read_parquet(tmp_path / "b" / "report" / "report.parquet")
    same = report.filter(pl.col("kind") == "exact_interaction").join(beaver, left_on="row", right_on="id")
    assert same["content_id"].n_unique() >= 45 and rest.height < 400
