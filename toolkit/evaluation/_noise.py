"""How likely each label is wrong, from several voters' verdicts on the same rows.

A voter is a guard (its draws count as one voice: draws of one model err together), a teacher that was not shown the label, or a source's
annotators. A voter's verdicts on a row are a line of fractions over the labels that adds up to 1, or all zero where it gave nothing that could be
read. Labels are numbers from 0, -1 where a row has none.

Confident learning (Northcutt, Jiang and Chuang, 2021, JAIR 70:1373) is cleanlab's, with the voters' mean fractions as predicted probabilities;
they must be out of sample: a voter that was trained on a row repeats its label.

`noise` is the posterior probability that a row's label is another one, ranking all evidence at once::

    p(true = y | row)  ~  prior[label, y] * exp( n_eff * mean over voters v of  sum over labels j of  f_v[row, j] * log A_v[y, j] )

- ``prior[i, y]``: how often rows labelled i are y, from the calibrated confident joint, plus one row for each pair; without
  one, the mean of the ``A_v``;
- ``A_v[y, j]``: how often voter v says j where the label is y, counted against the given labels, plus one (the error rates of Dawid and Skene,
  1979, Applied Statistics 28:20, without their iteration, which would let voters of one kind outvote the labels);
- ``n_eff = V / (1 + (V - 1) * rho)``: what V voters count for when their errors have the mean pairwise correlation rho (Kish's design effect,
  1965, Survey Sampling, section 8.2). With rho 0 the voters are independent; with rho 1 they are one, and this is the logarithmic opinion pool
  (Genest and Zidek, 1986, Statistical Science 1:114).

Deterministic, in float64; nothing here is drawn or iterated. Memory: about 100 bytes a row and voter while it runs.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Confident:
    """Confident learning over some rows.

    Attributes:
        self_confidence: share of the votes that the row's own label got, in [0, 1].
        margin: normalised margin after each class's mean self-confidence was taken off, in [0, 1]; 0 is the least likely label.
        off_diagonal: whether the row stands off the diagonal of the confident joint: its votes are for another label, confidently.
        joint: rows by given label and confidently voted one, calibrated to the given labels' counts; shape (labels, labels).
    """

    self_confidence: Floats
    margin: Floats
    off_diagonal: Bools
    joint: Ints


@dataclass(frozen=True)
class Noise:
    """What the voters say of the labels of all rows.

    Attributes:
        noise: posterior probability that the label is wrong; 0 where there is no label or no verdict.
        best: the most probable other label; -1 where noise is 0 for want of a label or of votes.
        correlation: mean pairwise correlation of the voters' errors, in [0, 1]; 0 for one voter.
        self_confidence, margin: as in `Confident`; 1 where there is nothing to go by.
        off_diagonal: as in `Confident`.
        joint: as in `Confident`; None where no guard or teacher gave a verdict on a row with a label.
    """

    noise: Floats
    best: Ints
    correlation: float
    self_confidence: Floats
    margin: Floats
    off_diagonal: Bools
    joint: Ints | None


def fractions(counts: NDArray[Any]) -> Floats:
    """A voter's counts of each label, shape (rows, labels), as fractions; a row of zeros stays one."""
    import numpy as np

    total = counts.sum(axis=1, keepdims=True, dtype=np.float64)
    out: Floats = counts / np.where(total > 0, total, 1.0)
    return out


def pooled(voices: Mapping[str, Floats], weights: Mapping[str, float]) -> Floats:
    """Weighted mean of the voters' fractions, over those with a verdict on the row; zeros where nobody has one.

    Args:
        voices: fractions by voter, each of shape (rows, labels); at least one.
        weights: of voters; 1 for one that is not named.
    """
    import numpy as np

    out: Floats = np.zeros(next(iter(voices.values())).shape)
    total: Floats = np.zeros((len(out), 1))
    for name, f in voices.items():
        w = weights.get(name, 1.0)
        total += w * (f.sum(axis=1, keepdims=True) > 0)
        out += w * f
    result: Floats = out / np.where(total > 0, total, 1.0)
    return result


def confident(labels: Ints, fractions: Floats) -> Confident:
    """Confident learning by cleanlab's own functions.

    Args:
        labels: from 0, of rows that have one; at least one row.
        fractions: out-of-sample probabilities, shape (rows, labels), each row adding up to 1.
    """
    import numpy as np

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # cleanlab warns where a class has no row, which is no fault here
        from cleanlab.count import compute_confident_joint
        from cleanlab.rank import get_label_quality_scores

        joint, off = compute_confident_joint(labels, fractions, calibrate=True, return_indices_of_off_diagonals=True)
        own = get_label_quality_scores(labels, fractions, method="self_confidence")
        margin = get_label_quality_scores(labels, fractions, method="normalized_margin", adjust_pred_probs=True)
    out = np.zeros(len(labels), dtype=bool)
    out[off] = True
    return Confident(np.asarray(own, np.float64), np.clip(np.asarray(margin, np.float64), 0, 1), out, np.asarray(joint, np.int64))


def score_labels(labels: Ints, voices: Mapping[str, Floats], annotators: Floats | None = None, weights: Mapping[str, float] | None = None) -> Noise:
    """All scores of one task's labels; see the module's docstring for the formula.

    Args:
        labels: from 0; -1 where a row has none.
        voices: verdicts of guards and teachers, fractions of shape (rows, labels) by voter.
        annotators: votes of the source's own annotators, likewise. They made the label, so they count in `noise` alone.
        weights: of voters; 1 for one that is not named, 0 leaves it out.
    """
    import numpy as np

    weights = weights or {}
    voices = {n: f for n, f in voices.items() if weights.get(n, 1.0) > 0}
    rows = len(labels)
    own, margin, off = np.ones(rows), np.ones(rows), np.zeros(rows, dtype=bool)
    joint: Ints | None = None
    if voices:
        fractions = pooled(voices, weights)
        there = (labels >= 0) & (fractions.sum(axis=1) > 0)
        if there.any():
            found = confident(labels[there], fractions[there])
            own[there], margin[there], off[there], joint = found.self_confidence, found.margin, found.off_diagonal, found.joint
    # The name holds a space: no guard in a recipe can be called so.
    every = dict(voices) if annotators is None or not annotators.any() else {**voices, "the annotators": annotators}
    noise, best, rho = _posterior(labels, every, weights, joint)
    return Noise(noise, best, rho, own, margin, off, joint)


def _posterior(labels: Ints, voices: Mapping[str, Floats], weights: Mapping[str, float], joint: Ints | None) -> tuple[Floats, Ints, float]:
    """`noise`, `best` and the correlation of `Noise`."""
    import numpy as np

    rows = len(labels)
    if not voices or not (labels >= 0).any():
        return np.zeros(rows), np.full(rows, -1), 0.0
    k = next(iter(voices.values())).shape[1]
    rates = {name: _rates(labels, f, k) for name, f in voices.items()}
    rho = _correlation(labels, voices)
    total, voters, like = np.zeros(rows), np.zeros(rows), np.zeros((rows, k))
    for name, f in voices.items():
        w, there = weights.get(name, 1.0), f.sum(axis=1) > 0
        total += w * there
        voters += there
        for j in range(k):  # sums by hand: a matrix product's bits may depend on the number of threads
            like += w * f[:, j : j + 1] * np.log(rates[name][:, j])
    heard = (total > 0) & (labels >= 0)
    mean = like[heard] / total[heard, None]
    n_eff = voters[heard] / (1 + (voters[heard] - 1) * rho)
    counts: Floats = np.asarray(np.sum(list(rates.values()), axis=0) if joint is None else joint + 1.0, np.float64)
    prior = counts / counts.sum(axis=1, keepdims=True)
    given = labels[heard]
    log = np.log(prior[given]) + n_eff[:, None] * mean
    p = np.exp(log - log.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    at = np.arange(len(given))
    noise, best = np.zeros(rows), np.full(rows, -1)
    noise[heard] = np.clip(1 - p[at, given], 0, 1)
    p[at, given] = -1
    best[heard] = p.argmax(axis=1)
    return noise, best, rho


def _rates(labels: Ints, f: Floats, k: int) -> Floats:
    """How often a voter says j where the label is i, each pair counted once more than it is; shape (labels, labels)."""
    import numpy as np

    out = np.ones((k, k))
    for i in range(k):
        out[i] += f[labels == i].sum(axis=0)
    rates: Floats = out / out.sum(axis=1, keepdims=True)
    return rates


def _correlation(labels: Ints, voices: Mapping[str, Floats]) -> float:
    """Mean pairwise correlation of the voters' dissent from the labels, each label's mean taken off; pairs that share no rows, or of which one
    never errs, are left out. Clipped to [0, 1]."""
    import numpy as np

    known = labels >= 0
    given = labels[known]
    found: list[float] = []
    dissent = [(1 - f[known][np.arange(len(given)), given], f[known].sum(axis=1) > 0) for f in voices.values()]
    for n, (a, heard_a) in enumerate(dissent):
        for b, heard_b in dissent[:n]:
            both = heard_a & heard_b
            x, y, label = a[both].copy(), b[both].copy(), given[both]
            for i in np.unique(label):
                x[label == i] -= x[label == i].mean()
                y[label == i] -= y[label == i].mean()
            scale = float(np.sqrt((x * x).sum() * (y * y).sum()))
            if scale > 0:
                found.append(float((x * y).sum()) / scale)
    return min(1.0, max(0.0, sum(found) / len(found))) if found else 0.0


def disagreement(shares: Floats) -> Floats:
    """Entropy of the annotators' shares over that of an even split, in [0, 1]; 0 where they did not vote. Shape (rows, labels) to (rows,)."""
    import numpy as np

    safe = np.where(shares > 0, shares, 1.0)
    out: Floats = np.clip(-(safe * np.log(safe)).sum(axis=1) / np.log(shares.shape[1]), 0, 1) + 0.0
    return out
