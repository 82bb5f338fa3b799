"""The openai-batch backend against a real server on this machine, through the engine and a real journal: what becomes of rows and batches."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from batch_server import BatchServer, answer, billed_once, config, folders, run, running, texts
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.common.errors import InputError, Missing, Stopped
from toolkit.generation import FAILURES, Completion, Journal, Meter, OpenAIConfig, Price, Request, build_request, complete, open_backend

SECRET = "sk-very-secret-0123456789"  # noqa: S105


@pytest.fixture
def server() -> Iterator[BatchServer]:
    with running(BatchServer()) as s:
        yield s
    assert s.problems == []


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("toolkit.generation.backends._http.FIRST_WAIT", 0.01)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def test_rows_come_back_in_order_from_three_batches(server: BatchServer, tmp_path: Path) -> None:
    out = run(config(server, batch_requests=10), texts(25), tmp_path)
    assert [c.text for c in out] == [answer(t) for t in texts(25)]
    assert {(c.finish, c.model, c.prompt_tokens, c.completion_tokens, c.lost) for c in out} == {("stop", "served-m", 7, 3, 0)}
    assert server.sizes() == [10, 10, 5]
    assert folders(tmp_path) == []
    again = run(config(server), texts(25), tmp_path)
    assert [c.text for c in again] == [c.text for c in out]
    assert len(server.batches) == 3
    assert billed_once(server, texts(25))


def test_a_file_stays_within_its_megabytes(server: BatchServer, tmp_path: Path) -> None:
    rows = [f"{i} " + "long " * 1000 for i in range(10)]
    out = run(config(server, batch_megabytes=0.016), [*rows, "x" * 20_000], tmp_path)
    assert [c.error for c in out] == [None] * 10 + ["bad_request"]
    assert all(len(server.files[b["input_file_id"]]) <= 16_000 for b in server.batches.values())
    assert server.sizes() == [3, 3, 3, 1]


def test_a_line_is_the_request_and_its_key_the_synchronous_ones(server: BatchServer, tmp_path: Path) -> None:
    more = {"temperature": 0.5, "stop": ["END"], "extra": {"reasoning_effort": "low"}, "max_tokens_name": "max_completion_tokens"}
    c = config(server, **more)
    run(c, ["line\u2028break \U0001f600"], tmp_path)
    backend = open_backend(c, work=tmp_path)
    request = build_request(backend, c, [{"role": "user", "content": "line\u2028break \U0001f600"}])
    [line] = server.rows(server.batches["batch_0"])
    assert line == {"custom_id": request.key, "method": "POST", "url": "/v1/chat/completions", "body": request.payload()}
    assert all(ord(ch) < 128 for ch in server.files["file-0"].decode())
    there = OpenAIConfig.model_validate({"backend": "openai", "model": "m", "base_url": server.base_url, **more})
    sync: Any = open_backend(there)
    assert build_request(sync, there, request.messages_list()).key == request.key
    with Journal(tmp_path) as journal:
        [found] = complete([build_request(sync, there, request.messages_list())], sync, journal)
    assert found.text == answer("line\u2028break \U0001f600")


@pytest.mark.parametrize(
    ("fault", "tries", "error", "lost"),
    [
        ("500", 1, None, 0),
        ("500", 9, "server_error", 0),
        ("429", 2, None, 0),
        ("429", 9, "rate_limit", 0),
        ("zero", 1, None, 0),
        ("missing", 1, None, 1),
        ("missing", 9, "unanswered", 2),
        ("torn", 1, None, 1),
        ("shape", 2, None, 2),
        ("shape", 9, "malformed", 3),
        ("400", 1, "bad_request", 0),
        ("403", 1, "forbidden", 0),
        ("filter", 1, "content_filter", 0),
        ("refusal", 1, "refused", 0),
        ("empty", 1, "empty", 0),
    ],
)
def test_what_becomes_of_one_row(server: BatchServer, tmp_path: Path, fault: str, tries: int, error: str | None, lost: int) -> None:
    server.faults["t3"] = [fault] * tries
    out = run(config(server), texts(6), tmp_path)
    assert [c.error for c in out] == [None, None, None, error, None, None]
    assert out[3].lost == lost
    assert all(server.billed[t] == 1 for t in texts(6) if t != "t3")
    assert server.sizes() == [6] + [1] * (min(tries, 2) if error is None or tries == 9 else 0)
    assert folders(tmp_path) == []
    made = len(server.batches)
    second = run(config(server), texts(6), tmp_path)
    final = error in (None, "content_filter", "refused", "empty")
    assert len(server.batches) == made if final else len(server.batches) > made
    assert second[3].error == (error if final else None if tries < 9 else error)


def test_an_expired_batch_keeps_what_was_finished(server: BatchServer, tmp_path: Path) -> None:
    server.plans = ["expired:3", "expired:2"]
    out = run(config(server), texts(8), tmp_path)
    assert [c.text for c in out] == [answer(t) for t in texts(8)]
    assert server.sizes() == [8, 5, 3]
    assert billed_once(server, texts(8))


def test_what_always_expires_fails_by_name(server: BatchServer, tmp_path: Path) -> None:
    server.plans = ["expired:1"] * 9
    out = run(config(server), texts(6), tmp_path)
    assert [c.error for c in out] == [None] * 3 + ["expired"] * 3
    assert server.sizes() == [6, 5, 4]


def test_what_somebody_cancelled_is_left_to_the_next_run(server: BatchServer, tmp_path: Path) -> None:
    server.plans = ["cancelled:4"]
    out = run(config(server), texts(6), tmp_path)
    assert [c.error for c in out] == [None] * 4 + ["expired"] * 2
    assert server.sizes() == [6]
    assert all(c.ok for c in run(config(server), texts(6), tmp_path))
    assert server.sizes() == [6, 2]
    assert billed_once(server, texts(6))


def test_a_batch_without_result_files(server: BatchServer, tmp_path: Path) -> None:
    server.plans = ["nothing", "gone", "late"]
    out = run(config(server), texts(5), tmp_path)
    assert [(c.text, c.lost) for c in out] == [(answer(t), 2) for t in texts(5)]
    assert server.sizes() == [5, 5, 5]


@pytest.mark.parametrize("code", ["model_not_found", "empty_file", "invalid_json_line"])
def test_an_invalid_batch_is_named(server: BatchServer, tmp_path: Path, code: str) -> None:
    server.plans = [code]
    with pytest.raises(InputError, match=code):
        run(config(server), texts(5), tmp_path)
    assert folders(tmp_path) == []
    assert all(c.ok for c in run(config(server), texts(5), tmp_path))


def test_an_invalid_line_does_not_take_the_others_along(server: BatchServer, tmp_path: Path) -> None:
    server.plans = ["invalid_request@2"]
    out = run(config(server), ["a", "b", "c", "\ud800"], tmp_path)
    assert [c.error for c in out] == [None, "bad_request", None, "bad_request"]
    assert "invalid_request" in (out[1].detail or "")
    assert billed_once(server, ["a", "c"])


@pytest.mark.parametrize(("most", "most_in_one"), [(12, 10), (4, 2)])
def test_enqueued_tokens_hold_batches_back(server: BatchServer, tmp_path: Path, most: int, most_in_one: int) -> None:
    server.max_rows = most
    out = run(config(server, batch_requests=10), texts(25), tmp_path)
    assert [c.text for c in out] == [answer(t) for t in texts(25)]
    assert max(server.sizes()) == most_in_one
    assert billed_once(server, texts(25))
    assert len(server.names) == len(set(server.names.values()))  # a batch that waits is not uploaded again


def test_tokens_refused_at_once_hold_back_as_well(server: BatchServer, tmp_path: Path) -> None:
    server.http = ["", "429/token_limit_exceeded", "400/token_limit_exceeded"]
    assert all(c.ok for c in run(config(server), ["one"], tmp_path))
    assert len(server.names) == 1


@pytest.mark.parametrize("fault", ["500", "429", "408", "reset"])
@pytest.mark.parametrize("when", ["http", "after"])
def test_http_faults_make_no_second_batch(server: BatchServer, tmp_path: Path, fault: str, when: str) -> None:
    for call in range(7):  # upload, create, four looks, download
        setattr(server, when, ["", "", *[""] * call, fault] if call else ["", fault, fault])
        rows = [f"{call}-{i}" for i in range(3)]
        assert [c.text for c in run(config(server), rows, tmp_path)] == [answer(r) for r in rows]
    assert set(server.billed.values()) == {1}
    assert len(server.batches) == 7


def test_a_file_that_breaks_off_is_read_again(server: BatchServer, tmp_path: Path) -> None:
    server.after = ["cut", "cut"]
    assert all(c.ok for c in run(config(server), texts(50), tmp_path))
    assert len(server.batches) == 1


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [("401", Missing, "MY_KEY"), ("403", Missing, "MY_KEY"), ("404", InputError, "Batch API"), ("429/insufficient_quota", Stopped, "quota")],
)
@pytest.mark.parametrize("call", [0, 1])
def test_what_no_batch_survives_ends_the_run(
    server: BatchServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, error: type[Exception], words: str, call: int
) -> None:
    monkeypatch.setenv("MY_KEY", SECRET)
    server.http = [""] * call + [fault]
    with pytest.raises(error, match=words) as e:
        run(config(server, api_key_env="MY_KEY"), texts(3), tmp_path)
    assert SECRET not in str(e.value)
    assert all(c.ok for c in run(config(server, api_key_env="MY_KEY"), texts(3), tmp_path))
    assert len(server.batches) == 1
    assert folders(tmp_path) == []


def test_money_that_runs_out_inside_a_batch_stops_and_keeps_the_rest(server: BatchServer, tmp_path: Path) -> None:
    server.faults["quota"] = ["429"]
    with pytest.raises(Stopped, match="quota"):
        run(config(server), ["a", "quota", "b"], tmp_path)
    assert all(c.ok for c in run(config(server), ["a", "quota", "b"], tmp_path))
    assert billed_once(server, ["a", "quota", "b"])


def test_a_server_that_is_not_there_and_a_folder_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(Missing, match="cannot reach"):
        run(config(None, base_url="http://127.0.0.1:9/v1"), ["t"], tmp_path)
    with pytest.raises(InputError, match="folder"):
        list(open_backend(config(None, base_url="http://127.0.0.1:9/v1")).generate(iter([])))
    with pytest.raises(Missing, match="OPENAI_API_KEY is not set"):
        open_backend(config(None), work=tmp_path)


def test_rows_that_are_asked_again_in_place_go_into_further_batches(server: BatchServer, tmp_path: Path) -> None:
    def again(index: int, request: Request, completion: Completion, trail: tuple[Completion, ...]) -> Request | None:
        return replace(request, attempt=request.attempt + 1) if index % 2 and request.attempt < 2 else None

    out = run(config(server, batch_requests=4), texts(10), tmp_path, follow=again)
    assert [(c.text, len(c.trail)) for c in out] == [(answer(t), 2 * (i % 2)) for i, t in enumerate(texts(10))]
    assert sum(server.billed.values()) == 20
    assert folders(tmp_path) == []


def test_an_attempt_that_may_have_cost_something_is_repeated_only_within_the_budget(server: BatchServer, tmp_path: Path) -> None:
    c = config(server, max_tokens=1000, price={"input": 1.0, "output": 1000.0})
    server.faults["t0"] = ["missing"]
    meter = Meter({("e", "m"): Price(input=1.0, output=1000.0)}, cap=1.5)  # one attempt costs a dollar at most
    c = c.model_copy(update={"endpoint": "e"})
    with pytest.raises(Stopped, match="the budget of"):
        run(c, ["t0"], tmp_path, meter=meter)
    assert len(server.batches) == 1
    assert 1.0 < meter.spent <= 1.5


@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_whatever_happens_each_row_ends_by_name_and_is_paid_for_once(data: st.DataObject) -> None:
    rows = texts(data.draw(st.integers(1, 14)))
    with running(BatchServer()) as server, tempfile.TemporaryDirectory() as folder:
        plan = st.sampled_from(["ok", "ok", "expired:2", "cancelled:1", "late", "invalid_request@1"])
        server.plans = data.draw(st.lists(plan, max_size=6))
        fault = st.lists(st.sampled_from(["500", "429", "400", "filter", "empty", "zero"]), max_size=3)
        server.faults = {t: data.draw(fault) for t in rows}
        server.max_rows = data.draw(st.sampled_from([None, 3, 8]))
        server.after = data.draw(st.lists(st.sampled_from(["", "", "500", "reset"]), max_size=8))
        more = {"batch_requests": data.draw(st.integers(1, 6)), "retries": data.draw(st.integers(0, 3)), "poll": 0.005}
        for _ in range(20):
            try:
                out = run(config(server, **more), rows, Path(folder))
            except Missing:  # its very first calls were all reset: the endpoint was never reached
                continue
            assert len(out) == len(rows)
            assert all(c.text == answer(t) or (c.error in FAILURES and c.error != "unanswered") for t, c in zip(rows, out, strict=True))
            assert max(server.billed.values(), default=0) <= 1
            assert folders(Path(folder)) == []
            if all(c.final for c in out):
                break
        else:
            raise AssertionError([c.error for c in out])
