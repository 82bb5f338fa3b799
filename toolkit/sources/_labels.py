"""Labels and categories of one row, as the source definition says. No value is guessed: one outside the map is a `RowError`."""

from __future__ import annotations

import ast
import json
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from toolkit.common.errors import did_you_mean
from toolkit.sources._faults import RowError
from toolkit.sources._source_definition import Categories, Label, Vote, VoteMethod

Row = dict[str, Any]


def value_of(row: Row, column: str) -> Any:
    """A column's value; null and a missing key differ. NaN, which pandas writes for a missing value, is null.

    Raises:
        RowError: ``missing_key``.
    """
    try:
        value = row[column]
    except KeyError:
        raise RowError("missing_key", f"{column} is not there") from None
    return denan(value) if type(value) is float else value


def denan(value: Any) -> Any:
    """The value; None for NaN."""
    return None if isinstance(value, float) and value != value else value


def text_of(row: Row, column: str) -> str | None:
    """A text, or None.

    Raises:
        RowError: ``wrong_type`` or ``nul``.
    """
    value = value_of(row, column)
    if value is None:
        return None
    if type(value) is not str:
        raise RowError("wrong_type", f"{column} is not text but {type(value).__name__}")
    if "\0" in value:
        raise RowError("nul", f"{column} holds a NUL character")
    return value


def exact(value: Any, kinds: frozenset[type], column: str) -> Any:
    """`value` as one of `kinds`, by conversions that lose nothing: ``1.0`` to ``1``. True is no number, and no text is a number.

    Raises:
        RowError: ``wrong_type``.
    """
    if type(value) in kinds:
        return value
    if int in kinds and isinstance(value, float) and value.is_integer():
        return int(value)
    names = " or ".join(sorted(k.__name__ for k in kinds))
    raise RowError("wrong_type", f"{column} is not {names} but {type(value).__name__} ({str(value)[:40]!r})")


def uncsv(value: Any, kinds: frozenset[type]) -> Any:
    """A CSV field as the kind that the source expects: ``True``, ``3``, or the text itself where it is none."""
    if not isinstance(value, str) or kinds == {str}:
        return value
    word = value.strip()
    if bool in kinds and word.lower() in ("true", "false"):
        return word.lower() == "true"
    if int in kinds:
        try:
            number = float(word)
        except ValueError:
            return value
        return int(number) if number.is_integer() else value
    if float in kinds:
        try:
            return float(word)
        except ValueError:
            return value
    if kinds & {list, dict}:
        return _literal(word)
    return value


def _literal(word: str) -> Any:
    """A list or struct in a CSV field: JSON, or Python's spelling of it, which ``datasets`` and pandas write."""
    for parse in (json.loads, ast.literal_eval):
        try:
            return parse(word)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
    return word


def column_label(row: Row, column: str, labels: Mapping[Any, str | None], kinds: frozenset[type]) -> str | None:
    """The label in a column, None where it is null or a value that says nothing.

    Raises:
        RowError: ``wrong_type`` or ``unknown_label``.
    """
    value = value_of(row, column)
    if value is None:
        return None
    if _is_score(value, labels):
        what = f"scores between 0 and 1, and the map knows {' and '.join(repr(w) for w in labels)} alone"
        raise RowError("unknown_label", f"{column}: {what}: `threshold: 0.5` beside `column`, and a map of true and false, make labels of them")
    value = exact(value, kinds, column)
    try:
        return labels[value]
    except KeyError:
        raise RowError("unknown_label", f"{column}: {str(value)[:80]!r} is not in the map ({_near(str(value)[:80], tuple(labels))})") from None


def _is_score(value: Any, labels: Mapping[Any, str | None]) -> bool:
    """Whether a value is a number between 0 and 1, perhaps as text, where the labels are those two."""
    if not {str(word).lower() for word in labels} <= {"0", "1", "true", "false"} or isinstance(value, bool | int):
        return False
    try:
        return 0 < float(value) < 1
    except (TypeError, ValueError):
        return False


def derived_value(row: Row, rule: Label) -> bool | int | None:
    """What a rule makes of one or several columns, which its map maps; None where none of them says anything.

    Raises:
        RowError: ``wrong_type``, or ``missing_key`` where the rule reads one column.
    """
    if rule.bins is not None:
        number = number_of(row, rule.columns[0])
        return None if number is None else bisect_right(rule.bins, number)
    several = rule.column is None
    found = [_flag(row, c, rule.threshold) for c in rule.columns if not several or c in row]
    known = [f for f in found if f is not None]
    if not known:
        return None
    return all(known) if rule.all is not None else any(known)


def number_of(row: Row, column: str) -> float | None:
    """A number, or None.

    Raises:
        RowError: ``missing_key`` or ``wrong_type``.
    """
    value = value_of(row, column)
    return None if value is None else float(exact(value, frozenset({float, int}), column))


def _flag(row: Row, column: str, threshold: float | None) -> bool | None:
    if threshold is not None:
        number = number_of(row, column)
        return None if number is None else number >= threshold
    value = value_of(row, column)
    if value is None:
        return None
    flag = exact(value, frozenset({bool, int}), column)
    if flag not in (0, 1):
        raise RowError("wrong_type", f"{column} is {flag}, which is neither 0 nor 1")
    return bool(flag)


def vote_label(row: Row, vote: Vote, known: Mapping[str, str | None], method: VoteMethod) -> str | None:
    """The label that the annotators voted for, None where none of them voted.

    Args:
        row: the row.
        vote: columns and words.
        known: values that an annotation may hold.
        method: see `Vote`.

    Raises:
        RowError: ``wrong_type`` or ``unknown_label``.
    """
    votes = voices(row, vote)
    for column, value in votes:
        for part in parts_of(value):
            if part not in known:
                raise RowError("unknown_label", f"{column}: {part[:80]!r} is not in the map ({_near(part[:80], tuple(known))})")
    if not votes:
        return None
    if method == "reference":
        top = Counter(value for _, value in votes).most_common(1)[0][0]
        return vote.negative if top == vote.safe else vote.positive
    unsafe, safe = camps(row, vote).values()
    if unsafe == safe:
        return {"positive": vote.positive, "negative": vote.negative, "missing": None}[vote.ties]
    return vote.positive if unsafe > safe else vote.negative


def camps(row: Row, vote: Vote) -> dict[str, int]:
    """How many annotators objected and how many did not, in this order, by the label that their camp stands for.

    Raises:
        RowError: as `voices`.
    """
    votes = voices(row, vote)
    unsafe = sum(any(part != vote.safe for part in parts_of(value)) for _, value in votes)
    return {vote.positive: unsafe, vote.negative: len(votes) - unsafe}


def agreed(row: Row, column: str) -> float | None:
    """The share of annotators who gave the label, None where the source does not say.

    Raises:
        RowError: ``wrong_type``: no number from 0 to 1.
    """
    share = number_of(row, column)
    if share is None:
        return None
    if not 0 <= share <= 1:
        raise RowError("wrong_type", f"{column} is {share:g}, which is no share (0 to 1)")
    return share


def voices(row: Row, vote: Vote) -> list[tuple[str, str]]:
    """(column, annotation) of each annotator who voted, as far as the count goes.

    Raises:
        RowError: ``wrong_type``: a count that is no number of columns, an annotation that is not text.
    """
    count = len(vote.columns)
    if vote.count is not None:
        n = exact(value_of(row, vote.count), frozenset({int}), vote.count)
        if not 0 <= n <= count:
            raise RowError("wrong_type", f"{vote.count} is {n}, but there are {count} annotators' columns")
        count = n
    found = [(column, text_of(row, column)) for column in vote.columns[:count]]
    return [(column, value) for column, value in found if value is not None and value.strip()]


def parts_of(value: str) -> list[str]:
    """The values of a comma-separated annotation."""
    return [p for part in value.split(",") if (p := part.strip())]


def category_values(row: Row, rule: Categories) -> list[str]:
    """The source's own categories of a row, in the order in which they stand.

    Raises:
        RowError: ``wrong_type``.
    """
    out: list[str] = []
    for column in rule.columns:
        if rule.kind in ("string", "comma"):
            text = text_of(row, column)
            out += [] if text is None else parts_of(text) if rule.kind == "comma" else [text]
            continue
        value = value_of(row, column)
        if value is None:
            continue
        value = exact(value, frozenset({list if rule.kind == "list" else dict}), column)
        out += _of_list(value, column) if rule.kind == "list" else _of_struct(value, column)
    return out


def _of_list(values: list[Any], column: str) -> list[str]:
    return [exact(v, frozenset({str}), column) for v in values]


def _of_struct(flags: dict[str, Any], column: str) -> list[str]:
    flags = {name: denan(flag) for name, flag in flags.items()}
    for name, flag in flags.items():
        if flag is not None and type(flag) is not bool:
            raise RowError("wrong_type", f"{column}.{name} is not bool but {type(flag).__name__}")
    return [name for name, flag in flags.items() if flag]


@lru_cache(maxsize=4096)
def _near(word: str, known: tuple[Any, ...]) -> str:
    return did_you_mean(word, map(str, known))[:200]
