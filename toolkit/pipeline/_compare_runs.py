"""Comparing two runs, or two folders of shards; and looking at the rows that a run did not keep."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.common.errors import InputError, did_you_mean, nearest, short_path
from toolkit.common.outputs import check_output, marked
from toolkit.common.paths import at_door
from toolkit.common.several import several
from toolkit.pipeline import _diff as rows_of
from toolkit.pipeline._diff_review import relabelled, repaired
from toolkit.pipeline._diff_side import Side, common_step
from toolkit.pipeline._finished import run_of
from toolkit.pipeline._row_files import output_file, write_rows
from toolkit.pipeline._stop import stopping
from toolkit.shards import versions
from toolkit.shards.exporters import shard_folder

if TYPE_CHECKING:
    import polars as pl

SHORT = 160
"""Characters of a value that are shown."""


def diff_runs(run_a: str | Path, run_b: str | Path, *, step: str | None, shown: int, output: str | Path | None) -> dict[str, Any]:
    """Compare two runs, or two folders of shards: see `toolkit.diff`."""
    target = output_file(output)
    (place_a, step_a), (place_b, step_b) = _both_shards(run_a, run_b) or (_placed(run_a), _placed(run_b))
    if len(named := {s for s in (step, step_a, step_b) if s is not None}) > 1:
        raise InputError(
            f"the rows of several steps: {', '.join(sorted(named))}", hint="one step is compared: name the runs, and {--step STEP|step=STEP}"
        )
    step = next(iter(named), None)
    a, b = Side(place_a), Side(place_b)
    if target is not None:
        check_output(target, reads=(a.folder, b.folder))
    if (a.manifest is None) != (b.manifest is None):
        raise InputError("a run cannot be compared with shards", hint="give two runs, or two folders of shards (<run>/<step>/shards)")
    at = common_step(a, b, step)
    found = rows_of.compare(a, b, at)
    gone, added = rows_of.why_missing(b, a, at, found.gone), rows_of.why_missing(a, b, at, found.added)
    changed = rows_of.changed_columns(a, b, at, found.changed)
    changed = rows_of.first_step(a, b, at, changed)
    if target is not None:
        with stopping():
            _write(target, {"gone": gone, "added": added, "changed": changed})
    left, right = a.columns(at), b.columns(at)
    names = [n for n in changed["columns"].to_list() if n is not None]
    return {
        "equal": left == right and not (gone.height or added.height or changed.height),
        "a": {"folder": str(run_a), "rows": found.same + gone.height + changed.height, "stale": a.stale},
        "b": {"folder": str(run_b), "rows": found.same + added.height + changed.height, "stale": b.stale},
        "step": at,
        "same": found.same,
        "columns": {"a": [c for c in left if c not in right], "b": [c for c in right if c not in left]},
        "steps": list(_steps(a, b)),
        "extends": _extends(a, b),
        "labels": relabelled(a, b) if a.manifest is None else [],
        "pairs": list(repaired(a, b)) if a.manifest is None else [],
        "gone": {**_missing(gone, shown), "by": rows_of.rows_by_value(a, at, gone)},
        "added": {**_missing(added, shown), "by": rows_of.rows_by_value(b, at, added)},
        "changed": {
            "rows": changed.height,
            "columns": dict(sorted(Counter(c for n in names for c in n.split(", ")).items())),
            "since": dict(sorted(Counter(changed["since"].to_list()).items())),
            "shown": _values(a, b, at, changed.head(shown)),
        },
    }


def _extends(a: Side, b: Side) -> str | None:
    """Which side is a version that extends the other one, directly or through others."""
    if a.manifest is None or b.manifest is None:
        return None
    for name, one, other in (("b", b.manifest, a.manifest), ("a", a.manifest, b.manifest)):
        if any(before.get("seal") == other.get("seal") for before in list(versions(one))[1:]):
            return name
    return None


def _placed(folder: str | Path) -> tuple[Path, str | None]:
    """A folder to compare, and the step that it means where it is a step's: then the run's folder."""
    place = at_door(folder)
    return run_of(place) if marked(place) == "step" else (place, None)


def _both_shards(run_a: str | Path, run_b: str | Path) -> tuple[tuple[Path, None], tuple[Path, None]] | None:
    """The shards of two folders, where either is that of a step that made some; None where that is not what they are, or they are the same step's of
    two runs, whose rows are compared as a run's."""
    a, b = at_door(run_a), at_door(run_b)
    found = [shard_folder(place) for place in (a, b) if marked(place) in ("step", "shards")]
    if len(found) < 2 or any(marked(place) != "shards" for place in found) or (a.name == b.name and marked(a) == marked(b) == "step"):
        return None
    return (found[0], None), (found[1], None)


def _missing(rows: pl.DataFrame, shown: int) -> dict[str, Any]:
    by = ["step", "outcome", "reason"]
    why = rows.group_by(by).len("rows").sort("rows", *by, descending=[True, False, False, False], nulls_last=True)
    return {"rows": rows.height, "why": why.to_dicts(), "shown": rows.head(shown).to_dicts()}


def _values(a: Side, b: Side, step: str, rows: pl.DataFrame) -> list[dict[str, Any]]:
    """The changed rows with the old and the new value of each column that differs."""
    old, new = (rows_of.rows_by_id(side, step, rows["id"]) for side in (a, b))
    out = []
    for row in rows.iter_rows(named=True):
        key = (row["id"], row["nth"])
        names = [c for c in old[key] if c in (row["columns"] or "").split(", ")]
        out.append({"id": row["id"], "since": row["since"], "values": {c: _pair(old[key][c], new[key][c]) for c in names}})
    return out


def _pair(old: Any, new: Any) -> list[str]:
    """Two values as short texts that begin a little before they differ."""
    texts = [v if isinstance(v, str) else json.dumps(v, ensure_ascii=False, default=str) for v in (old, new)]
    differ = next((i for i, (x, y) in enumerate(zip(*texts, strict=False)) if x != y), min(map(len, texts)))
    start = max(0, differ - 40) if max(map(len, texts)) > SHORT else 0
    return [("…" if start else "") + t[start : start + SHORT] + ("…" if len(t) > start + SHORT else "") for t in texts]


def _write(path: Path, found: Mapping[str, pl.DataFrame]) -> None:
    import polars as pl

    order = ["change", "id", "nth", "step", "outcome", "reason", "detail", "survivor", "parent", "columns", "since"]
    rows = pl.concat([f.with_columns(pl.lit(kind).alias("change")) for kind, f in found.items()], how="diagonal_relaxed")
    write_rows(path, [rows.select(*(pl.col(c) if c in rows.columns else pl.lit(None, pl.String).alias(c) for c in order))])


# What shaped the steps -------------------------------------------------------------------------------------------------


def _steps(a: Side, b: Side) -> Iterator[dict[str, Any]]:
    """Each step of either side: its state, what differs, its counts."""
    state: dict[str, str] = {}
    for step in [*a.order, *(s for s in b.order if s not in set(a.order))]:
        found = list(_differences(a, b, step)) if step in a.order and step in b.order else []
        if step not in b.order or step not in a.order:
            state[step] = "only in a" if step in a.order else "only in b"
        elif found:
            state[step] = "changed"
        elif any(state.get(s) != "same" for s in a.inputs[step]):
            state[step] = "follows"
        else:
            state[step] = "same" if _made_the_same(a, b, step) else "made anew"
        yield {"step": step, "state": state[step], "differs": found, "a": a.counts.get(step), "b": b.counts.get(step)}


def _made_the_same(a: Side, b: Side, step: str) -> bool:
    made = [side.folders[step].manifest["files"] if step in side.folders else None for side in (a, b)]
    return None in made or made[0] == made[1]


def _differences(a: Side, b: Side, step: str) -> Iterator[dict[str, Any]]:
    """What shaped a step otherwise: inputs, operator, version, options, guard, seed, files."""
    pair: list[dict[str, Any] | None] = [side.manifest or side.identity.get(step) for side in (a, b)]
    if a.inputs[step] != b.inputs[step]:
        yield {"what": "from", "a": a.inputs[step], "b": b.inputs[step]}
    if pair[0] is None or pair[1] is None:  # not built, or made before manifests recorded what shaped a step
        return
    # Not what shaped a step itself.
    made = ("files", "counts", "rows", "columns", "tables", "extends", "card", "seal") if a.manifest is not None else ("before",)
    if a.manifest is None and len({"step" in p for p in pair if p is not None}) > 1:  # one was made before a step counted the facets that it reads
        made = (*made, "step", "guard", "taxonomy", "seed", "recipe")
    left, right = (dict(_flat({k: v for k, v in p.items() if k not in made})) for p in pair if p is not None)
    for what in [*left, *(k for k in right if k not in left)]:
        if left.get(what) != right.get(what):
            yield {"what": what, "a": left.get(what), "b": right.get(what)}


def _flat(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, inner in value.items():
        name = f"{prefix}.{key}" if prefix else str(key)
        if isinstance(inner, Mapping) and inner:
            yield from _flat(inner, name)
        else:
            yield name, inner


# Rows that were not kept -----------------------------------------------------------------------------------------------


def rejected_rows(
    run: str | Path, step: str | None, *, reason: str | None, ids: str | Iterable[str] | None, limit: int, output: str | Path | None
) -> dict[str, Any]:
    """The rows that a run's steps did not keep: see `toolkit.rejects`."""
    import polars as pl

    target = output_file(output)
    place, inner = run_of(at_door(run))
    step = step or inner
    side = Side(place)
    side.refuse_stale(step)
    if target is not None:
        check_output(target, reads=(side.folder,))
    if step is not None and step not in side.counts:
        raise InputError(f"no finished step called {step!r}", where=str(run), hint=did_you_mean(step, side.counts))
    wanted = pl.lit(True)
    for column, values in (("step", [step] if step else None), ("reason", [reason] if reason else None), ("id", several(ids) or None)):
        if values is not None:
            wanted = wanted & pl.col(column).is_in(values)
    homes = [s for s in side.order if s in side.folders]
    _check_named(side, homes, reason, several(ids))
    counts: Counter[tuple[str, str, str]] = Counter()
    for block in (b for home in homes for b in side.rejects(home)):
        counts.update({(s, o, r): n for s, o, r, n in block.filter(wanted).group_by("step", "outcome", "reason").len().iter_rows()})
    shown: list[dict[str, Any]] = []
    for block in (b for home in homes for b in side.rejects(home, whole=True)):
        if len(shown) >= min(limit, counts.total()):
            break
        shown += [_whole(row) for row in block.filter(wanted).head(limit - len(shown)).iter_rows(named=True)]
    if target is not None:
        with stopping():
            none = pl.DataFrame(schema=dict.fromkeys(("step", "id", "outcome", "reason", "detail", "survivor", "row"), pl.String))
            blocks = (b for home in homes for b in side.rejects(home, whole=True))
            write_rows(target, chain([none], (b.filter(wanted) for b in blocks)), as_json=("row",))
    at = {s: i for i, s in enumerate(side.order)}
    lines = sorted(counts.items(), key=lambda item: (at.get(item[0][0], len(at)), item[0][1], item[0][2]))
    return {
        "run": str(run),
        "rows": counts.total(),
        "counts": [{"step": s, "outcome": o, "reason": r, "rows": n} for (s, o, r), n in lines],
        "shown": shown,
        "output": None if target is None else short_path(target),
    }


def _check_named(side: Side, homes: Iterable[str], reason: str | None, ids: Collection[str]) -> None:
    """Some row of the run left for that reason, and each of the ids is one of theirs."""
    if reason is None and not ids:
        return
    reasons, known = set[str](), set[str]()
    for block in (b for home in homes for b in side.rejects(home)):
        reasons.update(block["reason"].unique().drop_nulls())
        if ids:
            known.update(block["id"].drop_nulls())
    if reason is not None and reason not in reasons:
        hint = did_you_mean(reason, reasons) if reasons else "every row was kept"
        raise InputError(f"no row of this run left for the reason {reason!r}", where=short_path(side.folder), hint=hint)
    for one in ids:
        if one not in known:
            raise InputError(f"no row with the id {one!r} was left out", where=short_path(side.folder), hint=nearest(one, known))


def _whole(line: dict[str, Any]) -> dict[str, Any]:
    """A line of the rejects with its row as data; text that never became a row stays text."""
    try:
        return {**line, "row": json.loads(line["row"]) if line["row"] is not None else None}
    except ValueError:
        return line
