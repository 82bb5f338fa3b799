"""`guardkit view` in a browser: rows are searched, filtered, sorted and shown; rows that try to do harm do none; everybody can use it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from look import Look
from small_run import HOSTILE

import toolkit

PAGES = [
    "/",
    "/rows/unique?q=the&column=label_prompt&operator=is&value=harmful&sort=prompt",
    "/life?id={row}",
    "/rejects",
    "/recipe",
    "/duplicates",
    "/disputes?task=prompt",
]


@pytest.fixture(scope="module")
def viewer(shared_run: Path) -> Iterator[toolkit.Viewer]:
    with toolkit.view(shared_run, port=0) as running:
        yield running
        running.stop(at_once=True)


def shown(seen: Look) -> list[list[str]]:
    """Cells of the table of rows, line by line."""
    found: list[list[str]] = seen.find("#rows tbody tr").evaluate_all("lines => lines.map(line => [...line.cells].map(cell => cell.innerText))")
    return found


def count(seen: Look) -> int:
    """How many rows the page counts."""
    return int(re.findall(r"[\d,]+", seen.find("#rows .count").inner_text())[0].replace(",", ""))


def test_rows_are_searched_filtered_sorted_and_shown(look: Callable[..., Look], viewer: toolkit.Viewer) -> None:
    seen = look().open(viewer.address)
    assert seen.page.url == viewer.url + "/", "the token is gone from the address"
    seen.page.get_by_role("link", name="unique", exact=True).click()
    everything = count(seen)
    seen.find("form.query input[name=q]").fill("COUNTERFEIT")
    seen.page.keyboard.press("Enter")
    seen.page.wait_for_url("**q=COUNTERFEIT*")
    assert 0 < count(seen) < everything and all("counterfeit" in " ".join(line).lower() for line in shown(seen))
    seen.find("form.query input[name=q]").fill("")
    seen.find("form.query select[name=column]").select_option("label_refusal")
    seen.find("form.query select[name=operator]").select_option(label="is")
    seen.find("form.query input[name=value][type=text]").fill("refusal")
    seen.page.get_by_role("button", name="Show rows").click()
    seen.page.wait_for_url("**value=refusal*")
    seen.find("#rows .conditions").wait_for()
    assert 0 < count(seen) < everything and all("refusal" in line for line in shown(seen))
    seen.find("form.query select[name=column]").select_option("prompt")
    seen.find("form.query select[name=operator]").select_option(label="is not empty")
    seen.page.get_by_role("button", name="Show rows").click()
    seen.find("#rows .conditions li:nth-child(2)").wait_for()
    assert "label_refusal is" in seen.find("#rows .conditions").inner_text(), "a further filter comes to the first one"
    seen.find("#rows thead").get_by_role("link", name="prompt", exact=True).click()
    seen.find("#rows th[aria-sort=ascending]").wait_for()
    names = seen.find("#rows thead th").all_inner_texts()
    at = next(i for i, name in enumerate(names) if name.startswith("prompt"))
    prompts = [line[at] for line in shown(seen)]
    assert len(prompts) > 2 and prompts == sorted(prompts)
    seen.find("#rows tbody th a").first.click()
    seen.page.wait_for_url("**/row/unique?*")
    assert prompts[0][:40] in seen.text
    assert (seen.others, seen.faults) == ([], [])


def test_without_scripts_all_of_it_works(look: Callable[..., Look], viewer: toolkit.Viewer) -> None:
    seen = look(javascript=False).open(viewer.address)
    seen.open(viewer.url + "/rows/unique")
    seen.find("form.query input[name=q]").fill("counterfeit")
    seen.page.get_by_role("button", name="Show rows").click()
    seen.page.wait_for_url("**q=counterfeit*")
    assert len(shown(seen)) == count(seen) == 2 and seen.faults == []


def test_rows_that_try_to_do_harm_are_text(look: Callable[..., Look], viewer: toolkit.Viewer) -> None:
    seen = look().open(viewer.address)
    seen.open(viewer.url + "/rows/seeds?page=1&show=prompt&sort=source_row&descending=1")
    prompts = [line[1] for line in shown(seen)]
    for words in ("<script>window.harmed", "<img src=x", "{{ 7 * 7 }}", "javascript:", r"\x1b[31m", r"\u202e"):
        assert any(words in text for text in prompts), words
    assert not seen.harmed() and (seen.others, seen.faults) == ([], [])
    numbers = toolkit.read_run(viewer.subject.place)["seeds"].polars()["prompt"].to_list()
    ids = toolkit.read_run(viewer.subject.place)["seeds"].polars()["id"].to_list()
    for name in ("script", "image", "address", "bidi"):
        seen.open(f"{viewer.url}/life?id={ids[numbers.index(HOSTILE[name])]}")
        assert not seen.harmed(), name
    assert "\u202e" not in seen.text and r"\u202e" in seen.text
    assert (seen.others, seen.faults) == ([], [])


def test_a_value_of_a_megabyte_is_shown_in_parts(look: Callable[..., Look], viewer: toolkit.Viewer) -> None:
    prompts = toolkit.read_run(viewer.subject.place)["seeds"].polars()["prompt"].to_list()
    seen = look().open(viewer.address)
    seen.open(f"{viewer.url}/row/seeds?row={prompts.index(HOSTILE['long']) + 1}")
    assert len(seen.page.content()) < 60_000
    seen.page.get_by_role("link", name="All 1,080,000 characters").click()
    seen.page.get_by_role("link", name="Next").click()
    seen.page.get_by_text("Part 2 of 54").wait_for()
    assert HOSTILE["long"][20_000:20_200].strip() in seen.text and (seen.others, seen.faults) == ([], [])


def test_everybody_can_use_it(look: Callable[..., Look], viewer: toolkit.Viewer) -> None:
    seen = look().open(viewer.address)
    row = toolkit.read_run(viewer.subject.place)["pairs"].polars()["parent"][0]
    for path in PAGES:
        seen.open(viewer.url + path.format(row=row))
        assert seen.barriers(dark="main" if path.startswith("/life") else None) == [], path
        assert seen.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{path} is wider than the window"


def test_a_page_elsewhere_cannot_read_it_or_ask_in_its_name(look: Callable[..., Look], viewer: toolkit.Viewer, tmp_path: Path) -> None:
    """Another page of the same browser, once let in: no frame, no script, no fetch has what the viewer shows; a wrong token opens nothing."""
    seen = look().open(viewer.address)
    (tmp_path / "evil.html").write_text(
        f'<!doctype html><html lang="en"><title>x</title><iframe src="{viewer.url}/"></iframe><script src="{viewer.url}/rows/unique"></script>'
    )
    seen.open(tmp_path / "evil.html")
    ask = f"fetch('{viewer.url}/rows/unique', {{credentials: 'include'}}).then(r => r.text()).catch(e => 'refused')"
    assert seen.page.evaluate(ask) == "refused"
    assert all("unique" not in frame.content() for frame in seen.page.frames[1:])
    fresh = look().open(viewer.url + "/?token=guessed")
    assert any(fault.startswith("401") for fault in fresh.faults) and "unique" not in fresh.text
