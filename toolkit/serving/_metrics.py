"""What a server counts, as Prometheus reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from toolkit.serving._desk import Desk
    from toolkit.serving._judgement import Judgement

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class Metrics:
    """Counters of one server; no label of theirs comes from a client's text.

    Args:
        desk: whose queue is shown.
    """

    def __init__(self, desk: Desk) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        self._registry = r = CollectorRegistry()
        self._requests = Counter("guardkit_requests", "Requests answered.", ["path", "status"], registry=r)
        self._seconds = Histogram("guardkit_request_seconds", "From a request's first byte to its answer.", ["path"], buckets=_SECONDS, registry=r)
        self._verdicts = Counter("guardkit_verdicts", "Labels that were read, of tasks that apply.", ["task", "label"], registry=r)
        self._unread = Counter("guardkit_unread", "Labels that could not be read, by why.", ["task", "reason"], registry=r)
        self._flagged = Counter("guardkit_flagged", "Interactions that were flagged.", registry=r)
        self._tokens = Counter("guardkit_tokens", "Tokens of the guard.", ["kind"], registry=r)
        feed = desk.feed
        for name, what, value in (
            ("guardkit_queue", "Questions that wait for the engine.", lambda: max(0, feed.taken - feed.flying)),
            ("guardkit_in_engine", "Questions that the engine works on.", lambda: feed.flying),
            ("guardkit_places", "Questions that may be waiting or under way.", lambda: feed.places),
            ("guardkit_up", "1 while the engine can be asked.", lambda: int(feed.fault is None)),
        ):
            Gauge(name, what, registry=r).set_function(value)

    def answered(self, path: str, status: int, seconds: float) -> None:
        """A request has its answer."""
        self._requests.labels(path, str(status)).inc()
        self._seconds.labels(path).observe(seconds)

    def judged(self, judged: Judgement, flagged: bool, read: int, written: int) -> None:
        """An interaction was judged; `read` and `written`: tokens."""
        for task in judged.applying:
            label = judged.labels.get(task)
            if label is None:
                self._unread.labels(task, judged.unread.get(task) or "unread").inc()
            else:
                self._verdicts.labels(task, label).inc()
        self._flagged.inc(flagged)
        self._tokens.labels("read").inc(read)
        self._tokens.labels("written").inc(written)

    def text(self) -> tuple[bytes, str]:
        """The page, and its content type."""
        from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

        return generate_latest(self._registry), CONTENT_TYPE_LATEST
