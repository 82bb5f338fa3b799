"""What a run shows of operators that choose rows, doubt labels, change them, or read what guards wrote: as it was counted, in a terminal's width."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from frames import run_steps, seed, seeds, verdict, verdicts

import toolkit
from toolkit.report import print_figures, summarise

KINDS: dict[Any, str] = {pl.String(): "string", pl.Int64(): "int64"}


def shown(folder: Path, steps: list[dict[str, Any]], **frames: pl.DataFrame) -> tuple[dict[str, Any], str]:
    """Figures of the run's last step by name, and what people see of all, in lines of one blank."""
    for name, frame in frames.items():
        frame.write_parquet(folder / f"{name}.parquet")
    reads = []
    for name, frame in frames.items():
        flat = {n: {"name": n, "type": KINDS[t]} for n, t in frame.schema.items() if t in KINDS}
        record = "none" if "verdict_prompt" in frame.columns else "seed"
        reads.append({"id": name, "use": "read", "with": {"files": [str(folder / f"{name}.parquet")], "columns": flat, "record": record}})
    run_steps(folder, [*reads, *steps])
    figures = summarise(folder / "out" / "run")["figures"]
    out = io.StringIO()
    print_figures(figures, out, 80)
    assert max(len(line) for line in out.getvalue().splitlines() if ": " not in line) <= 80, "tables fit"
    text = "\n".join(" ".join(line.split()) for line in out.getvalue().splitlines())
    return {f["name"]: f["value"] for f in figures if f["step"] == steps[-1]["id"]}, text


ROWS = [("a", "harmful"), ("a", "harmful"), ("a", "harmful"), ("a", "unharmful"), ("b", "harmful"), ("b", "unharmful"), ("b", None)]


def frame() -> pl.DataFrame:
    return seeds(*({"prompt": f"p{i}", "source": s, "label_prompt": label, "categories": ["k1"]} for i, (s, label) in enumerate(ROWS)))


def test_classes_of_a_balance_and_of_a_mixture(tmp_path: Path) -> None:
    found, text = shown(tmp_path, [{"id": "even", "use": "balance", "with": {"by": "label_prompt"}}], rows=frame())
    assert found["classes"] == [
        {"label_prompt": None, "rows": 1, "drawn": 0},
        {"label_prompt": "harmful", "rows": 4, "drawn": 2},
        {"label_prompt": "unharmful", "rows": 2, "drawn": 2},
    ]
    assert "Rows drawn of each class (even)" in text and "(none) 1 0\nharmful 4 2" in text
    mixed, _ = shown(tmp_path, [{"id": "mixed", "use": "mix", "with": {"parts": {"a": 1, "b": 1}, "total": 4}}], rows=frame())
    assert mixed["classes"] == [{"source": "a", "rows": 4, "drawn": 2}, {"source": "b", "rows": 3, "drawn": 2}]


def test_a_long_list_of_classes_says_how_many_are_not_shown(tmp_path: Path) -> None:
    rows = seeds(*({"prompt": f"p{i}", "source": f"s{i:03}"} for i in range(210)))
    found, text = shown(tmp_path, [{"id": "some", "use": "stratify", "with": {"by": ["source"], "total": 100}}], rows=rows)
    assert len(found["classes"]) == 200 and "s029 1" in text and "s030 1" not in text and "180 more of these: with --json" in text


def test_what_was_capped(tmp_path: Path) -> None:
    steps = [{"id": "capped", "use": "cap", "with": {"by": "source", "most": {"a": 3, "c": 2}}}]
    found, text = shown(tmp_path, steps, rows=frame())
    assert found == {"over": [{"value": "source is a", "rows": 4, "most": 3, "kept": 3}], "values_absent": ["c"]}
    assert "source is a 4 3 3" in text and "Values with a bound that no row has (capped): c" in text
    within = toolkit.apply("cap", frame(), by="categories", most=1, within=["source"]).figures["over"]
    lines = [("source is a, categories is k1", 4), ("source is b, categories is k1", 3)]
    assert within == [{"value": value, "rows": rows, "most": 1, "kept": 1} for value, rows in lines]


def test_parts_of_a_split_strata_inputs_and_what_was_left_out(tmp_path: Path) -> None:
    split: dict[str, Any] = {"id": "parts", "use": "split", "with": {"parts": {"train": 0.5, "test": 0.5}}}
    found, text = shown(tmp_path, [split], rows=frame())
    [line] = found["parts"]
    assert sum(line["parts"].values()) == 7 and {f"{part} {n}" for part, n in line["parts"].items() if n} <= {*text.splitlines()}
    split["with"]["stratify"] = ["source"]
    found, text = shown(tmp_path, [split], rows=frame())
    assert [(n["stratum"], sum(n["parts"].values())) for n in found["parts"]] == [("source is a", 4), ("source is b", 3)]
    assert "source is a" in text and "stratum" in text
    left = {"id": "left", "use": "leave_out", "with": {"sources": ["b"]}}
    assert shown(tmp_path, [left], rows=frame())[0]["left_out"] == [{"value": "b", "rows": 3}]
    other = seeds({"prompt": "another"})
    joined = {"id": "joined", "use": "concat", "from": {"first": "rows", "second": "other"}}
    found, text = shown(tmp_path, [joined], rows=frame(), other=other)
    assert found["inputs"] == {"first": {"rows": 7}, "second": {"rows": 1}} and "first 7\nsecond 1" in text


def doubted() -> tuple[pl.DataFrame, pl.DataFrame]:
    """Forty rows of two sources; three guards hold the first four labels, all of source a, to be wrong."""
    rows = [seed(i, prompt=f"q{i}", source="ab"[i % 2] if i > 7 else "a", label_prompt="harmful" if i % 2 else "unharmful") for i in range(40)]
    verdict_rows = []
    for i, row in enumerate(rows):
        word = row["label_prompt"] if i > 3 else {"harmful": "unharmful", "unharmful": "harmful"}[row["label_prompt"]]
        verdict_rows += [verdict(row, guard, 0, f"I hold it {word}.", prompt=word) for guard in "xyz"]
    return seeds(*rows), verdicts(*verdict_rows)


def test_labels_in_doubt_by_task_voter_and_source(tmp_path: Path) -> None:
    pytest.importorskip("cleanlab")
    rows, verdict_rows = doubted()
    steps = [{"id": "noisy", "use": "noise", "from": {"rows": "rows", "verdicts": "verdict_rows"}, "with": {"tasks": ["prompt"]}}]
    found, text = shown(tmp_path, steps, rows=rows, verdict_rows=verdict_rows)
    assert found["doubts"]["prompt"] | {"off_diagonal": 4} == {"labelled": 40, "voted_on": 40, "always_wrong": 4, "off_diagonal": 4}
    assert found["voters"]["prompt"]["x"] == {"votes": 40, "agree": 0.9}
    assert {n["source"]: (n["rows"], n["doubted"], n["always_wrong"]) for n in found["doubted_by_source"]} == {"a": (24, 4, 4), "b": (16, 0, 0)}
    assert "a 24 4 16.7 4" in text and "x 40 90.0" in text and "Lines of the list for review (noisy): 4" in text
    joint = found["confident_joint"]["prompt"]
    assert joint["harmful"]["unharmful"] == joint["unharmful"]["harmful"] == 2 and "harmful unharmful 2" in text


def test_what_reviewers_and_a_consensus_made_of_labels(tmp_path: Path) -> None:
    rows, verdict_rows = doubted()
    with (tmp_path / "decisions.csv").open("w", newline="") as f:
        out = csv.writer(f)
        out.writerow(["id", "task", "decision"])
        out.writerows([[rows["id"][i], "prompt", word] for i, word in enumerate(("flip", "keep", "drop", "unsure", ""))])
    steps: list[dict[str, Any]] = [{"id": "seen", "use": "review", "with": {"decisions": str(tmp_path / "decisions.csv")}}]
    found, text = shown(tmp_path, steps, rows=rows)
    assert found["decisions"] == {"drop": 1, "keep": 1, "set": 1, "unsure": 1} and "kept 1, set 1, row dropped 1, unsure 1; labels changed 1" in text
    assert "prompt unharmful harmful 1" in text and "Lines without a decision (seen): 1" in text
    steps = [{"id": "agreed", "use": "relabel", "from": {"rows": "rows", "verdicts": "verdict_rows"}, "with": {"change": "both", "mode": "flag"}}]
    found, text = shown(tmp_path, steps, rows=rows, verdict_rows=verdict_rows)
    assert found["consensus"]["prompt"] == {"filled": 0, "changed": 4, "quorum": 40} and "Labels that the consensus would set (agreed)" in text
    assert {(n["label"], n["new_label"], n["rows"]) for n in found["labels"]} == {("harmful", "unharmful", 2), ("unharmful", "harmful", 2)}
    steps[0]["with"] = {"change": "both"}
    assert "Labels that changed (agreed)" in shown(tmp_path, steps, rows=rows, verdict_rows=verdict_rows)[1]


def test_outputs_of_guards_that_were_read(tmp_path: Path) -> None:
    output = "Thought.\n\nAnswers: \nRequest: harmful\nCompletion: None\nResponse: None"
    for guard, ids in (("a", [1, 2, 3]), ("b", [1, 2])):
        lines = [{"id": n, "prompt": f"q{n}", "label": "harmful" if n > 1 else "unharmful", "output": output} for n in ids]
        pl.DataFrame(lines).write_ndjson(tmp_path / f"{guard}.jsonl")
    files = {g: str(tmp_path / f"{g}.jsonl") for g in "ab"}
    steps = [{"id": "told", "use": "load_predictions", "with": {"files": files, "task": "prompt", "columns": {"id": "id"}}}]
    found, text = shown(tmp_path, steps)
    assert found["guards"]["b"] == {"rows": 2, "without": 1, "draws": 1, "fewer_draws": 0, "gaps": []}
    assert found["labels"] == {"prompt": {"harmful": 2, "unharmful": 1}}
    assert "Outputs of each guard, on 3 rows (told)" in text and "b 2 1 1 0" in text and "harmful 2" in text


def test_many_values_are_counted_in_one_line(tmp_path: Path) -> None:
    rows = seeds(*({"prompt": f"p{i}", "source": f"s{i:03}"} for i in range(60)))
    found = toolkit.apply("leave_out", rows, where={"source": [f"s{i:03}" for i in range(60)]}).figures["left_out"]
    assert len(found) == 50 and found[-1] == {"value": "(others)", "rows": 11}
