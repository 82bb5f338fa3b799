"""A review in a browser, by keyboard alone: ten decisions, which the next build applies; what may harm is hidden until asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
from look import Look
from small_run import HOSTILE

import toolkit


def labels_of(seen: Look) -> list[str]:
    """The labels that can be given, by their keys 1, 2, …."""
    return [text.split(maxsplit=1)[1] for text in seen.find("form.decide button[data-key]").all_inner_texts() if text[0].isdigit()]


def press(seen: Look, key: str) -> None:
    """Press a key that decides, and wait for the page that follows."""
    with seen.page.expect_navigation():
        seen.page.keyboard.press(key)


def test_ten_labels_are_decided_by_keys_alone_and_the_next_build_has_them(look: Callable[..., Look], shared_run: Path, tmp_path: Path) -> None:
    with (
        toolkit.review(shared_run, reviewer="anna", to=tmp_path / "review") as review,
        toolkit.view(shared_run, port=0, review=review) as viewer,
    ):
        seen = look().open(viewer.address)
        for _ in range(9):
            seen.page.keyboard.press("Tab")
            if seen.page.evaluate("document.activeElement.textContent") == "Review":
                break
        press(seen, "Enter")
        decided: list[tuple[str, str, str]] = []
        for turn in range(10):
            item = review.next()
            assert item is not None and item.id in seen.text
            if turn == 3:  # a note, with letters that are keys, too
                seen.page.keyboard.press("n")
                seen.page.keyboard.type("sure: 1 2 d z")
                seen.page.keyboard.press("Escape")
            if turn == 5:
                press(seen, "d")
                decided.append((item.id, item.task, "drop"))
                continue
            key = 1 + turn % 2
            decided.append((item.id, item.task, labels_of(seen)[key - 1]))
            press(seen, str(key))
        undone = decided.pop()
        press(seen, "z")
        assert undone[0] in seen.text and review.next() is not None
        decided.append((*undone[:2], "unsure"))
        press(seen, "u")
        assert seen.faults == [] and seen.others == []
        assert review.figures()["decided"] == 10
        review.export(tmp_path / "decisions.csv")
        viewer.stop(at_once=True)
    written = pl.read_csv(tmp_path / "decisions.csv")
    assert {*written.select("id", "task", "decision").rows()} >= {d for d in decided if d[2] in ("drop", "unsure")} and written.height == 10
    assert written.filter(pl.col("note") == "sure: 1 2 d z")["id"].to_list() == [decided[3][0]]
    rows = toolkit.read_run(shared_run)["noise"].polars()
    found = toolkit.apply("review", rows, decisions=str(tmp_path / "decisions.csv"))
    dropped = {row for row, _, decision in decided if decision == "drop"}
    assert set(found.rejected["id"]) == dropped
    votes = toolkit.read_run(shared_run)["verdicts"].polars()
    settled = toolkit.apply("relabel", {"rows": found.kept, "votes": votes}, change="both", quorum=0.51)
    now = {row["id"]: row for row in settled.kept.iter_rows(named=True)}
    for row, task, decision in decided:
        if row not in dropped and decision != "unsure":
            assert (now[row][f"label_{task}"], now[row][f"label_{task}_source"]) == (decision, "reviewed"), "whatever the guards vote"


def test_what_may_harm_is_hidden_and_everybody_can_review(look: Callable[..., Look], shared_run: Path, tmp_path: Path) -> None:
    with (
        toolkit.review(shared_run, step="seeds", kind="labels", reviewer="berta", to=tmp_path / "review") as review,
        toolkit.view(shared_run, port=0, review=review) as viewer,
    ):
        seen = look().open(viewer.address)
        seen.open(viewer.url + "/review")
        assert seen.barriers() == []
        texts = [item.texts[0][1] for item in review.queue.items]
        harmful = {HOSTILE[name] for name in ("script", "image", "address", "bidi", "long")}
        for _ in range(len(texts)):
            item = review.next()
            if item is None or not harmful:
                break
            if item.texts[0][1] in harmful:
                seen.open(viewer.url + "/review")
                shown = seen.find("details.harm pre").first
                assert not shown.is_visible()
                seen.page.keyboard.press("v")
                assert shown.is_visible() and not seen.harmed()
                harmful.remove(item.texts[0][1])
            review.decide(item, "keep")
        assert not harmful and seen.faults == [] and seen.others == []
        viewer.stop(at_once=True)
