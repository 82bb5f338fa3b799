"""`guardkit generate`: prompts in, completions out, in order; what was answered is never asked again, and nothing half-written stays."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from commands import CHECKOUT, Result
from server import Server, answer, running

Cli = Callable[..., Result]


@pytest.fixture
def server() -> Iterator[Server]:
    with running(Server()) as s:
        yield s


def prompts(path: Path, n: int) -> Path:
    path.write_text("".join(json.dumps({"id": i, "system": "be brief", "user": f"question {i}"}) + "\n" for i in range(n)))
    return path


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def ask(cli: Cli, server: Server, source: Path, *more: object) -> Result:
    return cli("generate", "--base-url", server.base_url, "--model", "m", "--input", source, "--output", "out.jsonl", "--work", "w", *more)


def test_every_prompt_has_its_answer_in_order(cli: Cli, server: Server, tmp_path: Path) -> None:
    result = ask(cli, server, prompts(tmp_path / "in.jsonl", 300), "--concurrency", 16, "--json")
    assert result.code == 0
    assert [(r["id"], r["content"]) for r in rows(tmp_path / "out.jsonl")] == [(i, answer(f"question {i}", 0)) for i in range(300)]
    assert server.requests[0]["messages"][0] == {"role": "system", "content": "be brief"}
    found = json.loads(result.out)
    assert {k: found[k] for k in ("rows", "answered", "failed", "asked", "from_journal")} == {
        "rows": 300,
        "answered": 300,
        "failed": 0,
        "asked": 300,
        "from_journal": 0,
    }


def test_a_folder_of_files_is_one_list_of_prompts(cli: Cli, server: Server, tmp_path: Path) -> None:
    """In the order of their names; a file in it that holds no prompts is named, and so is an output in a folder that is read."""
    folder = tmp_path / "in"
    folder.mkdir()
    prompts(folder / "a.jsonl", 3)
    pq.write_table(pa.table({"id": ["x", "y"], "user": ["one", "two"]}), folder / "b.parquet")
    result = ask(cli, server, folder, "--json")
    assert result.code == 0 and result.json["rows"] == 5, result.err
    assert [r["id"] for r in rows(tmp_path / "out.jsonl")] == [0, 1, 2, "x", "y"]
    result = cli("generate", "--base-url", server.base_url, "--model", "m", "--input", "in", "--output", "in/c.jsonl", "--work", "w")
    assert result.code == 2 and "would take the place of what this command reads" in result.err
    (folder / "b.parquet").rename(folder / "b.csv")
    result = ask(cli, server, folder)
    assert result.code == 2 and "in/b.csv" in result.err and "prompts are JSON Lines or parquet" in result.err
    (tmp_path / "empty").mkdir()
    assert "no parquet, JSON or CSV file in this folder" in ask(cli, server, tmp_path / "empty").err


def test_run_again_it_asks_only_what_is_missing_and_writes_the_same_bytes(cli: Cli, server: Server, tmp_path: Path) -> None:
    source = prompts(tmp_path / "in.jsonl", 50)
    server.faults = {"question 7": ["400"]}
    result = ask(cli, server, source)
    assert result.code == 1
    assert "1 of 50 prompts failed: bad_request 1" in result.err
    assert "failed, bad_request: 1 (HTTP 400: no, for" in result.out, "in the server's words"
    whole = rows(tmp_path / "out.jsonl")
    assert [r["id"] for r in whole if r["content"] is None] == [7]
    assert whole[7]["error"] == "bad_request"
    assert ask(cli, server, source).code == 0
    first = (tmp_path / "out.jsonl").read_bytes()
    assert server.asked["question 7"] == 2
    assert all(server.asked[f"question {i}"] == 1 for i in range(50) if i != 7)
    assert ask(cli, server, source).code == 0
    assert (tmp_path / "out.jsonl").read_bytes() == first
    assert len(server.requests) == 51


def test_a_model_s_own_refusal_is_named_and_not_paid_twice(cli: Cli, server: Server, tmp_path: Path) -> None:
    source = prompts(tmp_path / "in.jsonl", 4)
    server.faults = {"question 1": ["refusal"], "question 2": ["filter"], "question 3": ["empty"]}
    for _ in range(2):
        assert ask(cli, server, source, "--failures", 1).code == 0
        assert [r["error"] for r in rows(tmp_path / "out.jsonl")] == [None, "refused", "content_filter", "empty"]
    assert len(server.requests) == 4


def test_parquet_in_and_out(cli: Cli, server: Server, tmp_path: Path) -> None:
    messages = [[{"role": "user", "content": f"question {i}"}] for i in range(5)]
    pq.write_table(pa.table({"id": [f"r{i}" for i in range(5)], "messages": messages, "other": [1.5] * 5}), tmp_path / "in.parquet")
    options = ("--base-url", server.base_url, "--model", "m", "--work", "w", "--input", tmp_path / "in.parquet", "--output", "out.parquet")
    assert cli("generate", *options).code == 0
    out = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert [(r["id"], r["content"], r["prompt_tokens"]) for r in out] == [(f"r{i}", answer(f"question {i}", 0), 7) for i in range(5)]


FAULTS = {
    '{"id": 1, "user": "x"': "not JSON",
    '{"user": "x"}': "the key 'id' is missing",
    '{"id": true, "user": "x"}': "the key 'id' must be a text or a whole number",
    '{"id": 1}': "the key 'messages' (or 'user') is missing",
    '{"id": 1, "user": 5}': "the key 'user' must be a text",
    '{"id": 1, "messages": []}': "'messages' must be a list",
    '{"id": 1, "messages": [{"role": "tool", "content": "x"}]}': "messages[0] must have a role",
    '{"id": 1, "messages": [{"role": "user", "content": "x"}], "user": "y"}': "either 'messages'",
    "[1]": "expected an object",
    "[" * 100_000: "n",
}


def test_all_faults_of_the_input_are_named_by_line_before_anything_is_asked(cli: Cli, server: Server, tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text('{"id": 0, "user": "fine"}\n\n' + "".join(line + "\n" for line in FAULTS))
    result = ask(cli, server, source)
    assert result.code == 2
    for number, words in enumerate(FAULTS.values(), 3):
        assert f"in.jsonl:{number}: {words}" in result.err
    assert not server.requests
    assert not (tmp_path / "out.jsonl").exists()


def test_the_budget_is_hard_and_the_run_resumes(cli: Cli, server: Server, tmp_path: Path) -> None:
    source = prompts(tmp_path / "in.jsonl", 40)
    price = ("--price", "1000000,1000000", "--max-tokens", 3)  # a dollar a token: 10 an answer
    result = ask(cli, server, source, "--budget", 400, *price)
    assert result.code == 3
    assert "the budget of $400.00 is used up" in result.err
    assert "every answer is kept" in result.err
    assert not (tmp_path / "out.jsonl").exists()
    spent = 10 * len(server.requests)
    assert 0 < spent <= 400
    assert not list(tmp_path.glob(".out*"))
    result = ask(cli, server, source, "--budget", 10_000, *price, "--json")
    assert result.code == 0
    assert len(server.requests) == 40  # nothing was paid for twice
    assert json.loads(result.out)["cost"] == 400 - spent


def test_a_request_that_the_budget_has_no_more_room_for_stops_the_run(cli: Cli, server: Server, tmp_path: Path) -> None:
    """An attempt that was lost may have been charged for; another does not fit: that is no failed prompt, but the end of the budget."""
    server.faults = {f"question {i}": ["hang"] * 9 for i in range(3)}
    price = ("--price", "0,1000000", "--max-tokens", 3)  # 3 dollars an attempt
    result = ask(cli, server, prompts(tmp_path / "in.jsonl", 3), "--budget", 10, *price, "--timeout", 0.2, "--failures", 1)
    assert result.code == 3
    assert "the budget of $10.00 is used up: $9.00 spent" in result.err
    assert len(server.requests) == 3
    assert not (tmp_path / "out.jsonl").exists()


@pytest.mark.parametrize("budget", ["inf", "nan", "-1"])
def test_a_budget_is_a_number(cli: Cli, server: Server, tmp_path: Path, budget: str) -> None:
    result = ask(cli, server, prompts(tmp_path / "in.jsonl", 1), "--budget", budget, "--price", "1,1")
    assert result.code == 2
    assert "Traceback" not in result.err
    assert not server.requests


def test_an_output_that_cannot_be_one_is_refused(cli: Cli, server: Server, tmp_path: Path) -> None:
    source = prompts(tmp_path / "in.jsonl", 1)
    os.mkfifo(tmp_path / "pipe")
    wrong = {
        source: "would take the place of what this command reads",
        tmp_path: "a folder, or no regular file",
        tmp_path / "pipe": "a folder, or no regular file",
        source / "out.jsonl": "would take the place of what this command reads",
        tmp_path / ("x" * 300): "cannot be written",
    }
    before = source.read_bytes()
    for output, words in wrong.items():
        result = cli("generate", "--base-url", server.base_url, "--model", "m", "--input", source, "--output", output, "--work", "w")
        assert result.code == 2, output
        assert words in result.err
    assert source.read_bytes() == before


def test_a_link_is_followed(cli: Cli, server: Server, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "out.jsonl").symlink_to(tmp_path / "real" / "target.jsonl")
    assert ask(cli, server, prompts(tmp_path / "in.jsonl", 2)).code == 0
    assert (tmp_path / "out.jsonl").is_symlink()
    assert len(rows(tmp_path / "real" / "target.jsonl")) == 2


def test_two_runs_do_not_write_one_output(cli: Cli, server: Server, tmp_path: Path) -> None:
    server.latency = 3.0
    source = prompts(tmp_path / "in.jsonl", 2)
    where = ["--input", source, "--output", tmp_path / "out.jsonl", "--work", tmp_path / "first"]
    command = [sys.executable, "-m", "toolkit", "generate", "--base-url", server.base_url, "--model", "m", *map(str, where)]
    first = subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not server.requests:
        time.sleep(0.05)
    result = ask(cli, server, source)
    assert result.code == 2
    assert "another process is writing this file" in result.err
    assert first.wait(60) == 0
    assert len(rows(tmp_path / "out.jsonl")) == 2


def test_ids_of_any_size_come_back(cli: Cli, server: Server, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text(f'{{"id": {2**70}, "user": "x"}}\n{{"id": -3, "user": "y"}}\n')
    assert ask(cli, server, tmp_path / "in.jsonl").code == 0
    assert [r["id"] for r in rows(tmp_path / "out.jsonl")] == [2**70, -3]


def test_a_budget_without_a_price_is_refused(cli: Cli, server: Server, tmp_path: Path) -> None:
    result = ask(cli, server, prompts(tmp_path / "in.jsonl", 3), "--budget", 5)
    assert result.code == 2
    assert "a budget needs a price" in result.err
    assert not server.requests


def test_killed_again_and_again_it_ends_with_the_same_output(tmp_path: Path) -> None:
    """kill -9 at random moments: what was answered before is not asked again, but what was in flight at each kill."""
    n, in_flight, kills = 1500, 32, 5
    source = prompts(tmp_path / "in.jsonl", n)
    with running(Server(latency=0.02)) as server:
        options = ["--base-url", server.base_url, "--model", "m", "--input", str(source), "--concurrency", str(in_flight)]

        def start(name: str) -> subprocess.Popen[bytes]:
            where = ["--output", str(tmp_path / f"{name}.jsonl"), "--work", str(tmp_path / name)]
            command = [sys.executable, "-m", "toolkit", "generate", *options, *where]
            return subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ)

        assert start("whole").wait(120) == 0
        undisturbed = len(server.requests)
        assert undisturbed == n
        killed = 0
        for _ in range(kills):
            before = len(server.requests)
            process = start("killed")
            goal = before + random.randint(1, n // kills)
            while len(server.requests) < goal and process.poll() is None:
                time.sleep(0.005)
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
                killed += 1
            process.wait()
        assert killed
        assert start("killed").wait(120) == 0
        assert (tmp_path / "killed.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
        assert n <= len(server.requests) - undisturbed <= n + killed * in_flight
