"""What adaptive drawing saves and loses: ``make bench-draws``.

    python tests/benchmarks/draws_bench.py                     # by simulation, prints the tables
    python tests/benchmarks/draws_bench.py --docs              # and writes them into docs/benchmarks-draws.md
    python tests/benchmarks/draws_bench.py --bound             # the least that any way of drawing needs (`draws_bound`)
    python tests/benchmarks/draws_bench.py --drawn FILE        # of draws that were made in full: a table of `judged` records (parquet)
    python tests/benchmarks/draws_bench.py --guards RUN        # of a quickstart's guards on rows of benchmarks (`draws_guards`)

Simulated rows: one task, four guards, k draws each. How likely a guard is wrong on a row is a latent number, part of which all guards share. Its
place is fitted to the error rates of the three released models on their released predictions (the fourth guard has their mean), the shared part to
how often two of them are wrong together, and its spread to the share of rows that are hard for at least one guard (13.6 %: the mean of 23K, 14K and
15K pairs of 127,544 rows, arXiv 2501.18492, section 3.3). How much the probability of an answer tells of that number is NOT known of these models:
the table has three cases, from well informed to not at all. The functions are those that the operator `sample` calls.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path[:0] = [str(ROOT), str(HERE)]
PAGE = ROOT / "docs" / "benchmarks-draws.md"
ROWS, K, HARD = 127_544, 4, (23_000 + 14_000 + 15_000) / 3 / 127_544
RULES = ("default", "paper", "released", "omni", "nvidia", "guardreasoner-vl")
SAME = ("released", "omni")
"""Rules that say of simulated rows what `paper` says."""
INFORMED = {"well": 1.0, "weakly": 3.0, "not at all": None}
"""How far the log-odds of an answer's probability lie from those of being right: standard deviation of normal noise; None: it says nothing."""


def released_errors(data: Path) -> tuple[list[float], float]:
    """The error rate of each released model, and how often two of them are wrong together."""
    import numpy as np
    import polars as pl

    from toolkit.guards import load_guard, parse

    guard = load_guard("guardreasoner")
    wrong: dict[str, list[bool]] = {}
    for model in ("1B", "3B", "8B"):
        for file in sorted((data / "guardreasoner" / "predictions" / model).glob("*.jsonl")):
            task = "refusal" if "Refusal" in file.name else "prompt"
            for label, answer in pl.read_ndjson(file).select("label", "predict").iter_rows():
                wrong.setdefault(model, []).append(parse(guard, answer).labels[task] != label.strip().lower())
    every = np.array(list(wrong.values()))
    pairs = [(every[a] & every[b]).mean() for a in range(3) for b in range(a)]
    return [float(w.mean()) for w in every], float(np.mean(pairs))


def latent(rates: list[float], both: float, seed: int = 0) -> tuple[Any, Any]:
    """How likely each guard is wrong on each row, shape (rows, guards), fitted as the docstring says."""
    import numpy as np

    rng = np.random.default_rng(seed)
    rates = [*rates, float(np.mean(rates))]
    shared, own = rng.normal(size=(ROWS, 1)), rng.normal(size=(ROWS, len(rates)))

    def of(spread: float, part: float) -> Any:
        x = spread * (np.sqrt(part) * shared + np.sqrt(1 - part) * own)
        out = np.empty_like(x)
        for g, rate in enumerate(rates):
            low, high = -80.0, 80.0
            for _ in range(40):
                middle = (low + high) / 2
                low, high = (middle, high) if (1 / (1 + np.exp(-(x[:, g] + middle)))).mean() < rate else (low, middle)
            out[:, g] = 1 / (1 + np.exp(-(x[:, g] + (low + high) / 2)))
        return np.clip(out, 1e-12, 1 - 1e-12)

    spread, part = 8.0, 0.6
    for _ in range(6):
        low, high = 0.01, 0.99
        for _ in range(8):
            part = (low + high) / 2
            p = of(spread, part)
            low, high = (part, high) if (p[:, 0] * p[:, 1] + p[:, 0] * p[:, 2] + p[:, 1] * p[:, 2]).mean() / 3 < both else (low, part)
        low, high = 0.5, 40.0
        for _ in range(8):
            spread = (low + high) / 2
            p = of(spread, part)
            hard = 1 - np.prod(p**K + (1 - p) ** K, axis=1)
            low, high = (spread, high) if hard.mean() > HARD else (low, spread)
    return of(spread, part), {"spread": spread, "shared": part}


def drawn(p: Any, noise: float | None, seed: int = 1) -> Any:
    """A table of all draws."""
    import numpy as np
    import polars as pl

    rng = np.random.default_rng(seed)
    ids = pl.Series("parent", [f"{i:06d}" for i in range(p.shape[0])])
    odds = np.log1p(-p) - np.log(p)
    out = []
    for g in range(p.shape[1]):
        for draw in range(K):
            wrong = rng.random(p.shape[0]) < p[:, g]
            found = 1 / (1 + np.exp(-(odds[:, g] + rng.normal(size=p.shape[0]) * noise))) if noise is not None else np.full(p.shape[0], 0.9)
            out.append(
                pl.DataFrame(
                    {
                        "parent": ids,
                        "guard_model": pl.Series([f"guard{g}"]).new_from_index(0, p.shape[0]),
                        "draw": np.full(p.shape[0], draw),
                        "label_prompt": "harmful",
                        "outcome_prompt": pl.Series(np.where(wrong, 1, 0)).replace_strict({0: "right", 1: "wrong"}, return_dtype=pl.String),
                        "probability_prompt": np.where(wrong, 1 - found, found),
                        "tokens": rng.integers(150, 400, p.shape[0]),
                    }
                )
            )
    table = pl.concat(out)
    empty = {f"{n}_{t}": pl.String if n != "probability" else pl.Float64 for t in ("refusal", "response") for n in ("label", "probability", "unread")}
    marks = [pl.lit("not_applicable").alias(f"outcome_{t}") for t in ("refusal", "response")]
    return table.with_columns(pl.lit(None, t).alias(n) for n, t in {**empty, "unread_prompt": pl.String}.items()).with_columns(marks)


def measure(table: Any, rule_name: str, *, recall: float | None = 0.98, share: float = 0.05, seed: int = 2) -> dict[str, Any]:
    """What adaptive drawing makes of a table with all draws."""
    import polars as pl

    from toolkit.guards import load_guard
    from toolkit.mining import Aim, apply_rule, decide, load_rule, replay, share_low

    guard, rule = load_guard("guardreasoner"), load_rule(rule_name)
    names = sorted(table["guard_model"].unique())
    k = int(table["draw"].max()) + 1
    aim = Aim(rule, guard, dict.fromkeys(names, k), recall=recall)
    every = table["parent"].unique(maintain_order=True)
    chosen = every.sample(fraction=share, seed=seed)
    begun = time.perf_counter()
    mine = pl.col("parent").is_in(chosen.implode())
    made = table.filter(mine | (pl.col("draw") == 0))
    decided = decide(made, chosen, aim)
    made = replay(table, chosen, aim, decided)
    seconds = time.perf_counter() - begun
    hard = set(apply_rule(table, rule, guard).filter(pl.col("status") == "hard")["parent"])
    found = set(apply_rule(made, rule, guard, missing="undrawn").filter(pl.col("status") == "hard")["parent"])
    assert found <= hard
    screen = decided.screen
    return {
        "rule": rule_name,
        "hard": len(hard),
        "found": len(found),
        "recall": len(found) / len(hard) if hard else 1.0,
        "low": share_low(len(found), len(hard), 0.95) if hard else 0.0,
        "tokens": made["tokens"].sum() / table["tokens"].sum(),
        "stated": screen.recall_low if screen is not None and screen.threshold > 0 else None,
        "left_out": screen.left_out if screen is not None else 0.0,
        "seconds": seconds,
    }


def real(a: argparse.Namespace) -> int:
    """Guards of a quickstart on rows of benchmarks: ask, print, write their part of the page."""
    import draws_guards as guards
    from bench import table as shown

    import toolkit

    rules = RULES[:2] + RULES[3:5]
    made = guards.recipe(a.guards.resolve(), (a.data / "guardreasoner" / "benchmark").resolve(), rules, a.each, a.in_full)
    os.environ.setdefault("GUARDKIT_WORKSPACE", str(a.work.resolve()))
    folder = toolkit.run(made).folder
    lines = guards.lines(folder, rules)
    text = guards.section(folder, a.each, shown(guards.HEADER, lines), a.in_full, guards.by_default(lines, a.in_full))
    if a.docs:
        write(part(0), part(1), text)
    print(text)
    return 0


def part(number: int) -> str:
    """One of the parts of the page as it is: the simulation (0), the least that is needed (1), guards that are real (2)."""
    import draws_bound
    import draws_guards

    rest, real_mark, last = PAGE.read_text(encoding="utf-8").partition(draws_guards.HEADING)
    first, mark, second = rest.partition(draws_bound.HEADING)
    return (first, mark + second, real_mark + last)[number].strip()


def write(*parts: str) -> None:
    """Write the page."""
    PAGE.write_text("\n\n".join(filter(None, parts)) + "\n", encoding="utf-8")


HEADER = ["rule", "probabilities tell", "hard rows", "found", "recall %", "at least %", "stated bound %", "rows screened %", "tokens %"]


def line(found: dict[str, Any], case: str) -> list[str]:
    """A line of the table."""
    stated = "no screen" if found["stated"] is None else f"{100 * found['stated']:.2f}"
    figures = [f"{found['hard']:,}", f"{found['found']:,}", f"{100 * found['recall']:.2f}", f"{100 * found['low']:.2f}", stated]
    return [found["rule"], case, *figures, f"{100 * found['left_out']:.1f}", f"{100 * found['tokens']:.1f}"]


def main() -> int:
    """Measure, print, write the page."""
    import polars as pl
    from bench import table as shown
    from draws_bound import section as bound_section

    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--data", type=Path, default=Path(os.environ.get("GUARDKIT_DATA", ROOT.parent / "shared" / "data")))
    ap.add_argument("--rules", nargs="+", default=list(RULES))
    ap.add_argument("--drawn", type=Path, help="draws that were made in full, instead of simulated ones")
    ap.add_argument("--guards", type=Path, help="a finished quickstart, whose guards are asked for real")
    ap.add_argument("--each", type=int, default=160, help="with --guards: rows of each benchmark, at most")
    ap.add_argument("--in-full", type=float, default=0.05, help="with --guards: share of the rows that adaptive drawing draws in full")
    ap.add_argument("--work", type=Path, default=Path("outputs"), help="with --guards: folder of the run and its journal; the same command goes on")
    ap.add_argument("--bound", action="store_true", help="only the least that is needed")
    ap.add_argument("--docs", action="store_true")
    a = ap.parse_args()
    if a.drawn is not None:
        every = pl.read_parquet(a.drawn)
        lines = [line(measure(every, rule, share=0.2, recall=r), "measured" if r else "no screen") for rule in a.rules for r in (0.98, None)]
        print(shown(HEADER, lines))
        return 0
    if not (a.data / "guardreasoner").is_dir():
        print(f"no {a.data / 'guardreasoner'}: give the folder of the released predictions with --data or $GUARDKIT_DATA", file=sys.stderr)
        return 4
    if a.guards is not None:
        return real(a)
    rates, both = released_errors(a.data)
    p, fitted = latent(rates, both)
    least = bound_section(tuple(dict.fromkeys(r for r in a.rules if r not in SAME)), p)
    if a.bound:
        if a.docs:
            write(part(0), least, part(2))
        print(least)
        return 0
    lines = []
    for case, noise in INFORMED.items():
        every = drawn(p, noise)
        for rule in a.rules:
            lines.append(line(measure(every, rule), case))
            print(*lines[-1], flush=True)
    words = ", ".join(f"{100 * r:.1f} %" for r in rates)
    text = [
        "# Benchmarks: adaptive drawing",
        "",
        "`make bench-draws` prints this table and writes this page. Rows are simulated; the functions are those that `sample` calls with `adaptive`.",
        "",
        f"{ROWS:,} rows, 4 guards, {K} draws each, 5 % drawn in full, recall of 98 % asked for at 95 % confidence. Error rates of the released models: "
        f"{words}; two of them wrong together: {100 * both:.1f} %; {100 * HARD:.1f} % of the rows hard for at least one guard (fitted: spread "
        f"{fitted['spread']:.1f}, {100 * fitted['shared']:.0f} % of it shared). How much an answer's probability tells of how often the guard is wrong on "
        "that row is not known of the released models, whose weights were not run: three cases.",
        "",
        shown(HEADER, lines),
        "",
        "*Recall*: of the rows that are hard by all draws, those found; *at least*: its lower bound (Clopper and Pearson, 95 %); *stated bound*: what the "
        "step itself says after its run, from the rows drawn in full; *tokens*: of those of all draws. Where no screen stands, the rows drawn in full "
        "could not show that the recall would hold, and drawing stops at settled rows alone, which loses none.",
    ]
    if a.docs:
        write("\n".join(text), least, part(2))
    print("\n".join([*text, "", least]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
