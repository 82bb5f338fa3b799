"""`pair`: choices against plain Python, at any block size, from tables with and without texts; rules of `mine`, presets, weights; bad input."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from frames import TASKS, rows_of, run_steps, seed, verdict, verdicts
from server import Server, chat

import toolkit
from toolkit.common.errors import InputError
from toolkit.guards import load_guard, parse
from toolkit.mining import judged
from toolkit.operators import Columns, Context, operator_class
from toolkit.pipeline import LOCAL, Counts, FrameInput, FrameOutput, Work, build_step
from toolkit.records import Column, pair_id
from toolkit.taxonomy import load_taxonomy

GUARD = load_guard("guardreasoner")
H, U = "harmful", "unharmful"
LABELS = {"prompt": (H, U), "refusal": ("refusal", "compliance"), "response": (H, U)}
PAPER = {"pick": "random", "tasks": "first", "chosen_right_on": "task", "chosen_passes": "anything", "rejected_passes": "anything"}


def text(label: str, words: int = 1) -> str:
    parts = [f"# Task {n}\n\n## Reasoning Step 1\nThe words of it{' and so on' * words}.\n\n## Conclusion\nSo much for part {n}." for n in (1, 2, 3)]
    return "\n\n".join([*parts, "---", f"Answers: \nRequest: {label}\nCompletion: None\nResponse: None"])


def table(n: int, rows: int = 8) -> pl.DataFrame:
    """Verdicts of two guards on some rows, right and wrong in any mix, their outputs of a few lengths and half of them malformed."""
    rng = random.Random(n)
    out = []
    for i in range(rows):
        parent = seed(i, **{f"label_{t}": rng.choice([None, *LABELS[t]]) for t in TASKS})
        for k in range(rng.randint(1, 10)):
            stated = {t: rng.choice([None, *LABELS[t], *LABELS[t]]) for t in TASKS}
            output = text(H, rng.randint(1, 3)) if rng.random() < 0.6 else "Request: harmful" + "." * rng.randint(0, 3)
            out.append(verdict(parent, "ab"[k % 2], k // 2, output, **stated))
    rng.shuffle(out)
    return verdicts(*out)


def in_blocks(inputs: Mapping[str, pl.DataFrame], size: int, **options: Any) -> tuple[pl.DataFrame, pl.DataFrame, dict[str, Any]]:
    """As `toolkit.apply`, with the rows in blocks."""
    cls = operator_class("pair")
    op: Any = cls(cls.config_class.model_validate(options))
    columns: dict[str, Columns] = {name: {n: Column(n, "string") for n in frame.columns} for name, frame in inputs.items()}
    counts = Counts("pair", "pair", op.shape)
    out = FrameOutput([counts], op.columns(columns, GUARD), Path())
    work = Work(op, Context(GUARD, load_taxonomy("guardkit"), 3, "pair", Path()), columns["rows"], counts)
    build_step(LOCAL, [work], {n: FrameInput(n, *f.iter_slices(size)) for n, f in inputs.items()}, out)
    out.check()
    return out.kept, out.left, out.stats


def by_hand(rows: pl.DataFrame, verdicts: pl.DataFrame, **options: Any) -> list[tuple[str, str, str, str]]:
    """Parent, task, chosen and rejected of each pair: the policy once more, in plain Python, an output after the other."""
    ctx = Context(GUARD, load_taxonomy("guardkit"), 3, "pair", Path())
    outputs, pairs = list(verdicts.iter_rows(named=True)), []
    for row in rows.iter_rows(named=True):
        for task in TASKS:
            best: list[Any] = [None, None]
            for one in outputs if row[f"status_{task}"] == "hard" else ():
                if one["parent"] != row["id"] or one[f"verdict_{task}"] is None:
                    continue
                right = one[f"verdict_{task}"] == row[f"label_{task}"]
                every = all(one[f"verdict_{t}"] == row[f"label_{t}"] for t in TASKS if row[f"label_{t}"] is not None)
                passes = options["chosen_passes" if right else "rejected_passes"]
                if (right and options["chosen_right_on"] == "all" and not every) or (
                    passes == "strict" and parse(GUARD, one["output"], "strict").problems
                ):
                    continue
                if not right and passes == "read" and any(one[f"verdict_{t}"] is None for t in TASKS if row[f"label_{t}"] is not None):
                    continue
                length = len(one["output"])
                score = {"longest": length, "shortest": -length, "random": ctx.rng_seed("pair", task, one["id"])}[options["pick"]]
                side = 0 if right else 1
                if best[side] is None or score > best[side][0]:
                    best[side] = (score, one["output"])
            if None not in best:
                pairs.append((row["id"], task, best[0][1], best[1][1]))
                if options["tasks"] == "first":
                    break
    return pairs


@pytest.mark.parametrize("pick", ["longest", "shortest", "random"])
def test_pairs_are_those_of_plain_python_and_every_row_is_there_once(pick: str) -> None:
    found = 0
    for n in range(25):
        rng = random.Random(n)
        options = {"pick": pick, "tasks": rng.choice(["first", "each"]), "chosen_right_on": rng.choice(["task", "all"])}
        options |= {"chosen_passes": rng.choice(["anything", "strict"]), "rejected_passes": rng.choice(["anything", "strict", "read"])}
        figures = table(n)
        hard = toolkit.apply("mine", figures).kept
        kept, left, _ = in_blocks({"rows": hard, "verdicts": figures}, rng.choice([1, 3, 100]), empty=True, **options)
        assert kept.select("parent", "task", "chosen", "rejected").rows() == by_hand(hard, figures, **options), options
        without = set(left["id"]) if left.height else set()
        assert set(kept["parent"]) | without == set(hard["id"]) and not set(kept["parent"]) & without
        assert kept["id"].n_unique() == kept.height
        found += kept.height
    assert found > 60


@pytest.mark.parametrize("pick", ["closest", "longest"])
def test_no_cut_into_blocks_changes_a_byte(pick: str) -> None:
    found = table(1, rows=40)
    hard = toolkit.apply("mine", found).kept
    first, *others = [in_blocks({"rows": hard, "verdicts": found}, size, pick=pick) for size in (1000, 1, 7)]
    assert first[0].height > 8
    for kept, left, stats in others:
        assert kept.equals(first[0]) and left.equals(first[1]) and stats == first[2]


def test_texts_of_another_step_and_verdicts_of_several_make_the_same_pairs() -> None:
    found = table(2, rows=30)
    hard = toolkit.apply("mine", found).kept
    whole = in_blocks({"rows": hard, "verdicts": found}, 9, pick="longest")[0]
    bare = judged(found, GUARD)
    shuffled = found.sample(fraction=1, shuffle=True, seed=1).select("parent", "guard_model", "draw", "output", "finish")
    assert in_blocks({"rows": hard, "verdicts": bare, "outputs": shuffled}, 9, pick="longest")[0].equals(whole)
    assert whole.height > 5 and "output" not in bare.columns
    parts = {"verdicts": found.filter(pl.col("guard_model") == "a"), "more": judged(found.filter(pl.col("guard_model") == "b"), GUARD)}
    options = {"pick": "random", "chosen_passes": "anything", "rejected_passes": "anything"}
    one = in_blocks({"rows": hard, "verdicts": found}, 9, **options)[0]
    assert in_blocks({"rows": hard, **parts, "outputs": shuffled}, 9, **options)[0].equals(one)


# The default -----------------------------------------------------------------------------------------------------------


def two(*outputs: tuple[str, str | None, str | None], parent: Mapping[str, Any] | None = None, guard: str = "a") -> list[dict[str, Any]]:
    """Outputs of one row with their verdicts on prompt and refusal."""
    row = parent or seed(0, prompt="p", response="r", label_prompt=H, label_refusal="refusal")
    return [verdict(row, guard, i, o, prompt=p, refusal=r) for i, (o, p, r) in enumerate(outputs)]


def paired(rows: Sequence[Mapping[str, Any]], rule: str | None = None, **options: Any) -> toolkit.Applied:
    frame = verdicts(*rows)
    options_of_mine: dict[str, Any] = {"rule": rule} if rule else {}
    hard = toolkit.apply("mine", frame, **options_of_mine).kept
    return toolkit.apply("pair", {"rows": hard, "verdicts": frame}, **options)


def test_the_default_is_right_on_all_sound_on_both_sides_and_close_in_length() -> None:
    rows = two(
        (text(H, 9), H, "compliance"),  # wrong on refusal
        (text(H, 5), H, "refusal"),
        (text(H, 2), H, "refusal"),
        (text(U, 3), U, "refusal"),
        ("Request: unharmful" + "." * 300, U, "refusal"),  # malformed
        (text(U, 30), U, "refusal"),
    )
    found = paired(rows)
    assert found.kept.select("task", "chosen", "rejected").rows() == [
        ("prompt", text(H, 5), text(U, 3)),  # longer here, since it can only be shorter there
        ("refusal", text(H, 5), text(H, 9)),
    ]
    assert found.figures["passed_over"] == {} and found.figures["lengths"]["pairs"] == 2
    found = paired(rows, pick="shortest")
    assert found.kept["rejected"].to_list() == [text(U, 3), text(H, 9)]
    assert found.figures["passed_over_rejected"] == {"no_answers_block": 1}
    assert paired(rows, pick="shortest", rejected_passes="anything").kept["rejected"][0].startswith("Request: unharmful.")


def test_a_row_without_a_sound_wrong_output_says_so() -> None:
    found = paired(two((text(H), H, None), ("Request: unharmful", U, None)), empty=True, chosen_right_on="task")
    assert found.left["_detail"].to_list() == ["no wrong output is sound: no_answers_block"]


def test_the_order_of_tasks_is_the_recipes() -> None:
    rows = two((text(H), H, "refusal"), (text(U), U, "compliance"))
    assert paired(rows, tasks="first").kept["task"].to_list() == ["prompt"]
    assert paired(rows, tasks="first", order=["refusal"]).kept["task"].to_list() == ["refusal"]
    assert paired(rows, order=["refusal"]).kept["task"].to_list() == ["refusal", "prompt"]
    with pytest.raises(InputError, match="no task 'refusall'"):
        paired(rows, order=["refusall"])


# Rules and presets -----------------------------------------------------------------------------------------------------


def test_a_row_that_is_hard_for_guards_by_themselves_gives_each_its_pair() -> None:
    one = seed(0, label_prompt=H)
    rows = [verdict(one, g, d, o, prompt=p) for g in "ab" for d, (o, p) in enumerate([("right", H), ("wrong!", U), ("right", H)])]
    rows += [verdict(one, "c", d, "long and right", prompt=H) for d in range(3)]
    kept = paired(rows, "paper", preset="paper").kept
    assert kept.select("chosen_model", "rejected_model", "n_right", "n_wrong").rows() == [("a", "a", 2, 1), ("b", "b", 2, 1)]
    assert kept["id"].n_unique() == 2 and kept["id"][0] == pair_id(one["id"], "prompt", "right", "wrong!", "a")
    pooled = paired(rows, "default", preset="paper", pick="longest").kept
    assert pooled["chosen"].to_list() == ["long and right"] and pooled["id"][0] == pair_id(one["id"], "prompt", "long and right", "wrong!")


def test_weights_per_guard_span_their_range_for_each() -> None:
    rows = []
    for n, (a, b) in enumerate([("HHU", "HUU"), ("HUU", "HHU"), ("HUUU", "HU")]):
        for g, answer in (("a", a), ("b", b)):
            rows += [verdict(seed(n, label_prompt=H), g, d, f"{g}{d}", prompt=H if s == "H" else U) for d, s in enumerate(answer)]
    rows = [row | {"unread_refusal": "none", "unread_response": "none"} for row in rows]  # the rule counts outputs of which all could be read
    kept = paired(rows, "baseline", preset="baseline").kept
    by = {g: kept.filter(pl.col("chosen_model") == g)["weight"].to_list() for g in "ab"}
    assert by["a"] == pytest.approx([0.8, 1.0667, 1.2], abs=1e-4) and by["b"] == pytest.approx([1.2, 0.8, 1.0])
    assert paired(rows, "baseline", preset="baseline", normalise="all").kept["weight"].n_unique() == 4


def test_an_output_counts_as_the_rule_counts_it() -> None:
    """The released code takes an answer `None` for a wrong one, and an output without all three fields for none at all."""
    one = seed(0, prompt="p", label_prompt=H)
    outputs = [verdict(one, "a", d, o, prompt=p) for d, (o, p) in enumerate([("right", H), ("says None", None), ("wrong and incomplete", U)])]
    for line, reasons in zip(outputs, ({"refusal": "none", "response": "none"}, dict.fromkeys(TASKS, "none"), {}), strict=True):
        line |= {f"unread_{t}": reasons.get(t, None if line[f"verdict_{t}"] else "field_missing") for t in TASKS}
    kept = paired(outputs, "released", preset="released").kept
    assert kept.select("chosen", "rejected", "n_right", "n_wrong").rows() == [("right", "says None", 1, 1)]
    assert paired(outputs, pick="longest", chosen_passes="anything", rejected_passes="anything").kept["rejected"].to_list() == [
        "wrong and incomplete"
    ]


def test_outputs_judged_as_a_whole_make_a_pair_on_the_first_task_that_they_differ_on(tmp_path: Path) -> None:
    rows = two(("right", H, "refusal"), ("wrong on refusal", H, "compliance"), ("unread", None, "refusal"))
    frame = verdicts(*rows)
    rule = {"hard": "0 < wrong < k", "right_on": "row", "guards": {"count": "each"}}
    hard = toolkit.apply("mine", frame, rule=rule).kept
    assert hard["hard_of"].to_list()[0][0]["task"] is None
    (tmp_path / "whole.yaml").write_text("extends: omni\npairs: {pick: longest, chosen_passes: anything, rejected_passes: anything}\n")
    kept = toolkit.apply("pair", {"rows": hard, "verdicts": frame}, preset=str(tmp_path / "whole.yaml")).kept
    assert kept.select("task", "chosen", "rejected").rows() == [("refusal", "right", "wrong on refusal")]
    options: dict[str, Any] = {"preset": str(tmp_path / "whole.yaml"), "pick": "random"}
    drawn = {toolkit.apply("pair", {"rows": hard, "verdicts": frame}, seed=s, **options).kept["rejected"][0] for s in range(8)}
    assert drawn == {"wrong on refusal", "unread"}, "by this rule what cannot be read is wrong"


def test_a_preset_that_says_nothing_of_pairs_or_is_not_there_is_refused() -> None:
    rows = two((text(H), H, "refusal"), (text(U), U, "refusal"))
    with pytest.raises(InputError, match="says nothing of pairs"):
        paired(rows, preset="omni")
    with pytest.raises(InputError, match="released"):
        paired(rows, preset="relased")


def test_schemes_of_weights_go_by_what_mine_measured() -> None:
    rows = []
    for n, answer in enumerate(["HHHU", "HHUU", "HUUU"]):
        rows += [verdict(seed(n, label_prompt=H), "ab"[d % 2], d // 2, f"{d}", prompt=H if s == "H" else U) for d, s in enumerate(answer)]
    options = {**PAPER, "pick": "longest"}
    assert paired(rows, **options).kept["weight"].to_list() == pytest.approx([0.8, 1.0, 1.2])
    for scheme in ("entropy", "margin"):
        found = paired(rows, **options, weights=scheme)
        assert found.kept["weight"].to_list() == pytest.approx([0.8, 1.2, 0.8]), scheme
        assert found.figures["weights"]["scheme"] == scheme
    assert paired(rows, **options, weights="uniform").kept["weight"].to_list() == [1.0] * 3


# In a recipe -----------------------------------------------------------------------------------------------------------


def recipe(folder: Path, server: Server, *, texts: bool, outputs: bool, **options: Any) -> Any:
    """Two rows, judged by three guards: the steps of the run."""
    wrote = {"a": text(H, 2), "b": text(U, 3), "c": text(H, 4)}
    server.script = lambda message, body: (200, {}, chat(wrote[body["model"]]))
    rows = pl.DataFrame([{n: seed(i, label_prompt=H)[n] for n in ("id", "prompt", "label_prompt", "label_prompt_source")} for i in (0, 1)])
    rows.write_parquet(folder / "rows.parquet")
    models = {m: {"backend": "openai", "base_url": server.base_url, "retries": 0, "model": m} for m in wrote}
    more = {"outputs": "samples"} if outputs else {}
    return run_steps(
        folder,
        [
            {"id": "rows", "use": "read", "with": {"files": ["rows.parquet"], "columns": {n: n for n in rows.columns}, "record": "seed"}},
            {"id": "samples", "use": "sample", "with": {"k": 1, "models": models}},
            {"id": "verdicts", "use": "verdicts", "with": {"texts": texts}},
            {"id": "hard", "use": "mine", "from": {"rows": "rows", "verdicts": "verdicts"}},
            {"id": "pairs", "use": "pair", "from": {"rows": "hard", "verdicts": "verdicts", **more}, "with": options},
        ],
    )["pairs"]


def test_verdicts_without_texts_in_a_recipe(server: Server, tmp_path: Path) -> None:
    bare = recipe(tmp_path, server, texts=False, outputs=True)
    assert rows_of(bare)["rejected"].to_list() == [text(U, 3)] * 2 and bare.manifest["stats"]["lengths"]["pairs"] == 2
    assert rows_of(recipe(tmp_path, server, texts=True, outputs=False)).equals(rows_of(bare))
    with pytest.raises(InputError, match="reads the column 'output' of its input 'verdicts'"):
        recipe(tmp_path, server, texts=False, outputs=False)


def test_options_that_an_earlier_guardkit_had_not_count_only_where_they_are_used() -> None:
    def identity(**options: Any) -> dict[str, Any]:
        cls = operator_class("pair")
        return cls(cls.config_class.model_validate(options)).identity()

    assert identity(**PAPER) == {
        "pick": "random", "tasks": "first", "chosen_right_on": "task", "chosen_passes": "anything", "gamma": 0.2, "empty": False, "validator": None
    }  # fmt: skip
    assert identity(preset="paper", tasks="first") == identity(**PAPER), "a preset is what it says"
    assert identity(**PAPER, weights="entropy")["weights"] == "entropy"
    assert "rejected_validator" in identity(**{**PAPER, "rejected_passes": "strict"})


def test_outputs_that_are_not_in_the_step_are_an_error() -> None:
    verdict_rows = verdicts(*two((text(H), H, "refusal"), (text(U), U, "refusal")))
    hard = toolkit.apply("mine", verdict_rows).kept
    inputs = {
        "rows": hard,
        "verdicts": judged(verdict_rows, GUARD),
        "outputs": verdict_rows.select("parent", "guard_model", "draw", "output", "finish")[:1],
    }
    with pytest.raises(InputError, match="1 generations that would make pairs are not in the step"):
        toolkit.apply("pair", inputs)
    with pytest.raises(InputError, match="reads the column 'draw' of its input 'outputs'"):
        toolkit.apply("pair", {**inputs, "outputs": verdict_rows.select("parent", "guard_model", "output", "finish")})
