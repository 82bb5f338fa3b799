"""docs/proof.md, written of what is kept in the repository and what is finished in the workspace."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import proof_audit
import proof_dev
import proof_kept
import proof_sizes
from proof_figures import DRAWS, PARTS, Answers, arm_line, compared
from proof_runs import Seed, arms_of, by_arm

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
MEANINGS = {
    "better": "Better, beyond chance",
    "worse": "Worse, beyond chance",
    "not shown": "No difference shown, which is not to say that there is none",
}
"""What a kind of difference is called in a sentence."""
HEAD = """# What of the method holds

<!-- made by `make proof` (tests/benchmarks/proof.py): change nothing here by hand -->

GuardReasoner reports gains of HS-DPO over R-SFT without intervals, and no ablation of weights, gamma, k or the choice of pairs. This page holds each of them against what it
should beat, on real reasoning, with intervals over seeds and over rows. `make proof` makes it; a "not shown" is a result, and says how large the difference may yet be.

**To go on.** What each finished seed came to is kept in [proof/](proof): for each arm and test row its labels and the guard's verdicts, without texts, and the seed's audit and times. `make proof` runs the seeds
that are not there, keeps each of them as soon as it is whole (of a pretrained base each arm as soon as it is finished), and writes this page; it may be stopped at any time. Commit `docs/proof` and `docs/proof.md` and go on on any machine
that has the same data: rows that are others, and a recipe that was changed, are refused. To begin anew, remove the files.

**Data.** What the three released guards wrote on AegisSafetyTest, HarmBenchPrompt, SimpleSafetyTests and XSTestResponseRefusal (`recipes/proof/outputs.yaml`), outputs of at most 1,400 characters, which
are four in five. Of each interaction of the train part the first output (8B, then 3B, then 1B) that passes `validate` and answers as its labels say, 150 with each label of the prompt, so that a guard does not learn the prior of its data.
XSTest has labels for refusals alone: for prompt and response a label is what all three guards agree on, and rows on which they don't are left out. Parts are made by content group; rows that share text with ToxicChat or OpenAIModeration
are taken out (`recipes/proof/data.yaml`). *Unchecked* rows are the first output of each interaction, right or wrong.

**Tested on** 120 rows of the same benchmarks in other groups (*own*), and 100 of ToxicChat and OpenAIModeration (*other*), balanced by label, so that a guard that always says the same has 50 %. Figures are shares
of right answers; an output that cannot be read is wrong.

**Arms** (`recipes/proof/arms.yaml`). *SFT continued* trains on the chosen outputs of the same pairs for as many updates, with the preference term switched off: what HS-DPO adds beyond more training is its distance from this.
*By a coin*: the same draws, with right and wrong drawn at random. Pairs are of draws on two fifths of the training rows.

**The small guard from scratch** is a Llama of 2 layers, width 128 and a vocabulary of 2,048 learnt from the rows: so small that ten seeds of all arms are affordable. It shows what the method does to a guard that knows
nothing else; it need not be what it does to a large one.

**Statistics.** A difference has two 95 % intervals: over seeds (Student's t of the differences seed by seed) and over rows (paired bootstrap, {draws:,} draws, of the difference averaged over seeds). It is
called there if the larger of the two p-values, after Holm's correction over the table, is below 0.05.

**Hyper-parameters.** Nothing was chosen by looking at test rows. Those of SFT are the quickstart's; of a pretrained base {pretrained}, and no others were tried. {dev} guardkit's
defaults (choice of pairs, weights, beta, share of SFT) are as they were before this page: one is changed only for a difference that ten seeds show.
"""
DEV_NONE = """Learning rate and beta of DPO, and the learning rate of SFT continued, are the quickstart's here: {tries} tries on the part `dev` of the data are provided for (`--dev`) and not run yet."""
DEV = """Learning rate and beta of DPO, and the learning rate of SFT continued, were chosen on the part `dev` of the data ({rows} rows, balanced by label) with the guards of {seeds} seeds: {tries} tries, of which the best
on the mean were taken, `{dpo}` and `{sft}`."""


def page(folder: Path, kept: Path | None = None) -> str:
    """The page, of the runs in the proof's folder and of what is kept of earlier ones (`proof_kept`).

    Raises:
        InputError: what is kept was asked about other test rows.
    """
    options = ", ".join(f"{name} {value:g}" for name, value in PRETRAINED.items())
    pretrained = f"{options} for SFT, and learning_rate {PRETRAINED_DPO:g} for DPO"
    parts = [HEAD.format(draws=DRAWS, pretrained=pretrained, dev=_dev_words(folder, kept)), *_dev_table(folder, kept)]
    for base, wanted in WANTED.items():
        parts.append(_base(proof_kept.seeds(folder, kept, base), base, wanted))
    return "\n".join([*parts, *proof_sizes.section(folder, kept), ""])


def _dev_words(folder: Path, kept: Path | None) -> str:
    tries = len(proof_dev.GRID)
    if (found := proof_dev.chosen(folder, kept)) is None:
        return DEV_NONE.format(tries=tries)
    return DEV.format(rows=found["rows"], seeds=len(proof_dev.SEEDS), tries=tries, dpo=found["dpo"], sft=found["sft"])


def _dev_table(folder: Path, kept: Path | None) -> list[str]:
    """What each try came to."""
    if (found := proof_dev.chosen(folder, kept)) is None:
        return []
    lines = ["| try | learning rate | beta | right on `dev`, by seed |", "|---|---|---|---|"]
    for name, right in found["right"].items():
        options = proof_dev.GRID.get(name, {})
        words = "R-SFT as it is" if name == "none" else f"`{name}`: {'HS-DPO, ensemble' if name.startswith('dpo') else 'SFT continued'}"
        cells = [f"{options[key]:g}" if key in options else "–" for key in ("learning_rate", "beta")]
        lines.append(f"| {words} | {' | '.join(cells)} | {', '.join(f'{share:.1%}' for share in right)} |")
    return [*lines, ""]


def _base(seeds: Mapping[int, Seed], base: str, wanted: int) -> str:
    title = "A small guard from scratch" if base == "tiny" else base
    found = by_arm(seeds)
    if not found:
        return f"## {title}\n\nNot run yet (`make proof{'' if base == 'tiny' else f' BASE={base} SEEDS={wanted}'}`).\n"
    audits = proof_audit.section([seed.audit for seed in seeds.values() if seed.audit is not None], base)
    times = _times([seed.seconds for number, seed in seeds.items() if number])
    return "\n".join([f"## {title}\n", _done(found, base, wanted), "", _arms(found), "", *_differences(found), *times, *audits])


def _done(found: Answers, base: str, wanted: int) -> str:
    """How much of it is run, in words."""
    arms = arms_of(base)
    begun = {seed for of in found.values() for seed in of if seed}
    whole = sum(all(seed in found.get(arm, {}) for arm in arms) for seed in begun)
    words = [f"{whole} of {wanted} seeds are finished."]
    if len(begun) > whole:
        words.append(f"Of {len(begun) - whole} more some arms are; the table says of how many seeds each figure is.")
    if lacking := [TITLES[arm] for arm in arms if arm not in found]:
        words.append(f"Not run yet: {'; '.join(lacking)}.")
    if whole < wanted:
        words.append("Too few to go by: the command goes on with the others.")
    return " ".join(words)


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


def _differences(found: Answers) -> list[str]:
    """The table of differences, and in a sentence each which of them are there; nothing where no two arms can be compared."""
    head = ["question", "arm", "held against", "seeds", "difference (points)", "over seeds", "over rows", "p (Holm)", "it is"]
    lines = [head, ["---"] * len(head)]
    differences = compared(found, QUESTIONS)
    for d in differences:
        mean, half = 100 * d["difference"], 100 * d["half"]
        seeds = "–" if math.isnan(half) else f"{mean - half:+.1f} … {mean + half:+.1f}"
        rows = f"{100 * d['low']:+.1f} … {100 * d['high']:+.1f}"
        p = "–" if d["holm"] is None else f"{d['holm']:.3f}"
        lines.append([d["question"], f"`{d['arm']}`", f"`{d['base']}`", str(d["seeds"]), f"{mean:+.1f}", seeds, rows, p, d["words"]])
    if not differences:
        return []
    kinds: dict[str, list[str]] = {}
    for d in differences:
        kinds.setdefault(d["words"], []).append(f"`{d['arm']}` against `{d['base']}`")
    words = [f"{MEANINGS.get(kind, kind.capitalize())}: {', '.join(some)}." for kind, some in kinds.items()]
    return ["\n".join(f"| {' | '.join(line)} |" for line in lines), "", " ".join(words), ""]


def _times(seconds: Sequence[Mapping[str, float]]) -> list[str]:
    """Minutes of a seed, of the mean seed, by what its steps do and by arm.

    Args:
        seconds: of the steps of each seed.
    """
    kinds = {"sft": "train_sft", "dpo": "train_dpo", "draw": "draws", "test": "answers"}
    spent = {name: [s for s in (sum(v for step, v in one.items() if _kind(step) == kind) for one in seconds) if s] for kind, name in kinds.items()}
    arms = {f"`{arm}`": [one[arm] + one[f"answers-{arm}"] for one in seconds if {arm, f"answers-{arm}"} <= one.keys()] for arm in TITLES}
    if not any(spent.values()):
        return []
    words = "Minutes that a seed took for what is run of it, by the clock, beside whatever else that machine did"
    return [f"{words}: {_minutes(spent)}. Of each arm, its own training and its answers: {_minutes(arms)}.", ""]


def _minutes(spent: Mapping[str, Sequence[float]]) -> str:
    return ", ".join(f"{name} {sum(some) / len(some) / 60:.1f}" for name, some in spent.items() if some)


def _kind(step: str) -> str | None:
    if step.startswith(("dpo-", "sft-chosen")):
        return "dpo"
    if step.startswith("sft") or step == "labels-only":
        return "sft"
    return "draw" if step.startswith("draws-") else "test" if step.startswith("answers-") else None
