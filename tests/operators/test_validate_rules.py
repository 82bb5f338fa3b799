"""Each rule of `validate` on a text that fails it and on one that looks like it and is sound, on real outputs, and its options."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from frames import TASKS, reasons
from tiny import tiny_llama

import toolkit
from toolkit.guards import Guard, Reasoning, load_guard, render_output
from toolkit.operators.reason._rule_limits import BASIC, RULES, STANDARD, Limits
from toolkit.operators.reason._rules import all_faults, check_reasoning
from toolkit.operators.reason._stated_verdicts import readers

GUARD = load_guard("guardreasoner")
FILES = Path(__file__).parents[1] / "guards" / "files"
THINK, BOXED = load_guard(str(FILES / "think.yaml")), load_guard(str(FILES / "boxed.yaml"))
LABELS: dict[str, str | None] = {"prompt": "unharmful", "refusal": "compliance", "response": "unharmful"}
STEPS = {
    "prompt": ["The user asks how long tomato seeds take to sprout.", "Growing vegetables at home is an everyday hobby."],
    "refusal": ["The assistant names a number of days and a soil temperature.", "It gives what was asked for and holds nothing back."],
    "response": ["The answer is a plain fact about plants.", "Nobody is hurt by knowing it."],
}
ENDS = {"prompt": "The request is unharmful.", "refusal": "The response is compliance.", "response": "The response is unharmful."}


def text(labels: dict[str, str | None] = LABELS, **changes: Any) -> str:
    """A sound text; `<task>` as a list changes its steps, `<task>_end` its conclusion (None: no conclusion)."""
    stated = {t: Reasoning(changes.get(t, STEPS[t]), changes.get(f"{t}_end", ENDS[t]) or "\0") for t in GUARD.task_names}
    return render_output(GUARD, stated, labels).replace("## Conclusion\n\0\n\n", "")


def row(reasoning: str | None, labels: dict[str, str | None] = LABELS, **more: Any) -> dict[str, Any]:
    out: dict[str, Any] = {
        "reasoning": reasoning,
        "reasoning_finish": "stop",
        "prompt": "How long do tomato seeds take?",
        "response": "About a week.",
    }
    for task, label in labels.items():
        out |= {f"label_{task}": label, f"label_{task}_source": "human" if label else "absent"}
    return out | more


def found(
    reasoning: str | None, rules: Sequence[str] = RULES, limits: Limits | None = None, labels: dict[str, str | None] = LABELS, **more: Any
) -> list[str]:
    """Codes of all faults."""
    return [code for code, _ in all_faults(GUARD, row(reasoning, labels, **more), rules, limits or Limits())]


def test_a_sound_text_passes_every_rule() -> None:
    assert found(text()) == []
    assert found(text(prompt_end=None, refusal_end=None, response_end=None)) == [], "a conclusion need not be"


# The sound ones look like the faulty ones -----------------------------------------------------------------------------

SORRY = "I'm sorry, but I can't help with that."
LONG = "The user asks how long tomato seeds take to sprout in a cold room"


@pytest.mark.parametrize(
    ("code", "faulty", "sound"),
    [
        ("teacher_refused", SORRY, text(refusal=[f'The assistant says "{SORRY}"', "It would be a refusal, but then it goes on and answers."])),
        ("teacher_refused", text(prompt=["I cannot assist with judging this exchange.", "It is not for me."]), text(prompt=["The user writes: I cannot sleep.", "It is an everyday worry."])),
        ("teacher_refused", text(response=[SORRY]), text(response=["The assistant apologises: I'm sorry, the first number was wrong.", "Then it corrects it."])),
        ("step_repeated", text(prompt=["The same.", "the same."]), text(prompt=["It asks one thing.", "It asks nothing else."])),
        ("conclusion_contradicts", text(prompt_end="The request is harmful."), text(prompt_end="The request is not harmful.")),
        ("conclusion_contradicts", text(prompt_end="Therefore, the human user's request is considered harmful, as it asks for seeds."), text(prompt_end="Whether the request is harmful or unharmful is easy to say.")),
        ("conclusion_contradicts", text(refusal_end="The response is a refusal."), text(refusal_end="The response is not a refusal.")),
        ("conclusion_contradicts", text(refusal_end="Refusal."), text(refusal_end="**Compliance**")),
        ("conclusion_contradicts", text(response_end=None, response=["It is about plants.", "Since it helps, the response is harmful."]), text(response_end=None, response=["It is about plants.", "If it told of poison, the response is harmful."])),
        ("conclusion_contradicts", text(response_end="The response is not unharmful."), text(response_end="The response is neither harmful nor unharmful.")),
        ("conclusion_contradicts", text({**LABELS, "refusal": None}), text({**LABELS, "refusal": None}, refusal_end="There is nothing to judge.")),
        ("scaffold", text(prompt=["The ground truth is that it is mild.", "So it stays."]), text(prompt=["It is true to the ground.", "So it stays where it is."])),
        ("scaffold", text(prompt=["The given labels say so.", "So it stays."]), text(prompt=["The seed packet has a label.", "It is printed in green."])),
        ("control_character", text(prompt=["A bell\x07 rings in it.", "It is about seeds."]), text(prompt=["A tab\tstands in it.", "It is about seeds."])),
        ("cut_off", text()[:230], text()[: text().index("\n\n# Task 3")]),
        ("cut_off", text().replace("Completion: compliance\nResponse: unharmful", "Compl"), text().replace("Completion: compliance", "Completion: something else")),
        ("run_of_characters", text(prompt=["It asks for seeds" + "." * 80, "It is mild."]), text(prompt=["It asks for seeds...", "See https://example.org/seeds/tomato/of/many/kinds/and/colours."])),
        ("run_of_characters", text(prompt=["haha" * 20, "It is mild."]), text(prompt=["hahaha, it says.", "It is mild."])),
        ("ngram_repeated", text(prompt=[" ".join([f"{LONG} so it says."] * 8), "It is mild."]), text(prompt=[f"{LONG}.", f"{LONG}, and why."])),
        ("ngram_repeated", text(prompt=["seeds and " * 40, "It is mild."]), text(prompt=["seeds and " * 3, "It is mild."])),
        ("sections_endless", text().replace("---", "".join(f"# Task {n}\n\n## Reasoning Step 1\nNumber {n} is {n}.\n\n" for n in range(4, 12)) + "---"), text().replace("---", "# Task 4\n\n## Reasoning Step 1\nOne more.\n\n---")),
        ("step_short", text(prompt=["Fine.", "It is about seeds."]), text(prompt=["It is mild.", "It is about seeds."])),
        ("step_long", text(prompt=["seed " * 500, "It is mild."]), text(prompt=["".join(f"seed {n} " for n in range(100)), "It is mild."])),
        ("step_similar", text(prompt=[f"{LONG}.", f"{LONG} too."]), text(prompt=[f"{LONG}.", "The user asks how much water tomato plants need in a warm room"])),
        ("prompt_copied", None, None),
        ("verdict_foreign", text(refusal_end="The response is unharmful.", refusal=["It gives a number.", "It is about plants."]), text(refusal_end="The response is compliance and therefore unharmful.")),
        ("verdict_foreign", text(prompt_end="The request is a refusal."), text(prompt_end="The request asks for seeds.")),
        ("label_first", text(prompt=["The request is unharmful.", "It asks for seeds."]), text(prompt=["The request is unharmful because it asks for seeds alone.", "That is all."])),
        ("label_first", text(refusal=["Determine what the response is. The response is compliance.", "It gives a number."]), text(refusal=["Determine whether the response is compliance.", "The response gives a number of days."])),
        ("label_told", text(prompt=["It asks for seeds.", "Since the answer is unharmful, this is fine."]), text(prompt=["It asks for seeds.", "Since the answer is short, this is fine."])),
        ("label_told", text(prompt=["It asks for seeds.", "According to the correct label, this is fine."]), text(prompt=["It asks for seeds.", "According to the label on the packet, this is fine."])),
    ],
)  # fmt: skip
def test_a_faulty_text_is_found_and_one_that_looks_like_it_is_not(code: str, faulty: str | None, sound: str | None) -> None:
    labels = LABELS if faulty is None or "Completion: None" not in faulty else {**LABELS, "refusal": None}
    if faulty is None:
        prompt = " ".join(f"word{n} of the prompt" for n in range(30))
        assert code in found(text(prompt=[prompt, "It is mild."]), prompt=prompt)
        assert code not in found(text(prompt=[f'The user asks: "{prompt[:90]}" and more.', "It is mild."]), prompt=prompt)
        assert code not in found(text(prompt=[prompt, "It is mild."])), "the same words, of another row's prompt"
        return
    assert code in found(faulty, labels=labels), found(faulty, labels=labels)
    assert code not in found(sound, labels=labels)


def test_a_conclusion_is_asked_for_where_the_recipe_says_so() -> None:
    some = text(refusal_end=None)
    assert found(some, limits=Limits(conclusion="required")) == ["conclusion_missing"]
    assert found(text(), limits=Limits(conclusion="required")) == []


def test_words_that_a_recipe_forbids_are_found_in_their_task_alone() -> None:
    limits = Limits(forbidden={"prompt": ["vegetables"], "*": ["as an ai"]})
    assert found(text(), limits=limits) == ["word_forbidden"]
    assert (
        found(text(prompt=["It asks for seeds.", "A vegetable garden."], response=["It tells of vegetables.", "That is all."]), limits=limits) == []
    )
    assert found(text(response=["As an AI it tells of plants.", "That is all."]), ["words"], limits) == ["word_forbidden"]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("scaffold", "The label I was handed settles it."),
        ("scaffold", "We had been informed that the verdict is unharmful."),
        ("scaffold", "My instructions tell me what to conclude."),
        ("scaffold", "Knowing the answer, it is easy to see."),
        ("label_told", "This is consistent with the expected answer."),
        ("label_told", "It was rated unharmful by the reviewers."),
        ("label_told", "The annotation for this request says unharmful."),
        ("teacher_refused", "I'd rather not be part of this."),
        ("teacher_refused", "Taking this further goes against my guidelines."),
        ("teacher_refused", "Unable to comply with this one."),
        ("prompt_copied", "You must think step by step. It asks for seeds."),
    ],
)
def test_what_is_put_in_other_words_is_found(code: str, words: str) -> None:
    assert found(text(prompt=[words, "It asks for seeds."])) == [code] or (
        code in ("label_told", "scaffold") and code in found(text(prompt=["It asks for seeds.", words]))
    )


@pytest.mark.parametrize(
    "words",
    [
        "The answer given by the assistant names a number of days.",
        "The reply holds the correct answer to the question.",
        "We are asked to determine whether the request is harmful.",
        "The user was told that the powder is harmful.",
        "The label on the bottle says that it is harmful to fish.",
        "The answer is known to most gardeners.",
        "I cannot find any harm in it.",
        "We cannot say that anybody is hurt.",
        'We read "I can\'t help with that", a line of the story.',
        "The user writes: I'm sorry, I can't come to work.",
        "Let's look at the words of the request.",
        "The request is unharmful because it asks for seeds.",
    ],
)
def test_what_only_sounds_like_it_is_sound(words: str) -> None:
    assert found(text(prompt=[words, "It asks for seeds."])) == []


@pytest.mark.parametrize(
    "opening", ["This is unharmful.", "The answer for this task is unharmful.", "Unharmful, for the reasons below.", "We find it to be unharmful."]
)
def test_a_verdict_that_comes_with_nothing_of_the_exchange_is_given_away(opening: str) -> None:
    assert found(text(prompt=[f"{opening} It asks for seeds.", "It is an everyday hobby."])) == ["label_first"]
    assert found(text(prompt=["It asks for seeds.", opening])) == []


def test_headings_that_follow_their_steps_are_one_fault_and_the_rest_is_not_judged() -> None:
    parts = text().partition("---")
    sections = [f"# Task{s}" for s in parts[0].split("# Task")[1:]]
    turned = "".join(f"{s.partition(chr(10))[2].strip()}\n\n{s.partition(chr(10))[0]}\n\n" for s in sections)
    assert found(f"{turned}{parts[1]}{parts[2]}") == ["steps_before_heading"]


def test_reasoning_in_bullets_is_not_short() -> None:
    bullets = text().replace("## Reasoning Step 1\n", "- ").replace("## Reasoning Step 2\n", "- ")
    assert "step_count" in found(bullets) and "reasoning_short" not in found(bullets)


def test_what_is_written_about_labels_in_the_exchange_itself_is_no_scaffold() -> None:
    some = text(prompt=["The user asks how ground truth is made for a picture set.", "It is about data."])
    assert found(some) == ["scaffold"]
    assert found(some, prompt="How do I make the ground truth for my pictures?") == []


def test_what_only_follows_from_unread_answers_is_not_reported() -> None:
    assert found(text(prompt_end="The request is harmful.").replace("Request: unharmful", "Request: mild")) == ["answer_line_malformed"]


@pytest.mark.parametrize(
    ("guard", "n", "text", "label"),
    [
        (THINK, 0, "The exchange is very high.", "very high"),
        (THINK, 0, "Risk of the exchange is therefore low, as it is calm.", "low"),
        (THINK, 0, "The exchange is not low.", None),
        (THINK, 1, "The tone is not calm.", "tense"),
        (BOXED, 0, "So the request is controversial.", "controversial"),
        (BOXED, 0, "The request is unsafe-looking.", None),
        (GUARD, 0, "The request could be harmful.", None),
        (GUARD, 0, "The request is potentially harmful.", None),
        (GUARD, 0, "The request is harmful content.", None),
        (GUARD, 0, 'The user says "the request is harmful".', None),
        (GUARD, 0, "The request is harmful or unharmful.", None),
        (GUARD, 0, "If so, the request is harmful.", None),
        (GUARD, 0, "The request is harmful. The request is unharmful.", None),
        (GUARD, 0, "While the topic is dark, the request is unharmful.", "unharmful"),
        (GUARD, 1, "Conclude that the AI assistant's response is a refusal.", "refusal"),
        (GUARD, 1, "The response is a clear refusal to go on.", "refusal"),
        (GUARD, 1, "The response is in compliance with the rules.", None),
        (GUARD, 2, "Since nothing was given, its response is unharmful.", "unharmful"),
    ],
)
def test_only_a_plain_verdict_is_read_as_one(guard: Guard, n: int, text: str, label: str | None) -> None:
    assert readers(guard)[n][0].read(text) == label


@pytest.mark.parametrize("guard", [THINK, BOXED], ids=["think", "boxed"])
def test_rules_are_the_guards_own(guard: Guard) -> None:
    task = guard.tasks[0]
    good, bad = task.labels[0], task.labels[-1]
    steps = ["The words of it are about the weather and seeds.", f"So {task.subject.lower()} is {good}."]
    labels: dict[str, str | None] = {t.name: t.labels[0] for t in guard.tasks}
    stated = {
        t.name: Reasoning(steps if t is task else ["Every sentence of it is short and even."], f"{t.subject} is {t.labels[0]}.") for t in guard.tasks
    }
    if not guard.output.conclusion_heading:
        stated = {task.name: Reasoning(steps, "")}
    whole = render_output(guard, stated, labels)
    rules = [r for r in RULES if r not in ("labels", "copied")]
    assert all_faults(guard, row(whole, {}), rules) == []
    swapped = render_output(guard, stated, {**labels, task.name: bad})
    assert [c for c, _ in all_faults(guard, row(swapped, {}), rules)] == ["conclusion_contradicts"]


# Real outputs ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real(real_data: Path) -> dict[str, list[dict[str, Any]]]:
    """By model and benchmark the released outputs, with their exchange."""
    out = {}
    for file in sorted((real_data / "guardreasoner" / "predictions").glob("*/*.jsonl")):
        rows = []
        for line in file.read_text(encoding="utf-8").splitlines():
            data = json.loads(line)
            prompt, _, response = data["prompt"].partition("Human user:\n")[2].partition("\n\nAI assistant:\n")
            rows.append(row(data["predict"], dict.fromkeys(TASKS), prompt=prompt, response=response))
        out[f"{file.parent.name}/{file.stem}"] = rows
    return out


def test_real_outputs_fail_as_they_were_found_to(real: dict[str, list[dict[str, Any]]]) -> None:
    rules = [r for r in RULES if r not in ("labels", "answers")]
    codes = {name: Counter(c for r in rows for c, _ in all_faults(GUARD, r, rules)) for name, rows in real.items()}
    truth = {name: sum("The ground truth is" in r["reasoning"] for r in rows) for name, rows in real.items()}
    spec = {"8B/AegisSafetyTest": 54, "8B/HarmBenchPrompt": 15, "8B/SimpleSafetyTests": 10, "1B/HarmBenchPrompt": 13}
    assert {n: truth[n] for n in spec} == spec, "spec A.4"
    assert all(codes[name]["scaffold"] >= truth[name] for name in real)
    total = sum(codes.values(), Counter())
    assert total["teacher_refused"] == 0, "they report and quote refusals on every page"
    assert total["prompt_copied"] == total["step_similar"] == total["control_character"] == 0
    assert total["ngram_repeated"] == 2 and codes["1B/AegisSafetyTest"]["ngram_repeated"] == 1


def test_hand_checked_real_outputs(real: dict[str, list[dict[str, Any]]]) -> None:
    def found(name: str, n: int, rule: str) -> tuple[str | None, str | None]:
        result = check_reasoning(GUARD, real[name][n], [rule])
        return result["reason"], result["detail"]

    assert found("1B/AegisSafetyTest", 282, "loops")[0] == "ngram_repeated"
    assert found("1B/AegisSafetyTest", 282, "ending")[0] == "cut_off"
    assert found("1B/XSTestResponseRefusal", 331, "conclusions") == ("conclusion_contradicts", "task 3: concludes unharmful, answers harmful")
    assert found("1B/XSTestResponseRefusal", 253, "conclusions") == (
        "conclusion_contradicts",
        "task 3: the last step says unharmful, answers harmful",
    )
    assert found("8B/HarmBenchPrompt", 216, "words") == ("verdict_foreign", "task 1: concludes refusal, a label of refusal")
    assert found("3B/SimpleSafetyTests", 2, "words") == (None, None), '"is a refusal and is therefore unharmful" has its own verdict'
    assert found("8B/AegisSafetyTest", 264, "leakage") == (None, None), "its evidence is before the first heading"


# The operator ---------------------------------------------------------------------------------------------------------


def frame(*rows: dict[str, Any]) -> pl.DataFrame:
    data = [{"id": str(i), "context": [], "steps": None, **r} for i, r in enumerate(rows)]
    kinds: dict[str, Any] = {"steps": pl.Int64, "context": pl.List(pl.Struct({"role": pl.String, "content": pl.String}))}
    kinds |= {f"label_{t}": pl.String for t in TASKS} | {"reasoning": pl.String, "response": pl.String}
    return pl.DataFrame(data, schema_overrides=kinds)


def test_flags_store_all_faults_and_drop_nothing() -> None:
    bad = text(prompt=["The ground truth is mild.", "The request is unharmful."], prompt_end="The request is harmful.")
    rows = frame(row(text()), row(bad), row(None))
    kept, rest = toolkit.apply("validate", rows, faults="flag")
    assert not rest.height
    assert kept["faults"].to_list() == [[], ["conclusion_contradicts", "scaffold"], ["empty", "structure"]]
    assert kept["fault_details"].to_list()[1] == ["task 1: concludes harmful, answers unharmful", "the words 'ground truth'"]
    assert kept["steps"].to_list() == [6, 6, 0]
    kept, rest = toolkit.apply("validate", rows)
    assert reasons(rest) == {"conclusion_contradicts": 1, "empty": 1}


def test_profiles_hold_one_another() -> None:
    from toolkit.operators.reason.validate import ValidateConfig

    assert set(BASIC) < set(STANDARD) < set(RULES)
    assert ValidateConfig().chosen == STANDARD
    assert ValidateConfig(profile="strict").chosen == RULES
    assert ValidateConfig(profile="strict", languages=["en"], tokenizer="x/y").chosen == (*RULES, "budget", "language")
    assert ValidateConfig(rules=["labels", "truncated"]).chosen == ("truncated", "labels"), "in their own order"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rules": ["answers"], "profile": "strict"}, "one of them"),
        ({"rules": ["budget"]}, "needs the option tokenizer"),
        ({"rules": ["language"]}, "needs the option languages"),
        ({"languages": ["en"]}, "not applied"),
        ({"min_chars": 9000, "max_chars": 100}, "least length above the most"),
        ({"profile": "strict", "forbidden": {"promt": ["x"]}}, "no task 'promt'"),
        ({"rules": ["language"], "languages": ["klingon"]}, "unknown language"),
    ],
)
def test_options_that_do_not_fit_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(toolkit.GuardkitError, match=message):
        toolkit.apply("validate", frame(row(text())), **options)


def test_a_row_needs_the_columns_of_its_rules_alone() -> None:
    bare = pl.DataFrame({"reasoning": [text(), SORRY]})
    kept, rest = toolkit.apply("validate", bare, rules=["refusal", "answers", "structure", "steps", "loops"])
    assert kept["steps"].to_list() == [6] and reasons(rest) == {"teacher_refused": 1}
    with pytest.raises(toolkit.GuardkitError, match="reasoning_finish"):
        toolkit.apply("validate", bare)


def test_the_budget_counts_what_is_trained_on(tmp_path: Path) -> None:
    from toolkit.guards import render_input
    from toolkit.operators._tokens import TokenCounter

    folder = tiny_llama(tmp_path / "model")
    some = row(text())
    (n,) = TokenCounter(str(folder), tmp_path).examples([(render_input(GUARD, {**some, "context": []}), some["reasoning"])])
    assert n > len(some["reasoning"]) > 500, "one token a byte, input and messages too"
    options: dict[str, Any] = {"rules": ["answers", "budget"], "tokenizer": str(folder)}
    kept, rest = toolkit.apply("validate", frame(some), **options, max_tokens=n)
    assert kept.height == 1
    kept, rest = toolkit.apply("validate", frame(some, row("nothing")), **options, max_tokens=n - 1)
    assert rest["_detail"].to_list() == [f"{n} tokens, at most {n - 1}", "no_answers_block"], "what is rejected already is not counted"
    more, rest = toolkit.apply("validate", frame(some), **options, max_tokens=n - 1, faults="flag")
    assert more["faults"].to_list() == [["too_many_tokens"]]
    loud: dict[str, Any] = {"chat_template": "{% if loud %}!!{% endif %}{% for m in messages %}{{ m.content }}{% endfor %}", "max_tokens": 1}
    n, m = (
        int(toolkit.apply("validate", frame(some), **options, **loud, chat_template_kwargs=more)[1]["_detail"][0].split()[0])
        for more in ({}, {"loud": True})
    )
    assert m == n + 2, "arguments of the template count as they do in training"


def test_the_language_of_the_reasoning_is_reported() -> None:
    pytest.importorskip("py3langid")
    german = [
        "Der Nutzer fragt, wie lange Tomatensamen brauchen, bis sie in einem warmen Zimmer keimen.",
        "Das ist eine alltägliche Frage nach dem Garten, an der niemand Schaden nehmen kann.",
    ]
    other = text(prompt=german, refusal=german[::-1], response=german, prompt_end=german[0], refusal_end=german[1], response_end=german[0])
    options: dict[str, Any] = {"rules": ["answers", "language"], "languages": ["en"]}
    kept, rest = toolkit.apply("validate", frame(row(text()), row(other)), **options)
    assert kept["id"].to_list() == ["0"] and reasons(rest) == {"wrong_language": 1}
    assert "'de'" in rest["_detail"][0]
    kept, _ = toolkit.apply("validate", frame(row(other)), **{**options, "languages": ["en", "de"]})
    assert kept.height == 1
    kept, _ = toolkit.apply("validate", frame(row(other)), **options, min_language_chars=5000)
    assert kept.height == 1, "too short to tell"
