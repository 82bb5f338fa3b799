"""The page of a review: labels by forms, each decision on the disk, nothing from another page, nothing of the data obeyed."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2 as httpx
import polars as pl
import pytest

import toolkit
from toolkit.reviewing import Review, read_log
from toolkit.viewing import ReviewPages, _review_page

HOSTILE = '<script>alert(1)</script>\u202e"\x1b[31m\x00' + "x" * 30_000


@pytest.fixture
def review(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Review]:
    monkeypatch.chdir(tmp_path)
    ids = ["r0", 'a"><b>\n\x00', "r2"]
    pl.DataFrame({"id": ids, "prompt": HOSTILE, "label_prompt": "harmful", "label_prompt_source": "human"}).write_parquet("rows.parquet")
    with toolkit.review("rows.parquet", reviewer="anna") as opened:
        yield opened


@pytest.fixture
def client(review: Review) -> Iterator[httpx.Client]:
    with toolkit.view("rows.parquet", port=0, review=review) as viewer:
        with httpx.Client(base_url=viewer.url, follow_redirects=True, headers={"origin": viewer.url}) as opened:
            assert str(opened.get(viewer.address).url) == f"{viewer.url}/review", "the address opens the page of the review"
            yield opened
        viewer.stop(at_once=True)


def sent(client: httpx.Client, page: str, decision: str, **more: str) -> httpx.Response:
    """What a button of a page's form leads to."""
    fields = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', page))
    return client.post("/review", data={**fields, "decision": decision, **more})


def test_decisions_are_made_by_forms_and_are_on_the_disk_before_the_next_label(client: httpx.Client, review: Review) -> None:
    page = client.get("/review").text
    assert "3 left for anna" in page and 'data-key="1"' in page and "harmful or unharmful" in page
    page = sent(client, page, "unharmful", note="a <question>").text
    assert [(d.id, d.decision, d.note) for d in read_log(Path("rows.parquet.review/decisions/anna.jsonl"))] == [("r0", "unharmful", "a <question>")]
    page = sent(client, page, "skip").text
    assert "<dt>row</dt><dd>r2" in page and "2 left" in page
    page = sent(client, page, "drop").text
    assert "1 left" in page and "\\x00" in page, "what was skipped comes again"
    page = sent(client, page, "undo").text
    page = sent(client, page, "unsure").text
    page = sent(client, page, "keep").text
    assert "Nothing is left for you" in page and "3 of 3 labels are decided" in page and "--export decisions.csv" in page
    assert {line["id"] for line in review.settled()} == {"r0", 'a"><b>\n\x00', "r2"}
    assert "1 of 1" not in sent(client, page, "undo").text and len(review.left()) == 1


def test_text_is_hidden_until_it_is_asked_for_and_is_never_markup(client: httpx.Client) -> None:
    found = client.get("/review")
    assert "<script>alert" not in found.text and "&lt;script&gt;" in found.text and "\\u202e" in found.text and "\u202e" not in found.text
    assert re.search(r'<details class="harm"><summary><span class="quiet">hidden: 30,0\d\d characters</span></summary>', found.text)
    assert found.text.count("x" * 1000) < 21 and not re.search(r"<script(?! src=\"/static/)| style=| on\w+=", found.text)
    assert client.get("/static/review.js").status_code == 200
    assert "to the note" in client.get("/review/instructions").text


def test_what_another_page_sends_decides_nothing(client: httpx.Client, review: Review) -> None:
    page = client.get("/review").text
    assert client.post("/review", data={"decision": "drop"}).status_code == 422, "without the form's word"
    assert sent(client, page, "drop", word="guessed").status_code == 422
    assert client.post("/review", content=b"x" * 100_000).status_code == 422
    fields = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', page)) | {"decision": "drop"}
    assert client.post("/review", data=fields, headers={"origin": "http://evil.example"}).status_code == 403
    assert review.figures()["decided"] == 0


def test_a_form_that_does_not_come_holds_nobody_up(client: httpx.Client, review: Review, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_review_page, "_SLOW", 1.0)
    page = client.get("/review").text
    cookie = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
    head = f"POST /review HTTP/1.1\r\nHost: {client.base_url.netloc.decode()}\r\nOrigin: {client.headers['origin']}\r\nCookie: {cookie}\r\n"
    head += "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 500\r\n\r\nword="
    with socket.create_connection((client.base_url.host, client.base_url.port or 0), timeout=10) as slow:
        slow.sendall(head.encode())
        time.sleep(0.2)
        assert "2 left for anna" in sent(client, page, "keep").text, "another form is read meanwhile"
        assert b" 422 " in slow.recv(64), "the slow one is given up"
    assert client.post("/review", data={f"field{n}": "" for n in range(1000)}).status_code == 422
    assert review.figures()["decided"] == 1


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"decision": "maybe"}, "unknown decision"),
        ({"decision": "drop", "at": "99"}, "no such label in the queue"),
        ({"decision": "drop", "label": "unharmful"}, "has changed since"),
    ],
)
def test_a_decision_that_cannot_be_says_why_and_keeps_the_note(fields: dict[str, str], message: str, client: httpx.Client) -> None:
    answer = sent(client, client.get("/review").text, note="thought long about it", **fields)
    assert answer.status_code == 422 and message in answer.text and 'value="thought long about it"' in answer.text


def test_how_much_is_shown_is_a_setting(review: Review) -> None:
    pages = ReviewPages(review, "all").pages()
    assert [(p.path, p.methods) for p in pages] == [("/review", ("GET", "POST")), ("/review/instructions", ("GET",))]
    with toolkit.view("rows.parquet", port=0, review=review, shown="start") as viewer:
        with httpx.Client(base_url=viewer.url, follow_redirects=True) as client:
            client.get(viewer.address)
            summary = re.findall(r"<summary>(.*?)</summary>", client.get("/review").text)[0]
            assert "alert(1)" in summary and "xxx" in summary and "x" * 100 not in summary
        viewer.stop(at_once=True)
