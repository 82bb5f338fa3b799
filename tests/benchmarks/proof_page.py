"""docs/proof.md, written of the runs that are finished."""

from __future__ import annotations

import json
import math
import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
from proof_figures import DRAWS, PARTS, Answers, arm_line, compared

import toolkit

WANTED = {"tiny": 10, "smollm2-135m": 3}
"""Seeds that each base is to have."""
PRETRAINED: Mapping[str, float] = {"num_train_epochs": 2, "learning_rate": 2.0e-4, "weight_decay": 0.01}
"""Training options of R-SFT from a base that is no model from scratch."""
PRETRAINED_DPO = 1.0e-5
"""Its learning rate in DPO."""
TITLES = {
    "base": "the base model as it is",
    "labels-only": "labels only: the same rows without reasoning",
    "sft": "R-SFT on checked reasoning",
    "sft-unchecked": "R-SFT on reasoning that nobody checked",
    "sft-chosen-self": "SFT continued on the chosen outputs, own draws",
    "sft-chosen-ensemble": "SFT continued on the chosen outputs, ensemble",
    "dpo-self": "HS-DPO, own draws, k = 4",
    "dpo-eight": "HS-DPO, own draws, k = 8",
    "dpo-ensemble": "HS-DPO, ensemble, gamma 0.2, closest pairs",
    "dpo-uniform": "the same, weights off",
    "dpo-gamma": "the same, gamma 0.5",
    "dpo-random": "the same, random pairs of a hard row",
    "dpo-longest": "the same, longest pairs",
    "dpo-coin": "the same draws, right and wrong by a coin",
}
QUESTIONS = (
    ("sft", "base", "Does R-SFT help at all?"),
    ("sft", "labels-only", "Does reasoning help?"),
    ("sft", "sft-unchecked", "Does checking the reasoning help?"),
    ("dpo-self", "sft", "Does HS-DPO on own draws help?"),
    ("dpo-ensemble", "sft", "Does HS-DPO of an ensemble help?"),
    ("dpo-self", "sft-chosen-self", "Is it the preference, or more training? (own draws)"),
    ("dpo-ensemble", "sft-chosen-ensemble", "Is it the preference, or more training? (ensemble)"),
    ("dpo-ensemble", "dpo-coin", "Does it matter which output is right?"),
    ("dpo-ensemble", "dpo-self", "Is an ensemble better than own draws?"),
    ("dpo-eight", "dpo-self", "Are eight draws better than four?"),
    ("dpo-ensemble", "dpo-uniform", "Do weights help?"),
    ("dpo-gamma", "dpo-ensemble", "Are wider weights better?"),
    ("dpo-random", "dpo-ensemble", "Are random pairs better than closest ones?"),
    ("dpo-longest", "dpo-ensemble", "Are longest pairs better than closest ones?"),
)
HEAD = """# What of the method holds

<!-- made by `make proof` (tests/benchmarks/proof.py): change nothing here by hand -->

GuardReasoner reports gains of HS-DPO over R-SFT without intervals, and no ablation of weights, gamma, k or the choice of pairs. This page holds each of them against what it
should beat, on real reasoning, with intervals over seeds and over rows. `make proof` makes it; a "not shown" is a result, and says how large the difference may yet be.

**Data.** What the three released guards wrote on AegisSafetyTest, HarmBenchPrompt, SimpleSafetyTests and XSTestResponseRefusal (`recipes/proof/outputs.yaml`). Of each interaction of the train part
the first output (8B, then 3B, then 1B) that passes `validate` and answers as its labels say; balanced by label, so that a guard does not learn the prior of its data. XSTest has labels for refusals alone: for
prompt and response a label is what all three guards agree on, and rows on which they don't are left out. Parts are made by content group; rows that share text with ToxicChat or OpenAIModeration are taken out
(`recipes/proof/data.yaml`). *Unchecked* rows are the first output of each interaction, right or wrong.

**Tested on** rows of the same benchmarks in other groups (*own*), and on ToxicChat and OpenAIModeration (*other*), balanced by label, so that a guard that always says the same has 50 %. Figures are shares
of right answers; an output that cannot be read is wrong.

**Arms** (`recipes/proof/arms.yaml`). Hyper-parameters are those of the quickstart, and of a pretrained base {pretrained}; none was chosen by looking at these test rows, and no other was tried: the part
`dev` of the data is untouched. *SFT continued* trains on the chosen outputs of the same pairs for as many updates, with the preference term switched off: what HS-DPO adds beyond more training is its distance from this. *By a coin*: the same draws, with right and
wrong drawn at random.

**Statistics.** A difference has two 95 % intervals: over seeds (Student's t of the differences seed by seed) and over rows (paired bootstrap, {draws:,} draws, of the difference averaged over seeds). It is
called there if the larger of the two p-values, after Holm's correction over the table, is below 0.05.
"""


def page(folder: Path) -> str:
    """The page, of the runs in the proof's folder."""
    options = ", ".join(f"{name} {value:g}" for name, value in PRETRAINED.items())
    parts = [HEAD.format(draws=DRAWS, pretrained=f"{options} for SFT, and learning_rate {PRETRAINED_DPO:g} for DPO")]
    for base, wanted in WANTED.items():
        parts.append(_base(folder, base, wanted))
    return "\n".join(parts)


def answers(folder: Path, base: str) -> dict[str, dict[int, pl.DataFrame]]:
    """By arm and seed what is finished: a line for each test row, without a verdict where the guard was not able to take it (a prompt too long for it, say).
    The base model as it is has the seed 0."""
    found: dict[str, dict[int, pl.DataFrame]] = defaultdict(dict)
    runs = [(run, end) for run in sorted(folder.glob(f"{base}-*/arms")) if re.fullmatch(r"\d+|base", end := run.parent.name.removeprefix(f"{base}-"))]
    if not runs:
        return found
    rows = asked(folder)
    for run, end in runs:
        for step in sorted(run.glob("judged-*")):
            verdicts = rows_of(run, step.name).select("parent", "verdict_prompt", "verdict_refusal")
            found[step.name.removeprefix("judged-")][0 if end == "base" else int(end)] = rows.join(
                verdicts, on="parent", how="left", maintain_order="left"
            )
    return found


def asked(folder: Path) -> pl.DataFrame:
    """The test rows: `parent` (their id), `tested_on`, ``label_<task>``."""
    columns = [pl.col("id").alias("parent"), pl.col("label_prompt"), pl.col("label_refusal")]
    parts = {"own": "own-test", "others": "other-test"}
    return pl.concat([rows_of(folder / "data", step).select(*columns, tested_on=pl.lit(name)) for name, step in parts.items()])


def rows_of(run: Path, step: str) -> pl.DataFrame:
    """The rows of a finished step."""
    return pl.concat(map(as_frame, toolkit.read_run(run)[step].blocks()))


def as_frame(block: Any) -> pl.DataFrame:
    """A block of a step's rows."""
    return block if isinstance(block, pl.DataFrame) else pl.DataFrame(pl.from_arrow(block))


def _base(folder: Path, base: str, wanted: int) -> str:
    title = "A small guard from scratch" if base == "tiny" else base
    found = answers(folder, base)
    if not found:
        return f"## {title}\n\nNot run yet (`make proof{'' if base == 'tiny' else f' BASE={base} SEEDS={wanted}'}`).\n"
    most = max(map(len, found.values()))
    done = f"{most} of {wanted} seeds are finished." + ("" if most >= wanted else " Too few to go by: the command goes on with the others.")
    return "\n".join([f"## {title}\n", done, "", _arms(found), "", _differences(found), "", _times(folder, base), ""])


def _arms(found: Answers) -> str:
    head = ["arm", "seeds", *(part.name for part in PARTS), "could be read", "says harmful"]
    lines = [head, ["---"] * len(head)]
    for arm, title in TITLES.items():
        if arm in found:
            line = arm_line(found[arm])
            figures = [_percent(*line["figures"].get(part.name, (math.nan, math.nan))) for part in PARTS]
            lines.append(
                [title, str(line["seeds"]), *figures, f"{line['read']:.1%}", "–" if math.isnan(line["harmful"]) else f"{line['harmful']:.1%}"]
            )
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _percent(mean: float, half: float) -> str:
    if math.isnan(mean):
        return "–"
    return f"{mean:.1%}" if math.isnan(half) else f"{mean:.1%} ± {half:.1%}"


def _differences(found: Answers) -> str:
    head = ["question", "arm", "held against", "seeds", "difference (points)", "over seeds", "over rows", "p (Holm)", "it is"]
    lines = [head, ["---"] * len(head)]
    for d in compared(found, QUESTIONS):
        mean, half = 100 * d["difference"], 100 * d["half"]
        seeds = "–" if math.isnan(half) else f"{mean - half:+.1f} … {mean + half:+.1f}"
        rows = f"{100 * d['low']:+.1f} … {100 * d['high']:+.1f}"
        p = "–" if d["holm"] is None else f"{d['holm']:.3f}"
        lines.append([d["question"], f"`{d['arm']}`", f"`{d['base']}`", str(d["seeds"]), f"{mean:+.1f}", seeds, rows, p, d["words"]])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _times(folder: Path, base: str) -> str:
    """Seconds of the steps of a seed, by what they do."""
    kinds = {"sft": "train_sft", "dpo": "train_dpo", "draw": "draws", "test": "answers"}
    spent: dict[str, list[float]] = {kind: [] for kind in kinds}
    runs = [run for run in sorted(folder.glob(f"{base}-*/arms")) if run.parent.name.removeprefix(f"{base}-").isdigit()]
    for run in runs:
        seconds = built(run)
        uses = {kind: [s for step, s in seconds.items() if _kind(step) == kind] for kind in kinds}
        for kind, some in uses.items():
            spent[kind].append(sum(some))
    words = ", ".join(f"{kinds[kind]} {sum(some) / len(some) / 60:.1f}" for kind, some in spent.items() if any(some))
    return f"Minutes of a seed, on the machine that it ran on: {words}."


def _kind(step: str) -> str | None:
    if step.startswith(("dpo-", "sft-chosen")):
        return "dpo"
    if step.startswith("sft") or step == "labels-only":
        return "sft"
    return "draw" if step.startswith("draws-") else "test" if step.startswith("answers-") else None


def built(run: Path) -> Mapping[str, float]:
    """Seconds that each step of a run took when it was last built."""
    out = {}
    for line in (run / "events.jsonl").read_text(encoding="utf-8").splitlines():
        event = json.loads(line)
        if event.get("event") == "built":
            out[event["step"]] = float(event["seconds"])
    return out
