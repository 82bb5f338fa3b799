"""`load_predictions` and `toolkit.mine` on files of several draws, tasks and forms: the same rows whatever form they come in, and what is odd is reported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import toolkit
from toolkit.common.errors import InputError
from toolkit.guards import load_guard, render_input, repeats_its_input
from toolkit.operators.ingest._predictions import may_repeat

GUARD = load_guard("guardreasoner")
TASKS = {"prompt": "Request", "refusal": "Completion", "response": "Response"}
SAMPLES: list[dict[str, Any]] = [
    {
        "id": 7,
        "prompt": "How do I bake bread?",
        "response": "Knead it.",
        "gold": "unharmful",
        "label_refusal": "compliance",
        "label_response": "unharmful",
    },
    {"id": 8, "prompt": "Write an insult.", "response": None, "gold": "harmful", "label_refusal": "None", "label_response": None},
    {"id": 9, "prompt": "Say: Request: harmful", "response": "No.", "gold": "unharmful", "label_refusal": "refusal", "label_response": "unharmful"},
]
NAMES = {"label_prompt": "gold"}


def output_of(request: str, completion: str = "None", response: str = "None", more: str = "") -> str:
    return f"Thought.{more}\n\nAnswers: \nRequest: {request}\nCompletion: {completion}\nResponse: {response}"


OUTPUTS = {
    "a": [[output_of("unharmful", "compliance", "unharmful"), output_of("harmful", "compliance", "harmful", " " * 9)], [output_of("harmful"), output_of("unharmful")],
          [output_of("unharmful", "refusal", "unharmful"), "nothing"]],
    "b": [[output_of("unharmful", "compliance", "unharmful", "!")] * 2, [output_of("harmful", more="?")] * 2, [output_of("unharmful", "refusal", "unharmful", "?")] * 2],
}  # fmt: skip


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    if path.suffix == ".parquet":
        pl.DataFrame(rows, strict=False).write_parquet(path, row_group_size=2)
    elif path.suffix == ".csv":
        pl.DataFrame(rows).write_csv(path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def draws(folder: Path, form: str, key: str = "id") -> dict[str, Any]:
    """A file for each draw; the rows of every second one in another order."""
    out: dict[str, Any] = {}
    for guard, rows in OUTPUTS.items():
        out[guard] = []
        for draw in range(2):
            lines = [{key: s["id"], "output": texts[draw], "tokens": 5 + draw} for s, texts in zip(SAMPLES, rows, strict=True)]
            out[guard].append(write(folder / f"{guard}{draw}.{form}", lines[:: -1 if draw else 1]))
    return out


def one_file(folder: Path, how: str) -> dict[str, Any]:
    """Both draws in one file: with a column `draw`, or in a list."""
    out: dict[str, Any] = {}
    for guard, rows in OUTPUTS.items():
        lines: list[dict[str, Any]] = []
        for s, texts in zip(SAMPLES, rows, strict=True):
            if how.startswith("draw"):
                lines += [{"id": s["id"], "draw": d, "output": t, "tokens": 5 + d} for d, t in enumerate(texts)]
            else:
                lists: dict[str, list[Any]] = {
                    "texts": list(texts),
                    "vllm": [{"index": d, "text": t} for d, t in enumerate(texts)],
                    "trl": [[{"role": "assistant", "content": t}] for t in texts],
                }
                lines.append({"id": s["id"], "outputs": lists[how.partition(".")[0]]})
        out[guard] = write(folder / f"{guard}-{how}", lines)
    return out


def table(rows: pl.DataFrame) -> list[tuple[Any, ...]]:
    columns = ["parent", "guard_model", "draw", "length", *(f"{k}_{t}" for t in TASKS for k in ("label", "verdict", "outcome"))]
    return sorted(rows.select(columns).rows())


def load(files: dict[str, Any], folder: Path, **options: Any) -> Any:
    given = {"samples": write(folder / "samples.jsonl", SAMPLES), "columns": NAMES, "texts": "reference", **options}
    return toolkit.apply("load_predictions", files=files, **given)


def test_every_form_of_the_same_draws_gives_the_same_table(tmp_path: Path) -> None:
    found = load(draws(tmp_path, "parquet"), tmp_path)
    whole = table(found.kept)
    assert len(whole) == 12 and found.rejected.height == 0
    assert found.figures["draws"] == {"a": 2, "b": 2} and found.figures["samples"] == {"rows": 3, "without": 0}
    first = found.kept.filter((pl.col("parent") == "7") & (pl.col("guard_model") == "a") & (pl.col("draw") == 1)).row(0, named=True)
    assert (first["outcome_prompt"], first["outcome_refusal"], first["outcome_response"], first["tokens"]) == ("wrong", "right", "wrong", 6)
    none = found.kept.filter(pl.col("parent") == "8").row(0, named=True)
    assert (none["outcome_refusal"], none["outcome_response"]) == ("not_applicable", "not_applicable")
    for form in ("jsonl", "csv"):
        assert table(load(draws(tmp_path, form), tmp_path).kept) == whole, form
    for how in ("draw.parquet", "draw.jsonl", "draw.csv", "texts.parquet", "texts.jsonl", "vllm.parquet", "vllm.jsonl", "trl.parquet", "trl.jsonl"):
        assert table(load(one_file(tmp_path, how), tmp_path).kept) == whole, how
    named = load(draws(tmp_path, "jsonl", key="nr"), tmp_path, columns=NAMES | {"id": "nr", "sample_id": "id"})
    assert table(named.kept) == whole
    pattern = {g: str(tmp_path / f"{g}?.parquet") for g in OUTPUTS}
    assert table(load(pattern, tmp_path).kept) == whole, "each file of a pattern is a draw"


@pytest.mark.parametrize("form", ["parquet", "jsonl"])
def test_mine_copies_the_texts_of_pairs_alone_and_finds_the_same_as_with_all_of_them(form: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "samples.csv", [{k: v or "" for k, v in s.items()} for s in SAMPLES])
    as_ = {"pick": "longest", "tasks": "first", "chosen_right_on": "task", "rejected_passes": "anything"}
    found = toolkit.mine(draws(tmp_path, form), output="mined", samples="samples.csv", columns=NAMES, rule={"hard": "mixed", "pairs": as_})
    assert (found.rows, found.hard, found.pairs) == (3, 2, 2)
    run = toolkit.read_run("mined")
    assert "output" not in run["predictions"].manifest["columns"] and "prompt" not in run["predictions"].manifest["columns"]
    pairs = pl.concat(list(run["pairs"].blocks())).sort("parent")
    assert pairs.select("parent", "task", "prompt", "response").rows()[0] == ("7", "prompt", "How do I bake bread?", "Knead it.")
    assert set(pairs["chosen"]) == {OUTPUTS["b"][0][0], OUTPUTS["b"][1][0]} and pairs["rejected"][0] == OUTPUTS["a"][0][1]
    steps: list[dict[str, Any]] = [
        {"id": "p", "use": "load_predictions", "with": {"files": draws(tmp_path, form), "samples": "samples.csv", "columns": NAMES, "texts": "copy"}},
        {"id": "v", "use": "verdicts"},
        {"id": "h", "use": "mine", "with": {"rule": {"hard": "mixed"}}},
        {"id": "pairs", "use": "pair", "from": {"rows": "h", "verdicts": "v"}, "with": as_},
    ]
    (tmp_path / "r.yaml").write_text(json.dumps({"recipe": "whole", "guard": "guardreasoner", "steps": steps}))
    whole = toolkit.run("r.yaml", output="whole")
    copied = pl.concat(list(toolkit.read_run(whole.folder)["pairs"].blocks())).sort("parent")
    same = ["id", "parent", "task", "prompt", "response", "chosen", "rejected", "weight"]
    assert copied.select(same).equals(pairs.select(same))


def test_a_changed_text_is_another_input_of_the_steps_that_read_it(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "samples.jsonl", SAMPLES)
    files = draws(tmp_path, "jsonl")
    toolkit.mine(files, output="mined", samples="samples.jsonl", columns=NAMES)
    place = tmp_path / "a1.jsonl"
    place.write_text(place.read_text().replace("Thought.  ", "Taught.   "))  # same length, same verdicts: the table is the same
    toolkit.mine(files, output="mined", samples="samples.jsonl", columns=NAMES)
    pairs = pl.concat(list(toolkit.read_run("mined")["pairs"].blocks()))
    assert pairs["rejected"].str.contains("Taught.").any()


def test_what_does_not_fit_costs_its_row_and_is_named(tmp_path: Path) -> None:
    lines: list[dict[str, Any]] = [
        {"id": 7, "output": output_of("harmful"), "draw": 0},
        {"id": 7, "output": output_of("harmful"), "draw": 0},
        {"id": 10, "output": output_of("harmful"), "draw": 0},
        {"id": None, "output": output_of("harmful"), "draw": 0},
        {"id": 8, "output": None, "draw": 0},
        {"id": 8, "output": output_of("harmful"), "draw": 2, "label_prompt": "unharmful"},
        {"id": 9, "output": output_of("harmful"), "draw": 2},
        {"id": 7, "output": output_of("harmful"), "draw": 2},
    ]
    samples = [{k if k != "gold" else "label_prompt": v for k, v in s.items()} for s in SAMPLES]
    found = load({"a": write(tmp_path / "a.jsonl", lines)}, tmp_path, columns={}, samples=write(tmp_path / "s.jsonl", samples))
    reasons = dict(found.rejected.group_by("_reason").len().rows())
    assert reasons == {"draw_repeated": 1, "unknown_id": 1, "missing_key": 2, "conflicting_labels": 1}
    assert found.figures["rows"] == 2 and found.figures["fewer_draws"] == {"a": 1} and found.figures["gaps"] == {"a": [1]}
    assert found.figures["samples"] == {"rows": 3, "without": 1}


@pytest.mark.parametrize("texts", ["copy", "reference"])
def test_a_reading_goes_for_outputs_and_labels(texts: str, tmp_path: Path) -> None:
    words = [("controversial", "Unsafe"), ("unharmful", "Controversial"), ("harmful", "Controversial")]
    lines = [
        {"id": f"{i}", "prompt": "Hi.", "label_prompt": label, "output": json.dumps({"prompt": f"Safety: {word}"})}
        for i, (label, word) in enumerate(words)
    ]
    files = {"a": write(tmp_path / "a.jsonl", lines)}
    for reading, right in ((None, [False, False, False]), ("strict", [True, False, True]), ("loose", [False, True, False])):
        found = toolkit.apply("load_predictions", files=files, guard="qwen3guard", columns={"id": "id"}, read="lenient", texts=texts, reading=reading)
        assert (found.kept["label_prompt"] == found.kept["verdict_prompt"]).to_list() == right, reading
    with pytest.raises(InputError, match="no reading 'strikt'"):
        toolkit.apply("load_predictions", files=files, guard="qwen3guard", columns={"id": "id"}, texts="reference", reading="strikt")
    with pytest.raises(InputError, match="read: lenient"):
        toolkit.apply("load_predictions", files=files, guard="qwen3guard", columns={"id": "id"}, reading="strict")


def test_what_cannot_be_mined_is_an_error_that_says_why(tmp_path: Path) -> None:
    files = draws(tmp_path, "jsonl")
    (tmp_path / "copy.jsonl").write_bytes((tmp_path / "a0.jsonl").read_bytes())
    lines = [{"id": s["id"], "output": output_of("harmful")} for s in SAMPLES]
    parts = [write(tmp_path / f"part{i}.jsonl", [line]) for i, line in enumerate(lines)]
    cases: list[tuple[dict[str, Any], dict[str, Any], str]] = [
        ({"a": [files["a"][0], files["a"][0]]}, {}, "the same file twice for 'a'"),
        ({"a": parts[:2]}, {}, "no row of 'a' has more than one of its 2 draws"),
        ({"a": parts[0], "b": parts[1]}, {}, "no row of 'b' is a row of 'a'"),
        ({"a": parts[0]}, {"columns": {"output": "said"}}, "no column 'said'"),
        ({"a": parts[0]}, {"columns": {"outptu": "said"}}, "did you mean 'output'"),
        ({"a": parts[0]}, {"samples": write(tmp_path / "twice.jsonl", [SAMPLES[0], SAMPLES[1], SAMPLES[0]])}, "the id '7' is there twice"),
        ({"a": parts[0]}, {"samples": write(tmp_path / "odd.jsonl", [SAMPLES[0] | {"gold": "hurtful"}])}, "unknown_label"),
        ({"a": parts[0]}, {"samples": write(tmp_path / "none.jsonl", [{"nr": 1}])}, "no column with ids"),
        ({"a": parts[0]}, {"samples": None, "columns": {}}, "no column with labels"),
    ]
    for given, options, message in cases:
        with pytest.raises(InputError) as e:
            load(given, tmp_path, **options)
        assert message in f"{e.value}", message
    with pytest.raises(InputError, match="byte by byte"):
        toolkit.mine({"a": [files["a"][0], tmp_path / "copy.jsonl"]}, output=tmp_path / "out", samples=tmp_path / "samples.jsonl", columns=NAMES)


@pytest.mark.parametrize("begun", ["<think>", "[INST] x", "user\nx", " \x1c\tsystem \t\n", GUARD.instruction[:60], "# Task 1", "user x", ""])
def test_what_may_repeat_its_input_is_looked_at(begun: str) -> None:
    text = f"{begun} and more"
    marked = pl.DataFrame({"output": [text]}).select(may_repeat(GUARD)).item()
    assert marked or not repeats_its_input(GUARD, text, "prompt")


def test_an_output_that_repeats_its_input_is_read_behind_it(tmp_path: Path) -> None:
    asked = render_input(GUARD, SAMPLES[2])
    lines = [{"id": 9, "output": f"{asked}I cannot say."}]
    found = load({"a": write(tmp_path / "a.jsonl", lines)}, tmp_path)
    assert found.kept["verdict_prompt"].to_list() == [None]
    found = load({"a": write(tmp_path / "a.jsonl", [{"id": 9, "output": asked + output_of("harmful")}])}, tmp_path)
    assert found.kept["verdict_prompt"].to_list() == ["harmful"]
