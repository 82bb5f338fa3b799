"""Exports: what the trainers' own libraries read, or their documentation asks for, is what the shards say; and nothing goes without a word."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest
from exports import GUARD, LABELS, MESSAGES, PLAIN, dpo, interaction, lines, reasoning, rows_of, sft, write
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.common.errors import InputError, InputErrors
from toolkit.common.files import sha256_file, tree_digests
from toolkit.guards import render_input
from toolkit.records import Column
from toolkit.shards import ShardWriter, verify
from toolkit.shards.exporters import EXPORTERS, _export_folder, _output_files, export, verify_export
from toolkit.shards.exporters._pair_weights import Repeater
from toolkit.sources import load_source, read_source, split_released_input
from toolkit.taxonomy import load_taxonomy

FORMS = ("messages", "text")
BOTH = ("train", "test")


def text(value: Any) -> str:
    """Of plain text, or of one message."""
    return value if isinstance(value, str) else value[0]["content"]


def loaded(folder: Path, tmp_path: Path, config: str = "default") -> Any:
    datasets = pytest.importorskip("datasets")
    return datasets.load_dataset(str(folder), config, cache_dir=str(tmp_path / "cache"))


@pytest.mark.parametrize("form", FORMS)
def test_trl_takes_both_kinds(tmp_path: Path, form: str) -> None:
    data_utils = pytest.importorskip("trl.data_utils")
    for kind, make in (("sft", sft), ("dpo", dpo)):
        folder = make(tmp_path / f"{kind}-shards", form=form)
        export(folder, "trl", tmp_path / kind)
        read = loaded(tmp_path / kind, tmp_path)
        for split in BOTH:
            want = rows_of(folder, split)
            assert read[split].to_list() == want
            assert data_utils.is_conversational(read[split][0]) == (form == "messages")
            assert "labels" not in read[split].column_names


def llamafactory_reads(folder: Path, name: str) -> list[tuple[list[dict[str, str]], list[str]]]:
    """Prompt and answers, read as data/README.md says. Checked against 0.9.5's own parser and converter when this was written."""
    info = json.loads((folder / "dataset_info.json").read_text())[name]
    columns, tags, pairs = info["columns"], info.get("tags", {}), info.get("ranking", False)
    assert set(info) <= {"file_name", "formatting", "ranking", "columns", "tags"} and set(columns.values()) <= set(
        lines(folder / info["file_name"])[0]
    )
    out = []
    for row in lines(folder / info["file_name"]):
        if info["formatting"] == "alpaca":
            prompt = [{"role": "user", "content": "\n".join(p for p in (row[columns["prompt"]], row[columns["query"]]) if p)}]
            answers = [row[columns["chosen"]], row[columns["rejected"]]] if pairs else [row[columns["response"]]]
        else:
            turns = [{"role": m[tags["role_tag"]], "content": m[tags["content_tag"]]} for m in row[columns["messages"]]]
            assert [t["role"] for t in turns] == [tags["user_tag"], *([] if pairs else [tags["assistant_tag"]])]
            ends = [row[columns["chosen"]], row[columns["rejected"]]] if pairs else [turns.pop()]
            prompt, answers = turns, [m["content"] for m in ends]
        out.append((prompt, answers))
    return out


@pytest.mark.parametrize("form", FORMS)
def test_llamafactory_reads_both_kinds(tmp_path: Path, form: str) -> None:
    for kind, make, answers in (("sft", sft, ["completion"]), ("dpo", dpo, ["chosen", "rejected"])):
        folder = make(tmp_path / f"{kind}-shards", form=form)
        export(folder, "llamafactory", tmp_path / kind, weights="drop" if kind == "dpo" else None)
        for split in BOTH:
            want = [([{"role": "user", "content": text(r["prompt"])}], [text(r[a]) for a in answers]) for r in rows_of(folder, split)]
            assert llamafactory_reads(tmp_path / kind, f"guardkit_{kind}_{split}") == want
        assert loaded(tmp_path / kind, tmp_path)["test"].num_rows == 5
        assert {row["licence"] for row in lines(tmp_path / kind / "train.jsonl")} == {"ODC-By-1.0", "CC-BY-4.0", "CC-BY-NC-4.0"}


@pytest.mark.parametrize("form", FORMS)
def test_ms_swift_reads_both_kinds(tmp_path: Path, form: str) -> None:
    for kind, make, answer in (("sft", sft, "completion"), ("dpo", dpo, "chosen")):
        folder = make(tmp_path / f"{kind}-shards", form=form)
        export(folder, "ms-swift", tmp_path / kind, weights="drop" if kind == "dpo" else None)
        for split in BOTH:
            got = lines(tmp_path / kind / f"{split}.jsonl")
            want = rows_of(folder, split)
            assert [g["messages"] for g in got] == [
                [{"role": "user", "content": text(w["prompt"])}, {"role": "assistant", "content": text(w[answer])}] for w in want
            ]
            assert [g.get("rejected_response") for g in got] == [text(w["rejected"]) if kind == "dpo" else None for w in want]
            assert [(g["id"], g["source"]) for g in got] == [(w["id"], w["source"]) for w in want]


@pytest.mark.parametrize("form", FORMS)
def test_openai_lines_are_what_its_types_say(tmp_path: Path, form: str) -> None:
    pytest.importorskip("openai")
    from openai.types.chat import ChatCompletionAssistantMessageParam, ChatCompletionMessageParam
    from pydantic import TypeAdapter

    messages, answer = TypeAdapter(list[ChatCompletionMessageParam]), TypeAdapter(list[ChatCompletionAssistantMessageParam])
    folder = sft(tmp_path / "sft-shards", form=form)
    record = export(folder, "openai", tmp_path / "sft")
    assert record["left_out"] == ["id", "source", "licence", "teacher", *(c.name for c in LABELS)]
    assert any("at least 10 examples in a file: test has 5" in note for note in record["notes"])
    for got, want in zip(lines(tmp_path / "sft" / "train.jsonl"), rows_of(folder, "train"), strict=True):
        assert list(got) == ["messages"]
        messages.validate_python(got["messages"], strict=True)
        assert got["messages"] == [{"role": "user", "content": text(want["prompt"])}, {"role": "assistant", "content": text(want["completion"])}]
    folder = dpo(tmp_path / "dpo-shards", form=form)
    export(folder, "openai", tmp_path / "dpo", weights="drop")
    for got, want in zip(lines(tmp_path / "dpo" / "train.jsonl"), rows_of(folder, "train"), strict=True):
        assert list(got) == ["input", "preferred_output", "non_preferred_output"] and list(got["input"]) == ["messages"]
        messages.validate_python(got["input"]["messages"], strict=True)
        for name, side in (("preferred_output", "chosen"), ("non_preferred_output", "rejected")):
            answer.validate_python(got[name], strict=True)
            assert got[name] == [{"role": "assistant", "content": text(want[side])}]
        assert got["input"]["messages"] == [{"role": "user", "content": text(want["prompt"])}]


@pytest.mark.parametrize("form", FORMS)
def test_verl_gets_a_ground_truth_and_conversations(tmp_path: Path, form: str) -> None:
    folder = sft(tmp_path / "shards", form=form)
    record = export(folder, "verl", tmp_path / "out")
    rl, tuned = loaded(tmp_path / "out", tmp_path, "rl"), loaded(tmp_path / "out", tmp_path, "sft")
    for split in BOTH:
        want = rows_of(folder, split)
        for i, (got, row) in enumerate(zip(rl[split], want, strict=True)):
            assert list(got) == ["data_source", "prompt", "ability", "reward_model", "extra_info"]
            assert got["prompt"] == [{"role": "user", "content": text(row["prompt"])}] and got["data_source"] == row["source"]
            assert got["reward_model"]["style"] == "rule"
            assert json.loads(got["reward_model"]["ground_truth"]) == {t.name: row[f"label_{t.name}"] for t in GUARD.tasks}
            assert (got["extra_info"]["split"], got["extra_info"]["index"], got["extra_info"]["id"]) == (split, i, row["id"])
            assert json.loads(got["extra_info"]["label_sources"]) == {t.name: row[f"label_{t.name}_source"] for t in GUARD.tasks}
        assert [g["messages"] for g in tuned[split]] == [
            [{"role": "user", "content": text(r["prompt"])}, {"role": "assistant", "content": text(r["completion"])}] for r in want
        ]
    assert record["left_out"] == [] and record["rows"] == 25
    record = export(sft(tmp_path / "bare", labelled=False), "verl", tmp_path / "bare-out")
    assert {f["config"] for f in record["files"].values() if "config" in f} == {"sft"}
    assert any("no labels" in note for note in record["notes"])
    with pytest.raises(InputError, match="'verl' has no place for preference pairs"):
        export(dpo(tmp_path / "dpo"), "verl", tmp_path / "no")


@pytest.mark.parametrize("form", FORMS)
def test_the_released_layout_reads_back(tmp_path: Path, form: str) -> None:
    folder = sft(tmp_path / "shards", form=form)
    with pytest.raises(InputError, match=r"no place for test and train\n  choose one: split='train'"):
        export(folder, "guardreasoner", tmp_path / "out")
    export(folder, "guardreasoner", tmp_path / "out", split="train")
    read = loaded(tmp_path / "out", tmp_path)
    assert sorted(read) == ["AegisTrainR", "BeaverTailsTrainR", "ToxicChatTrainR", "WildGuardTrainR"]
    assert all(part.column_names == ["instruction", "input", "output"] for part in read.values())
    there = {(r["instruction"] + "\n" + r["input"], r["output"]) for part in read.values() for r in part}
    numbers = [i for i in range(25) if i % 5 != 4]
    assert there == {(render_input(GUARD, interaction(i)), reasoning(i)) for i in numbers}
    got = [split_released_input(r["input"], GUARD) for r in read["WildGuardTrainR"]]
    assert got == [(interaction(i)["prompt"], interaction(i)["response"]) for i in numbers if i % 4 == 0]


SOURCE = """
name: back
version: 1
description: what was exported
url: https://example.org
licence: CC0-1.0
obtain: make it
format: parquet
exchange: {column: input, guard: guardreasoner}
answer: {column: output}
parts:
  WildGuard: {files: ["WildGuardTrainR*.parquet"], task: prompt, label_source: inferred}
  ToxicChat: {files: ["ToxicChatTrainR*.parquet"], task: prompt, label_source: human}
"""


def test_the_released_layout_is_a_source(tmp_path: Path) -> None:
    """Through a source's definition, as the released benchmark files are read."""
    export(sft(tmp_path / "shards"), "guardreasoner", tmp_path / "out", split="train")
    (tmp_path / "back.yaml").write_text(SOURCE)
    source = load_source(str(tmp_path / "back.yaml"))
    blocks = list(read_source(source, guard=GUARD, taxonomy=load_taxonomy(), files=[tmp_path / "out" / "data"]))
    seeds = pl.concat([b.rows for b in blocks])
    assert sum(b.rejects.height for b in blocks) == 0
    numbers = [i for of in (0, 3) for i in range(25) if i % 5 != 4 and i % 4 == of]
    got = seeds.select("prompt", "response", "label_prompt").rows()
    assert got == [(interaction(i)["prompt"], interaction(i)["response"], "harmful" if i % 2 else "unharmful") for i in numbers]


def test_other_sources_get_a_split_of_their_own(tmp_path: Path) -> None:
    folder = sft(tmp_path / "shards", source="my-own set")
    record = export(folder, "guardreasoner", tmp_path / "out", split="test")
    assert [f["split"] for f in record["files"].values() if "split" in f] == ["MyOwnSetR"]
    assert any("MyOwnSetR from my-own set" in note for note in record["notes"])
    columns = (Column("prompt", "string"), Column("completion", "string"), *PLAIN)
    row = {"prompt": render_input(GUARD, interaction(1)), "completion": "x", "licence": "CC0-1.0"}
    two = write(tmp_path / "two", columns, [{"id": str(i), "source": s, **row} for i, s in enumerate(("a b", "a-b"))])
    with pytest.raises(InputError, match=r"would both be the split ABR"):
        export(two, "guardreasoner", tmp_path / "no", split="train")


def test_inputs_with_earlier_messages_and_other_instructions(tmp_path: Path) -> None:
    columns = (Column("prompt", "string"), Column("completion", "string"), *PLAIN)
    earlier = {**interaction(1), "context": [{"role": "user", "content": "Good morning."}]}
    plain = {"completion": "x", "source": "eggs", "licence": "CC0-1.0"}
    folder = write(tmp_path / "shards", columns, [{"id": "a", "prompt": render_input(GUARD, earlier), **plain}])
    record = export(folder, "guardreasoner", tmp_path / "out")
    assert any("1 inputs begin with earlier messages" in note for note in record["notes"])
    folder = write(tmp_path / "other", columns, [{"id": "a", "prompt": "Another instruction.\n", **plain}])
    with pytest.raises(InputError, match=r"does not begin with the instruction of the guard 'guardreasoner' \(a\)"):
        export(folder, "guardreasoner", tmp_path / "no")
    (tmp_path / "mine.yaml").write_text(
        (Path(_export_folder.__file__).parents[3] / "schemas/guards/guardreasoner.yaml").read_text().replace("Human user:", "User:")
    )
    with pytest.raises(InputError, match="renders its input otherwise than when the shards were made"):
        export(folder, "guardreasoner", tmp_path / "no", guard=str(tmp_path / "mine.yaml"))


ALL = [("sft", name) for name in EXPORTERS.own] + [("dpo", name) for name in EXPORTERS.own if name not in ("verl", "easyr1", "guardreasoner")]


def exported(tmp_path: Path, kind: str, name: str, out: str) -> Path:
    folder = tmp_path / kind
    if not folder.exists():
        {"sft": sft, "dpo": dpo}[kind](folder, 60)
    export(folder, name, tmp_path / out, split="train" if name == "guardreasoner" else None, weights="repeat" if kind == "dpo" else None)
    return tmp_path / out


@pytest.mark.parametrize(("kind", "name"), ALL)
def test_blocks_change_no_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, name: str) -> None:
    whole = tree_digests(exported(tmp_path, kind, name, "whole"))
    for block in (1, 7):
        monkeypatch.setattr(_export_folder, "BLOCK", block)
        assert tree_digests(exported(tmp_path, kind, name, f"by-{block}")) == whole
    verify_export(tmp_path / "whole")


def test_row_groups_do_not_depend_on_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_output_files, "ROW_GROUP", 16)
    whole = tree_digests(exported(tmp_path, "sft", "trl", "whole"))
    monkeypatch.setattr(_export_folder, "BLOCK", 5)
    assert tree_digests(exported(tmp_path, "sft", "trl", "by-5")) == whole


def test_row_groups_of_long_rows_are_bounded_in_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_output_files, "GROUP_BYTES", 2000)
    whole = exported(tmp_path, "sft", "trl", "whole")
    groups = [pq.ParquetFile(path).metadata for path in sorted(whole.rglob("*.parquet"))]
    assert any(group.num_row_groups > 1 for group in groups)
    monkeypatch.setattr(_export_folder, "BLOCK", 3)
    assert tree_digests(exported(tmp_path, "sft", "trl", "by-3")) == tree_digests(whole)


def test_weights_are_refused_until_somebody_decides(tmp_path: Path) -> None:
    folder = dpo(tmp_path / "shards")
    for name in ("llamafactory", "ms-swift", "openai"):
        with pytest.raises(InputError, match=r"weights from 0.8 to 1.2, and the format .* has no place for them\n  weights='repeat'"):
            export(folder, name, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    record = export(folder, "ms-swift", tmp_path / "dropped", weights="drop")
    assert record["weights"] == {"how": "drop"} and "weight" in record["left_out"]
    record = export(folder, "trl", tmp_path / "kept")
    assert record["weights"] == {"how": "kept"} and record["left_out"] == [] and any("unread" in n for n in record["notes"])
    assert loaded(tmp_path / "kept", tmp_path)["train"]["weight"][:3] == [0.8, 1.0, 1.2]
    ones = dpo(tmp_path / "ones", weights=(1.0,))
    assert export(ones, "openai", tmp_path / "of-ones")["rows"] == 25
    with pytest.raises(InputError, match="no weights"):
        export(sft(tmp_path / "sft"), "trl", tmp_path / "no", weights="drop")
    with pytest.raises(InputError, match="weight is nan"):
        export(dpo(tmp_path / "nan", weights=(1.0, math.nan)), "trl", tmp_path / "no")


def test_repetition_says_the_weights(tmp_path: Path) -> None:
    folder = dpo(tmp_path / "shards", weights=(0.8, 1.0, 1.2, 0.0))
    record = export(folder, "ms-swift", tmp_path / "out", weights="repeat")
    assert record["weights"] == {
        "how": "repeat", "copies_of_weight_1": 5, "mean_error": 0.0, "largest_error": 0.0, "pairs_of_weight_0_left_out": 6
    }  # fmt: skip
    assert record["rows"] == 25 and "weight" not in record["left_out"]
    want = [r["id"] for r in rows_of(folder, "train") for _ in range({0.8: 4, 1.0: 5, 1.2: 6, 0.0: 0}[r["weight"]])]
    assert [row["id"] for row in lines(tmp_path / "out" / "train.jsonl")] == want
    assert record["files"]["train.jsonl"]["rows"] == len(want)
    record = export(folder, "trl", tmp_path / "trl", weights="repeat")
    assert "weight" not in loaded(tmp_path / "trl", tmp_path)["train"].column_names
    with pytest.raises(InputError, match="every pair has the weight 0"):
        export(dpo(tmp_path / "none", weights=(0.0,)), "openai", tmp_path / "no", weights="repeat")


def test_how_far_copies_are_from_the_weights_is_stated(tmp_path: Path) -> None:
    """With 2 copies of a pair of weight 1, 0.8 and 1.2 both come to 2 copies: 0.2 off; 1.3 comes to 3: 0.2 off, too; 1.0 is exact."""
    folder = dpo(tmp_path / "shards", n=20, weights=(0.8, 1.0, 1.2, 1.3))
    record = export(folder, "ms-swift", tmp_path / "out", weights="repeat", copies=2)
    assert record["weights"]["mean_error"] == pytest.approx(0.15) and record["weights"]["largest_error"] == pytest.approx(0.2)
    assert "Weights are expressed by copies, 2 of a pair of weight 1: mean error 0.15, largest 0.2." in record["notes"]


def test_a_split_without_a_pair_left_is_named_and_no_more_promised(tmp_path: Path) -> None:
    """Every fifth pair is of the split test."""
    folder = dpo(tmp_path / "shards", n=10, weights=(1.0, 1.0, 1.0, 1.0, 0.0))
    record = export(folder, "llamafactory", tmp_path / "out", weights="repeat")
    assert list(json.loads((tmp_path / "out" / "dataset_info.json").read_text())) == ["guardkit_dpo_train"]
    assert set(record["files"]) == {"README.md", "dataset_info.json", "shards.json", "train.jsonl"}
    assert "Every pair of test has the weight 0: nothing of it was written." in record["notes"]
    notes = export(folder, "openai", tmp_path / "openai", weights="repeat")["notes"]
    assert not any("asks for at least" in note for note in notes), "the one file has 40 lines"
    with pytest.raises(InputError, match=r"weight 1e\+300 would be written more than 10,000 times"):
        export(dpo(tmp_path / "much", weights=(1.0, 1e300)), "openai", tmp_path / "no", weights="repeat")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 3), min_size=1, max_size=30), st.integers(1, 12), st.integers(1, 30))
def test_copies_are_as_near_as_whole_numbers_come(weights: list[float], copies: int, block: int) -> None:
    rows = pl.DataFrame({"i": range(len(weights)), "weight": weights})
    repeater = Repeater(copies)
    often = pl.concat([repeater.repeated(part) for part in rows.iter_slices(block)])["i"].to_list()
    for i, weight in enumerate(weights):
        n = often.count(i)
        assert n == 0 if weight == 0 else n >= 1 and (n == 1 or abs(n / copies - weight) <= 0.5 / copies + 1e-9)
    assert often == sorted(often) and repeater.rows == len(often) and repeater.gone == weights.count(0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prompt": [{"role": "assistant", "content": "x"}]}, "no conversation that a trainer takes"),
        ({"prompt": []}, "no conversation that a trainer takes"),
        ({"prompt": [{"role": "user", "content": None}]}, "no conversation that a trainer takes"),
        ({"prompt": [{"role": None, "content": "x"}, {"role": "user", "content": "x"}]}, "no conversation that a trainer takes"),
        ({"chosen": [{"role": "assistant", "content": "x"}] * 2}, "no conversation that a trainer takes"),
        (
            {"chosen": [{"role": "assistant", "content": "x"}], "rejected": [{"role": "assistant", "content": "x"}]},
            "the chosen and the rejected answer are the same",
        ),
    ],
)
def test_rows_that_no_trainer_takes_are_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    folder = dpo(tmp_path / "shards", **change)
    with pytest.raises(InputError, match=rf"{message}.* \(0{{23}}4, 0{{23}}9, 0{{23}}e\)"):
        export(folder, "trl", tmp_path / "out")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["shards"]


def test_longer_conversations_pass(tmp_path: Path) -> None:
    turns = [{"role": r, "content": r} for r in ("system", "user", "assistant", "user")]
    export(sft(tmp_path / "shards", prompt=turns), "openai", tmp_path / "out")
    assert lines(tmp_path / "out" / "train.jsonl")[0]["messages"][:4] == turns


def test_what_is_refused(tmp_path: Path) -> None:
    folder = sft(tmp_path / "shards")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "diary.txt").write_text("dear diary")
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to("mine")
    cases: list[tuple[Callable[[], Any], str]] = [
        (lambda: export(folder, "trll", tmp_path / "out"), "unknown format 'trll'\n  did you mean 'trl'"),
        (lambda: export(folder, "trl", tmp_path / "out", split="trian"), "no split called 'trian'\n  did you mean 'train'"),
        (lambda: export(folder, "trl", tmp_path / "mine"), "not empty, and no export that guardkit made"),
        (lambda: export(folder, "trl", folder), "may not be in each other"),
        (lambda: export(folder, "trl", folder / "data" / "x"), "may not be in each other"),
        (lambda: export(folder, "trl", tmp_path), "may not be in each other"),
        (lambda: export(folder, "trl", tmp_path / "file"), "a file where a folder is to be written"),
        (lambda: export(folder, "trl", tmp_path / "link"), "a link"),
        (lambda: export(tmp_path / "mine", "trl", tmp_path / "out"), "not a shard folder"),
        (
            lambda: export(write(tmp_path / "bare", PLAIN, [{"id": "a", "source": "s", "licence": "MIT"}]), "trl", tmp_path / "out"),
            "neither of the columns",
        ),
    ]
    for run, answer in cases:
        with pytest.raises(InputError) as e:
            run()
        assert answer in str(e.value)
    assert not (tmp_path / "out").exists() and (tmp_path / "mine" / "diary.txt").read_text() == "dear diary"
    mixed = (Column("prompt", MESSAGES), Column("completion", "string"), *PLAIN)
    with pytest.raises(InputError, match="all be chat messages, or all plain text"):
        export(
            write(tmp_path / "mixed", mixed, [{"id": "a", "prompt": [], "completion": "", "source": "s", "licence": "MIT"}]), "trl", tmp_path / "out"
        )
    raw = bytearray((folder / "data" / "test-00000-of-00001.parquet").read_bytes())
    raw[50] ^= 1
    (folder / "data" / "test-00000-of-00001.parquet").write_bytes(raw)
    with pytest.raises(InputErrors, match="its bytes are not those of the manifest"):
        export(folder, "trl", tmp_path / "out", split="train")


def test_splits_of_like_names_are_different_data_sets_of_llamafactory(tmp_path: Path) -> None:
    """A name in which the dot became _ would be another split's."""
    message = [{"role": "user", "content": "x"}], [{"role": "assistant", "content": "y"}]
    writer = ShardWriter(tmp_path / "shards", (Column("prompt", MESSAGES), Column("completion", MESSAGES)), 50_000)
    for split in ("dev.a", "dev_a"):
        writer.write(pl.DataFrame({"prompt": message[:1], "completion": message[1:]}), split)
    writer.finish({"guard": "guardreasoner 1"})
    export(tmp_path / "shards", "llamafactory", tmp_path / "out")
    info = json.loads((tmp_path / "out" / "dataset_info.json").read_text())
    assert {name: entry["file_name"] for name, entry in info.items()} == {"guardkit_sft_dev.a": "dev.a.jsonl", "guardkit_sft_dev_a": "dev_a.jsonl"}


def test_the_record_and_the_page(tmp_path: Path) -> None:
    folder = sft(tmp_path / "shards", teacher="template")
    record = export(folder, "llamafactory", tmp_path / "out", split="train")
    assert record["of"]["manifest_sha256"] == sha256_file(folder / "manifest.json")
    assert record["of"]["guard"] == "guardreasoner 1" and record["licence"] == verify(folder).get("licence")
    assert record["counts"]["split"] == {"train": 20} and sum(record["counts"]["licence"].values()) == record["rows"] == 20
    files = {p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*")}
    assert files == {*record["files"], "export.json"} == {"README.md", "dataset_info.json", "train.jsonl", "export.json", "shards.json"}
    text = (tmp_path / "out" / "README.md").read_text()
    assert text.startswith("---\n") and "# Data for llamafactory" in text and "Template reasoning" in text
    meta = pytest.importorskip("huggingface_hub").DatasetCard(text).data
    assert meta.configs == [{"config_name": "default", "data_files": [{"split": "train", "path": "train.jsonl"}]}] and meta.license
    assert any("template teacher" in note for note in record["notes"])
    assert all(licence in text for licence in record["counts"]["licence"])


def test_a_step_folder_will_do(tmp_path: Path) -> None:
    sft(tmp_path / "step" / "shards")
    (tmp_path / "step" / "manifest.json").write_text("{}")
    assert export(tmp_path / "step", "trl", tmp_path / "out")["rows"] == 25
    sft(tmp_path / "run" / "first" / "shards")
    sft(tmp_path / "run" / "second" / "shards")
    with pytest.raises(InputError, match=r"name the one that is meant: .*run/first, .*run/second"):
        export(tmp_path / "run", "trl", tmp_path / "out")


def test_numbers_as_ids(tmp_path: Path) -> None:
    """Rows that were read as they are may have ids of another type."""
    columns = (Column("id", "int64"), Column("prompt", "string"), Column("completion", "string"), *PLAIN[1:])
    rows = [{"id": i, "prompt": "x", "completion": "y", "source": "eggs", "licence": "MIT"} for i in range(4)]
    folder = write(tmp_path / "shards", columns, rows)
    export(folder, "ms-swift", tmp_path / "a")
    assert [row["id"] for row in lines(tmp_path / "a" / "train.jsonl")] == [0, 1, 2, 3]
    export(folder, "verl", tmp_path / "b")
    with pytest.raises(InputError, match=r"does not begin with the instruction .* \(0, 1, 2\)"):
        export(folder, "guardreasoner", tmp_path / "c")
