"""How many requests may be in flight at one endpoint: grows to what was asked for, and shrinks only where 429s grow with it.

Contract of `Window`: pure arithmetic on times that the caller gives (seconds of a monotonic clock), for one thread. `launched` notes each
request sent, `landed` of what came of it, once; `wait` says whether another may be sent.

- Slow start: the window begins at `FIRST`, or a quarter of `asked` where that is more, and grows by one for each answer while it is full, so
  it doubles in a round trip: at `asked` after two, where that is 32 or more.
- A share of 429s that is clearly above the known `floor` (`TOLERANCE` and three standard deviations) is put to the test: the window is halved, and
  once the old requests are gone, a trial of some round trips measures the share of 429s and the rate of answers.
  If the share has fallen by half, 429s depend on the window. If not, the window is halved once more: answers that keep coming at the same rate
  from half a window mean that the endpoint's limit is what counts, and the window is set to what it really serves (rate x round trip); a
  rate that falls with the window means that 429s come at random: the window is restored, and their share remembered as the floor.
- Where 429s depend on the window it goes back up by bisection between the size that was clean and the one that was not, holds, and tries what is
  beyond from time to time; 429s near a limit that is known cut it by a little, without a test.
- After a 429 the next request waits a little: a refused slot rests for (share of 429s)^2 round trips, so that an endpoint which refuses in a
  millisecond what it answers in a second is not asked a thousand times meanwhile. At a share of 20 % that costs 1 % of the window.
- An endpoint that refuses everything shrinks the window to one; the first answer lets it grow again as in slow start.

Timeouts, broken connections, 5xx and other 4xx say nothing about the limit and leave the window alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

FIRST = 8
"""Window that slow start begins with, at least."""

TOLERANCE = 0.02
"""Share of 429s above the floor that is not worth a test."""

EVIDENCE = 8
"""429s that make a round suspicious, and that a trial would see if their share had not fallen; half of them say that it has not."""

ROUND = 64
"""Fewest requests that a round is measured by."""

_HOLD, _LONGEST_HOLD = 8, 64
"""Clean rounds at the limit before the window beyond is probed again; doubled by each probe in vain."""

_SHARE_STEP, _TRIP_STEP = 0.05, 0.1
"""Weight of one outcome in the running means of the 429 share and of the round trip."""

ANSWERED, REFUSED, OTHER = "answered", "refused", "other"
"""Outcomes: an answer, a 429, anything that says nothing about the limit."""


@dataclass(slots=True)
class _Round:
    """Requests sent between two looks at the window."""

    epoch: int
    launched: int = 0
    landed: int = 0
    refused: int = 0

    @property
    def share(self) -> float:
        """429s among the requests sent."""
        return self.refused / max(1, self.launched)

    @property
    def surely(self) -> float:
        """The same, less a standard deviation: a round is looked at because it had many, by chance among other things."""
        return (self.refused - sqrt(self.refused)) / max(1, self.launched)


@dataclass(slots=True)
class Ticket:
    """One request in flight."""

    sent: float
    round: _Round


@dataclass(slots=True)
class _Trial:
    """A smaller window on trial."""

    top: int  # window when 429s became suspicious
    before: int  # window before this trial
    against: _Round  # what its share is compared with
    rate: float | None  # answers/s at the window before, where that was a trial too
    old: int  # requests of earlier times still in flight
    begun: float
    settled: float = 0.0  # when they were gone
    cohort: _Round | None = None  # the requests that count, from then on
    wanted: int = 0  # their number
    answered: int = 0  # answers since then


class Window:
    """See the module's docstring.

    Args:
        asked: requests in flight at most.
        slow_start: begin small; False begins with `asked`.
    """

    def __init__(self, asked: int, *, slow_start: bool) -> None:
        self.asked = asked
        self._first = min(asked, max(FIRST, asked // 4))
        self.size = self._first if slow_start else asked
        self.flying = 0
        self.floor = 0.0
        self.trip: float | None = None
        self._goal = asked
        self._good = 0
        self._bad: int | None = None
        self._hold = self._held = self._clean = self._cuts = 0
        self._ground = 0  # window at which 429s have been found to depend on it; 0 where they have not
        self._stride = 0
        self._share = 0.0
        self._rest_until = 0.0
        self._full = -1.0  # when the window was last full
        self._epoch = 0
        self._round = _Round(0)
        self._last = _Round(0)
        self._trial: _Trial | None = None

    def widen(self, asked: int) -> None:
        """More may be in flight than was asked for at first."""
        if asked > self.asked:
            if self._goal == self.asked:
                self._goal = asked
            self.asked = asked

    def wait(self, now: float) -> float | None:
        """Seconds until another request may be sent; None where that waits for an outcome."""
        if self.flying >= self.size:
            return None
        rest = self._rest_until - now
        return rest if rest > 0.001 else 0.0

    def launched(self, now: float) -> Ticket:
        """A request is sent."""
        if self._trial is None:
            self._clean += 1
            if self._round.launched >= max(2 * self.size, ROUND):
                self._end_round()
            if self._clean >= max(2 * self.size, 2 * EVIDENCE):
                self._step()
        elif self._round is self._trial.cohort and self._round.launched >= self._trial.wanted:
            self._round = _Round(self._epoch)
        self.flying += 1
        self._round.launched += 1
        if self.flying >= self.size:
            self._full = now
        return Ticket(now, self._round)

    def landed(self, ticket: Ticket, outcome: str, now: float) -> None:
        """What came of a request."""
        self.flying -= 1
        ticket.round.landed += 1
        current = ticket.round.epoch == self._epoch
        trial = self._trial
        if trial is not None and not current:
            trial.old -= 1
        if outcome == ANSWERED:
            self._answered(ticket, now)
        elif outcome == REFUSED:
            self._refused(ticket, now)
            if trial is None and current and self.size > 1 and self._suspicious(ticket.round):
                self._suspect(ticket.round, now)
                return
        if trial is not None:
            self._decide(trial, now)

    def restart(self, *, slow_start: bool) -> None:
        """After an outage: grow again as at first."""
        self._trial = None
        self._next_round()
        self._share = 0.0
        if slow_start:
            self.size = min(self.size, self._first)

    def _answered(self, ticket: Ticket, now: float) -> None:
        took = max(now - ticket.sent, 1e-6)
        self.trip = took if self.trip is None else self.trip + _TRIP_STEP * (took - self.trip)
        self._share -= _SHARE_STEP * self._share
        if self._trial is not None:
            self._trial.answered += self._trial.cohort is not None
        elif self.size < self._goal and self._full >= ticket.sent:
            self.size += 1

    def _refused(self, ticket: Ticket, now: float) -> None:
        self._share += _SHARE_STEP * (1.0 - self._share)
        ticket.round.refused += 1
        trip = self.trip or 0.1
        self._rest_until = min(now + trip, max(self._rest_until, now) + trip * self._share**2 / self.size)

    def _suspicious(self, r: _Round) -> bool:
        share = min(0.97, self.floor + TOLERANCE)
        return r.refused >= EVIDENCE and r.refused > r.launched * share + 3 * sqrt(r.launched * share * (1 - share)) + 1

    def _end_round(self) -> None:
        """The round is full and nothing was suspicious about it."""
        done = self._round
        if self.floor and self._last.launched:  # the round before last: its outcomes are known by now
            self.floor += 0.2 * (self._last.share - self.floor)
        self._last, self._round = done, _Round(self._epoch)

    def _step(self) -> None:
        """The window has been clean for two round trips."""
        self._clean = self._cuts = 0
        if self.size < self._goal:
            return
        self._good = self.size
        if self._bad is not None and self._bad - self._good > max(1, self._bad // 16):
            self._goal = (self._good + self._bad) // 2
        elif self._bad is not None and self._held < self._hold:
            self._held += 1
        elif self._goal < self.asked:  # beyond what was clean, in strides that double
            self._bad = None
            self._held = 0
            self._stride = 2 * self._stride or max(1, self.size // 16)
            self._goal = min(self.asked, self.size + self._stride)

    def _suspect(self, r: _Round, now: float) -> None:
        if self._cuts < 3 and self.size >= 0.8 * self._ground > 0:
            self._cut()
        else:
            self._try(_Trial(self.size, self.size, r, None, self.flying, now), self.size // 2)

    def _cut(self) -> None:
        """429s have been found to depend on the window: no test is needed."""
        self._cuts += 1
        self._bad = self.size
        self.size = self._good if 0.7 * self.size <= self._good < self.size else max(1, int(0.85 * self.size))
        self._goal, self._good = self.size, 0
        self._hold = min(_LONGEST_HOLD, 2 * self._hold) if self._stride else _HOLD
        self._held = self._stride = 0
        self._next_round()

    def _try(self, trial: _Trial, size: int) -> None:
        self._next_round()
        self.size = max(1, size)
        self._trial = trial

    def _decide(self, trial: _Trial, now: float) -> None:
        """Decide on the trial once it has seen enough."""
        if trial.cohort is None:
            if trial.old <= 0 or (self.trip is not None and now - trial.begun > 2 * self.trip):
                trial.settled = now
                trial.wanted = max(self.size, self._wanted(trial))
                self._round = trial.cohort = _Round(self._epoch)
            return
        r, spent, trip = trial.cohort, now - trial.settled, self.trip or 0.0
        usual = r.launched * self.floor
        plain = r.launched >= self.size and r.refused >= usual + EVIDENCE / 2 + 2 * sqrt(usual)  # it has not fallen
        if spent < 2.5 * trip or r.landed < 0.9 * r.launched or not (plain or r.launched >= trial.wanted):
            return
        if trial.rate is not None and trial.rate * spent < EVIDENCE:
            return
        excess = max(0.0, trial.against.surely - self.floor)
        rate = trial.answered / spent if spent > 0 else 0.0
        fell = trial.rate is not None and rate < (1 + self.size / trial.before) / 2 * trial.rate
        if r.share - self.floor <= excess / 2:
            self._settle_at(self.size, trial, clean=True)
        elif r.refused == r.launched:
            self._nothing_passes(trial, now)
        elif trial.rate is not None and self.size <= 0.75 * trial.before:
            if fell:
                self._restore(trial)
            else:
                self._settle_at(min(self.size - 1, int(rate * trip)), trial, clean=False)
        elif self.size == 1:
            self._settle_at(1, trial, clean=False)
        else:
            self._try(_Trial(trial.top, self.size, r, rate or None, self.flying, now), self.size // 2)

    def _wanted(self, trial: _Trial) -> int:
        """Requests that tell whether the share has fallen by half."""
        surely, usual = max(trial.against.surely, 0.01), self.floor
        excess = max(surely - usual, 0.02)
        return int(max(EVIDENCE / surely, 16 * usual * (1 - usual) / excess**2))

    def _nothing_passes(self, trial: _Trial, now: float) -> None:
        """All is refused: no matter of the window; go down to one, and up again with the first answer."""
        if self.size > 1 and trial.cohort is not None:
            self._try(_Trial(trial.top, self.size, trial.cohort, None, self.flying, now), self.size // 2)
            return
        self._goal, self._bad, self._good, self._trial = trial.top, None, 0, None
        self._next_round()

    def _settle_at(self, size: int, trial: _Trial, *, clean: bool) -> None:
        """429s depend on the window: stay at `size`, below what was suspicious."""
        served = None if trial.rate is None else trial.rate * (self.trip or 0.0)  # in flight and answered, at the window before
        if not clean:
            self._bad = max(size + 2, int(1.25 * size))
        else:
            self._bad = trial.before if served is None else min(trial.before, max(size + 1, int(served) + 2))
        self._hold = min(_LONGEST_HOLD, 2 * self._hold) if self._stride else _HOLD
        self._held = self._stride = self._cuts = 0
        self._ground = self._bad
        self.size = max(1, size)
        self._good = self.size if clean else 0
        self._goal = min(self.asked, max(self.size, (self.size + self._bad) // 2)) if clean else self.size
        self._trial = None
        self._next_round()

    def _restore(self, trial: _Trial) -> None:
        """429s come at random: back to where we were, and remember their share."""
        seen = (trial.against, trial.cohort) if trial.cohort else (trial.against,)
        launched, refused = sum(r.launched for r in seen), sum(r.refused for r in seen)
        self.floor = min(0.95, (refused + sqrt(refused)) / launched)
        self.size, self._goal, self._bad, self._stride = trial.top, self.asked, None, 0
        self._trial, self._ground = None, 0
        self._next_round()

    def _next_round(self) -> None:
        self._epoch += 1
        self._clean = 0
        self._round, self._last = _Round(self._epoch), _Round(self._epoch)
