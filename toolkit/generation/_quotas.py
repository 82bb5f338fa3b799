"""What an endpoint may be sent, and when: one `Limits` for each endpoint and model, shared by all backends of this process that ask it.

Contract: pure arithmetic on times that the caller gives (seconds of a monotonic clock), for one thread; nothing here sleeps or sends.
`wait` says when the next request may go, `sent` notes it, `landed` what came of it, once. Four parts, of which the strictest counts:

- `toolkit.generation._window.Window`: how many in flight;
- `Pacer`: ceilings on requests and tokens in a minute, evenly spaced, no bursts; tokens are estimated before and settled after;
- quota headers: where the endpoint says that nothing is left (``x-ratelimit-remaining-*``), nothing is sent until it says that there is
  again (``x-ratelimit-reset-*``), `LONGEST_PAUSE` at most;
- `Breaker`: where many requests fail and nothing at all is answered, ten requests a second go on; where that lasts for a second, single probes
  with growing pauses take their place, until one is answered.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass

from toolkit.generation import _window
from toolkit.generation._window import Window

ANSWERED, REFUSED, REJECTED, FAILED, DROPPED = "answered", "refused", "rejected", "failed", "dropped"
"""Outcomes: an answer; a 429; another 4xx; a 5xx, a timeout, a broken connection; given up by us."""

LONGEST_PAUSE = 60.0
"""Seconds for which a quota header is believed at a time: the quotas that these headers report are counted by the minute (OpenAI API
reference, "Rate limits")."""

_SLACK = 0.05
"""Seconds by which a paced request may make up for a timer that was late."""

_PATIENT, _MANY, _SEVERAL = 1.0, 8, 6
"""What opens the breaker: seconds without an answer, failures in that time, and distinct requests among them that had not failed before."""

_TRICKLE = 0.1
"""Seconds between two requests while an outage is suspected."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
"""Seconds before the first probe of an outage, and between two at most."""


class Pacer:
    """Units a minute, evenly spaced (generic cell rate algorithm)."""

    def __init__(self, per_minute: int) -> None:
        self._seconds = 60.0 / per_minute
        self._next = 0.0

    def stricter(self, per_minute: int) -> None:
        """Keep to this many a minute from now on, where that is fewer."""
        self._seconds = max(self._seconds, 60.0 / per_minute)

    def wait(self, now: float) -> float:
        """Seconds until a request may go."""
        return max(0.0, self._next - now)

    def take(self, units: float, now: float) -> None:
        """A request of that many units goes."""
        self._next = max(self._next, now - _SLACK) + units * self._seconds

    def settle(self, units: float) -> None:
        """It was more (or, negative, fewer) units than had been estimated."""
        self._next += units * self._seconds


class Breaker:
    """Tells an outage from requests that fail on their own account.

    It suspects one when nothing has been answered while at least `_MANY` attempts failed, no fewer than are still under way, of at least
    `_SEVERAL` requests whose first failure that was, and opens with a failure a second after the first of these. A request that already failed
    while others were answered is no evidence.
    """

    def __init__(self) -> None:
        self.opened: float | None = None
        self.probing = False
        self._pause = _FIRST_PAUSE
        self._next = 0.0  # when the next request may go, in an outage or where one is suspected
        self._since: float | None = None
        self._failures = 0
        self._fresh: set[int] = set()

    def alive(self) -> bool:
        """The endpoint answered with something that is no fault of its own; True where that ends an outage."""
        was_open = self.opened is not None
        self.opened = self._since = None
        self._failures = 0
        self._fresh.clear()
        return was_open

    def suspects(self, flying: int) -> bool:
        """Whether it looks like an outage that has not lasted for long; `flying` requests are under way."""
        return self.opened is None and len(self._fresh) >= _SEVERAL and self._failures >= max(_MANY, flying)

    def sends(self, now: float) -> bool:
        """A request goes; whether it is a probe."""
        probe = self.opened is not None
        self.probing = self.probing or probe
        if not probe:
            self._next = now + _TRICKLE
        return probe

    def failed(self, who: int, *, first: bool, probe: bool, flying: int, now: float) -> None:
        """An attempt failed; `flying` others are under way."""
        if self.opened is not None:
            if probe:
                self.probing = False
                self._pause = min(_LONGEST_PAUSE, 2 * self._pause)
                self._next = now + self._pause * random.uniform(0.75, 1.0)
            return
        self._since = now if self._since is None else self._since
        self._failures += 1
        if first:
            self._fresh.add(who)
        if self.suspects(flying) and now - self._since >= _PATIENT:
            self.opened, self.probing = now, False
            self._pause = _FIRST_PAUSE
            self._next = now + self._pause * random.uniform(0.75, 1.0)

    def wait(self, now: float, flying: int) -> float | None:
        """Seconds until the next request may go; None where that waits for a probe."""
        if self.opened is None and not self.suspects(flying):
            return 0.0
        return None if self.opened is not None and self.probing else max(0.0, self._next - now)


@dataclass(slots=True)
class Sent:
    """One request under way."""

    ticket: _window.Ticket
    tokens: float
    probe: bool


class Limits:
    """See the module's docstring.

    Args:
        asked: requests in flight at most.
        slow_start: begin with few.
        requests_per_minute: ceiling, None for none.
        tokens_per_minute: likewise.
    """

    def __init__(self, asked: int, *, slow_start: bool, requests_per_minute: int | None = None, tokens_per_minute: int | None = None) -> None:
        self.window = Window(asked, slow_start=slow_start)
        self.breaker = Breaker()
        self._slow_start = slow_start
        self._requests = Pacer(requests_per_minute) if requests_per_minute else None
        self._tokens = Pacer(tokens_per_minute) if tokens_per_minute else None
        self._pause_until = 0.0
        self._written: float | None = None  # running mean of tokens of an answer

    def join(self, asked: int, requests_per_minute: int | None, tokens_per_minute: int | None) -> None:
        """Another backend shares these limits: the wider window, the stricter of two ceilings."""
        self.window.widen(asked)
        self._requests = _stricter(self._requests, requests_per_minute)
        self._tokens = _stricter(self._tokens, tokens_per_minute)

    def wait(self, now: float) -> float | None:
        """Seconds until another request may be sent, 0 for now; None where that depends on what is in flight."""
        most = self._pause_until - now
        for part in (self.window.wait(now), self.breaker.wait(now, self.window.flying)):
            if part is None:
                return None
            most = max(most, part)
        for pacer in (self._requests, self._tokens):
            if pacer is not None:
                most = max(most, pacer.wait(now))
        return max(0.0, most)

    def sent(self, size: int, max_tokens: int, now: float) -> Sent:
        """A request goes: `size` bytes of body, `max_tokens` of answer at most."""
        tokens = size / 4 + (max_tokens if self._written is None else min(max_tokens, self._written))  # about 4 bytes a token
        if self._requests is not None:
            self._requests.take(1, now)
        if self._tokens is not None:
            self._tokens.take(tokens, now)
        return Sent(self.window.launched(now), tokens, self.breaker.sends(now))

    def landed(self, sent: Sent, outcome: str, now: float) -> bool:
        """What came of it; for a failure, `failed` besides. Whether the endpoint answered with something that is no fault of its own."""
        self.window.landed(sent.ticket, outcome if outcome in (ANSWERED, REFUSED) else _window.OTHER, now)
        if outcome in (ANSWERED, REFUSED, REJECTED):
            if self.breaker.alive():
                self.window.restart(slow_start=self._slow_start)
            return True
        if outcome == DROPPED and sent.probe:
            self.breaker.probing = False
        return False

    def failed(self, sent: Sent, who: int, *, first: bool, now: float) -> None:
        """The endpoint failed this request; `first` where it had not failed before."""
        self.breaker.failed(who, first=first, probe=sent.probe, flying=self.window.flying, now=now)

    def used(self, sent: Sent, read: int | None, written: int | None) -> None:
        """Tokens of an answer, where they are known."""
        if written is not None:
            self._written = written if self._written is None else self._written + 0.05 * (written - self._written)
        if self._tokens is not None and read is not None:
            self._tokens.settle(read + (written or 0) - sent.tokens)

    def heard(self, headers: Mapping[str, str], needed: int, now: float) -> None:
        """Look for a quota that is used up; `needed`: tokens that another request like this one takes."""
        if (pause := quota_pause(headers, needed)) is not None:
            self._pause_until = max(self._pause_until, now + min(LONGEST_PAUSE, pause))


def quota_pause(headers: Mapping[str, str], needed: int = 0) -> float | None:
    """Seconds until there is quota again, where ``x-ratelimit-remaining-requests`` is 0 or ``-tokens`` is below `needed`; else None."""
    pause: float | None = None
    for unit, least in (("requests", 1), ("tokens", max(1, needed))):
        left = headers.get(f"x-ratelimit-remaining-{unit}")
        if left is None:
            continue
        try:
            enough = float(left) >= least
        except ValueError:
            continue
        reset = None if enough else seconds_of(headers.get(f"x-ratelimit-reset-{unit}"))
        if reset is not None:
            pause = max(pause or 0.0, reset)
    return pause


def seconds_of(text: str | None) -> float | None:
    """Seconds of ``6m0s``, ``1h2m3.5s``, ``120ms`` or ``12.5`` (seconds); None for anything else."""
    if text is None:
        return None
    text = text.strip()
    try:
        value = float(text)
    except ValueError:
        if re.fullmatch(r"(\d+(\.\d+)?(ms|us|µs|ns|d|h|m|s))+", text) is None:
            return None
        units = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
        value = sum(float(n) * units[u] for n, _, u in re.findall(r"(\d+(\.\d+)?)(ms|us|µs|ns|d|h|m|s)", text))
    return value if math.isfinite(value) and value >= 0 else None


def _stricter(pacer: Pacer | None, per_minute: int | None) -> Pacer | None:
    if per_minute is None:
        return pacer
    if pacer is None:
        return Pacer(per_minute)
    pacer.stricter(per_minute)
    return pacer
