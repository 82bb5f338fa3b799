"""Conditions of a rule: comparisons of counts, written as one writes them: ``0 < wrong < k``, ``right >= 1 and wrong >= 1``, ``wrong == k``.

A condition compares how many of the outputs that are looked at together are `right`, `wrong`, `unread` or `read` (right or wrong) with numbers,
with `k` (how many were asked for), ``k - 1`` or a share of k (``50%``), or with each other. Comparisons may be chained; they are joined by `and`,
and these by `or`. Three have a word of their own: `NAMED`.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from toolkit.common.errors import did_you_mean

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Counts = NDArray[np.integer[Any]]

NAMED = {"mixed": "right >= 1 and wrong >= 1", "all_wrong": "wrong == k", "any_wrong": "wrong >= 1"}
"""Words for conditions of the field: GuardReasoner's, GuardReasoner-VL's and the first GuardReasoner-Omni's."""
_COUNTS = ("right", "wrong", "unread", "read")
_PIECE = re.compile(r"\s*(?:(\d+)\s*(%)?|([A-Za-z_]+)|(<=|>=|==|!=|<|>|=)|(-))")
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
    """One side of a comparison: a count, or ``percent / 100 * k + plus``."""

    count: str = ""
    percent: int = 0
    plus: int = 0

    def times_100(self, counts: Mapping[str, Counts], k: Counts) -> Counts:
        """Its value, in whole hundredths."""
        return counts[self.count] * 100 if self.count else k * self.percent + self.plus * 100

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


@dataclass(frozen=True)
class Condition:
    """A condition: the `comparisons` of at least one of its parts hold, all of them."""

    text: str
    parts: tuple[tuple[Comparison, ...], ...]

    def holds(self, right: Counts, wrong: Counts, unread: Counts, k: Counts) -> NDArray[np.bool_]:
        """Where it holds; arrays of one shape."""
        import numpy as np

        counts = {"right": right, "wrong": wrong, "unread": unread, "read": right + wrong}
        shape = np.broadcast_shapes(right.shape, k.shape)
        out = np.zeros(shape, dtype=bool)
        for part in self.parts:
            found = np.ones(shape, dtype=bool)
            for c in part:
                found &= _OPS[c.op](c.left.times_100(counts, k), c.right.times_100(counts, k))
            out |= found
        return out

    @property
    def numbers(self) -> list[int]:
        """The plain numbers that it compares with."""
        sides = [q for part in self.parts for c in part for q in (c.left, c.right)]
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
    if len(pieces) == 1 and pieces[0] not in _COUNTS and not pieces[0][0].isdigit():
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
            raise ValueError(f"{text[at:].strip()[:20]!r} in the condition {text!r} is no count, number or comparison")
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
        raise ValueError(f"{' '.join(pieces)!r} in the condition {text!r} looks at no count: {', '.join(_COUNTS)}")
    return out


def _quantity(pieces: Sequence[str], text: str) -> Quantity:
    match list(pieces):
        case [one] if one.isdigit():
            return Quantity(plus=int(one))
        case [one] if one.endswith("%"):
            return Quantity(percent=int(one[:-1]))
        case ["k"]:
            return Quantity(percent=100)
        case ["k", "-", number] if number.isdigit():
            return Quantity(percent=100, plus=-int(number))
        case [one] if one in _COUNTS:
            return Quantity(count=one)
        case [one] if one[0].isalpha():
            raise ValueError(f"{one!r} in the condition {text!r} is no count: {did_you_mean(one, (*_COUNTS, 'k'))}")
    shown = " ".join(pieces)
    if not shown:
        raise ValueError(f"one side of a comparison is missing in the condition {text!r}")
    raise ValueError(f"{shown!r} in the condition {text!r} is no count, number, k, 'k - 1' or share of k ('50%')")


_FLIP = {"<": ">", ">": "<", "<=": ">=", ">=": "<="}


def _part_words(part: Sequence[Comparison], k: int | None) -> list[str]:
    """The bounds of each count in turn."""
    by_count: dict[str, list[str]] = {}
    others = []
    for c in part:
        left, op, right = (c.left, c.op, c.right) if c.left.count else (c.right, _FLIP.get(c.op, c.op), c.left)
        if left.count and not right.count:
            by_count.setdefault(left.count, []).append(_bound(op, right, k))
        elif left.count:
            than = {"<": "fewer {} than {}", ">": "more {} than {}", "<=": "no more {} than {}", ">=": "no fewer {} than {}"}
            others.append(than.get(op, "as many {} as {}" if op == "==" else "not as many {} as {}").format(left.count, right.count))
    out = []
    for count, bounds in by_count.items():
        words = " and ".join(bounds)
        out.append(f"{words} {'is' if words in ('at least 1', '1', 'at most 1') else 'are'} {count}")
    return out + others


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
