"""Conditions of a rule: comparisons of counts, written as one writes them: ``0 < wrong < k``, ``right >= 1 and wrong >= 1``, ``wrong == k``.

A condition compares how many of the outputs that are looked at together are `right`, `wrong`, `unread` or `read` (right or wrong) with numbers,
with `k` (how many were asked for), ``k - 1`` or a share of k (``50%``), or with each other; or it compares a measure of these outputs
(`toolkit.mining.MEASURES`, formulas in `_measures`) with a number: ``entropy >= 0.5``, ``0.2 < error_rate < 0.8``. Comparisons may be chained; they
are joined by `and`, and these by `or`. Three have a word of their own: `NAMED`.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from toolkit.common.errors import did_you_mean
from toolkit.mining._measures import MEASURES

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Counts = NDArray[np.integer[Any]]
    Floats = NDArray[np.float64]

NAMED = {"mixed": "right >= 1 and wrong >= 1", "all_wrong": "wrong == k", "any_wrong": "wrong >= 1"}
"""Words for conditions of the field: GuardReasoner's, GuardReasoner-VL's and the first GuardReasoner-Omni's."""
_COUNTS = ("right", "wrong", "unread", "read")
_MEASURE_WORDS = {
    "error_rate": "the error rate",
    "entropy": "the entropy of the votes",
    "margin": "the margin of the votes",
    "divergence": "the divergence between guards",
}
_AT_MOST_1 = ("error_rate", "margin")
_DIGITS = 9
"""Decimals to which a measure is compared: rounding of its sum plays no part."""
_PIECE = re.compile(r"\s*(?:(\d+(?:\.\d+)?)\s*(%)?|([A-Za-z_]+)|(<=|>=|==|!=|<|>|=)|(-))")
_OPS: dict[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt,
    "<=": operator.le,
    "=": operator.eq,
    "==": operator.eq,
    "!=": operator.ne,
    ">=": operator.ge,
    ">": operator.gt,
}


@dataclass(frozen=True)
class Quantity:
    """One side of a comparison: a count or measure by name, or ``percent / 100 * k + plus``."""

    count: str = ""
    percent: int = 0
    plus: float = 0

    @property
    def is_measure(self) -> bool:
        """Whether it is one of the measures."""
        return self.count in MEASURES

    def times_100(self, counts: Mapping[str, Counts], k: Counts) -> Any:
        """The value of what is no measure, in hundredths."""
        return counts[self.count] * 100 if self.count else k * self.percent + self.plus * 100

    def rounded(self, measured: Mapping[str, Floats]) -> Any:
        """The value of a measure or number."""
        return measured[self.count].round(_DIGITS) if self.count else self.plus

    def text(self, k: int | None) -> str:
        """A bound in words: its number where k is known."""
        if k is not None or not self.percent:
            value = self.percent * (k or 0) / 100 + self.plus
            return f"{value:g}"
        share = "k" if self.percent == 100 else f"{self.percent} % of k"
        return share if not self.plus else f"{share} - {-self.plus}" if self.plus < 0 else f"{share} + {self.plus}"


@dataclass(frozen=True)
class Comparison:
    """``left op right``."""

    left: Quantity
    op: str
    right: Quantity

    @property
    def measure(self) -> str:
        """The measure that it compares with a number; empty where it compares counts."""
        return next((q.count for q in (self.left, self.right) if q.is_measure), "")

    def holds(self, counts: Mapping[str, Counts], k: Counts, measured: Mapping[str, Floats]) -> Any:
        """Where it holds; nowhere where a measure is not known (NaN)."""
        if not (name := self.measure):
            return _OPS[self.op](self.left.times_100(counts, k), self.right.times_100(counts, k))
        return _OPS[self.op](self.left.rounded(measured), self.right.rounded(measured)) & (measured[name] == measured[name])


@dataclass(frozen=True)
class Condition:
    """A condition: the `comparisons` of at least one of its parts hold, all of them."""

    text: str
    parts: tuple[tuple[Comparison, ...], ...]

    def holds(self, right: Counts, wrong: Counts, unread: Counts, k: Counts, measured: Mapping[str, Floats] | None = None) -> NDArray[np.bool_]:
        """Where it holds; arrays of one shape. `measured` has the measures that it names, NaN where one is not known."""
        import numpy as np

        counts = {"right": right, "wrong": wrong, "unread": unread, "read": right + wrong}
        shape = np.broadcast_shapes(right.shape, k.shape)
        out = np.zeros(shape, dtype=bool)
        for part in self.parts:
            found = np.ones(shape, dtype=bool)
            for c in part:
                found &= c.holds(counts, k, measured or {})
            out |= found
        return out

    def holds_for(self, right: int, wrong: int, unread: int, k: int) -> bool:
        """Whether it, naming no measure, holds for these counts."""
        counts: Any = {"right": right, "wrong": wrong, "unread": unread, "read": right + wrong}
        among: Any = k
        return any(all(c.holds(counts, among, {}) for c in part) for part in self.parts)

    @property
    def numbers(self) -> list[float]:
        """The plain numbers that it compares counts with."""
        return self.bounds("")

    @property
    def measures(self) -> list[str]:
        """The measures that it names, in order."""
        return list(dict.fromkeys(c.measure for part in self.parts for c in part if c.measure))

    def bounds(self, measure: str) -> list[float]:
        """The plain numbers that it compares a measure with."""
        sides = [q for part in self.parts for c in part if c.measure == measure for q in (c.left, c.right)]
        return [q.plus for q in sides if not q.count and not q.percent]

    def words(self, k: int | None) -> str:
        """In words, k being known or not: ``at least 1 is right and at least 1 is wrong``."""
        return ", or ".join(" and ".join(_part_words(part, k)) for part in self.parts)


def parse_condition(text: str) -> Condition:
    """A condition of its text, or of one of the words of `NAMED`.

    Raises:
        ValueError: it is none; the message says what is wrong.
    """
    return _parsed(text.strip())


@lru_cache(maxsize=64)
def _parsed(text: str) -> Condition:
    if not text:
        raise ValueError("a condition is missing: 'mixed', 'all_wrong', or a comparison such as '0 < wrong < k'")
    pieces = _pieces(NAMED.get(text, text))
    if len(pieces) == 1 and pieces[0] not in (*_COUNTS, *MEASURES) and not pieces[0][0].isdigit():
        raise ValueError(f"no condition is called {text!r}: {did_you_mean(text, NAMED)}; or compare: '0 < wrong < k'")
    parts: list[tuple[Comparison, ...]] = []
    for alternative in _split(pieces, "or"):
        found: list[Comparison] = []
        for chain in _split(alternative, "and"):
            found += _chain(chain, text)
        parts.append(tuple(found))
    return Condition(text, tuple(parts))


def _pieces(text: str) -> list[str]:
    out, at = [], 0
    while text[at:].strip():
        found = _PIECE.match(text, at)
        if found is None:
            raise ValueError(f"{text[at:].strip()[:20]!r} in the condition {text!r} is no count, measure, number or comparison")
        number, percent, word, op, minus = found.groups()
        out.append(f"{number}%" if percent else number or word or op or minus)
        at = found.end()
    return out


def _split(pieces: Sequence[str], word: str) -> list[list[str]]:
    out: list[list[str]] = [[]]
    for piece in pieces:
        if piece == word:
            out.append([])
        else:
            out[-1].append(piece)
    return out


def _chain(pieces: Sequence[str], text: str) -> list[Comparison]:
    sides: list[list[str]] = [[]]
    ops: list[str] = []
    for piece in pieces:
        if piece in _OPS:
            ops.append("==" if piece == "=" else piece)
            sides.append([])
        else:
            sides[-1].append(piece)
    if not ops:
        raise ValueError(f"{' '.join(pieces) or 'nothing'!r} in the condition {text!r} compares nothing: write it as '0 < wrong < k'")
    found = [_quantity(side, text) for side in sides]
    out = [Comparison(a, op, b) for a, op, b in zip(found, ops, found[1:], strict=False)]
    if not any(q.count for q in found):
        raise ValueError(f"{' '.join(pieces)!r} in the condition {text!r} looks at no count: {', '.join(_COUNTS)}, or measure: {', '.join(MEASURES)}")
    for c in out:
        _check_numbers(c, text)
    return out


def _check_numbers(c: Comparison, text: str) -> None:
    """Raise ValueError where a comparison has a number, or anything else, that its count or measure cannot be held against."""
    (other,) = [q for q in (c.left, c.right) if not q.is_measure] or [c.right] if c.measure else [Quantity()]
    if c.measure and (other.count or other.percent):
        raise ValueError(f"{c.measure!r} in the condition {text!r} is held against something else than a number: write it as '{c.measure} >= 0.5'")
    if c.measure in _AT_MOST_1 and other.plus > 1:
        raise ValueError(f"{c.measure!r} lies between 0 and 1, and the condition {text!r} holds it against {other.plus:g}")
    if not c.measure and (parts := [q.plus for q in (c.left, c.right) if q.plus % 1]):
        raise ValueError(f"{parts[0]:g} in the condition {text!r} is no number of outputs: a share of k is written as '50%'")


def _quantity(pieces: Sequence[str], text: str) -> Quantity:
    match list(pieces):
        case [one] if one.replace(".", "", 1).isdigit():
            return Quantity(plus=int(one) if one.isdigit() else float(one))
        case [one] if one.endswith("%") and one[:-1].isdigit():
            return Quantity(percent=int(one[:-1]))
        case ["k"]:
            return Quantity(percent=100)
        case ["k", "-", number] if number.isdigit():
            return Quantity(percent=100, plus=-int(number))
        case [one] if one in (*_COUNTS, *MEASURES):
            return Quantity(count=one)
        case [one] if one[0].isalpha():
            raise ValueError(f"{one!r} in the condition {text!r} is no count or measure: {did_you_mean(one, (*_COUNTS, 'k', *MEASURES))}")
    shown = " ".join(pieces)
    if not shown:
        raise ValueError(f"one side of a comparison is missing in the condition {text!r}")
    raise ValueError(f"{shown!r} in the condition {text!r} is no count, measure, number, k, 'k - 1' or share of k ('50%')")


_FLIP = {"<": ">", ">": "<", "<=": ">=", ">=": "<="}


def _part_words(part: Sequence[Comparison], k: int | None) -> list[str]:
    """The bounds of each count in turn, then those of each measure."""
    by_count: dict[str, list[str]] = {}
    by_measure: dict[str, list[str]] = {}
    others = []
    for c in part:
        left, op, right = (c.left, c.op, c.right) if c.left.count else (c.right, _FLIP.get(c.op, c.op), c.left)
        if left.is_measure:
            before = {"<": "below ", ">": "above ", "<=": "at most ", ">=": "at least ", "==": "", "!=": "not "}[op]
            by_measure.setdefault(left.count, []).append(f"{before}{right.plus:g}")
        elif left.count and not right.count:
            by_count.setdefault(left.count, []).append(_bound(op, right, k))
        elif left.count:
            than = {"<": "fewer {} than {}", ">": "more {} than {}", "<=": "no more {} than {}", ">=": "no fewer {} than {}"}
            others.append(than.get(op, "as many {} as {}" if op == "==" else "not as many {} as {}").format(left.count, right.count))
    out = []
    for count, bounds in by_count.items():
        words = " and ".join(bounds)
        out.append(f"{words} {'is' if words in ('at least 1', '1', 'at most 1') else 'are'} {count}")
    return out + others + [f"{_MEASURE_WORDS[name]} is {' and '.join(bounds)}" for name, bounds in by_measure.items()]


def _bound(op: str, bound: Quantity, k: int | None) -> str:
    """``at least 1``, ``all 4``, ``at most k - 1``: whole numbers, so that ``> 0`` is ``at least 1``."""
    if op == "==" and bound == Quantity(percent=100):
        return f"all {k}" if k is not None else "all k"
    whole = not bound.percent % 100 or (k is not None and not bound.percent * k % 100)
    if op in ("<", ">") and whole:
        op, bound = ("<=", Quantity("", bound.percent, bound.plus - 1)) if op == "<" else (">=", Quantity("", bound.percent, bound.plus + 1))
    before = {"<": "fewer than ", ">": "more than ", "<=": "at most ", ">=": "at least ", "==": "", "!=": "not "}[op]
    if op == "<=" and bound.text(k) == "0":
        return "none"
    return before + bound.text(k)
