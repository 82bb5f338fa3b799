"""What the operators that judge show of a finished step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from toolkit.common.pictures import Picture
from toolkit.operators._drawn import scored, weighed
from toolkit.operators.figures import Figure, Finished, Table, stat

_MINED = {"rows": "rows", "hard": "hard", "always_right": "always right", "always_wrong": "always wrong", "undecided": "undecided"}
_MINED |= {"no_label": "no label", "with_unread": "with unread"}


_SELDOM = {"suspect": "suspect", "not_hard": "not hard", "not_asked": "not asked"}


def _hard(step: Finished, figure: Figure, value: Mapping[str, Any]) -> Iterator[Table | str]:
    names = _MINED | {n: words for n, words in _SELDOM.items() if value.get(n)}
    yield Table(f"Hard samples ({step.step})", (), tuple(names.values()), [[value.get(n, 0) for n in names]])
    yield f"Hard by task: {_by(value.get('hard_by_task', {}))}"
    if "rule" in value:
        yield f"By the rule {value['rule']['name']}: {value['rule']['words']}"
    if value.get("tokens"):
        yield f"Tokens drawn: {_by(value['tokens'])}"
    for remark in value.get("remarks", ()):
        yield f"Note ({step.step}): {remark}"


def _pairs(step: Finished, figure: Figure, value: Mapping[str, int]) -> Iterator[str]:
    yield f"Preference pairs ({step.step}): {sum(value.values()):,} ({_by(value)})"


def _passed_over(step: Finished, figure: Figure, value: Mapping[str, int]) -> Iterator[str]:
    if value:
        yield f"Right outputs not chosen, as they are malformed ({step.step}): {_by(value)}"


def _passed_over_rejected(step: Finished, figure: Figure, value: Mapping[str, int]) -> Iterator[str]:
    if value:
        yield f"Wrong outputs not taken, as they are malformed ({step.step}): {_by(value)}"


def _lengths(step: Finished, figure: Figure, value: Mapping[str, Any]) -> Iterator[str]:
    if value.get("pairs"):
        of = f"chosen {value['mean_chosen']:,.0f} characters, rejected {value['mean_rejected']:,.0f} on the average"
        longer = f"the longer one is chosen in {value['longer_chosen']:.1%} of pairs, AUC of length {value['auc']:.3f}"
        yield f"Lengths ({step.step}): {of}; {longer}"


def _by(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {n:,}" for name, n in counts.items())


def _scores(step: Finished, figure: Figure, value: list[dict[str, Any]]) -> Iterator[Table]:
    if any("benchmark" in r for r in value):  # the table of results says it
        return
    rows = [[r["task"], r["guard"], r["n"], r["unread"], _interval(r, "accuracy"), _interval(r, "f1")] for r in value]
    title = f"Held-out rows ({step.step}): percent, with 95 % intervals"
    yield Table(title, ("task", "guard"), ("rows", "unread", "accuracy", "F1"), rows, parts=True)


def _scored_alone(step: Finished, figure: Figure, value: list[dict[str, Any]]) -> Iterator[Picture]:
    if not any("benchmark" in r for r in value):
        yield from scored(step, figure, value)


def _results(step: Finished, figure: Figure, value: list[dict[str, Any]] | None) -> Iterator[Table]:
    """The figures under the first policy; the artefact has them all."""
    order = list(dict.fromkeys(r["task"] for r in value or ()))
    mine = sorted((r for r in value or () if r["policy"] == (value or [r])[0]["policy"]), key=lambda r: order.index(r["task"]))
    rows = [[r["task"], r["title"], r["model"], r["n"], r["unparsable"], r["accuracy"], _interval(r, "f1")] for r in mine]
    if rows:
        title = f"Benchmarks ({step.step}): percent, with 95 % intervals, policy {mine[0]['policy']}"
        yield Table(title, ("task", "benchmark", "guard"), ("rows", "unread", "accuracy", "F1"), rows, parts=True)


def _means(step: Finished, figure: Figure, value: list[dict[str, Any]] | None) -> Iterator[Table]:
    first = next((m["policy"] for m in value or ()), None)
    words = {"weighted": "by rows scored", "stated": "by the paper's rows", "macro": "each alike"}
    rows = [[words.get(m["mean"], m["mean"]), m["task"] or "all tasks", m["model"], m["of"], m["f1"]] for m in value or () if m["policy"] == first]
    if rows:
        yield Table(f"Mean F1 over benchmarks ({step.step})", ("mean", "task", "guard"), ("benchmarks", "F1"), rows, parts=True)


def _remarks(step: Finished, figure: Figure, value: list[str]) -> Iterator[str]:
    for words in value if step.stats.get("results") else ():
        yield f"{words} ({step.step})"


def _interval(row: Mapping[str, Any], name: str) -> str:
    return "-" if row[name] is None else f"{row[name]:.1f} [{row[name + '_low']:.1f}, {row[name + '_high']:.1f}]"


def _matched(step: Finished, figure: Figure, value: Mapping[str, Mapping[str, int]]) -> Iterator[str]:
    for guard, n in value.items():
        if n["without"] or n["of_other_rows"]:
            counts = f"verdicts for {n['verdicts']:,} of the {n['asked']:,} rows, and {n['of_other_rows']:,} for other rows, which do not count"
            yield f"{guard} has {counts}"


def _sampled(step: Finished, figure: Figure, value: int) -> Iterator[str]:
    yield f"Rows given to guards (held-out ones included): {value:,}"


MINED = (Figure("hard", "rows by what the guards' generations say of them", lambda step: dict(step.stats), _hard),)
PAIRED = (
    Figure("pairs", "preference pairs by task", stat("pairs_by_task"), _pairs, drawn=weighed),
    Figure("passed_over", "right outputs that were not chosen, by what is wrong with them", stat("passed_over", {}), _passed_over),
    Figure(
        "passed_over_rejected",
        "wrong outputs that were not taken as rejected ones, by what is wrong with them",
        stat("passed_over_rejected", {}),
        _passed_over_rejected,
    ),
    Figure("lengths", "how well length alone tells chosen from rejected outputs", stat("lengths", {}), _lengths),
)
EVALUATED = (
    Figure("scores", "accuracy and F1 of each guard on each task", stat("scores"), _scores, drawn=_scored_alone),
    Figure("results", "figures of each guard on each benchmark and task, by policy", stat("results"), _results, drawn=scored),
    Figure("means", "means of the benchmarks' F1", stat("means"), _means),
    Figure("remarks", "what whoever reads the figures of benchmarks must know", stat("remarks", []), _remarks),
    Figure("matched", "for each guard how many of the rows that were asked about it has a verdict for", stat("matched", {}), _matched),
)


def _adaptive(step: Finished, figure: Figure, value: Mapping[str, Any] | None) -> Iterator[str]:
    if value:
        screen = value["screen"]
        kept = "no screen" if not screen or not screen["threshold"] else f"at least {screen['recall_low']:.1%} of the hard rows kept by the screen"
        yield f"Draws made ({step.step}): {value['drawn']:,} of {value['of']:,} ({_by(value['left_out'])}; {kept})"
        if expected := value.get("expected"):
            of, saved = ("draws", value["saved"]) if value["tokens_saved"] is None else ("tokens", value["tokens_saved"])
            low, mid, high = (expected["saved"][end] for end in ("low", "mid", "high"))
            span = "" if f"{low:.1%}" == f"{high:.1%}" else f" ({low:.1%} to {high:.1%})"
            yield f"Saved ({step.step}): {saved:.1%} of the {of}; expected were {mid:.1%}{span}, {expected['source']}"


SAMPLED = (
    Figure("sampled", "rows given to guards", lambda step: step.counts["in"], _sampled, whole="sum"),
    Figure("adaptive", "draws that were made and left out, and the recall that a screen keeps", stat("adaptive", None), _adaptive),
)
