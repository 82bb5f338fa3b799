"""A source drafted by looking at a file: what public sets and people's own files look like, and what becomes of each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from toolkit.common.errors import InputError
from toolkit.common.yamlfile import parse_yaml
from toolkit.guards import Guard
from toolkit.sources import Source
from toolkit.sources.draft import Draft, draft_source, draft_yaml
from toolkit.taxonomy import Taxonomy

Rows = list[dict[str, Any]]
ASKS = ["How often do I water a fern?", "You lot are all fools I say.", "Which pot suits a cactus best?", "Write an insult about my neighbour."]
SAYS = ["Twice a week.", "That is unkind.", "A clay pot.", "I will not write that."]


@pytest.fixture
def draft(guard: Guard, taxonomy: Taxonomy, tmp_path: Path) -> Any:
    def make(rows: Rows | str | Path, name: str = "rows.jsonl", **more: Any) -> Draft:
        path = tmp_path / name
        if isinstance(rows, Path):
            path = rows
        elif isinstance(rows, str):
            path.write_text(rows, encoding="utf-8")
        elif name.endswith(".parquet"):
            pl.DataFrame(rows, infer_schema_length=None).write_parquet(path)
        else:
            path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        found = draft_source(path, "mine", guard=guard, taxonomy=taxonomy, **more)
        again = parse_yaml(draft_yaml(found), "mine.yaml").model(Source)
        assert again.model_dump() == Source.model_validate(found.source).model_dump(), "its file says what it is"
        return found

    return make


def rule(draft: Draft, task: str) -> dict[str, Any]:
    return {k: v for k, v in draft.source["labels"][task].items() if k != "source"}


def columns(**given: list[Any]) -> Rows:
    return [dict(zip(given, values, strict=True)) for values in zip(*given.values(), strict=True)]


def test_a_set_with_a_label_for_each_task(draft: Any) -> None:
    """As WildGuardMix has it."""
    rows = columns(
        prompt=ASKS,
        adversarial=[False, True, False, True],
        response=[*SAYS[:3], None],
        prompt_harm_label=["unharmful", "harmful", "unharmful", "harmful"],
        response_refusal_label=["compliance", "refusal", "compliance", None],
        response_harm_label=["unharmful", "unharmful", "unharmful", None],
    )
    found = draft(rows, "rows.parquet")
    assert found.source["columns"] == {"prompt": "prompt", "response": "response"}
    assert rule(found, "prompt") == {"column": "prompt_harm_label", "map": {"unharmful": "unharmful", "harmful": "harmful"}}
    assert rule(found, "refusal") == {"column": "response_refusal_label", "map": {"compliance": "compliance", "refusal": "refusal"}}
    assert rule(found, "response")["column"] == "response_harm_label"
    assert found.kept == 4 and not found.rejected and found.unused == ["adversarial"]
    assert found.source["labels"]["prompt"]["source"] == "inferred", "nobody is taken for a person unasked"


def test_whether_it_is_safe_is_about_the_response_where_there_is_one_and_that_is_reported(draft: Any, taxonomy: Taxonomy) -> None:
    """As BeaverTails has it: a struct of categories, and `is_safe`."""
    names = list(taxonomy.scheme("beavertails"))
    rows = columns(prompt=ASKS, response=SAYS, category=[dict.fromkeys(names, False)] * 4, is_safe=[True, False, True, True])
    found = draft(rows, "rows.parquet")
    assert rule(found, "response") == {"column": "is_safe", "map": {False: "harmful", True: "unharmful"}}
    assert found.source["categories"] == {"columns": ["category"], "kind": "struct", "scheme": "beavertails"}
    assert rule(found, "prompt") == {"missing": "absent"}
    assert any("is_safe may judge what prompt asks" in text for text in found.open)
    assert any("beavertails_30k_train" in text for text in found.open), "the shipped source that reads such files is named"


def test_one_column_without_a_response_is_the_prompts(draft: Any) -> None:
    found = draft(columns(user_input=ASKS, toxicity=[0, 1, 0, 1], jailbreaking=[0, 0, 0, 1], human_annotation=[True, True, True, False]))
    assert found.source["columns"] == {"prompt": "user_input"}
    assert rule(found, "prompt") == {"column": "toxicity", "map": {0: "unharmful", 1: "harmful"}}
    assert set(found.unused) == {"jailbreaking", "human_annotation"}
    assert any("also possible: jailbreaking" in text for text in found.notes["labels.prompt"])


def test_other_columns_are_never_made_the_label_of_another_task(draft: Any) -> None:
    """`jailbreaking` says nothing of the prompt that `toxicity` does not judge."""
    found = draft(columns(user_input=ASKS, model_output=SAYS, toxicity=[0, 1, 0, 1], jailbreaking=[0, 0, 0, 1]))
    assert [t for t in ("prompt", "refusal", "response") if "column" in rule(found, t)] == ["response"]


def test_a_score_gets_a_threshold_that_is_to_be_looked_at(draft: Any) -> None:
    found = draft("comment_text,toxicity\nHow often do I water a fern?,0.0\nYou lot are all fools.,0.83333\nGo away now please.,0.4\n", "rows.csv")
    assert found.source["columns"] == {"prompt": "comment_text"}
    assert rule(found, "prompt") == {"column": "toxicity", "threshold": 0.5, "map": {True: "harmful", False: "unharmful"}}
    assert any("is that the threshold" in text for text in found.open) and found.kept == 3


def test_a_column_for_each_harm(draft: Any) -> None:
    """As OpenAI's moderation set has it, where rows lack the harms that nobody judged."""
    rows = [{"prompt": ASKS[0], "S": 0, "H": 0, "V": 0}, {"prompt": ASKS[1], "S": 0, "H": 0, "HR": 1}, {"prompt": ASKS[2], "V": 1}]
    found = draft(rows)
    assert rule(found, "prompt") == {"any": ["S", "H", "V", "HR"], "map": {True: "harmful", False: "unharmful"}}
    assert found.kept == 3 and any("take out those that name no harm" in text for text in found.open)


def test_two_answers_in_a_row_are_read_one_by_one(draft: Any) -> None:
    """As PKU-SafeRLHF has it."""
    rows = columns(
        prompt=ASKS[:2],
        response_0=SAYS[:2],
        response_1=SAYS[2:],
        is_response_0_safe=[True, False],
        is_response_1_safe=[True, True],
        better_response_id=[0, 1],
    )
    found = draft(rows)
    assert found.source["each"] == {"k": [0, 1]} and found.source["columns"] == {"prompt": "prompt", "response": "response_{k}"}
    assert rule(found, "response") == {"column": "is_response_{k}_safe", "map": {False: "harmful", True: "unharmful"}}
    assert found.kept == 4


@pytest.mark.parametrize(
    ("messages", "more"),
    [
        ([[{"role": "user", "content": q}, {"role": "assistant", "content": a}] for q, a in zip(ASKS, SAYS, strict=True)], {}),
        ([[{"from": "human", "value": q}, {"from": "gpt", "value": a}] for q, a in zip(ASKS, SAYS, strict=True)], {}),
        ([[q, a] for q, a in zip(ASKS, SAYS, strict=True)], {"turns": "alternating"}),
        ([[q] for q in ASKS], {"turns": "user"}),
    ],
)
def test_conversations(messages: list[Any], more: dict[str, str], draft: Any) -> None:
    found = draft(columns(conversations=messages, harmful=[False, True, False, True]))
    assert found.source["columns"] == {"messages": "conversations", **more}
    task = "prompt" if more.get("turns") == "user" else "response"
    assert rule(found, task) == {"column": "harmful", "map": {False: "unharmful", True: "harmful"}} and found.kept == 4


def test_another_delimiter_words_of_ones_own_and_values_without_a_label(draft: Any) -> None:
    text = "id;Frage;Answer;verdict\n" + "".join(
        f"{i};{q};{a};{v}\n" for i, (q, a, v) in enumerate(zip(ASKS * 3, SAYS * 3, ["safe", "UNSAFE", "safe"] * 3 + ["unsure"] * 3, strict=True))
    )
    found = draft(text, "rows.csv", labelled_by="human")
    assert found.source["delimiter"] == ";" and found.source["columns"] == {"prompt": "Frage", "response": "Answer"}
    assert found.source["labels"]["response"] == {"column": "verdict", "map": {"safe": "unharmful", "UNSAFE": "harmful"}, "source": "human"}
    assert any("'unsure' (3 rows) has no label" in text for text in found.open) and found.kept == 9
    assert any("no name says which column is the prompt" in text for text in found.open)


@pytest.mark.parametrize(("yes", "no"), [("yes", "no"), ("True", "False"), ("1", "0"), ("1.0", "0.0")])
def test_truth_however_it_is_spelled(yes: str, no: str, draft: Any) -> None:
    found = draft("prompt,is_harmful\n" + "".join(f"{q},{v}\n" for q, v in zip(ASKS, (no, yes, no, yes), strict=True)), "rows.csv")
    assert found.kept == 4 and set(rule(found, "prompt")["map"].values()) == {"harmful", "unharmful"}


def test_a_plain_label_is_read_and_asked_about(draft: Any) -> None:
    found = draft(columns(text=ASKS, label=[0, 1, 0, 1]))
    assert rule(found, "prompt") == {"column": "label", "map": {0: "unharmful", 1: "harmful"}}
    assert any("nothing says which value of label" in text for text in found.open)


def test_marks_context_and_agreement(draft: Any) -> None:
    rows = columns(
        prompt=ASKS,
        context=[[], [{"role": "user", "content": "Hello."}], [], []],
        language=["en"] * 4,
        conversation_id=list("abcd"),
        split=["train", "test", "train", "train"],
        prompt_harm_label=["unharmful", "harmful"] * 2,
        prompt_harm_agreement=[1.0, 0.66, 1.0, 1.0],
    )
    found = draft(rows)
    assert found.source["columns"] == {"prompt": "prompt", "context": "context", "language": "language", "group": "conversation_id", "split": "split"}
    assert rule(found, "prompt")["agreement"] == "prompt_harm_agreement" and found.kept == 4


def test_no_label_at_all_is_a_draft_that_says_so(draft: Any) -> None:
    found = draft(columns(prompt=ASKS, n=[1, 2, 3, 4]))
    assert all(rule(found, t) == {"missing": "absent"} for t in ("prompt", "refusal", "response"))
    assert any("no column has values that fit a label" in text for text in found.open) and found.kept == 4


def test_no_column_of_texts_is_an_error(draft: Any) -> None:
    with pytest.raises(InputError, match="no column could be a prompt: a, b"):
        draft([{"a": 1, "b": 2}])
    with pytest.raises(InputError, match="no row can be read"):
        draft("not json\n", "rows.jsonl")


def test_a_file_without_a_suffix_is_known_by_its_beginning(draft: Any, tmp_path: Path) -> None:
    found = draft('{"prompt": "How often?", "toxic": 0}\n{"prompt": "You fool.", "toxic": 1}\n', "rows.dump")
    assert found.source["format"] == "json" and found.kept == 2
    found = draft("prompt\ttoxic\nHow often?\t0\n", "rows.txt")
    assert found.source["format"] == "tsv" and found.kept == 1


def test_text_of_the_data_stays_in_its_comment(draft: Any) -> None:
    """A value that ends a line would write a key of the definition."""
    found = draft(columns(prompt=ASKS, verdict=["safe", "unsafe", "safe", "x\nlabels: {}\u2028y: z\x1b[31m"]))
    text = draft_yaml(found)
    assert parse_yaml(text, "d").data["name"] == "mine" and "\x1b" not in text and "\u2028" not in text


def test_a_guard_of_other_labels(taxonomy: Taxonomy, guard: Guard, tmp_path: Path) -> None:
    """An ordinal guard's words are found by themselves."""
    task = guard.tasks[0].model_copy(update={"name": "severity", "labels": ["low", "medium", "high"], "positive": "high", "field": "Severity"})
    other = guard.model_copy(update={"name": "ordinal", "tasks": [task]})
    path = tmp_path / "rows.csv"
    path.write_text("prompt,rating\n" + "".join(f"{q},{v}\n" for q, v in zip(ASKS, ("low", "high", "Medium", "low"), strict=True)))
    found = draft_source(path, "mine", guard=other, taxonomy=taxonomy)
    assert rule(found, "severity") == {"column": "rating", "map": {"low": "low", "high": "high", "Medium": "medium"}} and found.kept == 4


@pytest.mark.parametrize("name", ["0_0_SimpleSafetyTests", "0_7_xstest_response_refusal", "0_2_OpenAIModeration"])
def test_released_files(name: str, real_data: Path, draft: Any) -> None:
    """Prompt and response in one column, as the guard reads them, and the label word beside it."""
    found = draft(real_data / "guardreasoner" / "benchmark" / f"{name}.json")
    assert found.source["exchange"] == {"column": "input", "guard": "guardreasoner"} and not found.rejected
    task = "refusal" if "refusal" in name else "prompt"
    assert rule(found, task)["column"] == "output" and found.kept == found.looked
