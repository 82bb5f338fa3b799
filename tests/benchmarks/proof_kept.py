"""What finished seeds of the proof came to, kept in the repository, so that another machine goes on where this one ends: ``docs/proof``.

    <base>-<seed>.parquet   a line for each arm and test row: arm, parent (the row's id), tested_on, labels, verdicts; no texts. `base` for the base as it is
    <base>-<seed>.json      seconds of its steps, what its audit found, digest of its recipe
    chosen.json             what was tried on the part `dev`, and what is best (`proof_dev`)

The size curve's are ``size-<seed>``. An arm that is kept is not run again and is not replaced: to begin anew, remove the files. Models
are not kept: where the workspace is lost, those that an arm begins with are trained again, with the same seed.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import polars as pl
from proof_runs import ASKED, COLUMNS, Seed, asked, finished, has_data

from toolkit.common.errors import InputError
from toolkit.common.files import write_atomic

BY_SEED = ("tiny",)
"""Bases of which a seed takes minutes: it is kept once it is whole. Of the others each arm is, as soon as it is finished."""


def read(kept: Path, base: str) -> dict[int, Seed]:
    """What is kept of a base, or of the size curve, by seed; the base model as it is has the seed 0.

    Raises:
        InputError: a file that is not one of these.
    """
    found = {}
    for file in kept.glob(f"{base}-*.parquet"):
        end = file.stem.removeprefix(f"{base}-")
        if end == "base" or re.fullmatch(r"\d+", end):
            found[0 if end == "base" else int(end)] = _read(file)
    return dict(sorted(found.items()))


def _read(file: Path) -> Seed:
    try:
        table = pl.read_parquet(file)
        about = json.loads(file.with_suffix(".json").read_text(encoding="utf-8"))
        answers = {str(arm): part.select(COLUMNS) for (arm,), part in table.group_by("arm", maintain_order=True)}
        return Seed(answers, about["seconds"], about["audit"], about["rows"], about["options"])
    except (pl.exceptions.PolarsError, OSError, ValueError, KeyError, TypeError) as e:
        hint = "take it from the repository again (git checkout), or remove the .parquet and the .json of this seed, which is then run again"
        raise InputError(f"these are no kept results of the proof: {type(e).__name__}: {e}", where=str(file), hint=hint) from None


def write(kept: Path, base: str, number: int, seed: Seed) -> bool:
    """Add to what is kept of a seed what it lacks; whether there was anything.

    Args:
        kept: the folder, made where it is not there.
        base, number, seed: as `read` gives them.
    """
    there = read(kept, base).get(number, Seed())
    both = there.with_more(seed)
    if both.answers.keys() == there.answers.keys() and both.audit == there.audit:
        return False
    kept.mkdir(parents=True, exist_ok=True)
    file = kept / f"{base}-{number or 'base'}.parquet"
    about = {"options": both.options, "seconds": both.seconds, "rows": both.rows, "audit": both.audit}
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(value)}" for name, value in about.items())
    write_atomic(file.with_suffix(".json"), f"{{{lines}}}\n")
    out = io.BytesIO()
    pl.concat([part.select(pl.lit(arm).alias("arm"), *COLUMNS) for arm, part in both.answers.items()]).write_parquet(out, compression="zstd")
    write_atomic(file, out.getvalue())
    return True


def keep(folder: Path, kept: Path, base: str, numbers: Iterable[int] | None = None) -> list[str]:
    """Keep what is finished in the workspace, and say of which seeds; of a base of `BY_SEED` only seeds that are whole.

    Args:
        folder: of the proof in the workspace.
        kept: folder in the repository.
        base: or ``size``.
        numbers: of seeds; all by default.

    Raises:
        InputError: what is kept was asked about other rows, or made by another recipe.
    """
    out = []
    leaf = "size" if base == "size" else "arms"
    for number, seed in finished(folder, base, leaf, numbers).items():
        if not seed.answers or (base in BY_SEED and not seed.whole(base)):
            continue
        check(folder, kept, base)
        same_options(kept, base, number, seed.options)
        if write(kept, base, number, seed):
            out.append(f"{base}-{number or 'base'}")
    return out


def keep_chosen(folder: Path, kept: Path) -> None:
    """Keep what was tried on the part `dev`, where nothing of it is kept."""
    if (folder / "chosen.json").is_file() and not (kept / "chosen.json").exists():
        kept.mkdir(parents=True, exist_ok=True)
        write_atomic(kept / "chosen.json", (folder / "chosen.json").read_bytes())


def seeds(folder: Path, kept: Path | None, base: str, leaf: str = "arms") -> dict[int, Seed]:
    """What is kept and what is finished in the workspace, by seed; of what both have, what is kept.

    Raises:
        InputError: see `check`.
    """
    found = finished(folder, base, leaf)
    if kept is None:
        return found
    check(folder, kept, base)
    there = read(kept, base)
    return {n: there.get(n, Seed()).with_more(found.get(n, Seed())) for n in sorted({*there, *found})}


def check(folder: Path, kept: Path, base: str) -> None:
    """Refuse kept seeds that were asked about other test rows than the workspace has, or, where it has none, than the first of them was.

    Raises:
        InputError: of the first such file.
    """
    reference, whose = (asked(folder), str(folder / "data")) if has_data(folder) else (None, "")
    for number, seed in read(kept, base).items():
        file = kept / f"{base}-{number or 'base'}.parquet"
        for arm, part in seed.answers.items():
            rows = part.select(ASKED)
            if reference is None:
                reference, whose = rows, str(file)
            if words := _differ(rows, reference):
                hint = f"set GUARDKIT_DATA to the data that it was made of, or remove {base}-*.parquet and {base}-*.json there and begin anew"
                raise InputError(f"the arm {arm} was asked about other test rows than {whose} has: {words}", where=str(file), hint=hint)


def _differ(rows: pl.DataFrame, reference: pl.DataFrame) -> str:
    """How two tables of test rows differ, in words; empty where they don't."""
    if rows.sort("parent").equals(reference.sort("parent")):
        return ""
    ids, others = set(rows["parent"]), set(reference["parent"])
    both = rows.join(reference, on="parent", suffix="_there")
    changed = both.filter(pl.any_horizontal(pl.col(c).ne_missing(pl.col(f"{c}_there")) for c in ASKED[1:]))
    faults = {"not there": len(ids - others), "only there": len(others - ids), "with another label or of another part": changed["parent"].n_unique()}
    return ", ".join(f"{n} of {len(ids)} ids {words}" for words, n in faults.items() if n) or "some rows more than once"


def same_options(kept: Path, base: str, number: int, options: str | None) -> None:
    """Refuse to put a seed beside kept ones that another recipe made (InputError)."""
    others: Mapping[int, Seed] = read(kept, base)
    for other, seed in others.items():
        if (other == 0) == (number == 0) and None not in (options, seed.options) and seed.options != options:
            hint = f"take the change of recipes/proof or of its options back, or remove {base}-*.parquet and {base}-*.json there and begin anew"
            where = str(kept / f"{base}-{other or 'base'}.json")
            raise InputError(f"seed {number} is run with another recipe or other options than this one was", where=where, hint=hint)
