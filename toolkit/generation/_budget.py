"""The money of a run: what has been spent, and a cap that it never passes.

Contract: one `Meter` for all backends of a run; safe from many threads. Before a request is sent, the worst that one attempt can cost is
reserved; when its answer is there, what it did cost is booked and the rest released. So `spent` plus `reserved` never passes the cap as long
as no answer costs more than its bound (`toolkit.generation._usage`). Amounts are whole multiples of 1e-12 dollars, so sums are exact.

What is booked for a request, all its attempts together:
- an answer, or a failure that is the model's own (``FINAL``): its tokens as the endpoint counted them; where it did not count, or its count is
  not to be believed beside the text (`believed`), the worst case, without output where nothing was written (a filtered prompt);
- each attempt that was sent and whose usage nobody knows (`Completion.lost`): the worst case, since the endpoint may charge for it;
- any other failure, and ``no_schema``: nothing beyond its lost attempts. A request of which no answer came at all (``unanswered``) may have been
  sent: the worst case.

What is booked at the worst case is an estimate; `Meter.estimated` says how much of `spent` that is.

The cap holds for one run of the program: what earlier runs spent is in the journal, and its answers cost nothing now.

Failure semantics: with a cap, a model without a price is an `InputError` before anything is sent; without one, its costs are None. A request with a
sound is refused likewise where there is a cap and the model costs anything: sounds have prices of their own, which no table here states.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, isfinite
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

from toolkit.common.errors import InputError
from toolkit.common.paths import Roots
from toolkit.generation._prices import FoundPrice, no_price, price_of, unknown
from toolkit.generation._protocol import Backend
from toolkit.generation._request import Completion, Request
from toolkit.generation._usage import believed, tokens_at_most, written_at_most

if TYPE_CHECKING:
    from toolkit.generation._base_config import BaseBackendConfig, Price

_UNIT = 10**12
"""Units in a dollar."""


def dollars(amount: float | None) -> str:
    """An amount for people: cents where there are dollars, else four digits that count."""
    amount = amount or 0.0
    return f"${amount:,.2f}" if amount >= 1 or not amount else f"${amount:.4g}"


class Charge(NamedTuple):
    """Dollars of all attempts of a request, lost ones included (None where no price is known), and how much of that is an estimate."""

    dollars: float | None
    estimated: float


@dataclass
class _Held:
    """What stands for one request: reserved for its attempt under way, booked for its lost ones (in units), and how many those are."""

    reserved: int = 0
    booked: int = 0
    lost: int = 0


class Meter:
    """Counts the dollars of a run and keeps them under a cap; see the module's docstring.

    Args:
        prices: by endpoint and model id, as requests name them; `register` adds to it.
        cap: dollars; None for no cap.

    Raises:
        InputError: the cap is negative or no number.
    """

    def __init__(self, prices: Mapping[tuple[str, str], Price] | None = None, cap: float | None = None) -> None:
        if cap is not None and not (isfinite(cap) and cap >= 0):
            raise InputError(f"a budget is a number of dollars, 0 or more, not {cap}")
        self.cap = cap
        self._roots = Roots.of(None)  # the price files are those of the working folder that the run began in
        self._cap = None if cap is None else int(Fraction(str(cap)) * _UNIT)
        self._prices: dict[tuple[str, str], tuple[int, int]] = {at: _units(p) for at, p in (prices or {}).items()}
        self._lock = threading.Lock()
        self._held: dict[str, _Held] = {}
        self._spent = self._estimated = self._reserved = 0

    def register(self, backend: Backend, config: BaseBackendConfig | None) -> FoundPrice | None:
        """Learn what a backend that has been opened charges; None where nobody states it.

        Raises:
            InputError: there is a cap and no price, or a price file is faulty.
        """
        found = price_of(config, self._roots)
        if found is not None:
            with self._lock:
                self._prices[backend.endpoint, backend.model_id] = _units(found.price)
        elif self.cap is not None:
            raise no_price(config)
        return found

    @property
    def spent(self) -> float:
        """Dollars booked so far."""
        return self._spent / _UNIT

    @property
    def estimated(self) -> float:
        """Dollars of these that are worst cases, since nobody counted, or nobody is believed to have."""
        return self._estimated / _UNIT

    @property
    def reserved(self) -> float:
        """Dollars that the attempts under way may cost at worst."""
        return self._reserved / _UNIT

    def reserve(self, request: Request) -> bool:
        """Set aside the worst case of one attempt; False where it does not fit now (what is under way may still cost less than its worst).

        Raises:
            InputError: there is a cap and no price.
        """
        with self._lock:
            worst = self._worst(request)
            if not self._fits(worst):
                return False
            self._reserved += worst
            self._held.setdefault(request.key, _Held()).reserved += worst
            return True

    def lost(self, request: Request) -> bool:
        """An attempt was sent and its usage is not known: book it at its worst case and set aside another; False where there is no room for
        that one, and the request must fail with the class ``budget``.

        Raises:
            InputError: there is a cap and no price.
        """
        with self._lock:
            worst = self._worst(request)
            held = self._held.setdefault(request.key, _Held())
            self._reserved -= held.reserved
            held.reserved = 0
            held.lost += 1
            held.booked += worst
            self._spent += worst
            self._estimated += worst
            if not self._fits(worst):
                return False
            held.reserved = worst
            self._reserved += worst
            return True

    def settle(self, request: Request, completion: Completion) -> Charge:
        """Release what was set aside for a request and book what its last attempt did cost."""
        with self._lock:
            held = self._held.pop(request.key, None) or _Held()
            self._reserved -= held.reserved
            if (price := self._prices.get((request.endpoint, request.model_id))) is None:
                return Charge(None, 0.0)
            cost, guess = _cost(request, completion, price)
            if completion.lost > held.lost:
                worst = (completion.lost - held.lost) * _bound(request, price)
                cost, guess = cost + worst, guess + worst
            self._spent += cost
            self._estimated += guess
            return Charge((held.booked + cost) / _UNIT, (held.booked + guess) / _UNIT)

    def _fits(self, worst: int) -> bool:
        return self._cap is None or self._spent + self._reserved + worst <= self._cap

    def _worst(self, request: Request) -> int:
        price = self._prices.get((request.endpoint, request.model_id))
        if price is not None:
            if request.media and self._cap is not None and any(price) and any(m.kind != "image" for m in request.media):
                kinds = ", ".join(sorted({m.kind for m in request.media} - {"image"}))
                hint = "run without a budget, or leave rows with such media out in a step before"
                raise InputError(f"a budget needs a price, and none is known for what {request.model_id!r} asks for {kinds}", hint=hint)
            return _bound(request, price)
        if self._cap is None:
            return 0
        raise unknown(request.model_id, request.endpoint)


def _units(price: Price) -> tuple[int, int]:
    """Units for one token read and one written; rounded up, which changes no price that has at most six decimals."""
    read, written = (ceil(Fraction(str(dollars)) * _UNIT / 10**6) for dollars in (price.input, price.output))
    return read, written


def _bound(request: Request, price: tuple[int, int]) -> int:
    return tokens_at_most(request) * price[0] + request.max_tokens * price[1]


def _cost(request: Request, completion: Completion, price: tuple[int, int]) -> tuple[int, int]:
    """What the attempt that ended the request costs, lost ones aside, and how much of that is an estimate."""
    answered = completion.final and completion.error != "no_schema"  # that one is refused before any model reads it
    if not any(price) or not (answered or completion.error == "unanswered" or completion.prompt_tokens is not None):
        return 0, 0
    read, written = believed(request, completion)
    cost = guess = 0
    if read is None:
        guess += tokens_at_most(request) * price[0]
    else:
        cost += read * price[0]
    if written is not None:
        cost += written * price[1]
    elif completion.error != "content_filter" or completion.finish is not None:  # else the prompt was filtered
        guess += written_at_most(request, completion) * price[1]
    return cost + guess, guess


@runtime_checkable
class Metered(Protocol):
    """A backend that may send a request more than once; it asks the meter before it repeats one whose cost is not known."""

    meter: Meter | None
