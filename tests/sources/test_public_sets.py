"""The four public sets, with the hub's real types, read from local parquet and through the real ``load_dataset``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hubsets import FILES, ROWS, SCHEMAS, aegis, beavertails, toxicchat, wildguard

from toolkit.common.errors import InputError, InputErrors, Missing
from toolkit.records import load_record, to_polars
from toolkit.sources import Source, check_hub, list_sources, load_source, read_source

SETS = ["wildguard_train", "aegis_train", "beavertails_30k_train", "toxicchat_train"]


def moved(source: Source, folder: Path, **more: str) -> Source:
    """The source, whose set is in a folder of this machine."""
    assert source.hub is not None
    return source.model_copy(update={"hub": source.hub.model_copy(update={"id": str(folder), **more})})


@pytest.fixture(params=["local", "hub"])
def read_set(request, read, hub_folder, datasets_cache):
    """Reads a set's rows in one of the two ways; what they give must not differ."""

    def go(name, rows=None, **options):
        folder = hub_folder(name, rows)
        if request.param == "local":
            return read(name, folder, **options)
        source = load_source(name)
        return read(moved(source, folder), **options)

    return go


def labels(rows: pl.DataFrame, task: str) -> list[tuple[str | None, str]]:
    return rows.select(f"label_{task}", f"label_{task}_source").rows()


def test_wildguard(read_set, guard) -> None:
    rows, rejects = read_set("wildguard_train")
    assert dict(rows.schema) == to_polars(load_record("seed", guard.task_names).columns)
    assert rejects.height == 0
    assert rows["response"].to_list()[2] is None
    assert labels(rows, "prompt") == [("unharmful", "inferred"), ("harmful", "inferred"), ("harmful", "inferred"), (None, "absent")]
    assert labels(rows, "refusal") == [("compliance", "inferred"), ("refusal", "inferred"), (None, "not_applicable"), ("compliance", "inferred")]
    assert labels(rows, "response") == [("unharmful", "inferred"), ("unharmful", "inferred"), (None, "not_applicable"), (None, "absent")]
    assert rows["categories"].to_list() == [[], ["hate_harassment"], ["intellectual_property"], ["other"]]
    assert set(rows["licence"]) == {"ODC-By-1.0"} and set(rows["source"]) == {"wildguard_train"}
    assert rows["source_row"].to_list() == [0, 1, 2, 3]


def test_aegis(read_set) -> None:
    rows, rejects = read_set("aegis_train")
    assert rejects.height == 0
    # Three of five objected, each to something else; a tie errs on the side of caution; nobody's vote is no label.
    assert labels(rows, "prompt") == [("unharmful", "vote"), ("harmful", "vote"), ("harmful", "vote"), (None, "absent"), ("harmful", "vote")]
    assert set(labels(rows, "refusal") + labels(rows, "response")) == {(None, "not_applicable")}
    assert rows["categories"].to_list() == [[], ["threats", "harassment", "profanity"], [], [], ["profanity", "harassment"]]


@pytest.mark.parametrize("vote", [None, "reference"])
def test_aegis_keeps_what_its_annotators_answered(read_set, vote) -> None:
    rows, _ = read_set("aegis_train", vote=vote)
    found = [[(v["task"], v["label"], v["n"], v["share"]) for v in votes] for votes in rows["votes"]]
    assert found == [
        [("prompt", "harmful", 1, 1 / 3), ("prompt", "unharmful", 2, 2 / 3)],
        [("prompt", "harmful", 3, 0.6), ("prompt", "unharmful", 2, 0.4)],
        [("prompt", "harmful", 1, 0.5), ("prompt", "unharmful", 1, 0.5)],
        [],
        [("prompt", "harmful", 3, 1.0)],
    ]
    assert read_set("toxicchat_train")[0]["votes"].to_list() == [[], []], "a source without annotators' votes has none"


def test_agreement_is_kept_where_a_source_says_only_that(read, tmp_path) -> None:
    # As WildGuardTest has it: a label, and the share of the annotators who gave it.
    source = tmp_path / "agreed.yaml"
    source.write_text(
        "name: agreed\nversion: 1\ndescription: Ours.\nlicence: CC0-1.0\nobtain: a test writes it\ncolumns: {prompt: prompt}\n"
        "labels:\n  prompt: {column: harm, source: vote, agreement: harm_agreement, missing: absent}\n"
    )
    found = [("harmful", 0.6666), ("unharmful", 1.0), ("harmful", None), (None, 0.5), ("harmful", 1.5)]
    rows = [{"prompt": f"question {i}", "harm": label, "harm_agreement": share} for i, (label, share) in enumerate(found)]
    pl.DataFrame(rows).write_parquet(tmp_path / "rows.parquet")
    pl.DataFrame(rows).write_csv(tmp_path / "rows.csv")
    for name in ("rows.parquet", "rows.csv"):
        kept, rejects = read(load_source(str(source)), tmp_path / name)
        assert kept["votes"].to_list() == [
            [{"task": "prompt", "label": "harmful", "share": 0.6666, "n": None}],
            [{"task": "prompt", "label": "unharmful", "share": 1.0, "n": None}],
            [],
            [],
        ]
        assert rejects.select("reason", "detail").rows() == [("wrong_type", "harm_agreement is 1.5, which is no share (0 to 1)")]
    source.write_text(source.read_text().replace("column: harm, source: vote, ", ""))
    with pytest.raises(InputError, match="agreement needs a column"):
        load_source(str(source))


def test_aegis_by_the_released_vote(read_set) -> None:
    rows, _ = read_set("aegis_train", vote="reference")
    # The most common raw string, first seen on ties: "Safe" beats three different objections.
    assert rows["label_prompt"].to_list() == ["unharmful", "unharmful", "unharmful", None, "harmful"]
    assert rows["categories"].to_list()[1] == []


def test_beavertails(read_set) -> None:
    rows, rejects = read_set("beavertails_30k_train")
    assert rejects.height == 0
    assert set(labels(rows, "prompt") + labels(rows, "refusal")) == {(None, "to_infer")}
    assert labels(rows, "response") == [("unharmful", "human"), ("harmful", "human")]
    assert rows["categories"].to_list() == [[], ["fraud_theft", "unethical_conduct"]]


def test_toxicchat(read_set) -> None:
    rows, rejects = read_set("toxicchat_train")
    assert labels(rows, "prompt") == [("unharmful", "human"), ("harmful", "human")]
    assert rows["response"].to_list() == [None, None]  # its labels do not judge the model's answer
    assert set(labels(rows, "refusal")) == {(None, "not_applicable")}
    assert rejects.select("source_row", "outcome", "reason").rows() == [(2, "set_aside", "filtered")]


@pytest.mark.parametrize("name", SETS)
def test_both_ways_give_the_same_rows(name, read, hub_folder, datasets_cache) -> None:
    folder = hub_folder(name)
    source = load_source(name)
    local, _ = read(source, folder / FILES[name])
    hub, _ = read(moved(source, folder), block_rows=1)
    assert local.equals(hub)


@pytest.mark.parametrize("name", SETS)
def test_jsonl_and_csv_of_the_same_columns_give_the_same_rows(name, read, hub_folder, datasets_cache, tmp_path) -> None:
    from datasets import load_dataset

    folder = hub_folder(name)
    want, _ = read(name, folder)
    data = load_dataset("parquet", data_files=str(folder / FILES[name]), split="train")
    data.to_json(tmp_path / "rows.jsonl")
    data.to_csv(tmp_path / "rows.csv")
    assert read(name, tmp_path / "rows.jsonl")[0].equals(want)
    assert read(name, tmp_path / "rows.csv")[0].equals(want)


def test_values_outside_a_map_cost_their_rows(read_set) -> None:
    good = ROWS["wildguard_train"][0]
    rows, rejects = read_set(
        "wildguard_train",
        [
            good,
            wildguard("a", "b", "Harmful", "refusal", "harmful"),
            wildguard("a", "b", "harmful", "refusal", "harmful", "weather"),
            wildguard("a", None, "harmful", "refusal", None),
            wildguard(None, None, "harmful", None, None),
            wildguard(" \n", None, "harmful", None, None),
            wildguard("a\0b", None, "harmful", None, None),
        ],
    )
    assert rows.height == 1
    reasons = ["unknown_label", "unknown_category", "label_without_response", "empty_prompt", "empty_prompt", "nul"]
    assert rejects["reason"].to_list() == reasons and rejects["source_row"].to_list() == [1, 2, 3, 4, 5, 6]
    assert set(rejects["outcome"]) == {"rejected"}
    assert "'Harmful' is not in the map" in rejects["detail"][0] and '"prompt_harm_label": "Harmful"' in rejects["row"][0]


def test_an_annotation_outside_the_map_costs_its_row(read_set) -> None:
    _, rejects = read_set(
        "aegis_train", [ROWS["aegis_train"][0], aegis("x", "Safe", "Violence, Sarcasm"), {**aegis("x", "Safe"), "num_annotations": 9}]
    )
    assert rejects["reason"].to_list() == ["unknown_label", "wrong_type"]
    assert "labels_1: 'Sarcasm'" in rejects["detail"][0]


def test_a_toxicity_outside_the_map_costs_its_row(read_set) -> None:
    rows, rejects = read_set("toxicchat_train", [toxicchat("fine", 0), toxicchat("hm", 2)])
    assert rows.height == 1 and rejects["reason"].to_list() == ["unknown_label"]


def test_a_flag_outside_the_map_costs_its_row(read, hub_folder, tmp_path) -> None:
    import orjson

    row = beavertails("a", "b")
    row["category"]["astrology"] = True
    path = tmp_path / "30k_train.jsonl"
    path.write_bytes(orjson.dumps(row) + b"\n" + orjson.dumps({**beavertails("a", "b"), "category": {"self_harm": "yes"}}))
    _, rejects = read("beavertails_30k_train", path)
    assert rejects["reason"].to_list() == ["unknown_category", "wrong_type"]


def test_a_missing_column_or_an_empty_set_is_an_error_before_the_first_row(guard, taxonomy, hub_folder, datasets_cache) -> None:
    folder = hub_folder("wildguard_train", [])
    source = load_source("wildguard_train")
    on_hub = moved(source, folder)
    with pytest.raises(InputError, match="0 rows"):
        read_source(source, guard=guard, taxonomy=taxonomy, files=[folder])
    table = pa.Table.from_pylist(ROWS["wildguard_train"], schema=SCHEMAS["wildguard_train"])
    table = table.rename_columns(["prompts" if c == "prompt" else c for c in table.column_names]).drop_columns(["subcategory"])
    pq.write_table(table, folder / FILES["wildguard_train"])
    for which, files in ((source, [folder]), (on_hub, None)):
        with pytest.raises(InputErrors) as e:
            read_source(which, guard=guard, taxonomy=taxonomy, files=files)
        assert "needs the column 'prompt'" in str(e.value) and "did you mean 'prompts'" in str(e.value) and "'subcategory'" in str(e.value)


def test_a_hub_set_with_another_split_is_reported(guard, taxonomy, hub_folder, datasets_cache) -> None:
    source = load_source("wildguard_train")
    on_hub = moved(source, hub_folder("wildguard_train"), split="validation")
    with pytest.raises(InputError, match="another form"):
        read_source(on_hub, guard=guard, taxonomy=taxonomy)


def test_a_gated_set_out_of_reach_says_how_to_get_access(tmp_path) -> None:
    code = (
        "from toolkit.sources import *; from toolkit.guards import load_guard; from toolkit.taxonomy import load_taxonomy\n"
        "from toolkit.common.errors import Missing\n"
        "for call in (read_source, check_hub):\n"
        "    try: call(load_source('wildguard_train'), guard=load_guard('guardreasoner'), taxonomy=load_taxonomy())\n"
        "    except Missing as e: print(e.exit_code, e)\n"
    )
    root = Path(__file__).resolve().parents[2]
    env = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "PYTHONPATH": str(root), "PATH": "/usr/bin:/bin"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, check=True)
    for answer in done.stdout.split("\n4 "):
        assert "accept its terms at https://huggingface.co/datasets/allenai/wildguardmix" in answer
        assert "https://huggingface.co/settings/tokens" in answer and "HF_TOKEN" in answer and "local files" in answer
    assert [line.count("cannot be fetched") for line in done.stdout.splitlines() if line.startswith("4 ")] == [1, 1]


@pytest.mark.parametrize("name", SETS)
def test_check_hub_reads_the_first_rows(name, guard, taxonomy, hub_folder, datasets_cache) -> None:
    source = load_source(name)
    source = moved(source, hub_folder(name))
    found = check_hub(source, guard=guard, taxonomy=taxonomy)
    assert found.ok and found.rows == len(ROWS[name])


def test_check_hub_reports_columns_and_values_that_do_not_fit(guard, taxonomy, hub_folder, datasets_cache) -> None:
    source = load_source("wildguard_train")
    folder = hub_folder("wildguard_train", [wildguard("a", None, "bad", None, None), *ROWS["wildguard_train"]])
    on_hub = moved(source, folder)
    found = check_hub(on_hub, guard=guard, taxonomy=taxonomy, rows=3)
    assert not found.ok and found.rows == 3 and "'bad'" in found.faults["unknown_label"][0]
    assert source.columns is not None
    columns = source.columns.model_copy(update={"prompt": "question"})
    assert check_hub(on_hub.model_copy(update={"columns": columns}), guard=guard, taxonomy=taxonomy).missing == ["question"]


def test_check_hub_without_a_hub(guard, taxonomy) -> None:
    with pytest.raises(InputError, match="not on the hub"):
        check_hub(load_source("quickstart"), guard=guard, taxonomy=taxonomy)


def test_sources_without_data_at_hand_say_how_to_get_it(guard, taxonomy) -> None:
    with pytest.raises(Missing, match="git clone"):
        read_source(load_source("guardreasoner_benchmark"), guard=guard, taxonomy=taxonomy)


def test_list_sources_has_the_facts() -> None:
    known = {s.name: s for s in list_sources()}
    assert {"wildguard_train", "aegis_train", "beavertails_30k_train", "toxicchat_train", "quickstart", "guardreasoner_benchmark"} <= known.keys()
    # Paper, table 1.
    assert [known[s].rows for s in SETS] == [86_759, 10_798, 27_186, 2_801]
    assert [s for s in SETS if known[s].gated] == ["wildguard_train"]
    assert known["guardreasoner_benchmark"].rows == 11_749
    assert all(s.description and s.licence and s.problem is None for s in known.values())
