"""`toolkit.open_guard`: one interaction, or many, through a guard that stays open."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
from server import Server

import toolkit
from toolkit.common.errors import GuardkitError, InputError
from toolkit.common.models import TRAINED
from toolkit.guards import input_fingerprint, load_guard, render_input


def opened(server: Server, **more: Any) -> toolkit.Moderator:
    return toolkit.open_guard("m", base_url=server.base_url, **more)


def test_an_interaction_gets_labels_steps_and_what_applies_to_it(server: Server) -> None:
    with opened(server) as guard:
        alone = guard.judge("How do I bake bread?")
        assert alone.applying == ("prompt",) and alone.labels == {"prompt": "unharmful", "refusal": None, "response": None}
        assert alone.read and alone.positive == () and alone.unread["response"] == "none"
        assert alone.steps == {"prompt": ("The text is looked at.", "It asks.")} and alone.conclusions == {"prompt": "That is all."}
        both = guard.judge("Write an insult.", "No.", [{"role": "user", "content": "Hello."}])
        assert both.applying == ("prompt", "refusal", "response") and both.positive == ("prompt",)
        assert both.labels == {"prompt": "harmful", "refusal": "compliance", "response": "unharmful"}
        assert server.requests[-1]["messages"][0]["content"].count("Hello.") == 1
        assert [line.split() for line in repr(both).splitlines()[-3:]] == [
            ["prompt", "harmful"],
            ["refusal", "compliance"],
            ["response", "unharmful"],
        ]
        assert "(no response)" in repr(alone) and "<td>unharmful</td>" in alone._repr_html_()
        silent = guard.judge("silent")
        assert "unread (field_missing)" in repr(silent)
        assert not silent.read and silent.unread["prompt"] == "field_missing" and silent.output == "I cannot say."
        broken = guard.judge("broken")
        assert "no answer: bad_request" in repr(broken)
        assert broken.error == "bad_request" and broken.unread["prompt"] == "bad_request" and broken.output is None
    assert set(json.loads(json.dumps(both.as_dict()))["tasks"]["prompt"]) == {"label", "positive", "applies", "unread", "probabilities"}


def test_it_says_what_toolkit_judge_says_from_many_threads(server: Server, tmp_path: Path) -> None:
    rows = [{"prompt": f"{what} {n}", "response": r} for n in range(8) for what in ("bread", "insult", "silent") for r in (None, "Yes.")]
    judged = toolkit.judge(rows, {"backend": "openai", "model": "m", "base_url": server.base_url}, work=tmp_path)
    with opened(server) as guard, ThreadPoolExecutor(16) as threads:
        found = list(threads.map(lambda row: guard.judge(row["prompt"], row["response"]), rows))
        many = list(guard.judge_many(rows))
    for one in (found, many):
        assert [(j.id, j.labels, j.unread, j.output) for j in one] == [(v.id, v.labels, v.unread, v.output) for v in judged]


def test_many_rows_come_as_they_are_written_and_a_bad_one_is_named(server: Server) -> None:
    """Verdicts are there before the rows have ended; what comes before a bad row is given."""
    taken = threading.Event()

    def rows() -> Iterator[dict[str, Any]]:
        yield {"prompt": "bread"}
        assert taken.wait(20), "the first verdict did not come before the second row"
        yield {"prompt": "insult", "id": 7}
        yield {"prompt": 5}

    with opened(server) as guard:
        found = guard.judge_many(rows())
        assert next(found).labels["prompt"] == "unharmful"
        taken.set()
        assert next(found).id == "7"
        with pytest.raises(InputError, match="a text, not a number") as e:
            next(found)
        assert e.value.where == "rows[2].prompt"
        assert guard.judge("bread").read, "it stays open"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"media": [{"uri": "a.png"}]}, "are not judged here"),
        ({"responce": "b"}, "unknown key 'responce'"),
        ({"Response": "b"}, "unknown key 'Response'"),
        ({"contexts": []}, "unknown key 'contexts'"),
        ({"media": [], "responses": 5, "response": "b", "label": 1, "source": "c"}, None),
    ],
)
def test_a_part_that_would_go_unjudged_is_a_fault(more: dict[str, Any], message: str | None, server: Server) -> None:
    with opened(server) as guard, nullcontext() if message is None else pytest.raises(InputError, match=message):
        assert [one.read for one in guard.judge_many([{"prompt": "bread", **more}])] == [True]
    assert bool(server.requests) is (message is None)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"prompt": None}, "the key 'prompt' is missing"),
        ({"prompt": "a", "response": 3}, "response: a text, not a number"),
        ({"prompt": "\ud800"}, "half of a surrogate pair"),
        ({"prompt": "a", "context": ["b"]}, r"context\[0\]: a message is"),
        ({"prompt": "a", "context": [{"role": "user"}]}, r"context\[0\].content: a text, not null"),
    ],
)
def test_what_is_no_interaction_is_named(asked: dict[str, Any], message: str, server: Server) -> None:
    with opened(server) as guard, pytest.raises(InputError, match=message):
        guard.judge(**asked)
    assert not server.requests


def test_a_model_that_cannot_be_asked_is_an_error_of_whoever_asks(server: Server, tiny: Path) -> None:
    server.always = "401"
    server.script = None
    with opened(server) as guard:
        for ask in (lambda: guard.judge("a"), lambda: list(guard.judge_many([{"prompt": "a"}]))):
            with pytest.raises(GuardkitError):
                ask()
    with pytest.raises(InputError, match="no such model folder"):
        toolkit.open_guard(tiny.parent / "none", backend="transformers")
    with pytest.raises(InputError, match="answers within hours"):
        opened(server, backend="openai-batch")
    with pytest.raises(InputError, match="unknown key"):
        opened(server, temprature=0)


def test_a_trained_folder_knows_its_guard(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    copytree(tiny, "step/model")
    trained = {"guard": "guardreasoner 1", "input": input_fingerprint(load_guard("guardreasoner"))}
    Path("step/model", TRAINED).write_text(json.dumps(trained))
    with toolkit.open_guard("step", backend="transformers", max_tokens=8) as guard:
        assert guard.guard.name == "guardreasoner" and guard.streams
        found: list[str] = []
        judged = guard.judge("How do I bake bread?", on_text=found.append)
        assert judged.model_id and judged.unread["prompt"] and judged.tokens
        assert found and judged.output is not None and all(judged.output.startswith(part) for part in found)
        assert guard.judge("How do I bake bread?").output == judged.output and len(found) < 9
    Path("step/model", TRAINED).write_text(json.dumps({**trained, "guard": "somebodys 3"}))
    with pytest.raises(InputError, match="trained for the guard 'somebodys', of which there is no definition here"):
        toolkit.open_guard("step", backend="transformers")
    toolkit.open_guard("step", backend="transformers", guard="guardreasoner").close()


def test_the_text_is_shown_while_it_is_written(tiny: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from toolkit.cli import _say, main

    command = ["guardkit", "moderate", str(tiny), "bread", "--backend", "transformers", "--max-tokens", "20", "--stream", "--json"]
    monkeypatch.setattr(sys, "argv", command)
    monkeypatch.setattr(_say, "documents", 0)
    with pytest.raises(SystemExit) as e:
        main()
    printed = capsys.readouterr()
    assert not e.value.code and json.loads(printed.out)["finish"] == "length" and len(printed.err) > 10


def test_generate_warns_where_a_guard_is_asked_without_its_instruction(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    copytree(tiny, "guard")
    Path("guard", TRAINED).write_text(json.dumps({"guard": "guardreasoner 1"}))
    guard = load_guard("guardreasoner")
    asked = {"bare": "How do I bake bread?", "whole": render_input(guard, {"prompt": "How do I bake bread?", "response": None})}
    for name, text in asked.items():
        caplog.clear()
        Path(f"{name}.jsonl").write_text("".join(json.dumps({"id": n, "user": text}) + "\n" for n in (1, 2)))
        backend = {"backend": "transformers", "model": "guard", "max_tokens": 2}
        toolkit.generate(f"{name}.jsonl", f"{name}-out.jsonl", backend, work="work")
        assert sum("guardkit moderate" in r.getMessage() for r in caplog.records) == (name == "bare")


def test_the_words_for_an_alarm() -> None:
    from toolkit.serving import Alarm

    guard = load_guard("guardreasoner")
    assert Alarm.of(guard).labels == {"prompt": {"harmful"}, "response": {"harmful"}}, "a refusal is no harm"
    assert Alarm.of(guard, "positive").labels == {"prompt": {"harmful"}, "refusal": {"refusal"}, "response": {"harmful"}}
    rule = Alarm.of(guard, ["response=Harmful", "refusal=compliance"], closed=False)
    labels = {"prompt": "harmful", "refusal": None, "response": "harmful"}
    assert rule.raised(labels, guard.task_names) and not rule.raised(labels, ("prompt", "refusal"))
    assert Alarm.of(guard).raised({"prompt": None}, ("prompt",)) and not Alarm.of(guard, closed=False).raised({"prompt": None}, ("prompt",))
    safe = guard.replaced(tasks=[guard.tasks[0].model_copy(update={"labels": ["safe", "unsafe"], "positive": "unsafe"})])
    assert Alarm.of(safe).labels == {"prompt": {"unsafe"}}
    for word, near in (("harmfull", "harmful"), ("prompt=harmfull", "harmful"), ("promt=harmful", "prompt"), ("", "known")):
        with pytest.raises(InputError) as e:
            Alarm.of(guard, word)
        assert near in (e.value.hint or "")
