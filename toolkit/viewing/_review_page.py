"""Review in a browser: one label at a time, by keys alone if need be; each decision is on the disk before the next label is shown.

Beside what all pages are behind (token, Host, Origin), a form holds a word that only pages of this review have.
"""

from __future__ import annotations

import hmac
import secrets
from dataclasses import replace
from threading import Lock
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from toolkit.common.errors import InputError
from toolkit.reviewing import ADVICE, START, Item, Review, Shown, definition, policy_lines, question
from toolkit.viewing._viewed import Page, Viewed

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

LONG = 20_000
"""Characters of a text that are shown."""
_LARGEST = 64 * 1024
"""Bytes of a form, at most."""
_FIELDS = 20
_SLOW = 10.0
"""Seconds that a form may take to come."""
KEYS = {"skip": "s", "unsure": "u", "drop": "d", "undo": "z", "note": "n", "view": "v", "instructions": "i"}


class ReviewPages:
    """The pages of a review; requests come one at a time to it.

    Args:
        review: with a reviewer; whoever opened it closes it.
        shown: how much of a text that may be harmful is shown before it is asked for.
    """

    def __init__(self, review: Review, shown: Shown = "hidden") -> None:
        self._review, self._shown = review, shown
        self._word, self._lock = secrets.token_urlsafe(32), Lock()

    def pages(self) -> list[Page]:
        """Of the viewer's application."""
        return [
            Page("/review", "Review", self._answer, methods=("GET", "POST")),
            Page("/review/instructions", "Instructions", self._instructions),
        ]

    def _answer(self, viewed: Viewed, request: Request) -> Response:
        form = _form(request) if request.method == "POST" else None  # before the lock: whoever sends it may be slow
        with self._lock:
            return self._next(viewed, request) if form is None else self._decide(viewed, request, form)

    def _next(self, viewed: Viewed, request: Request, fault: InputError | None = None, note: str = "") -> Response:
        item, queue, figures = self._review.next(), self._review.queue, self._review.figures()
        values: dict[str, Any] = {
            "review": self._review,
            "figures": figures,
            "item": item,
            "fault": fault,
            "note": note,
            "word": self._word,
            "keys": KEYS,
        }
        if item is None:
            return viewed.page(request, "reviewed.html", "Nothing is left for you", **values)
        values |= {
            "at": queue.place(item.key),
            "left": len(self._review.left()),
            "labels": list(enumerate(item.words(queue.guard)[:9], 1)),
            "definition": question(item, queue.guard),
            "names": item.about_categories(queue.guard),
            "policies": list(policy_lines(item, queue.taxonomy)),
            "shown": self._shown if item.may_harm(queue.guard) else "all",
            "START": START,
            "LONG": LONG,
        }
        return viewed.page(request, "review.html", f"Review: {item.task}", 200 if fault is None else 422, **values)

    def _decide(self, viewed: Viewed, request: Request, form: dict[str, str]) -> Response:
        from starlette.responses import RedirectResponse

        if not hmac.compare_digest(form.get("word", "").encode(), self._word.encode()):
            message = "this form is not of the review that is open here"
            raise InputError(message, hint="open the page again: the review was begun anew since, or another page sent it")
        decision, note = form.get("decision", ""), form.get("note", "")
        try:
            if decision == "undo":
                self._review.undo()
            else:
                item = self._item(form)
                if decision == "skip":
                    self._review.skip(item)
                else:
                    self._review.decide(item, form.get("names", "") if decision == "names" else decision, note)
        except InputError as e:
            return self._next(viewed, request, e, note)
        return RedirectResponse("/review", 303)

    def _item(self, form: dict[str, str]) -> Item:
        """The label that a form is about, as its page showed it."""
        items, at = self._review.queue.items, form.get("at", "")
        if not (at.isascii() and at.isdecimal() and len(at) < 10 and int(at) < len(items)):
            raise InputError("no such label in the queue", hint="decide on the one that is shown now")
        return replace(items[int(at)], label=form.get("label") if form.get("labelled") == "1" else None)

    def _instructions(self, viewed: Viewed, request: Request) -> Response:
        tasks = [(task.name, definition(task)) for task in self._review.queue.guard.tasks]
        return viewed.page(request, "review_instructions.html", "How to review", advice=ADVICE, tasks=tasks, keys=KEYS, review=self._review)


def _form(request: Request) -> dict[str, str]:
    """The fields of a form, the first of each name.

    Raises:
        InputError: it is too large, takes too long to come, or is not the page's own form.
    """
    from anyio import fail_after, from_thread
    from starlette.requests import ClientDisconnect

    async def read() -> bytes:
        raw = b""
        with fail_after(_SLOW):
            async for part in request.stream():
                raw += part
                if len(raw) > _LARGEST:
                    raise InputError(f"a form of more than {_LARGEST // 1024} KiB", hint="make the note shorter")
        return raw

    try:
        raw = from_thread.run(read)
    except (TimeoutError, ClientDisconnect):
        raise InputError(f"the form did not come within {_SLOW:.0f} s: nothing was decided", hint="send it again") from None
    ours = request.headers.get("content-type", "").partition(";")[0] == "application/x-www-form-urlencoded"
    if not ours or raw.count(b"&") >= _FIELDS:
        raise InputError("this is no form of the page of the review")
    fields = parse_qs(raw.decode("utf-8", "replace"), keep_blank_values=True)
    return {name: values[0] for name, values in fields.items()}
