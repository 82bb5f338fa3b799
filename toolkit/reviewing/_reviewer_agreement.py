"""How far reviewers agree beyond chance: Cohen's kappa for two, Krippendorff's alpha for any number with gaps.

Both take values as names (nominal: any two different labels are equally far apart). A value that is None, as for `unsure`, is a gap.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from itertools import combinations
from typing import Any


def cohen_kappa(pairs: Iterable[tuple[Hashable | None, Hashable | None]]) -> float | None:
    """Agreement of two reviewers beyond what their own shares of each value would give by chance (Cohen, 1960).

    ``(p_o − p_e) / (1 − p_e)``: `p_o` is the share of rows on which both say the same, `p_e` the sum over values of the product of their shares.

    Args:
        pairs: for each row what one says and what the other says; a pair with a gap does not count.

    Returns:
        The coefficient, at most 1; None without a pair, or where both say one and the same value throughout: there is nothing to agree beyond.

    Example:
        >>> cohen_kappa([("a", "a"), ("a", "a"), ("b", "b"), ("a", "b")])
        0.5
    """
    known = [(a, b) for a, b in pairs if a is not None and b is not None]
    if not known:
        return None
    n = len(known)
    same = sum(a == b for a, b in known)
    one, other = Counter(a for a, _ in known), Counter(b for _, b in known)
    chance = sum(count * other[value] for value, count in one.items())
    return None if chance == n * n else (same * n - chance) / (n * n - chance)


def krippendorff_alpha(units: Iterable[Iterable[Hashable | None]]) -> float | None:
    """Agreement of any number of reviewers, of whom not each need have looked at each row (Krippendorff, 2011, nominal).

    ``1 − (n − 1) · Σ o_ck / Σ n_c · n_k`` over pairs of different values c, k. A row with m values adds to `o` each ordered pair of them with the
    weight ``1 / (m − 1)``; `n_c` is how often a value occurs in such pairs, `n` their sum.

    Args:
        units: for each row what reviewers say of it; gaps are left out, and a row with fewer than two values does not count.

    Returns:
        The coefficient, at most 1; None where no row has two values, or where all values are the same.

    Example:
        >>> krippendorff_alpha([("a", "a"), ("a", "b"), ("b", "b", None), ("a", None)])
        0.4444444444444444
    """
    together: dict[tuple[Hashable, Hashable], float] = {}
    for unit in units:
        values = Counter(v for v in unit if v is not None)
        if (m := values.total()) < 2:
            continue
        for a, na in values.items():
            for b, nb in values.items():
                together[a, b] = together.get((a, b), 0) + (na * nb - (na if a == b else 0)) / (m - 1)
    of_value: dict[Hashable, float] = {}
    for (a, _), weight in together.items():
        of_value[a] = of_value.get(a, 0) + weight
    n = sum(of_value.values())
    differ = sum(weight for (a, b), weight in together.items() if a != b)
    chance = sum(x * y for (a, x) in of_value.items() for (b, y) in of_value.items() if a != b)
    return None if not chance else 1 - (n - 1) * differ / chance


def agreement_of(by_row: Mapping[Hashable, Mapping[str, str | None]]) -> dict[str, Any]:
    """Figures of one task.

    Args:
        by_row: for each row what each reviewer says; None for `unsure`.

    Returns:
        ``rows`` with two values or more, ``same``: those on which all say the same, ``alpha``, and ``pairs``: for any two reviewers ``a``, ``b``,
        ``rows`` that both decided, ``same``, ``kappa``.
    """
    units = [known for each in by_row.values() if len(known := [v for v in each.values() if v is not None]) > 1]
    names = sorted({name for each in by_row.values() for name in each})
    pairs = []
    for a, b in combinations(names, 2):
        both = [(x, y) for each in by_row.values() if (x := each.get(a)) is not None and (y := each.get(b)) is not None]
        if both:
            pairs.append({"a": a, "b": b, "rows": len(both), "same": sum(x == y for x, y in both), "kappa": _rounded(cohen_kappa(both))})
    same = sum(len(set(values)) == 1 for values in units)
    return {"rows": len(units), "same": same, "alpha": _rounded(krippendorff_alpha(units)), "pairs": pairs}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
