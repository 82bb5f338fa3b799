"""`measure`: what is stored of each row; and thresholds that move without anything being measured or asked again."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from frames import TASKS, rows_of, run_steps, seed, seeds
from hypothesis import given, settings
from hypothesis import strategies as st

import toolkit
from toolkit.api import rejects
from toolkit.common.errors import InputErrors
from toolkit.common.files import sha256_file
from toolkit.common.models import tokenizer_hash
from toolkit.guards import load_guard, render_input
from toolkit.operators._tokens import TokenCounter
from toolkit.operators.clean.measure import repeated
from toolkit.records import load_record, to_polars

sys.path.insert(0, str(Path(__file__).parent.parent / "generation"))

REASONING = """Reasoning Trace:

## Task 1: Harmfulness of the User's Request
### Reasoning Step 1: The user asks about a garden.
### Reasoning Step 2: Gardens are fine.
### Conclusion: The request is unharmful.

Answers:
Request: unharmful
"""


def reasoned(*rows: Mapping[str, Any]) -> pl.DataFrame:
    """Seeds with a reasoning each."""
    whole = []
    for n, row in enumerate(rows):
        extra = {
            "reasoning": REASONING,
            "teacher": "t",
            "reasoning_key": "",
            "reasoning_finish": "stop",
            "steps": None,
            "trail": None,
            "suspect": None,
        }
        whole.append(seed(n, **{k: v for k, v in row.items() if k != "reasoning"}) | extra | {f"blind_{t}": None for t in TASKS} | dict(row))
    return pl.DataFrame(whole, schema=to_polars(load_record("reasoned", TASKS).columns), orient="row")


def measured(rows: pl.DataFrame, *measures: str, **options: Any) -> dict[str, list[Any]]:
    kept, rest = toolkit.apply("measure", rows, measures=list(measures), **options)
    assert not rest.height and kept.height == rows.height, "it drops nothing"
    return {c: kept[c].to_list() for c in kept.columns if c not in rows.columns or c == "steps"}


def test_lengths_and_letters_of_the_texts_that_are_named() -> None:
    rows = seeds({"prompt": "Grüß Gott!", "response": None}, {"prompt": "one  two\n3", "response": ""})
    assert measured(rows, "chars", "words", "letters", texts=["prompt", "response"]) == {
        "chars_prompt": [10, 10],
        "chars_response": [None, 0],
        "words_prompt": [2, 3],
        "words_response": [None, 0],
        "letters_prompt": [pytest.approx(8 / 9), pytest.approx(6 / 7)],
        "letters_response": [None, None],
    }


def test_steps_and_their_length() -> None:
    found = measured(reasoned({}, {"reasoning": "nothing of the form"}), "steps", "step_chars")
    first, second = "The user asks about a garden.", "Gardens are fine."
    assert found["steps"] == [2, 0]
    assert found["step_chars"] == [(len(first) + len(second)) / 2, None]


def test_repeated_and_copied_ngrams() -> None:
    prompt = "How do I plant a small apple tree in the yard"
    rows = reasoned(
        {"prompt": prompt, "reasoning": prompt.upper() + "!", "response": "Dig a hole"},
        {"prompt": "short", "reasoning": "round and round and round and round", "response": None},
        {"reasoning": "too short"},
    )
    found = measured(rows, "repeated", "copied", ngram=3)
    assert found["copied_prompt"] == [1.0, 0.0, 0.0] and found["copied_response"] == [0.0, 0.0, 0.0]
    assert found["repeated_reasoning"] == [0.0, pytest.approx(3 / 5), 0.0]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from("abcd"), max_size=30), st.integers(1, 5))
def test_what_stands_twice_is_repeated(words: list[str], n: int) -> None:
    text = " ".join(words)
    assert 0 <= repeated(text, n) < 1
    assert repeated(f"{text}, {text}", n) >= repeated(text, n) / 2
    if len(set(words)) == len(words):
        assert repeated(text, n) == 0


def test_language_with_its_confidence() -> None:
    pytest.importorskip("py3langid", reason="needs the extra `language`")
    rows = seeds(
        {"prompt": "The weather is fine today, and we will walk in the park with the children after lunch."},
        {"prompt": "Das Wetter ist heute schön, und wir gehen nach dem Mittagessen mit den Kindern im Park spazieren."},
        {"prompt": "12 + 30 = 42"},
    )
    found = measured(rows, "language", texts=["prompt"])
    assert found["language_prompt"] == ["en", "de", None]
    assert all(0.5 < s <= 1 for s in found["language_prompt_sure"][:2]) and found["language_prompt_sure"][2] == 0


def test_tokens_of_a_text_and_of_what_a_trainer_reads(tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="needs the extra `train`")
    from tiny import tiny_llama
    from transformers import AutoTokenizer

    folder = tiny_llama(tmp_path / "model")
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    rows = reasoned({"prompt": "Grüße", "response": None}, {"prompt": "abc"})
    found = measured(rows, "tokens", "example_tokens", texts=["prompt", "response"], model=str(folder))
    assert found["tokens_prompt"] == [len("Grüße".encode()), 3], "a byte is a token here"
    assert found["tokens_response"] == [None, None]
    guard = load_guard("guardreasoner")
    for row, n in zip(rows.iter_rows(named=True), found["example_tokens"], strict=True):
        talk = [{"role": "user", "content": render_input(guard, row)}, {"role": "assistant", "content": row["reasoning"]}]
        assert n == len(tokenizer.apply_chat_template(talk, return_dict=True)["input_ids"])
    loud = "{% if loud %}!!{% endif %}{% for m in messages %}{{ m.content }}{% endfor %}"
    options = {"model": str(folder), "chat_template": loud}
    quiet = measured(rows, "example_tokens", **options)["example_tokens"]
    figures = measured(rows, "example_tokens", **options, chat_template_kwargs={"loud": True})["example_tokens"]
    assert [n - m for n, m in zip(figures, quiet, strict=True)] == [2, 2], "the template's arguments count as they do in training"
    plain = TokenCounter(str(folder), tmp_path).examples([("ab", "cd")], chat=False)
    assert plain == [len(tokenizer("abcd" + tokenizer.eos_token)["input_ids"])]


def test_the_tokenizer_counts_in_the_fingerprint_and_the_weights_do_not(tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="needs the extra `train`")
    from tiny import tiny_llama

    one, retrained = tiny_llama(tmp_path / "one"), tiny_llama(tmp_path / "two", seed=1)
    other = tiny_llama(tmp_path / "three", template="{{ messages[0]['content'] }}")
    assert sha256_file(one / "model.safetensors") != sha256_file(retrained / "model.safetensors")
    assert tokenizer_hash(one) == tokenizer_hash(retrained) != tokenizer_hash(other)


def test_what_cannot_be_measured_is_refused() -> None:
    with pytest.raises(InputErrors, match="give `model`"):
        toolkit.apply("measure", reasoned({}), measures=["tokens"])
    with pytest.raises(toolkit.GuardkitError, match="holds"):
        toolkit.apply("measure", reasoned({}), measures=["chars"], texts=["categories"])
    with pytest.raises(toolkit.GuardkitError, match="no such model folder"):
        toolkit.apply("measure", reasoned({}), measures=["tokens"], model="./not-there")


# Thresholds apart from measures -----------------------------------------------------------------------------------------

STEPS: list[dict[str, Any]] = [
    {"id": "seeds", "use": "load", "with": {"source": "quickstart"}},
    {"id": "some", "use": "select", "with": {"share": 0.15}},
    {"id": "reasoning", "use": "synthesise", "with": {"backend": {"backend": "template"}}},
    {"id": "valid", "use": "validate"},
    {"id": "measured", "use": "measure"},
    {"id": "chosen", "use": "select", "with": {"at_most": {"steps": 5, "copied_prompt": 0.9}, "at_least": {"words_reasoning": 10}}},
    {"id": "rows", "use": "render_sft"},
    {"id": "shards", "use": "shards"},
]


def test_moving_a_threshold_makes_anew_only_what_follows_and_every_dropped_row_keeps_its_values(tmp_path: Path) -> None:
    before = run_steps(tmp_path, STEPS)
    made = {s: done.digest() for s, done in before.items()}
    times = (tmp_path / "out" / "run" / "measured" / "rows" / "rows.parquet").stat().st_mtime_ns
    middle: Any = rows_of(before["measured"])["chars_reasoning"].median()
    steps = [*STEPS]
    steps[5] = {"id": "chosen", "use": "select", "with": {"at_most": {"chars_reasoning": middle}}}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump({"recipe": "small", "seed": 5, "steps": steps}, sort_keys=False))
    run = toolkit.run(tmp_path / "recipe.yaml", output=tmp_path / "out" / "run")
    assert set(run.built) == {"chosen", "rows", "shards"}, "nothing is asked, validated or measured again"
    assert (tmp_path / "out" / "run" / "measured" / "rows" / "rows.parquet").stat().st_mtime_ns == times
    after = toolkit.read_run(run.folder)
    assert {s: d.digest() for s, d in after.items() if s not in ("chosen", "rows", "shards")} == {
        s: d for s, d in made.items() if s not in ("chosen", "rows", "shards")
    }
    gone = rejects(run.folder, "chosen", limit=1000)
    measured: dict[str, dict[str, Any]] = {r["id"]: r for r in rows_of(after["measured"]).iter_rows(named=True)}
    over = {i for i, r in measured.items() if r["chars_reasoning"] > middle}
    assert over and {line["id"] for line in gone["shown"]} == over
    for line in gone["shown"]:
        values = measured[line["id"]]
        assert line["detail"] == f"chars_reasoning is {values['chars_reasoning']}, wanted at most {middle:g}"
        assert line["row"]["repeated_reasoning"] == values["repeated_reasoning"] and line["row"]["reasoning"] == values["reasoning"]
    assert after["shards"].manifest["stats"]["rows"] == len(measured) - len(over)
