"""`load` and `load_predictions`: rows in, each with its place, its reason or its share of a limit."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from frames import reasons, rows_of, run_steps

import toolkit
from toolkit.common.errors import InputError, Missing
from toolkit.guards import load_guard, render_input
from toolkit.operators import Context, operator_class
from toolkit.operators.ingest.load import Load, LoadConfig
from toolkit.taxonomy import load_taxonomy

GUARD = load_guard("guardreasoner")
SOURCE = """
name: mine
version: 1
description: A test's own.
licence: CC-BY-4.0
obtain: ask the test
files: ["*.jsonl"]
columns: {prompt: q, response: a}
labels:
  prompt: {column: bad, map: {"yes": harmful, "no": unharmful}, source: human}
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a source of its own called `mine`."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "schemas" / "sources").mkdir(parents=True)
    (tmp_path / "schemas" / "sources" / "mine.yaml").write_text(SOURCE)
    return tmp_path


def jsonl(path: Path, rows: list[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in rows))
    return path


def ask(n: int, bad: str = "no") -> dict[str, str]:
    return {"q": f"question {n}", "a": "answer", "bad": bad}


def context(**options: Any) -> Context:
    return Context(GUARD, load_taxonomy(), 0, "load", Path(), **options)


# load -----------------------------------------------------------------------------------------------------------------


def test_files_of_the_users_own_are_read_by_their_source(here: Path) -> None:
    jsonl(here / "a.jsonl", [ask(1, "yes"), ask(2)])
    kept, rest = toolkit.apply("load", source="mine", files=["a.jsonl"])
    assert kept["label_prompt"].to_list() == ["harmful", "unharmful"] and not rest.height
    assert kept["source"].to_list() == ["mine"] * 2


def test_a_bad_row_costs_that_row_alone_and_says_why(here: Path) -> None:
    jsonl(here / "a.jsonl", [ask(1), '{"q": "torn', ask(2, "perhaps"), {"q": 5, "a": "b", "bad": "no"}, ask(3)])
    kept, rest = toolkit.apply("load", source="mine", files=["a.jsonl"], max_rejected=1, empty=True)
    assert kept["prompt"].to_list() == ["question 1", "question 3"]
    assert reasons(rest) == {"bad_json": 1, "unknown_label": 1, "wrong_type": 1}
    assert all(rest["raw"].str.len_chars() > 0)


def test_a_rejected_row_names_its_source_and_its_place_there(here: Path) -> None:
    jsonl(here / "a.jsonl", [ask(1), "", "[]", ask(2, "perhaps")])
    _, rest = toolkit.apply("load", source="mine", files=["a.jsonl"], max_rejected=1, empty=True)
    found = rest["_detail"].to_list()
    assert found[0].startswith("mine, row 2: line 3 is not an object") and found[1].startswith("mine, row 3: bad: 'perhaps'")


def test_a_fault_of_the_second_source_is_found_before_the_first_is_read(here: Path) -> None:
    jsonl(here / "columns.jsonl", [{"q": "x", "a": "y"}])
    steps = [{"id": "seeds", "use": "load", "with": {"source": ["quickstart", "mine"]}}]
    file = here / "two.yaml"
    file.write_text(json.dumps({"recipe": "two", "steps": steps}))
    for do in (toolkit.check, toolkit.run):
        with pytest.raises(InputError, match="needs the column 'bad'"):
            do(file, sources={"mine": ["columns.jsonl"]})
    assert not (here / "outputs").exists()


def test_the_source_of_the_contributors_guide_reads_as_it_stands(here: Path) -> None:
    guide = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text()
    (here / "schemas" / "sources" / "mine.yaml").write_text(guide.split("## A source")[1].split("```yaml\n")[1].split("```")[0])
    jsonl(here / "mine.jsonl", [{"question": "q", "answer": "a", "bad": "yes"}, {"question": "q", "answer": "a", "bad": "maybe"}])
    kept, rest = toolkit.apply("load", source="mine", files=["mine.jsonl"], max_rejected=1, empty=True)
    assert kept.select("label_prompt", "label_refusal_source", "label_response_source").rows() == [("harmful", "to_infer", "absent")]
    assert reasons(rest) == {"unknown_label": 1}
    with pytest.raises(Missing, match=r"(?s)needs its files.*mine\.jsonl"):
        toolkit.apply("load", source="mine")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"source": "nobody"}, "no source called 'nobody'"),
        ({"source": ["quickstart", "nobody", "noone"]}, "(?s)nobody.*noone"),
        ({"source": ["quickstart", "quickstart"]}, "named twice"),
        ({"source": []}, "at least 1"),
        ({"source": "quickstart", "parts": ["hme"]}, "did you mean 'home'"),
        ({"source": ["quickstart", "mine"], "files": ["a"]}, "by name"),
        ({"source": "quickstart", "files": {"mine": ["a"]}}, "not loaded"),
        ({"source": "mine", "files": ["nowhere.jsonl"]}, "no such file"),
        ({"source": "mine", "files": ["columns.jsonl"]}, "needs the column 'bad'"),
        ({"source": "mine", "files": ["empty.jsonl"]}, "0 rows"),
        ({"source": "quickstart", "limit": 0}, "greater than or equal to 1"),
        ({"source": "quickstart", "vote": "mine"}, "vote"),
    ],
)
def test_what_cannot_be_read_is_reported_before_any_row(options: dict[str, Any], message: str, here: Path) -> None:
    jsonl(here / "columns.jsonl", [{"q": "x", "a": "y"}])
    (here / "empty.jsonl").write_text("")
    with pytest.raises(InputError, match=message):
        toolkit.apply("load", **options)


def test_a_limit_takes_the_first_rows_of_every_part_and_the_rejects_among_them(here: Path) -> None:
    kept, rest = toolkit.apply("load", source="quickstart", limit=7)
    assert Counter(kept["source"]) == {f"quickstart-{p}": 7 for p in ("core", "home", "school", "work")}
    assert not rest.height
    two, _ = toolkit.apply("load", source="quickstart", limit=3, parts=["work", "home"])
    assert two["id"].to_list() == [i for p in ("home", "work") for i in kept.filter(pl.col("source") == f"quickstart-{p}")["id"][:3]]
    jsonl(here / "a.jsonl", ["{", ask(1), "{", ask(2), "{", ask(3), "{"])
    kept, rest = toolkit.apply("load", source="mine", files=["a.jsonl"], limit=2, max_rejected=1)
    assert kept.height == 2 and reasons(rest) == {"bad_json": 2}
    kept, rest = toolkit.apply("load", source="mine", files=["a.jsonl"], limit=3, max_rejected=1)
    assert kept.height == 3 and reasons(rest) == {"bad_json": 3}
    kept, rest = toolkit.apply("load", source="mine", files=["a.jsonl"], limit=9, max_rejected=1)
    assert kept.height == 3 and reasons(rest) == {"bad_json": 4}


def test_sizes_are_known_before_the_data_is_there() -> None:
    def expected(**options: Any) -> int | None:
        return Load(LoadConfig.model_validate(options)).expected_rows(context())

    assert expected(source="quickstart") == 640
    assert expected(source="quickstart", limit=24) == 96
    assert expected(source="quickstart", parts=["home"], limit=500) == 112
    assert expected(source=["wildguard_train", "aegis_train"]) == 86759 + 10798
    assert expected(source="wildguard_train", limit=10) == 10


def test_what_is_in_the_files_counts_and_not_where_they_are(here: Path) -> None:
    one = jsonl(here / "one" / "x.jsonl", [ask(1)])
    other = jsonl(here / "other" / "x.jsonl", [ask(2)])
    copy = jsonl(here / "copy" / "x.jsonl", [ask(1)])

    def prints(*files: Path) -> tuple[Any, Any]:
        op = Load(LoadConfig.model_validate({"source": "mine", "files": [str(f) for f in files]}))
        return op.files(context()), op.identity()

    assert prints(one) == prints(copy)
    assert prints(one) != prints(other)
    both = prints(one, other)[0]
    assert len(both) == 3, "two files of one name are two files, and the source's own schema counts too"
    other.write_text(other.read_text().replace("2", "3"))
    assert prints(one, other)[0] != both


def test_a_gated_set_without_a_token_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    op = Load(LoadConfig.model_validate({"source": "wildguard_train"}))
    (need,) = op.needs(context())
    assert "gated" in need and "huggingface.co/datasets/allenai/wildguardmix" in need and "--source wildguard_train=FILE" in need
    monkeypatch.setenv("HF_TOKEN", "x")
    assert op.needs(context()) == []
    monkeypatch.delenv("HF_TOKEN")
    (tmp_path / "token").write_text("x")
    assert op.needs(context()) == []
    (tmp_path / "w.parquet").write_bytes(b"")
    assert op.needs(context(source_paths={"wildguard_train": [tmp_path / "w.parquet"]})) == []


def test_a_source_that_has_only_files_needs_them(here: Path) -> None:
    assert "ask the test" in Load(LoadConfig.model_validate({"source": "mine"})).needs(context())[0]
    with pytest.raises(Missing, match="mine"):
        run_steps(here, [{"id": "s", "use": "load", "with": {"source": "mine"}}])
    jsonl(here / "a.jsonl", [ask(1)])
    made = run_steps(here, [{"id": "s", "use": "load", "with": {"source": "mine"}}], sources={"mine": ["a.jsonl"]})
    assert rows_of(made["s"])["prompt"].to_list() == ["question 1"]


# load_predictions -----------------------------------------------------------------------------------------------------


def prediction(n: int, predict: str = "Request: harmful", label: str = "harmful", response: str | None = None) -> dict[str, str]:
    return {"prompt": render_input(GUARD, {"prompt": f"question {n}", "response": response}), "label": label, "predict": predict}


def predictions(folder: Path, task: str = "prompt", **files: list[Any]) -> tuple[pl.DataFrame, pl.DataFrame]:
    paths = {name: str(jsonl(folder / f"{name}.jsonl", rows)) for name, rows in files.items()}
    return toolkit.apply("load_predictions", files=paths, task=task)


def test_rows_of_several_files_are_the_same_row_when_their_input_is(tmp_path: Path) -> None:
    a = [prediction(1), prediction(2), prediction(1), prediction(3, response="Sure.")]
    b = [prediction(3, response="Sure."), prediction(1), prediction(2), prediction(1)]
    kept, rest = predictions(tmp_path, a=a, b=b)
    assert not rest.height
    parents = kept.group_by("guard_model", maintain_order=True).agg("parent")["parent"].to_list()
    assert set(parents[0]) == set(parents[1]) and len(set(parents[0])) == 4, "a repeated input is two rows, and stays so"
    row = kept.filter(pl.col("response").is_not_null()).row(0, named=True)
    assert (row["prompt"], row["response"], row["context"]) == ("question 3", "Sure.", [])
    assert (row["label_prompt"], row["label_prompt_source"], row["label_refusal"], row["label_refusal_source"]) == (
        "harmful",
        "human",
        None,
        "absent",
    )
    alone = kept.filter(pl.col("response").is_null()).row(0, named=True)
    assert alone["label_refusal_source"] == "not_applicable"
    assert kept["id"].n_unique() == kept.height


def test_what_is_wrong_with_a_row_costs_that_row(tmp_path: Path) -> None:
    odd = [
        prediction(1),
        "{torn",
        prediction(2, label="perhaps"),
        {"prompt": "Human user:\nx", "label": "harmful", "predict": "y"},
        {"prompt": prediction(3)["prompt"], "label": "harmful"},
        {**prediction(3), "predict": ["y"]},
        prediction(4, label="unharmful"),
        prediction(5, label="Answers: \nRequest: harmful\nCompletion: None\nResponse: None"),
    ]
    kept, rest = predictions(tmp_path, a=[prediction(1), prediction(4), prediction(5)], b=odd)
    assert kept.filter(pl.col("guard_model") == "b")["prompt"].to_list() == ["question 1", "question 5"]
    assert reasons(rest) == {"bad_json": 1, "conflicting_labels": 1, "missing_key": 1, "not_this_guard": 1, "unknown_label": 1, "wrong_type": 1}
    assert "row 3" in rest.filter(pl.col("_reason") == "unknown_label")["_detail"][0]


@pytest.mark.parametrize(
    ("task", "files", "message"),
    [
        ("promt", {"a": [prediction(1)]}, "did you mean 'prompt'"),
        ("prompt", {"a": []}, "no rows"),
        ("prompt", {"a": [prediction(1)], "b": [prediction(2)]}, "no row of 'b' is a row of 'a'"),
    ],
)
def test_what_no_comparison_can_be_made_of_is_refused(task: str, files: dict[str, list[Any]], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        predictions(tmp_path, task, **files)


def test_one_file_under_two_names_would_count_twice(tmp_path: Path) -> None:
    file = jsonl(tmp_path / "a.jsonl", [prediction(1)])
    (tmp_path / "same.jsonl").symlink_to(file)
    op = operator_class("load_predictions")
    for files in ({"a": str(file), "b": str(file)}, {"a": str(file), "b": str(tmp_path / "same.jsonl")}):
        config = op.config_class.model_validate({"files": files, "task": "prompt"})
        with pytest.raises(InputError, match="are the same file"):
            op(config).files(context())
    missing = op.config_class.model_validate({"files": {"a": "nowhere.jsonl"}, "task": "prompt"})
    with pytest.raises(InputError, match=r"nowhere\.jsonl"):
        op(missing).files(context())


def test_files_are_found_beside_the_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = tmp_path / "work"
    work.mkdir()
    jsonl(work / "p.jsonl", [prediction(1), prediction(2)])
    monkeypatch.chdir(tmp_path)
    steps = [{"id": "p", "use": "load_predictions", "with": {"files": {"a": "p.jsonl"}, "task": "prompt"}}]
    made = run_steps(work, steps)
    assert made["p"].rows == 2
    assert made["p"].manifest["stats"] == {"rows": 2, "missing": {"a": 0}, "labels": {"prompt": {"harmful": 2}}}
    assert os.fspath(tmp_path) not in (made["p"].path / "manifest.json").read_text()


def test_files_are_named_for_a_source_by_its_name_or_its_path_alike(here: Path) -> None:
    for name in ("one", "two"):
        (here / f"{name}.yaml").write_text(SOURCE.replace("name: mine", f"name: {name}"))
        jsonl(here / f"{name}.jsonl", [{"q": name, "a": "x", "bad": "no"}, {"q": f"{name} more", "a": "x", "bad": "yes"}])
    for one in ("one", "./one.yaml", str(here / "one.yaml")):
        sources = [one if one != "one" else "one.yaml", "two.yaml"]
        kept, _ = toolkit.apply("load", source=sources, files={one: ["one.jsonl"], "two": ["two.jsonl"]})
        assert kept["prompt"].to_list() == ["one", "one more", "two", "two more"]
    made = run_steps(here, [{"id": "s", "use": "load", "with": {"source": "one.yaml"}}], sources={"one.yaml": ["one.jsonl"]})
    assert rows_of(made["s"]).height == 2
    with pytest.raises(InputError, match="given twice"):
        toolkit.apply("load", source="one.yaml", files={"one": ["one.jsonl"], "one.yaml": ["one.jsonl"]})
