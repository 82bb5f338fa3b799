"""`guardkit report` in a browser: it opens from disk and asks nothing, each picture is drawn, tables sort, rows that try to do harm do none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from look import Look

import toolkit


@pytest.fixture(scope="module")
def report(shared_run: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, toolkit.Reported]:
    """The report of the small run: its file, and what was found when it was made."""
    file = tmp_path_factory.mktemp("report") / "report.html"
    return file, toolkit.report_page(shared_run, output=file, samples=8)


def test_it_opens_from_disk_asks_nothing_and_draws_each_picture(look: Callable[..., Look], report: tuple[Path, toolkit.Reported]) -> None:
    file, made = report
    seen = look().open(file)
    assert seen.requests == [file.as_uri()] and seen.faults == []
    drawn = seen.find("figure svg").evaluate_all(
        """pictures => pictures.map(svg => {
            const box = svg.getBoundingClientRect();
            const edge = svg.closest("figure").getBoundingClientRect().left;
            const cut = [...svg.querySelectorAll("text")].filter(t => t.getBoundingClientRect().left < edge).map(t => t.textContent);
            return {shapes: svg.querySelectorAll("path, rect, line, circle").length, texts: svg.querySelectorAll("text").length, width: box.width, cut};
        })"""
    )
    assert len(drawn) == len(made.pictures) > 5
    assert all(one["shapes"] > 2 and one["texts"] > 2 and one["width"] > 100 for one in drawn)
    assert [one["cut"] for one in drawn if one["cut"]] == [], "labels that stand out of their picture"


def test_tables_sort_by_mouse_and_keyboard(look: Callable[..., Look], report: tuple[Path, toolkit.Reported]) -> None:
    seen = look().open(report[0])
    seen.page.evaluate("document.querySelectorAll('details.long').forEach(one => { one.open = true; })")
    table = seen.page.get_by_role("table", name="Rows at each step")

    def column(name: str) -> list[str]:
        at = [head.split(" ")[0] for head in table.locator("thead th").all_inner_texts()].index(name)
        found: list[str] = table.locator("tbody tr").evaluate_all("(lines, at) => lines.map(line => line.cells[at].innerText.replace(/,/g, ''))", at)
        return found

    def in_order(down: bool) -> list[str]:
        return [*sorted(filter(None, before), key=float, reverse=down), *(n for n in before if not n)]

    before = column("in")
    head = table.locator("thead th").nth(table.locator("thead th").all_inner_texts().index("in")).get_by_role("button")
    head.click()
    assert column("in") == in_order(False) != before, "what is blank comes last"
    head.press("Enter")
    assert column("in") == in_order(True)
    assert table.locator("th[aria-sort=descending]").count() == 1
    head.press("Space")
    assert column("in") == before, "the third time they stand as they were"
    table.get_by_role("button", name="step").click()
    assert column("step") == sorted(column("step"))


def test_rows_that_try_to_do_harm_are_text(look: Callable[..., Look], report: tuple[Path, toolkit.Reported]) -> None:
    seen = look().open(report[0])
    seen.page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    text = seen.page.evaluate("document.body.textContent")
    for words in ("<script>window.harmed", "<img src=x", "{{ 7 * 7 }}", "javascript:", r"\u202e"):
        assert words in text, words
    assert not any(letter in text for letter in "\u202e\x1b\x00")
    assert not seen.harmed() and seen.faults == [] and len(seen.requests) == 1


def test_everybody_can_use_it(look: Callable[..., Look], report: tuple[Path, toolkit.Reported]) -> None:
    seen = look().open(report[0])
    seen.page.evaluate(
        "document.querySelectorAll('tbody tr:nth-child(n+3), figure ~ figure svg, article ~ article, details ~ details, figure ~ figure ~ figure, .wide ~ .wide ~ .wide').forEach(one => one.remove())"
    )
    assert seen.barriers(dark="#main > section:nth-of-type(-n+3)") == [], "of each kind of thing on the page there are some left"
    seen.open(report[0])
    seen.page.set_viewport_size({"width": 400, "height": 800})
    assert seen.page.evaluate("document.documentElement.scrollWidth") <= 400, "it fits a telephone"
