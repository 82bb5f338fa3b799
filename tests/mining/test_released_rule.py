"""Presets `paper` and `released` against a script of its own (`released_rule`): on made-up outputs, and on what the released models wrote."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from released_rule import Found, Sample, answers, paper, released

import toolkit
from toolkit.guards import load_guard, parse
from toolkit.records import content_id, load_record, row_id, to_polars

GUARD = load_guard("guardreasoner")
TASK = {"request": "prompt", "completion": "refusal", "response": "response"}
WORDS = {"request": ("harmful", "unharmful"), "completion": ("refusal", "compliance"), "response": ("harmful", "unharmful")}


def seeds(samples: Sequence[Sample]) -> pl.DataFrame:
    rows = []
    for n, s in enumerate(samples):
        response = None if s.gold["response"] is None and s.gold["completion"] is None else "answer"
        content = content_id([], s.id, response)
        row: dict[str, Any] = {"id": s.id, "content_id": content, "context": [], "prompt": s.id, "response": response, "categories": [], "votes": []}
        row |= {"source": "here", "source_row": n, "licence": "CC0-1.0", "language": None, "group": row_id("g", content, 0), "split": None}
        for name, task in TASK.items():
            row |= {f"label_{task}": s.gold[name], f"label_{task}_source": "human" if s.gold[name] else "absent"}
        rows.append(row)
    return pl.DataFrame(rows, schema=to_polars(load_record("seed", GUARD.task_names).columns), orient="row")


def verdicts(samples: Sequence[Sample], frame: pl.DataFrame) -> pl.DataFrame:
    found = [
        {"parent": s.id, "guard_model": g, "draw": d, "output": text}
        for s in samples
        for g, texts in s.outputs.items()
        for d, text in enumerate(texts)
    ]
    more = {"model_id": "", "output_key": "", "finish": "stop"}
    lines = pl.DataFrame(found).with_columns(pl.lit(v).alias(n) for n, v in more.items()).with_columns(pl.lit(None, pl.String).alias("error"))
    rows = lines.join(frame.rename({"id": "parent"}), on="parent", how="left", maintain_order="left")
    rows = rows.with_columns(pl.format("{}:{}:{}", "parent", "guard_model", "draw").alias("id"))
    return toolkit.apply("verdicts", rows.select(load_record("generation", GUARD.task_names).names)).kept


def pairs(samples: Sequence[Sample], preset: str, order: Sequence[str]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Hard rows and pairs by a preset, the guards in this order."""
    frame = seeds(samples)
    verdict_rows = verdicts(samples, frame)
    rule = {"extends": preset, "guards": {"order": list(order)}}
    hard = toolkit.apply("mine", {"rows": frame, "verdicts": verdict_rows}, rule=rule, missing="not_asked").kept
    return hard, toolkit.apply("pair", {"rows": hard, "verdicts": verdict_rows}, preset=preset).kept


def made_up(seed: int, n: int = 250) -> tuple[list[Sample], list[str]]:
    """Rows with some labels, and guards that each sample a part of them, with faulty outputs among the others."""
    rng = random.Random(seed)
    guards = ["main", "no-a", "no-b", "no-c"]
    out = []
    for i in range(n):
        gold = {t: rng.choice([None, *words]) for t, words in WORDS.items()}
        if rng.random() < 0.2:
            gold |= {"completion": None, "response": None}
        ask = rng.sample(guards, rng.choice([1, 2, 3]))
        out.append(Sample(f"row {i}", gold, {g: [written(rng, gold) for _ in range(4)] for g in guards if g in ask}))
    return out, guards


def written(rng: random.Random, gold: dict[str, str | None]) -> str:
    lines = []
    for task, field in (("request", "Request"), ("completion", "Completion"), ("response", "Response")):
        sure = rng.random() < 0.7
        word = (gold[task] if sure else rng.choice(WORDS[task])) or "None"
        if rng.random() < 0.06:
            word = rng.choice(["None", "perhaps"])
        if rng.random() > 0.03:
            lines.append(f"{field}: {word}")
    return "x " * rng.randrange(200) + "\nAnswers: \n" + "\n".join(lines)


def by_unit(found: Sequence[Found]) -> dict[tuple[str, str], tuple[Any, ...]]:
    return {(f.id, f.guard): (TASK[f.task], f.chosen, f.rejected, len(f.right), len(f.wrong), round(f.weight, 12)) for f in found}


def made(found: pl.DataFrame) -> dict[tuple[str, str], tuple[Any, ...]]:
    return {
        (r["parent"], r["chosen_model"]): (r["task"], r["chosen"], r["rejected"], r["n_right"], r["n_wrong"], round(r["weight"], 12))
        for r in found.iter_rows(named=True)
    }


@pytest.mark.parametrize("seed", range(3))
def test_released_on_made_up_outputs(seed: int) -> None:
    samples, guards = made_up(seed)
    order = random.Random(seed).sample(guards, len(guards))
    _, found = pairs(samples, "released", order)
    wanted = released(samples, order)
    assert len(wanted) > 50
    assert made(found) == by_unit(wanted)


def check_paper(found: pl.DataFrame, wanted: Sequence[Found]) -> None:
    """Units, counts and weights; what is drawn at random is one of the right and one of the wrong outputs."""
    by = {(f.id, f.guard): f for f in wanted}
    assert set(found.select("parent", "chosen_model").iter_rows()) == set(by)
    for r in found.iter_rows(named=True):
        f = by[r["parent"], r["chosen_model"]]
        assert (r["task"], r["n_right"], r["n_wrong"]) == (TASK[f.task], len(f.right), len(f.wrong))
        assert r["chosen"] in f.right and r["rejected"] in f.wrong
        assert r["weight"] == pytest.approx(f.weight, abs=1e-12)


@pytest.mark.parametrize("seed", range(2))
def test_paper_on_made_up_outputs(seed: int) -> None:
    samples, guards = made_up(seed)
    _, found = pairs(samples, "paper", [])
    wanted = paper(samples, guards, ["request", "completion", "response"])
    assert len(wanted) > 100
    check_paper(found, wanted)
    assert {r for r, n in found["parent"].value_counts().iter_rows() if n > 1}, "the sets of all guards are put together, the same row's too"


# What the released models wrote ------------------------------------------------------------------------------------------


def predictions(name: str, field: str) -> list[Sample]:
    """Rows of a released benchmark, the three sizes' outputs as draws: of one guard all three, of the others two each."""
    folder = Path(os.environ["GUARDKIT_DATA"]) / "guardreasoner" / "predictions"
    sizes = {size: [json.loads(line) for line in (folder / size / f"{name}.jsonl").read_text().splitlines()] for size in ("1B", "3B", "8B")}
    out = []
    for n, (one, three, eight) in enumerate(zip(*sizes.values(), strict=True)):
        gold = dict.fromkeys(WORDS) | {field: one["label"]}
        texts = [r["predict"] for r in (one, three, eight)]
        assert one["label"] == three["label"] == eight["label"]
        out.append(Sample(f"row {n}", gold, {"all": texts, "small": texts[:2], "large": texts[1:]}))
    return out


@pytest.mark.skipif("GUARDKIT_DATA" not in os.environ, reason="GUARDKIT_DATA is not set")
@pytest.mark.parametrize(("name", "field"), [("AegisSafetyTest", "request"), ("HarmBenchPrompt", "request"), ("XSTestResponseRefusal", "completion")])
def test_both_on_what_the_released_models_wrote(name: str, field: str) -> None:
    """Equal but for outputs that read otherwise: the released code takes the first word behind a field, guardkit the last label."""
    samples = predictions(name, field)
    same = [s for s in samples if all(reads_alike(t) for texts in s.outputs.values() for t in texts)]
    assert len(same) > 0.8 * len(samples)
    order = ["large", "all", "small"]
    _, found = pairs(same, "released", order)
    wanted = released(same, order)
    assert made(found) == by_unit(wanted) and wanted
    _, found = pairs(same, "paper", [])
    check_paper(found, paper(same, order, ["request", "completion", "response"]))


def reads_alike(text: str) -> bool:
    reply, read = answers(text), parse(GUARD, text, "lenient")
    for name, task in TASK.items():
        first = None if reply is None else reply[name]
        if read.labels[task] != (first if first in WORDS[name] else None):
            return False
        if reply is not None and first not in WORDS[name] and read.reasons.get(task) not in ("none", "not_a_label"):
            return False
        if reply is None and read.labels[task] is not None:
            return False
    return True
