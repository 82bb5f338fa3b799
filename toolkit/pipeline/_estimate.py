"""What asking a model will take: calls, tokens, dollars and time, each as an interval, from a look at some rows.

Every interval is meant to hold with 90 % or more: means from n observations reach so many standard errors to each side as Student's t says,
shares are Wilson intervals, assumptions have stated ranges; products multiply end with end, which only widens them. What nobody knows is None.
Each figure says what it rests on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import sqrt
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any, NamedTuple

from toolkit.generation import price_of

if TYPE_CHECKING:
    from toolkit.generation import BaseBackendConfig, Journal, Request

Z = 1.645
"""Standard errors to each side of a 90 % interval where these are known exactly; `_reach` where they come from few observations."""

ENOUGH = 5
"""Observations from which a mean is trusted with its standard error."""

BLOCK = 2048
"""Requests looked up together."""


class Interval(NamedTuple):
    """A figure and its 90 % interval."""

    low: float
    mid: float
    high: float

    def times(self, other: Interval | float) -> Interval:
        """The product; both not negative."""
        by = other if isinstance(other, Interval) else Interval(other, other, other)
        return Interval(self.low * by.low, self.mid * by.mid, self.high * by.high)

    def plus(self, other: Interval) -> Interval:
        """The sum, end with end."""
        return Interval(self.low + other.low, self.mid + other.mid, self.high + other.high)

    def at_least(self, other: Interval) -> Interval:
        """The larger of the two, end by end."""
        return Interval(*map(max, self, other))

    def as_dict(self, digits: int = 0) -> dict[str, float]:
        """For JSON, rounded."""
        low, mid, high = (round(v, digits) if digits else round(v) for v in self)
        return {"low": low, "mid": mid, "high": high}


NONE = Interval(0, 0, 0)
"""Nothing at all."""

TOKENS_A_CHARACTER = Interval(1 / 5, 1 / 4, 1 / 3)
"""OpenAI's rule for English: a token is about four characters (help.openai.com/en/articles/4936856); the range, three to five, is ours."""

OUTPUT_TOKENS = 260.0
"""Tokens that a reasoning takes: GuardReasoner's own outputs came to 254-260 a query (arXiv:2501.18492, table 9)."""


ROW_CHARACTERS = Interval(200, 1000, 3000)
"""Text of a row that nobody has seen: an assumption of ours. The inputs of GuardReasonerTrain, instruction aside, have 34 to 6,000."""


@dataclass
class Looked:
    """What some or all rows of a step ask one backend.

    Attributes:
        rows: looked at; `faulty` of them cannot be asked about.
        requests: that these rows make.
        answered: those that the journal has, each key once.
        left: characters of the messages of those that it has not, each key once.
        pairs: characters and tokens of the prompts whose answer is there with a count.
        shape: of the requests, for the journal's history; None where there is no request.
        max_tokens: likewise.
        drawn, of: the rows looked at are what became of `drawn` rows, taken evenly from `of`.
    """

    rows: int = 0
    faulty: int = 0
    requests: int = 0
    answered: int = 0
    left: list[int] = field(default_factory=list)
    pairs: list[tuple[int, int]] = field(default_factory=list)
    shape: str | None = None
    max_tokens: int = 0
    drawn: int = 0
    of: int = 0

    @property
    def whole(self) -> bool:
        """Whether these are all rows of the step."""
        return self.drawn == self.of


def look(requests: Iterator[list[Request] | None], journal: Journal | None) -> Looked:
    """Look at the requests of each row (None: a row that cannot be asked about), and at what the journal has of them."""
    out, seen, waiting = Looked(), set[str](), dict[str, int]()

    def look_up() -> None:
        found = journal.get(waiting) if journal is not None else {}
        out.answered += len(found)
        out.left += [size for key, size in waiting.items() if key not in found]
        out.pairs += [(waiting[key], c.prompt_tokens) for key, c in found.items() if c.prompt_tokens is not None]
        waiting.clear()

    for asked in requests:
        out.rows += 1
        out.faulty += asked is None
        for request in asked or ():
            out.requests += 1
            out.shape, out.max_tokens = request.shape, request.max_tokens
            if request.key not in seen:
                seen.add(request.key)
                waiting[request.key] = sum(len(content) for _, content in request.messages)
        if len(waiting) >= BLOCK:
            look_up()
    look_up()
    return out


@dataclass
class Estimate:
    """What one backend of a step will take; None for what nobody knows.

    Attributes:
        calls: requests to be sent, those in the journal left out.
        answered: requests that the journal has.
        prompt_tokens, output_tokens: of all calls.
        dollars, seconds: likewise.
        basis: what the figures rest on, a sentence each.
    """

    name: str
    model: str
    endpoint: str
    calls: Interval | None = None
    answered: Interval | None = None
    prompt_tokens: Interval | None = None
    output_tokens: Interval | None = None
    dollars: Interval | None = None
    seconds: Interval | None = None
    basis: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        out: dict[str, Any] = {"name": self.name, "model": self.model, "endpoint": self.endpoint}
        for key, digits in (("calls", 0), ("answered", 0), ("prompt_tokens", 0), ("output_tokens", 0), ("dollars", 4), ("seconds", 1)):
            value: Interval | None = getattr(self, key)
            out[key] = None if value is None else value.as_dict(digits)
        return out | {"basis": self.basis}


def estimate(found: Estimate, looked: Looked, config: BaseBackendConfig, journal: Journal | None) -> None:
    """Fill in an estimate.

    Args:
        found: with its names; figures and `basis` are filled here.
        looked: at a sample of the step's rows, or all.
        config: of the backend.
        journal: for the history of requests of the same shape.
    """
    n = looked.requests
    rows = _share(looked.rows, looked.drawn, looked.whole).times(looked.of) if looked.drawn else NONE
    found.basis.append(_seen(looked, rows))
    if not n and not looked.whole:  # no row of the sample came this far; of the others some may
        found.calls = rows
        return
    if not n:
        found.calls = found.answered = found.prompt_tokens = found.output_tokens = found.dollars = found.seconds = NONE
        return
    requests = rows.times(n / looked.rows)
    found.answered = _share(looked.answered, n, looked.whole or looked.answered == 0).times(requests)
    found.calls = _share(len(looked.left), n, looked.whole or looked.answered == 0).times(requests)
    if looked.answered:
        found.basis.append(f"{looked.answered:,} of their {n:,} requests are in the journal and cost nothing")
    history = journal.history(looked.shape) if journal is not None and looked.shape is not None else []
    if not looked.left:
        found.prompt_tokens = found.output_tokens = found.dollars = found.seconds = NONE
        return
    found.prompt_tokens = found.calls.times(_prompt(looked, found.calls.mid, history, found.basis))
    found.output_tokens = found.calls.times(_output(looked, found.calls.mid, history, found.basis))
    _charge(found, config)
    found.seconds = _seconds(found, config, history)


def assume(found: Estimate, calls: float, blank: Looked, config: BaseBackendConfig, journal: Journal | None) -> None:
    """Fill in an estimate of which no row can be looked at, from stated averages.

    Args:
        found: with its names; figures and `basis` are filled here.
        calls: of the step, as far as the recipe says.
        blank: a look at what a row without any text would ask.
        config, journal: as for `estimate`.
    """
    found.calls = Interval(calls, calls, calls)
    history = journal.history(blank.shape) if journal is not None and blank.shape is not None else []
    counts = [h[0] for h in history if h[0] is not None]
    if len(counts) >= ENOUGH:
        found.basis.append(f"prompt tokens: {fmean(counts):,.0f} a call, from {len(counts):,} answers to other rows")
        found.prompt_tokens = found.calls.times(_mean(counts, calls))
    else:
        fixed = fmean(blank.left)
        found.basis.append(
            f"prompt tokens: assumed, a row's own text of {ROW_CHARACTERS.mid:,.0f} characters ({ROW_CHARACTERS.low:,.0f} to "
            f"{ROW_CHARACTERS.high:,.0f}) beside the {fixed:,.0f} of the prompt, and 4 characters a token, 3 to 5 (OpenAI's rule for English)"
        )
        found.prompt_tokens = found.calls.times(ROW_CHARACTERS.plus(Interval(fixed, fixed, fixed)).times(TOKENS_A_CHARACTER))
    found.output_tokens = found.calls.times(_output(blank, calls, history, found.basis))
    _charge(found, config)
    found.seconds = _seconds(found, config, history)


def _charge(found: Estimate, config: BaseBackendConfig) -> None:
    """Dollars of the tokens, where the price is known."""
    if (price := price_of(config)) is not None and found.prompt_tokens is not None and found.output_tokens is not None:
        read, written = price.price.input / 1e6, price.price.output / 1e6
        found.dollars = found.prompt_tokens.times(read).plus(found.output_tokens.times(written))


def _seen(looked: Looked, rows: Interval) -> str:
    of = ", all there are" if looked.whole else f" of about {rows.mid:,.0f}"
    return f"{looked.rows:,} rows looked at{of}" + (f", {looked.faulty:,} faulty" if looked.faulty else "")


def _share(part: int, n: int, exact: bool) -> Interval:
    """A share and its Wilson interval (Wilson 1927); without width where it is `exact`."""
    p = part / n
    if exact:
        return Interval(p, p, p)
    centre, width = (p + Z * Z / (2 * n)) / (1 + Z * Z / n), Z / (1 + Z * Z / n) * sqrt(p * (1 - p) / n + Z * Z / (4 * n * n))
    return Interval(max(0.0, centre - width), p, min(1.0, centre + width))


def _around(mean: float, error: float, n: int) -> Interval:
    """A mean of `n` observations with its standard error."""
    reach = _reach(n) * error
    return Interval(max(0.0, mean - reach), mean, mean + reach)


def _reach(n: int) -> float:
    """Student's t at 95 % with n - 1 degrees of freedom, by its expansion around the normal quantile (Abramowitz and Stegun, 26.7.5)."""
    f = max(1, n - 1)
    return Z + (Z**3 + Z) / (4 * f) + (5 * Z**5 + 16 * Z**3 + 3 * Z) / (96 * f * f)


def _mean(seen: Sequence[float], calls: float) -> Interval:
    """Mean of `calls` further values like those that were seen."""
    return _around(fmean(seen), stdev(seen) * sqrt(1 / len(seen) + 1 / max(calls, 1)), len(seen))


def _prompt(looked: Looked, calls: float, history: Sequence[Sequence[Any]], basis: list[str]) -> Interval:
    """Tokens of a prompt, on average over all calls."""
    n = len(looked.left)
    spread = 0.0 if looked.whole or n < 2 else stdev(looked.left) * sqrt(max(0.0, 1 / n - 1 / max(calls, n)))
    characters = _around(fmean(looked.left), spread, n)
    if len(looked.pairs) >= ENOUGH:
        ratio = sum(t for _, t in looked.pairs) / max(1, sum(c for c, _ in looked.pairs))
        left = [t - ratio * c for c, t in looked.pairs]
        error = sqrt(sum(d * d for d in left) / (len(left) - 1) / len(left)) / max(1.0, fmean(c for c, _ in looked.pairs))
        basis.append(
            f"prompt tokens: {1 / ratio:.2f} characters a token, from {len(looked.pairs):,} answers to these prompts" if ratio else "no tokens"
        )
        return characters.times(_around(ratio, error, len(left)))
    counts = [h[0] for h in history if h[0] is not None]
    if len(counts) >= ENOUGH:
        basis.append(f"prompt tokens: {fmean(counts):,.0f} a call, from {len(counts):,} answers to other rows")
        return _mean(counts, calls)
    basis.append("prompt tokens: assumed 4 characters a token, 3 to 5 (OpenAI's rule for English): the journal has no answer of this kind")
    return characters.times(TOKENS_A_CHARACTER)


def _output(looked: Looked, calls: float, history: Sequence[Sequence[Any]], basis: list[str]) -> Interval:
    """Tokens of an answer, on average over all calls."""
    counts = [h[1] for h in history if h[1] is not None]
    most = float(looked.max_tokens)
    if len(counts) >= ENOUGH:
        basis.append(f"output tokens: {fmean(counts):,.0f} a call, from {len(counts):,} answers in the journal")
        found = _mean(counts, calls)
        return Interval(*(min(v, most) for v in found))
    mid = min(OUTPUT_TOKENS, most)
    basis.append(
        f"output tokens: assumed {mid:,.0f} a call (GuardReasoner, table 9), from half of that up to max_tokens ({most:,.0f}): --probe N measures"
    )
    return Interval(mid / 2, mid, most)


def _seconds(found: Estimate, config: BaseBackendConfig, history: Sequence[Sequence[Any]]) -> Interval | None:
    """Wall time: what earlier calls took, as many at a time as the backend sends, and no faster than the ceilings of its rate."""
    if config.deferred:
        found.basis.append("time: the Batch API answers within a day")
        return None
    took = [h[2] for h in history if h[2] is not None]
    calls, prompt, output = found.calls, found.prompt_tokens, found.output_tokens
    if len(took) < ENOUGH or calls is None or prompt is None or output is None:
        found.basis.append("time: unknown without answers of this kind in the journal: --probe N measures")
        return None
    at_once = max(1.0, min(float(config.at_once), calls.mid))
    found.basis.append(f"time: {fmean(took):.1f} s a call, from {len(took):,} answers in the journal, {at_once:,.0f} at a time")
    out = calls.times(_mean(took, calls.mid)).times(1 / at_once)
    for ceiling, n in (("requests_per_minute", calls), ("tokens_per_minute", prompt.plus(output))):
        if (most := getattr(config, ceiling, None)) is not None:
            out = out.at_least(n.times(60 / most))
    return out


def together(parts: Sequence[Interval | None]) -> Interval | None:
    """The sum; None where a part is unknown."""
    out = NONE
    for part in parts:
        if part is None:
            return None
        out = out.plus(part)
    return out
