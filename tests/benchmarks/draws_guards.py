"""Adaptive drawing on guards and rows that are real: the second table of `draws_bench`.

The guards of a finished quickstart judge rows of public benchmarks, each four times in full, by the operator `sample`. The same operator then draws
adaptively; as its draws are the same ones, the journal answers them, and what it would have left out is known. The guards are tiny and the rows
unlike all that they were trained on: the table says how drawing behaves where guards are often wrong, not how a good guard does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

NAMES = {"main": "guard-main", "no-home": "guard-no-home", "no-school": "guard-no-school", "no-work": "guard-no-work"}
K, CHARACTERS, IN_FULL = 4, 1_500, 0.05  # the last is the option's own default
CASES: dict[str, Any] = {"screen": {}, "no screen": {"screen": None}}
HEADER = ["rule", "drawing", "rows", "hard rows", "found", "recall %", "at least %", "rows screened %", "draws %", "tokens %"]


def recipe(run: Path, data: Path, rules: tuple[str, ...], each: int, in_full: float = IN_FULL) -> dict[str, Any]:
    """Sampling in full, and for each rule what is hard by all draws and by those of adaptive drawing.

    Args:
        run: the finished quickstart.
        data: folder of the benchmarks' files.
        each: rows of each benchmark, at most.
        in_full: share of the rows that adaptive drawing draws in full.
    """
    backend = {"backend": "transformers", "temperature": 1.0, "top_p": 0.95, "max_tokens": 200, "logprobs": 5}
    models = {name: {**backend, "model": str(run / step)} for name, step in NAMES.items()}
    read = {"benchmarks": "all", "files": [str(data)], "hub": False, "without": "leave_out", "limit": each}
    short = {"at_most": {"chars_prompt": CHARACTERS, "chars_response": CHARACTERS}, "null_passes": ["chars_response"]}
    steps: list[dict[str, Any]] = [
        {"id": "tests", "use": "benchmarks", "with": read},
        {"id": "measured", "use": "measure", "with": {"measures": ["chars"], "texts": ["prompt", "response"]}},
        {"id": "rows", "use": "select", "with": short},
        {"id": "full", "use": "sample", "with": {"k": K, "models": models}},
        {"id": "verdicts", "use": "verdicts"},
    ]
    for rule in rules:
        steps.append({"id": f"hard-{rule}", "use": "mine", "from": "verdicts", "with": {"rule": rule}})
        for case, options in CASES.items():
            at = f"{rule}-{case.replace(' ', '-')}"
            adaptive = {"rule": rule, "in_full": in_full, **options}
            steps.append({"id": f"drawn-{at}", "use": "sample", "from": "rows", "with": {"k": K, "models": models, "adaptive": adaptive}})
            steps.append({"id": f"verdicts-{at}", "use": "verdicts"})
            steps.append({"id": f"found-{at}", "use": "mine", "with": {"rule": rule}})
    return {"recipe": "drawn", "version": 1, "guard": "guardreasoner", "seed": 11, "failures": 0.05, "steps": steps}


def lines(folder: Path, rules: tuple[str, ...]) -> list[list[str]]:
    """The table of a finished run."""
    import toolkit
    from toolkit.mining import share_low

    run = toolkit.read_run(folder)
    full = run["full"].polars().select("parent", "tokens")
    out, rows = [], full["parent"].n_unique()
    for rule in rules:
        hard = set(run[f"hard-{rule}"].polars()["id"])
        for case in CASES:
            at = f"{rule}-{case.replace(' ', '-')}"
            found = set(run[f"found-{at}"].polars()["id"])
            drawn = run[f"drawn-{at}"]
            tokens = float(drawn.polars()["tokens"].sum()) / float(full["tokens"].sum())
            figures_of = drawn.manifest["stats"]["adaptive"]
            screened = (figures_of["screen"] or {}).get("left_out", 0.0)
            kept = len(hard & found)
            share = [100 * kept / len(hard), 100 * share_low(kept, len(hard), 0.95)] if hard else [100.0, 0.0]
            figures = [
                f"{share[0]:.2f}",
                f"{share[1]:.2f}",
                f"{100 * screened:.1f}",
                f"{100 * figures_of['drawn'] / figures_of['of']:.1f}",
                f"{100 * tokens:.1f}",
            ]
            assert found <= hard, "a row is hard by some of its draws alone"
            out.append([rule, case, f"{rows:,}", f"{len(hard):,}", f"{kept:,}", *figures])
    return out


def by_default(table: list[list[str]], in_full: float) -> str:
    """What the tokens of settled rows would come to with the option's own share in full; nothing where this is it."""
    if in_full == IN_FULL:
        return ""
    came = {rule: (float(figures[-1]) / 100 - in_full) / (1 - in_full) for rule, case, *figures in table if CASES[case]}
    words = ", ".join(f"{rule} {100 * (IN_FULL + (1 - IN_FULL) * share):.1f} %" for rule, share in came.items())
    return f" Were {100 * IN_FULL:.0f} % drawn in full, as by default, and the other rows as here, tokens without a screen came to: {words}."


def section(folder: Path, each: int, table: str, in_full: float = IN_FULL, after: str = "") -> str:
    """The page's part on a finished run of `recipe`; `after`: further words on its figures."""
    import toolkit

    run = toolkit.read_run(folder)
    rows, tests = run["full"].polars()["parent"].n_unique(), run["tests"].polars()["benchmark"].n_unique()
    return "\n".join(
        [
            HEADING,
            "",
            f"`{COMMAND} RUN --each {each} --in-full {in_full}` prints this table and writes this part, from the guards of a finished quickstart (RUN).",
            "",
            f"{rows:,} rows of {tests} public benchmarks (texts up to {CHARACTERS:,} characters), {len(NAMES)} guards, {K} draws each by the operator `sample`; "
            f"{100 * in_full:.0f} % of the rows drawn in full, recall of 98 % asked for at 95 % confidence. Adaptive drawing is that of the operator, too: "
            "its draws are the same ones, which the journal answers. The guards are tiny, were trained on a few hundred sentences of a template, and the "
            "rows are unlike all of these: the table says how drawing behaves where guards are often wrong, not how it does with a good guard.",
            "",
            table,
            "",
            "*Draws*: of those in full; columns else as above. A row that is hard is so by some of its draws, and these suffice where the rule lets them: "
            "what is found is a part of what is hard by all draws. Where none of the rows are screened, the rows drawn in full could not show that a screen would "
            f"keep the recall asked for, and what is saved are draws of settled rows.{after} By `nvidia` no row is hard before three draws of a guard.",
        ]
    )


HEADING = "## Guards and rows that are real"
COMMAND = "python tests/benchmarks/draws_bench.py --docs --guards"
