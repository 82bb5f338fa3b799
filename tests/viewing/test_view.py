"""`guardkit view`: who may look, and what the pages of rows show."""

from __future__ import annotations

import json
import re
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2 as httpx
import polars as pl
import pytest

import toolkit
from toolkit.viewing import Page, Viewed, Viewer, subject_of


@contextmanager
def browser(viewer: toolkit.Viewer) -> Iterator[httpx.Client]:
    """A client that has opened the address."""
    with httpx.Client(base_url=viewer.url, follow_redirects=True) as client:
        assert client.get(viewer.address).status_code == 200
        yield client


@pytest.fixture
def file_page(viewed_file: toolkit.Viewer) -> Iterator[Callable[[str], str]]:
    with browser(viewed_file) as client:
        yield lambda address: client.get(address).text


def numbers(page: str) -> list[int]:
    """The rows that a page shows, by their numbers."""
    return [int(n) for n in re.findall(r'\?row=\d+">(\d+)</a></th>', page)]


def test_the_token_opens_once_and_a_cookie_goes_on(viewed_file: toolkit.Viewer) -> None:
    with httpx.Client(base_url=viewed_file.url) as client:
        assert client.get("/rows/rows").status_code == 401
        assert client.get("/?token=wrong").status_code == 401
        first = client.get(viewed_file.address)
        assert (first.status_code, first.headers["location"]) == (303, "/")
        assert {"HttpOnly", "SameSite=strict"} <= set(first.headers["set-cookie"].split("; "))
        assert viewed_file.token not in first.headers["set-cookie"]
        assert client.get("/rows/rows").status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "evil.example"}, 421),
        ({"host": "localhost:9000"}, 200),  # a tunnel of ssh
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
    ],
)
def test_other_names_and_origins_are_refused(viewed_file: toolkit.Viewer, headers: dict[str, str], status: int) -> None:
    with browser(viewed_file) as client:
        cookie = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
        assert client.get("/", headers={**headers, "cookie": cookie}).status_code == status


def test_nothing_can_be_sent_from_another_page(viewed_file: toolkit.Viewer) -> None:
    with browser(viewed_file) as client:
        assert client.post("/", headers={"origin": viewed_file.url}).status_code == 405
        assert client.post("/").status_code == 403
        assert client.post("/", headers={"sec-fetch-site": "cross-site"}).status_code == 403


def test_a_step_whose_manifest_is_torn_is_named_on_each_page(run: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    shutil.copytree(run, tmp_path / "run")
    with toolkit.view(tmp_path / "run", port=0) as viewer:
        with browser(viewer) as client:
            client.get(viewer.address)
            torn = tmp_path / "run" / "unique" / "manifest.json"
            torn.write_bytes(torn.read_bytes()[:100])
            for path in ("/", "/rows/seeds", "/progress", "/no-such-page"):
                answer = client.get(path)
                assert answer.status_code in (404, 422) and ("unique/manifest.json" in answer.text or path == "/no-such-page"), path
        viewer.stop(at_once=True)
    assert caplog.records == []


def test_ended_in_the_middle_of_a_page_it_says_so(many: Path, caplog: pytest.LogCaptureFixture) -> None:
    asked, ended = threading.Event(), threading.Event()

    def slow(viewed: Viewed, request: object) -> Any:
        asked.set()
        ended.wait(10)

    with Viewer(subject_of(many), port=0, pages=[Page("/slow", "Slow", slow, navigation=False)]) as viewer, browser(viewer) as client:
        client.get(viewer.address)
        with ThreadPoolExecutor(1) as apart:
            answer = apart.submit(client.get, "/slow")
            assert asked.wait(10)
            viewer.stop(at_once=True)
            assert "has been ended" in answer.result(10).text
        ended.set()
    assert caplog.records == []


def test_a_page_loads_its_own_files_and_runs_nothing_inline(viewed_run: toolkit.Viewer) -> None:
    with browser(viewed_run) as client:
        for address in (
            "/",
            "/rows/unique",
            "/row/unique?row=1",
            "/duplicates",
            "/rejects",
            "/recipe",
            "/progress",
            "/life",
            "/nowhere",
            "/rows/none",
        ):
            page = client.get(address)
            assert "default-src 'none'" in page.headers["content-security-policy"] and "unsafe" not in page.headers["content-security-policy"]
            tags = " ".join(re.findall(r"<[^>]*>", page.text))
            assert not re.search(r"<script(?! src=\"/static/)|<style| style=| on\w+=|javascript:", tags)
            for name in re.findall(r'(?:src|href)="(/static/[^"]+)"', page.text):
                assert client.get(name).status_code == 200


def test_pages_of_a_table(file_page: Callable[[str], str]) -> None:
    assert numbers(file_page("/rows/rows")) == list(range(1, 51))
    assert numbers(file_page("/rows/rows?page=6")) == list(range(251, 301))
    assert numbers(file_page("/rows/rows?page=7")) == []


@pytest.mark.parametrize(
    ("query", "first", "words"),
    [
        ("sort=n", [1, 44, 87], "300 rows"),
        ("sort=n&descending=1", [258, 215, 172], "300 rows"),
        ("column=n&operator=least&value=298", [215, 258], "2 rows of 300"),
        ("column=tags&operator=is&value=odd&sort=n&descending=1", [258, 172, 86], "150 rows of 300"),
        ("column=tags&operator=is&value=odd&column=n&operator=most&value=3", [44, 130], "2 rows of 300"),
        ("q=PROMPT+17", [18, 118, 171], "13 rows of 300"),
        ("q=%22of+17%22+row-17", [18, 171, 172], "11 rows of 300"),
        ("q=nowhere", [], "0 rows of 300"),
        ("column=prompt&operator=has&value=%5C%28", [], "0 rows of 300"),
    ],
)
def test_rows_are_filtered_sorted_and_searched(file_page: Callable[[str], str], query: str, first: list[int], words: str) -> None:
    page = file_page(f"/rows/rows?{query}")
    assert numbers(page)[:3] == first and words in " ".join(page.split())


def test_what_a_page_could_obey_is_shown(file_page: Callable[[str], str]) -> None:
    page = file_page("/row/rows?row=300")
    assert "<script>alert" not in page and "&lt;script&gt;alert(1)" in page
    assert not {"\u202e", "\x1b", "\x00"} & set(page)
    assert '<span class="hidden-character">\\u202e</span>' in page and "\\x1b" in page
    assert "x" * 4500 not in page and "All 5,0" in page
    assert "x" * 5000 in file_page("/cell/rows?row=300&of=prompt")
    assert "<script>alert" not in file_page("/rows/rows?page=6") and "<script>x" not in file_page("/rows/rows?q=%3Cscript%3Ex")


@pytest.mark.parametrize(
    ("address", "status", "words"),
    [
        ("/rows/seed", 404, "did you mean &#39;seeds&#39;?"),
        ("/rows/seeds?sort=promp", 422, "did you mean &#39;prompt&#39;?"),
        ("/rows/seeds?page=x", 422, "page: a number"),
        ("/rows/seeds?column=prompt&operator=like&value=x", 422, "no operator"),
        ("/rows/seeds?column=source_row&operator=least&value=x", 422, "is no number"),
        ("/rows/seeds?column=&operator=has&value=x", 422, "and no column"),
        ("/row/seeds?row=999", 422, "the table has 22"),
        ("/cell/seeds?row=1&of=no", 422, "no column"),
        ("/nowhere", 404, "no such page"),
    ],
)
def test_what_is_not_there_is_named(viewed_run: toolkit.Viewer, address: str, status: int, words: str) -> None:
    with browser(viewed_run) as client:
        found = client.get(address)
        assert found.status_code == status and words in found.text


@pytest.mark.parametrize(
    ("name", "text"), [("a.jsonl", '{"a": 1, "b": ["x"]}\n{"a": 22}\n{torn\n'), ("a.csv", "a,b\n1,x\n22,\n"), ("a.json", '[{"a": 1}, {"a": 22}]')]
)
def test_files_of_any_form_are_rows(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    with toolkit.view(tmp_path / name, port=0) as viewer, browser(viewer) as client:
        page = client.get("/rows/rows?column=a&operator=least&value=3").text
        assert numbers(page) == [2] and '<td dir="auto" class="number">22</td>' in page
        assert ("unreadable" in client.get("/rows/rows").text) == (name == "a.jsonl")


def test_the_life_of_a_row_of_a_file_is_shown_whatever_its_columns_hold(tmp_path: Path) -> None:
    row = {"id": "a", "context": [{"role": "user", "content": "Before."}], "prompt": [1], "completion": 5, "categories": ["privacy"], "faults": "odd"}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row) + "\n")
    pl.DataFrame({"id": ["a"], "context": [["Before."]], "prompt": [7], "faults": [2]}).write_parquet(tmp_path / "rows.parquet")
    for name in ("rows.jsonl", "rows.parquet"):
        with toolkit.view(tmp_path / name, port=0) as viewer, browser(viewer) as client:
            found = client.get("/life?id=a")
            assert found.status_code == 200 and "Before." in found.text and "What became of it" in found.text


def test_what_cannot_be_viewed_is_named(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "torn.parquet").write_text("x")
    (tmp_path / "empty").mkdir()
    for name, words in (
        ("notes.txt", "this is no file of rows"),
        ("torn.parquet", "cannot be read as parquet"),
        ("empty", "neither a run"),
        ("gone", "no such"),
    ):
        with pytest.raises(toolkit.GuardkitError, match=words):
            toolkit.view(tmp_path / name, port=0)
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(toolkit.GuardkitError, match="cannot listen"):
        toolkit.view(_file(tmp_path), port=taken.getsockname()[1])


def _file(folder: Path) -> Path:
    (folder / "rows.jsonl").write_text('{"a": 1}\n')
    return folder / "rows.jsonl"


def test_columns_of_any_kind_and_name_are_shown_sorted_and_filtered(tmp_path: Path) -> None:
    rows = pl.DataFrame(
        {
            "<script>": ["a", None],
            "number of the row": [1.0, float("nan")],
            "a&b": [b"\xff", b""],
            "when": [timedelta(days=1), None],
            "on": [date(2020, 1, 1), None],
            "deep": [{"a": [{"b": "<b>"}]}, {"a": []}],
            "nothing": pl.Series([None, None], dtype=pl.Null),
            "pair": pl.Series([[1, 2], [3, 4]], dtype=pl.Array(pl.Int64, 2)),
            "kind": pl.Series(["x", "y"], dtype=pl.Categorical),
            "items": [[], ["\x00\u202e"]],
        }
    )
    rows.write_parquet(tmp_path / "odd.parquet")
    with toolkit.view(tmp_path / "odd.parquet", port=0) as viewer, browser(viewer) as client:
        for column in map(quote, rows.columns):
            for query in (
                f"sort={column}",
                f"show={column}",
                *(f"column={column}&operator={o}&value=1" for o in ("has", "is", "not", "least", "filled")),
            ):
                page = client.get(f"/rows/rows?{query}")
                assert page.status_code == 200 and "<script>" not in page.text and "\u202e" not in page.text, query
        assert numbers(client.get("/rows/rows?q=%3CB%3E").text) == [1]
