"""What of the method holds, on real reasoning: ``make proof`` (docs/proof.md).

    python tests/benchmarks/proof.py                                   # ten seeds of the small guard from scratch, all arms; goes on where it stopped
    python tests/benchmarks/proof.py --base smollm2-135m --seeds 3     # SmolLM2-135M, the main arms (hours)
    python tests/benchmarks/proof.py --first 1 --step 2 --threads 1    # every second seed on one core; another process with --first 2 shares the work
    python tests/benchmarks/proof.py --docs                            # keeps what is finished and writes docs/proof.md of it, runs nothing

Every run is an ordinary run of a recipe in `recipes/proof`, below the folder ``proof`` of the workspace: a step that is finished is not built again, and
no answer is asked for twice. What a finished seed came to is kept in ``docs/proof`` of the repository, and is not run again (`proof_kept`).
Data: $GUARDKIT_DATA or ../shared/data.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import random
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

import polars as pl
import proof_audit
import proof_dev
import proof_kept
import proof_sizes
from proof_page import PRETRAINED, PRETRAINED_DPO, WANTED, page
from proof_runs import ARMS, MAIN, Seed, arms_of, as_frame, options_of

import toolkit
from toolkit.api.command import Progress
from toolkit.common.errors import GuardkitError
from toolkit.common.resources import workspace
from toolkit.guards import load_guard
from toolkit.guards._render import answers_block

ROOT = Path(__file__).resolve().parent.parent.parent
DATA = Path(os.environ.get("GUARDKIT_DATA") or ROOT.parent / "shared" / "data") / "guardreasoner"
RECIPES = ROOT / "recipes" / "proof"
KEPT = ROOT / "docs" / "proof"
MODELS = ("8B", "3B", "1B")
BENCHMARKS = {"aegis": "AegisSafetyTest", "harmbench": "HarmBenchPrompt", "simple": "SimpleSafetyTests", "xstest": "XSTestResponseRefusal"}
AGREED = ("prompt", "response")
"""Tasks on which the rows of XSTest have no label of their own: theirs is what the three guards agree on."""
SUPERVISED = ("sft", "labels-only", "sft-unchecked", "sft-no-aegis", "sft-no-harmbench", "sft-no-xstest")
PREFERRED = ("sft-chosen-self", "sft-chosen-ensemble", *(arm for arm in ARMS if arm.startswith("dpo-")))
IN_PARTS = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 4}
"""The same eight rows an update, two at a time: the scores of 49,152 tokens for eight long rows take gigabytes."""
SMOKE = {
    **dict.fromkeys(("rows.columns.reasoning", "unchecked.columns.reasoning", "coin.columns.reasoning"), "answers"),
    **{f"{step}.model": "{scratch: {layers: 1, width: 64, heads: 2, vocab: 1024}}" for step in SUPERVISED},
    **{f"{step}.trainer.num_train_epochs": 12 for step in SUPERVISED},
    **{f"{step}.trainer.max_steps": 2 for step in PREFERRED},
    **{f"draws-{of}.backend.max_tokens": 40 for of in ("self", "others", "coin")},
    **{f"answers-{arm}.backend.max_tokens": 40 for arm in ARMS},
    **{f"try-{name}.trainer.max_steps": 2 for name in proof_dev.GRID},
    **{f"tried-{name}.backend.max_tokens": 40 for name in ("sft", *proof_dev.GRID)},
    **{f"pairs-{of}.chosen_passes": "anything" for of in ("self", "eight", "ensemble", "uniform", "gamma", "random", "longest", "coin")},
    "pool.share": 1.0,
    "pool-coin.share": 1.0,
}
"""Overrides of a run that only shows that all of it runs: answers without reasoning are soon learnt and short."""
SMOKE_PRETRAINED = {
    **{f"{step}.trainer.max_steps": 2 for step in SUPERVISED},
    **{f"answers-{arm}.backend.max_tokens": 8 for arm in ARMS},
}
"""The same for a pretrained base, up to its supervised arms: two updates make no guard whose draws could be paired."""
SMOKE_DATA = ("sft.to=16", "unchecked.to=16", "own-test.to=10", "other-test.to=5", "dev.to=5")


def rows_file(folder: Path) -> Path:
    """The rows that the reasoning of the released guards is on, one line an output: labels, the answers alone, and labels that a coin gave."""
    files = {f"{step}.files.{m}": DATA / "predictions" / m / f"{name}.jsonl" for step, name in BENCHMARKS.items() for m in MODELS}
    run("outputs", [f"{key}={json.dumps(str(file))}" for key, file in files.items()], folder)
    read = labelled(pl.concat(map(as_frame, toolkit.read_run(folder / "outputs")["verdicts"].blocks())))
    file = folder / "rows.parquet"
    read.write_parquet(file)
    return file


def labelled(verdicts: pl.DataFrame) -> pl.DataFrame:
    """The rows of `rows_file` of the step `verdicts` of proof/outputs."""
    guard = load_guard("guardreasoner")
    tasks = guard.task_names
    taken = pl.col("benchmark") == "xstest"
    for task in AGREED:
        verdict = pl.col(f"verdict_{task}")
        agree = (verdict.n_unique().over("parent") == 1) & (verdict.null_count().over("parent") == 0) & (pl.len().over("parent") == len(MODELS))
        verdicts = verdicts.with_columns(
            pl.when(taken).then(pl.when(agree).then(verdict)).otherwise(pl.col(f"label_{task}")).alias(f"label_{task}"),
            pl.when(taken).then(pl.lit("consensus")).otherwise(pl.col(f"label_{task}_source")).alias(f"label_{task}_source"),
        )
    disputed = pl.any_horizontal(
        (pl.col(f"verdict_{task}").n_unique().over("parent") > 1).fill_null(False) for task in tasks if f"verdict_{task}" in verdicts.columns
    )
    verdicts = verdicts.with_columns(disputed=pl.when(disputed).then(pl.lit("yes")).otherwise(pl.lit("no")))
    verdicts = verdicts.filter(~taken | pl.all_horizontal(pl.col(f"label_{task}").is_not_null() for task in AGREED))
    lines = sorted(verdicts.to_dicts(), key=lambda row: MODELS.index(row["guard_model"]))
    own = [f"label_{task}{end}" for task in tasks for end in ("", "_source")]
    out = []
    for row in lines:
        labels = {task: row[f"label_{task}"] for task in tasks}
        coin = {f"coin_{t}": labels[t] and random.Random(f"{row['parent']}/{t}").choice(guard.task(t).labels) for t in ("prompt", "refusal")}
        texts = {
            "source": row["benchmark"],
            "teacher": row["guard_model"],
            "reasoning": row["output"],
            "answers": answers_block(guard, labels),
            "disputed": row["disputed"],
        }
        out.append({name: row[name] for name in ("id", "prompt", "response", *own)} | texts | coin)
    return pl.DataFrame(out, infer_schema_length=None)


def run(recipe: str, overrides: Sequence[str], folder: Path, name: str | None = None, until: Sequence[str] = ()) -> None:
    """Run one of the proof's recipes in ``<folder>/<name>``; what is finished is not made again."""
    toolkit.run(
        RECIPES / f"{recipe}.yaml", overrides=overrides, output=folder / (name or recipe), until=until, progress=Progress(), raise_failures=False
    )


def data(folder: Path, smoke: bool) -> None:
    """The rows that all arms train and are tested on. Another process that makes them is waited for."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "data.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _data(folder, smoke)


def _data(folder: Path, smoke: bool) -> None:
    benchmarks = json.dumps([str(DATA / "benchmark")])
    files = [f"rows.files={json.dumps([str(rows_file(folder))])}", f"clean.files={benchmarks}", f"others.files={benchmarks}"]
    run("data", [*files, *(SMOKE_DATA if smoke else ())], folder)


def files_of(folder: Path, **steps: str) -> list[str]:
    """Overrides by which a recipe reads steps of proof/data."""
    return [f"{name}.files={json.dumps([str(folder / 'data' / step)])}" for name, step in steps.items()]


READ = {"own-test": "own-test", "other-test": "other-test", "dev": "dev"}


def arms(folder: Path, kept: Path, base: str, seed: int, smoke: bool, until: Sequence[str]) -> None:
    """The steps `until` of one seed of a base, in ``<folder>/<base>-<seed>/arms``.

    A seed's answers have a journal of their own, so that two processes can each make one.

    Raises:
        InputError: seeds that are kept were run with another recipe.
    """
    overrides = files_of(folder, rows="sft", labels="sft", coin="sft", unchecked="unchecked", **READ)
    if base != "tiny":
        overrides += [f"{step}.model={base}" for step in SUPERVISED]
        overrides += [f"{step}.trainer.{name}={value}" for step in SUPERVISED for name, value in PRETRAINED.items()]
        overrides += [f"{step}.trainer.learning_rate={PRETRAINED_DPO}" for step in PREFERRED]
        overrides += [f"{step}.trainer.{name}={value}" for step in (*SUPERVISED, *PREFERRED) for name, value in IN_PARTS.items()]
    elif (found := proof_dev.chosen(folder, kept)) is not None:
        kinds = {step: "sft" if step.startswith("sft-") else "dpo" for step in PREFERRED}
        overrides += [f"{step}.trainer.{key}={value}" for step, kind in kinds.items() for key, value in proof_dev.GRID[found[kind]].items()]
    if smoke:
        overrides += [f"{key}={value}" for key, value in (SMOKE if base == "tiny" else SMOKE_PRETRAINED).items()]
    overrides += proof_dev.overrides()
    base = Path(base).name  # of a folder
    name = f"{base}-{seed}/arms"
    run("arms", [*overrides, f"seed={seed}"], folder, name, ["test"])  # a moment: before hours are spent
    if until[0].startswith("judged-"):
        proof_kept.same_options(kept, base, seed, options_of(folder / name))
    run("arms", [*overrides, f"seed={seed}"], folder, name, until)


def one_seed(folder: Path, kept: Path, base: str, seed: int, smoke: bool) -> None:
    """What is lacking of one seed of all arms of a base, and its audit; kept once it is whole, or of a slow base arm by arm."""
    there = proof_kept.read(kept, Path(base).name).get(seed, Seed())
    wanted = MAIN[:2] if smoke and base != "tiny" else arms_of(base)
    lacking = [arm for arm in wanted if arm not in there.answers]
    if not lacking and there.audit is not None:
        print(f"{base}, seed {seed}: in {kept}")
        return
    for some in [lacking] if base in proof_kept.BY_SEED else [[arm] for arm in lacking] or [[]]:
        if some:
            arms(folder, kept, base, seed, smoke, [f"judged-{arm}" for arm in some])
        proof_audit.run(folder, Path(base).name, [seed])
        proof_kept.keep(folder, kept, Path(base).name, [seed])


def sizes(folder: Path, kept: Path, seed: int) -> None:
    """One seed of the size curve."""
    there = proof_kept.read(kept, "size").get(seed, Seed())
    if not (lacking := [arm for arm in proof_sizes.ARMS if arm not in there.answers]):
        print(f"size, seed {seed}: in {kept}")
        return
    files = {"random-all": "one-each", "own-test": "own-test", "other-test": "other-test"}
    run("size", [*files_of(folder, **files), f"seed={seed}"], folder, f"size-{seed}/size", [f"judged-{arm}" for arm in lacking])
    proof_kept.keep(folder, kept, "size", [seed])


def tried(folder: Path, kept: Path, seeds: Sequence[int], smoke: bool) -> None:
    """Hyper-parameters of the small guard, tried on the part `dev` with those of these seeds that `proof_dev.SEEDS` has; chosen once all are there."""
    steps = [f"scored-{name}" for name in ("sft", *proof_dev.GRID)]
    if proof_dev.chosen(folder, kept) is not None:
        return
    for seed in [seed for seed in seeds if seed in proof_dev.SEEDS]:
        for first in (["judged-sft", "judged-labels-only"], ["judged-sft-unchecked"]):  # which take nothing from what is tried
            arms(folder, kept, "tiny", seed, smoke, first)
        arms(folder, kept, "tiny", seed, smoke, steps)
    if {*proof_dev.SEEDS} <= {*seeds}:
        proof_dev.choose(folder, [folder / f"tiny-{seed}" / "arms" for seed in proof_dev.SEEDS])
        proof_kept.keep_chosen(folder, kept)


def base_as_it_is(folder: Path, kept: Path, base: str, smoke: bool) -> None:
    """The arm that is not trained."""
    name = Path(base).name
    if 0 in proof_kept.read(kept, name):
        return
    more = ["answers-base.models.guard.max_tokens=8"] if smoke else []
    run(
        "base",
        [*files_of(folder, **{k: v for k, v in READ.items() if k != "dev"}), f"answers-base.models.guard.model={base}", *more],
        folder,
        f"{name}-base/arms",
    )
    proof_kept.keep(folder, kept, name, [0])


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", default="tiny", help="tiny (from scratch), or a model: smollm2-135m, a folder")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--sizes", type=int, default=0, help="seeds of the size curve, after the others")
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("--step", type=int, default=1, help="every so many seeds: two processes, each of every second seed, share the work")
    parser.add_argument("--threads", type=int, help="torch's threads; 1 for two processes on two cores, which is faster than one of two")
    parser.add_argument("--dev", action="store_true", help="only what is tried on the part `dev`, of those of these seeds that it takes")
    parser.add_argument("--docs", action="store_true", help="keep what is finished in docs/proof, and write docs/proof.md of it")
    parser.add_argument("--smoke", action="store_true", help="answers without reasoning and few updates, in another folder: whether all of it runs")
    given = parser.parse_args()
    folder = workspace().resolve() / ("proof-smoke" if given.smoke else "proof")
    try:
        return _do(given, folder, folder / "kept" if given.smoke else KEPT)
    except GuardkitError as e:
        print(e, file=sys.stderr)
        return e.exit_code


def _do(given: argparse.Namespace, folder: Path, kept: Path) -> int:
    if given.docs:
        write_docs(folder, kept)
        return 0
    if not DATA.is_dir():
        print(f"no data in {DATA}: set GUARDKIT_DATA", file=sys.stderr)
        return 3
    if given.threads:
        os.environ["OMP_NUM_THREADS"] = os.environ["RAYON_NUM_THREADS"] = str(given.threads)  # before torch is loaded
    data(folder, given.smoke)
    for base in (Path(given.base).name, "size"):
        proof_kept.check(folder, kept, base)
    seeds = range(given.first, given.seeds + 1, given.step)
    if given.base == "tiny":
        tried(folder, kept, [*seeds] if given.dev else proof_dev.SEEDS, given.smoke)
        if given.dev:
            return 0
    if given.base != "tiny":
        base_as_it_is(folder, kept, given.base, given.smoke)
    for seed in seeds:
        one_seed(folder, kept, given.base, seed, given.smoke)
    for seed in range(1, given.sizes + 1):
        sizes(folder, kept, seed)
    print(page(folder, kept))
    return 0


def write_docs(folder: Path, kept: Path) -> None:
    """Keep what is finished in the workspace, and write the page; the page is not written where what is kept and the workspace do not go together."""
    proof_kept.keep_chosen(folder, kept)
    for base in (*WANTED, "size"):
        for name in proof_kept.keep(folder, kept, base):
            print(f"kept: {name}")
    (ROOT / "docs" / "proof.md").write_text(page(folder, kept), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
