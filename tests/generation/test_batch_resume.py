"""The openai-batch backend over several runs: interrupts, changed recipes, foreign batches; and its secrets."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from batch_server import BatchServer, answer, billed_once, config, folders, interrupted, run, running, texts

from toolkit.common.errors import InputError, Missing, Stopped
from toolkit.generation import Journal, build_request, complete, open_backend

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


def test_the_key_reaches_the_server_and_nothing_else(
    server: BatchServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MY_KEY", SECRET)
    caplog.set_level(logging.DEBUG)
    server.faults["t"] = ["400"]  # the server's message repeats the key
    server.plans = ["stuck"]
    c = config(server, api_key_env="MY_KEY")
    with interrupted(server), pytest.raises(Stopped):
        run(c, ["t", "u"], tmp_path)
    stored = b"".join(p.read_bytes() for p in tmp_path.rglob("*") if p.is_file())
    server.stuck.clear()
    out = run(c, ["t", "u"], tmp_path)
    assert server.headers[0]["Authorization"] == f"Bearer {SECRET}"
    assert "***" in (out[0].detail or "")
    stored += b"".join(p.read_bytes() for p in tmp_path.rglob("*") if p.is_file())
    assert SECRET not in repr(out) + caplog.text
    assert SECRET.encode() not in stored


def test_an_interrupt_leaves_the_batches_to_a_later_run(server: BatchServer, tmp_path: Path) -> None:
    server.plans = ["ok", "stuck"]
    notes: list[str] = []
    with Journal(tmp_path) as journal:
        c = config(server, batch_requests=4)
        backend: Any = open_backend(c, work=tmp_path)
        requests = [build_request(backend, c, [{"role": "user", "content": t}]) for t in texts(8)]
        with interrupted(server, lambda: notes.append(backend.note)), pytest.raises(Stopped, match="1 batch with 4 requests under way") as e:
            list(complete(requests, backend, journal))
        backend.close()
        assert len(journal.get([r.key for r in requests])) == 4
    assert "picks them up" in str(e.value)
    assert notes == ["1 batch: 2 of 4 requests done"]
    assert backend.note == ""
    server.stuck.clear()
    assert [c.text for c in run(config(server, batch_requests=4), texts(8), tmp_path)] == [answer(t) for t in texts(8)]
    assert server.sizes() == [4, 4]
    assert folders(tmp_path) == []


def test_answers_that_nobody_asks_for_any_more_get_into_the_journal(server: BatchServer, tmp_path: Path) -> None:
    server.plans = ["stuck"]
    with interrupted(server), pytest.raises(Stopped):
        run(config(server), texts(150), tmp_path)
    server.stuck.clear()
    server.faults["t7"] = ["500"]
    run(config(server), ["t3", "other"], tmp_path)  # most of the first recipe's rows are gone
    assert folders(tmp_path) == []
    assert [len(server.rows(b)) for b in server.batches.values()] == [150, 1]
    out = run(config(server), texts(150), tmp_path)
    assert [c.text for c in out] == [answer(t) for t in texts(150)]
    assert server.sizes() == [150, 1, 1]  # only what had failed was asked again
    assert billed_once(server, [*texts(150), "other"])


def test_rows_of_a_batch_may_be_asked_in_several_sessions(server: BatchServer, tmp_path: Path) -> None:
    server.plans = ["stuck"]
    with interrupted(server), pytest.raises(Stopped):
        run(config(server), texts(6), tmp_path)
    server.stuck.clear()
    c = config(server)
    backend: Any = open_backend(c, work=tmp_path)
    requests = [build_request(backend, c, [{"role": "user", "content": t}]) for t in texts(6)]
    with Journal(tmp_path) as journal:
        backend.journal = journal
        out = [c for part in (requests[:2], requests[2:5]) for c in backend.generate(iter(part)) if c is not None]
        assert {c.text for c in out} == {answer(t) for t in texts(5)}
        backend.close()
        assert journal.get([requests[5].key])[requests[5].key].text == answer("t5")
    assert (server.sizes(), folders(tmp_path)) == ([6], [])


def test_another_models_batches_are_left_alone(server: BatchServer, tmp_path: Path) -> None:
    server.plans = ["stuck"]
    with interrupted(server), pytest.raises(Stopped):
        run(config(server), texts(3), tmp_path)
    left, looks = folders(tmp_path), server.looks["batch_0"]
    assert all(c.ok for c in run(config(server, model="other"), texts(3), tmp_path))
    assert (folders(tmp_path), server.looks["batch_0"]) == (left, looks)


def test_a_batch_that_the_endpoint_does_not_know_is_not_paid_for_again(server: BatchServer, tmp_path: Path) -> None:
    server.plans = ["stuck"]
    with interrupted(server), pytest.raises(Stopped):
        run(config(server), texts(3), tmp_path)
    kept = server.batches.pop("batch_0")
    with pytest.raises(InputError, match="another project"):
        run(config(server), texts(3), tmp_path)
    assert all(c.ok for c in run(config(server), ["new"], tmp_path))  # others are not held up by it
    server.batches["batch_0"] = kept
    server.stuck.clear()
    server.plan["batch_0"] = "ok"
    assert all(c.ok for c in run(config(server), texts(3), tmp_path))
    assert billed_once(server, [*texts(3), "new"])


def test_a_start_that_fails_keeps_no_batch_from_the_next_one(server: BatchServer, tmp_path: Path) -> None:
    server.plans = ["stuck", "stuck"]
    with interrupted(server), pytest.raises(Stopped, match="2 batches with 4 requests"):
        run(config(server, batch_requests=2), texts(4), tmp_path)
    server.stuck.clear()
    state = tmp_path / "batches" / folders(tmp_path)[0] / "state.json"
    state.write_text(state.read_text().replace('"created"', '"uploaded"').replace('"batch":"batch_0"', '"batch":""'))
    server.http = ["401"]
    with pytest.raises(Missing):
        run(config(server), texts(4), tmp_path)
    assert all(c.ok for c in run(config(server), texts(4), tmp_path))
    assert server.sizes() == [2, 2]
    state.parent.mkdir()
    state.write_text("{")
    with pytest.raises(InputError, match="cannot be read"):
        run(config(server), ["other"], tmp_path)


def test_a_second_writer_is_refused(server: BatchServer, tmp_path: Path) -> None:
    with Journal(tmp_path), pytest.raises(InputError, match="in use by process"):
        run(config(server), texts(3), tmp_path)
    assert server.batches == {}


def test_two_backends_of_one_process_keep_out_of_each_others_batches(server: BatchServer, tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        c = config(server)
        one, two = open_backend(c, work=tmp_path), open_backend(c, work=tmp_path)
        first = complete((build_request(one, c, [{"role": "user", "content": f"a{i}"}]) for i in range(5)), one, journal)
        assert next(first).ok  # its batch is half given
        assert all(x.ok for x in complete((build_request(two, c, [{"role": "user", "content": f"b{i}"}]) for i in range(5)), two, journal))
        assert [x.ok for x in first] == [True] * 4
        two.close()
        one.close()
    assert folders(tmp_path) == []
    assert billed_once(server, [f"{x}{i}" for x in "ab" for i in range(5)])
