"""The released benchmark and prediction files, and undoing the input template that they were rendered with."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from toolkit.common.errors import InputError
from toolkit.guards import load_guard, render_input
from toolkit.sources import load_source, split_released_input, split_released_inputs

GUARD = load_guard("guardreasoner")
MIDDLE = "\n\nAI assistant:\n"

# Part, task, rows by label (spec E.1: paper, table 3, and the files).
COUNTS = {
    "ToxicChat": ("prompt", {"harmful": 362, "unharmful": 2491}),
    "OpenAIModeration": ("prompt", {"harmful": 522, "unharmful": 1158}),
    "AegisSafetyTest": ("prompt", {"harmful": 232, "unharmful": 127}),
    "SimpleSafetyTests": ("prompt", {"harmful": 100}),
    "HarmBenchPrompt": ("prompt", {"harmful": 239}),
    "HarmBenchResponse": ("response", {"harmful": 273, "unharmful": 329}),
    "SafeRLHF": ("response", {"harmful": 1000, "unharmful": 1000}),
    "BeaverTails": ("response", {"harmful": 1733, "unharmful": 1288}),
    "XSTestResponseHarmful": ("response", {"harmful": 78, "unharmful": 368}),
    "XSTestResponseRefusal": ("refusal", {"refusal": 178, "compliance": 271}),
}


def rendered(prompt: str, response: str | None) -> str:
    return render_input(GUARD, {"prompt": prompt, "response": response})


@given(st.text(), st.none() | st.text())
def test_splitting_is_the_inverse_of_rendering(prompt: str, response: str | None) -> None:
    # What the format itself cannot tell apart.
    assume(response != "None" and (prompt + MIDDLE).find(MIDDLE) == len(prompt))
    assert split_released_input(rendered(prompt, response), GUARD) == (prompt, response)
    assert split_released_input(rendered(prompt, response).removeprefix(GUARD.instruction + "\n"), GUARD) == (prompt, response)


pieces = st.lists(st.sampled_from(["\n", "AI assistant:", "None", "Human user:\n", MIDDLE, "x", GUARD.instruction]), max_size=8).map("".join)


@given(pieces, st.none() | pieces)
def test_rendering_is_the_inverse_of_splitting_whatever_the_text(prompt: str, response: str | None) -> None:
    text = rendered(prompt, response)
    assert rendered(*split_released_input(text, GUARD)) == text


@given(st.lists(st.tuples(pieces, st.none() | pieces), max_size=4))
def test_a_column_of_texts_is_split_as_each_text(rows: list[tuple[str, str | None]]) -> None:
    texts = [text for p, r in rows for whole in [rendered(p, r)] for text in (whole, whole.removeprefix(GUARD.instruction + "\n"), whole[:-3], p)]
    found = split_released_inputs(pl.Series(texts, dtype=pl.String), GUARD).rows()
    for text, row in zip(texts, found, strict=True):
        assert row == (None, None) or row == split_released_input(text, GUARD)
    assert all(row[0] is not None for row in found[::4]), "what the guard renders needs no look at each text"


@pytest.mark.parametrize(
    "text", ["", "Hello", "Human user:\nHi", "Human user:\nHi\n\nAI assistant:\nHo", GUARD.instruction, "AI assistant:\nNone\n\n"]
)
def test_a_text_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="guard 'guardreasoner'"):
        split_released_input(text, GUARD)


def test_other_templates() -> None:
    short = GUARD.model_copy(update={"instruction": "Judge.", "input": "Q: {{ prompt }}{% if response is not none %}\nA: {{ response }}{% endif %}"})
    for row in (("a", None), ("a", "b"), ("", "")):
        assert split_released_input(render_input(short, dict(zip(("prompt", "response"), row, strict=True))), short) == row
        whole = pl.Series([render_input(short, dict(zip(("prompt", "response"), row, strict=True)))])
        assert split_released_inputs(whole, short).row(0) in (row, (None, None))
    blind = GUARD.model_copy(update={"input": "{{ prompt }}"})
    assert split_released_inputs(pl.Series(["x", "y"]), blind).rows() == [(None, None)] * 2
    with pytest.raises(InputError, match="can be undone"):
        split_released_input("x", blind)


def test_the_released_benchmarks(read, real_data: Path) -> None:
    source = load_source("guardreasoner_benchmark")
    rows, rejects = read(source, real_data / "guardreasoner" / "benchmark")
    assert rows.height == 11_749 == source.rows() and rejects.height == 0
    assert rows["id"].n_unique() == 11_749
    for part, (task, counts) in COUNTS.items():
        some = rows.filter(pl.col("source") == f"guardreasoner_benchmark-{part}")
        assert dict(some[f"label_{task}"].value_counts().rows()) == counts, part
        assert some.height == source.parts[part].expected_rows and set(some["licence"]) == {source.parts[part].licence}
        assert set(some[f"label_{task}_source"]) <= {"human", "vote"}
        # The other labels are not known, and none is invented.
        for other in {"prompt", "refusal", "response"} - {task}:
            assert some[f"label_{other}"].null_count() == some.height
            assert set(some[f"label_{other}_source"]) == {"absent"}
        assert some["response"].is_null().all() == (task == "prompt")
    # Duplicates inside a file stay rows of their own (spec E.1).
    aegis = rows.filter(pl.col("source") == "guardreasoner_benchmark-AegisSafetyTest")
    assert aegis.height - aegis["content_id"].n_unique() == 3


def test_every_released_input_is_rendered_again_byte_for_byte(real_data: Path) -> None:
    n = 0
    for path in sorted((real_data / "guardreasoner" / "benchmark").glob("*.json")):
        for row in json.loads(path.read_text(encoding="utf-8")):
            assert rendered(*split_released_input(row["input"], GUARD)) == row["instruction"] + "\n" + row["input"]
            n += 1
    assert n == 11_749
    for path in sorted((real_data / "guardreasoner" / "predictions").glob("*/*.jsonl")):
        for line in path.read_text(encoding="utf-8").split("\n"):
            if line:
                text = json.loads(line)["prompt"]
                assert rendered(*split_released_input(text, GUARD)) == text
                n += 1
    assert n == 11_749 + 3_441


def test_one_file_and_some_parts_of_the_benchmarks(read, real_data: Path) -> None:
    source = load_source("guardreasoner_benchmark")
    folder = real_data / "guardreasoner" / "benchmark"
    one, _ = read(source, folder / "0_7_xstest_response_refusal.json")
    same, _ = read(source, folder, parts=["XSTestResponseRefusal"])
    assert one.height == 449 and one.equals(same)


def test_a_benchmark_row_that_does_not_fit_costs_that_row(read, tmp_path: Path) -> None:
    def row(output: object, text: object = "Human user:\nHi\n\nAI assistant:\nHello\n\n") -> dict[str, object]:
        return {"instruction": GUARD.instruction, "input": text, "output": output}

    block = "Answers: \nRequest: None\nCompletion: {}\nResponse: {}\n"
    rows = [
        row(block.format("None", "harmful")),
        row("unharmful"),
        row(block.format("compliance", "harmful")),
        row(block.format("None", "None")),
        row("refusal"),
        row(None),
        row("harmful", "Hi"),
        row("harmful", 3),
        row("harmful", None),
        row("harmful", "Human user:\nHi\n\nAI assistant:\nNone\n\n"),
    ]
    path = tmp_path / "0_9_safe_rlhf.json"
    path.write_text(json.dumps(rows))
    found, rejects = read("guardreasoner_benchmark", path)
    assert found["label_response"].to_list() == ["harmful", "unharmful", "harmful"]
    assert found["label_refusal"].to_list() == [None, None, "compliance"]
    assert rejects["reason"].to_list() == [
        "unknown_label", "unknown_label", "unknown_label", "bad_exchange", "wrong_type", "empty_prompt", "label_without_response",
    ]  # fmt: skip
