"""A page, and what is viewed: what each page's function is given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from toolkit.common.errors import GuardkitError
from toolkit.viewing._subject import Subject

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from toolkit.viewing._matching_rows import Selections


@dataclass
class Viewed:
    """What a viewer shows.

    Attributes:
        subject: the run, the shards or the file.
        pages: all pages, in the order of the navigation.
        selections: the orders and choices of rows that were asked for last.
        state: what pages keep between requests, by a name of theirs.
    """

    subject: Subject
    pages: Sequence[Page]
    selections: Selections
    state: dict[str, Any] = field(default_factory=dict)

    def page(self, request: Request, template: str, title: str, /, status: int = 200, **values: Any) -> Response:
        """A template of `toolkit/viewing/templates`, rendered: it extends ``base.html``, and all values are escaped.

        Args:
            request: that is answered.
            template: its file.
            title: of the page.
            status: of HTTP.
            values: for the template.
        """
        from starlette.responses import HTMLResponse

        from toolkit.viewing._rendering import rendered

        navigation = [page for page in self.pages if page.navigation and self._shows(page)]
        text = rendered(template, viewed=self, request=request, title=title, navigation=navigation, **values)
        return HTMLResponse(text, status)

    def _shows(self, page: Page) -> bool:
        """Whether a page has something to show; not where the files that say so cannot be read: the page that says what is wrong needs no more."""
        try:
            return page.shows(self.subject)
        except (GuardkitError, OSError):
            return False


@dataclass(frozen=True)
class Page:
    """A page of the viewer.

    Attributes:
        path: of its address, with parameters as Starlette writes them: ``/rows/{table:path}``.
        title: in the navigation.
        answer: makes the response; runs in a thread, and may raise `GuardkitError`, which is shown with its hint.
        methods: of HTTP.
        navigation: whether a link to it stands in the navigation.
        shows: whether it has anything to show of a subject.
    """

    path: str
    title: str
    answer: Callable[[Viewed, Request], Response]
    methods: tuple[str, ...] = ("GET",)
    navigation: bool = True
    shows: Callable[[Subject], bool] = lambda subject: True
