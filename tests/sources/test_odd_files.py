"""Files as people have them: one JSON document over many lines, NaN for null, TSV, another delimiter, an empty cell that means something."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import toolkit
from toolkit.common.errors import InputError
from toolkit.sources import Source, load_source

WILDGUARD = "f4e5d3d24035418690e2372cc8f12e5a0bc81521125b091a1233f56903875b63"
ROWS = [{"q": "How often do I water a fern?", "bad": "no"}, {"q": "You fool.", "bad": "yes"}, {"q": "Which pot {suits: [it}?", "bad": "no"}]
PAIRS = [("How often do I water a fern?", "unharmful"), ("You fool.", "harmful"), ("Which pot {suits: [it}?", "unharmful")]


def source(**more: Any) -> Source:
    labels = {"prompt": {"column": "bad", "map": more.pop("map", {"yes": "harmful", "no": "unharmful"}), "source": "human"}}
    given = {"name": "q", "version": 1, "description": "d", "licence": "MIT", "files": ["*"], "columns": {"prompt": "q"}, "labels": labels}
    return Source.model_validate({**given, **more})


DOCUMENTS = {
    "an array over many lines": json.dumps(ROWS, indent=1),
    "under a key, over many lines": json.dumps({"about": {"by": "me"}, "data": ROWS}, indent=2),
    "under a key, on one line": json.dumps({"data": ROWS}),
    "a bracket a line": '{\n\n  "data":\n [\n' + ",\n".join(map(json.dumps, ROWS)) + "]}",
    "by column, as pandas writes it": json.dumps({c: {str(i): r[c] for i, r in enumerate(ROWS)} for c in ("q", "bad")}),
    "by column, lists": json.dumps({c: [r[c] for r in ROWS] for c in ("q", "bad")}, indent=1),
    "lines": "\n".join(map(json.dumps, ROWS)),
}


@pytest.mark.parametrize("text", DOCUMENTS.values(), ids=DOCUMENTS)
def test_one_document_is_read_whatever_its_line_breaks(text: str, read, tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_text(text)
    rows, rejects = read(source(), path)
    assert rows.select("prompt", "label_prompt").rows() == PAIRS and not rejects.height
    columns = {"prompt": "q", "word": "bad"}
    assert toolkit.apply("read", files=[str(path)], columns=columns)[0]["prompt"].to_list() == [q for q, _ in PAIRS]


def test_one_row_alone_is_a_row_over_however_many_lines(read, tmp_path: Path) -> None:
    for indent in (None, 2):
        (tmp_path / "rows.json").write_text(json.dumps({**ROWS[1], "notes": [{"by": "me"}]}, indent=indent))
        assert read(source(), tmp_path / "rows.json")[0]["prompt"].to_list() == ["You fool."]


def test_a_bad_byte_in_a_document_costs_its_row_and_a_document_that_breaks_off_keeps_its_whole_rows(read, tmp_path: Path) -> None:
    raw = json.dumps({"data": ROWS}, indent=1).encode()
    path = tmp_path / "rows.json"
    path.write_bytes(raw.replace(b"fool", b"f\xe9ol"))
    rows, rejects = read(source(), path)
    assert rows["source_row"].to_list() == [0, 2] and rejects["reason"].to_list() == ["not_utf8"]
    path.write_bytes(raw[: raw.rindex(b"Which")])
    rows, rejects = read(source(), path)
    assert rows.height == 2 and rejects["reason"].to_list() == ["bad_json"]


def test_lines_of_which_the_first_is_torn_stay_lines(read, tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    for torn in ('{"q": "You fo', '{"q": "You fool.",', '{"q": "x", "a": {"b": 1'):
        path.write_text("\n".join([torn, *map(json.dumps, ROWS)]))
        rows, rejects = read(source(), path)
        assert rows.height == 3 and rejects["reason"].to_list() == ["bad_json"]


def test_several_lists_of_rows_are_not_guessed_between(read, tmp_path: Path) -> None:
    (tmp_path / "rows.json").write_text(json.dumps({"train": ROWS, "test": ROWS}))
    with pytest.raises(InputError, match="several lists of rows in one document: train, test"):
        read(source(), tmp_path / "rows.json")


def test_nan_is_null_in_every_column(read, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"q": "How often?", "bad": "no", "a": NaN}\n{"q": "And then?", "bad": NaN, "a": "Later."}\n{"q": NaN, "bad": "no", "a": NaN}\n')
    rows, rejects = read(source(columns={"prompt": "q", "response": "a"}), path)
    assert rows.select("prompt", "response", "label_prompt").rows() == [("How often?", None, "unharmful"), ("And then?", "Later.", None)]
    assert rejects["reason"].to_list() == ["empty_prompt"]
    pl.DataFrame({"q": ["a", "b", "c"], "bad": [0.0, 1.0, float("nan")]}).write_parquet(tmp_path / "rows.parquet")
    rows, rejects = read(source(map={0: "unharmful", 1: "harmful"}), tmp_path / "rows.parquet")
    assert rows["label_prompt"].to_list() == ["unharmful", "harmful", None] and not rejects.height
    kept, gone = toolkit.apply("read", files=[str(path)], columns={"word": "bad", "answer": "a"})
    assert kept["word"].to_list() == ["no", None, "no"] and kept["answer"].to_list() == [None, "Later.", None] and not gone.height


@pytest.mark.parametrize("labels", [{0: "unharmful", 1: "harmful"}, {False: "unharmful", True: "harmful"}])
def test_nan_in_csv_is_null_where_numbers_stand_and_text_elsewhere(read, tmp_path: Path, labels: dict[Any, str]) -> None:
    words = [str(word).lower() for word in labels]
    (tmp_path / "rows.csv").write_text(f"q,bad\na,{words[0]}\nnan,{words[1]}\nc,NaN\nd,\n")
    rows, rejects = read(source(map=labels), tmp_path / "rows.csv")
    assert rows.select("prompt", "label_prompt").rows() == [("a", "unharmful"), ("nan", "harmful"), ("c", None), ("d", None)]
    assert not rejects.height


def test_tsv_and_other_delimiters(read, tmp_path: Path) -> None:
    (tmp_path / "rows.tsv").write_text('q\tbad\n"Hello, you"\tno\n')
    (tmp_path / "rows.csv").write_text("q;bad\nHello, you;no\n")
    each: list[tuple[str, dict[str, Any]]] = [("rows.tsv", {}), ("rows.csv", {"delimiter": ";"})]
    for name, more in each:
        rows, _ = read(source(**more), tmp_path / name)
        assert rows.select("prompt", "label_prompt").rows() == [("Hello, you", "unharmful")]
        assert toolkit.apply("read", files=[str(tmp_path / name)], columns={"prompt": "q"}, **more)[0]["prompt"].to_list() == ["Hello, you"]
    with pytest.raises(InputError, match="the header is one cell, 'q;bad': delimiter: \";\""):
        read(source(), tmp_path / "rows.csv")


def test_an_empty_cell_is_null_unless_the_map_names_it(read, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("q,bad\na,yes\nb,\n")
    assert read(source(), tmp_path / "rows.csv")[0]["label_prompt"].to_list() == ["harmful", None]
    named = source(map={"yes": "harmful", "": "unharmful"})
    assert read(named, tmp_path / "rows.csv")[0]["label_prompt"].to_list() == ["harmful", "unharmful"]
    (tmp_path / "rows.csv").write_text("q,bad\na,yes\nb,\nc,n/a\n")
    rows, rejects = read(source(map={"yes": "harmful", "": None, "n/a": None}), tmp_path / "rows.csv")
    assert rows["label_prompt"].to_list() == ["harmful", None, None] and rows["label_prompt_source"].to_list() == ["human", "absent", "absent"]
    assert not rejects.height, "a value that says nothing costs no row"
    with pytest.raises(ValueError, match="a map needs a label for some value"):
        source(map={"": None})
    (tmp_path / "rows.csv").write_text("q,bad\na,1\nb,\n")
    assert read(source(map={1: "harmful", "": "unharmful"}), tmp_path / "rows.csv")[0]["label_prompt"].to_list() == ["harmful", "unharmful"]


def test_sources_that_use_nothing_new_keep_their_fingerprints() -> None:
    assert load_source("wildguard_train").fingerprint == WILDGUARD
    assert source().fingerprint != source(delimiter=";").fingerprint


@pytest.mark.parametrize("text", [json.dumps(ROWS, indent=2), json.dumps({"data": ROWS}, indent=1), json.dumps(ROWS)])
def test_one_document_under_the_name_of_json_lines_says_how_it_is_read(text: str, read, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(text)
    with pytest.raises(InputError, match=r"rows.jsonl: one JSON document, and not a row on each line\n  format: json"):
        read(source(), path)
    assert read(source(format="json"), path)[0].height == 3
    path.write_text("{torn\n" + "\n".join(map(json.dumps, ROWS)))
    assert read(source(), path)[0].height == 3, "a torn line costs that row alone"


@pytest.mark.parametrize("name", ["rows.csv", "rows.jsonl"])
def test_scores_under_a_map_of_0_and_1_name_the_threshold(name: str, read, tmp_path: Path) -> None:
    scores = pl.DataFrame({"q": ["a", "b", "c"], "bad": [0.25, 0.5, 0.75]})
    path = tmp_path / name
    scores.write_csv(path) if name.endswith("csv") else scores.write_ndjson(path)
    rows, rejects = read(source(map={1: "harmful", 0: "unharmful"}), path)
    assert not rows.height and rejects["reason"].to_list() == ["unknown_label"] * 3
    [detail] = set(rejects["detail"])
    assert detail.startswith("bad: scores between 0 and 1") and "`threshold: 0.5`" in detail
    labels = {"prompt": {"column": "bad", "threshold": 0.5, "map": {True: "harmful", False: "unharmful"}, "source": "human"}}
    given = source().model_dump(by_alias=True, exclude_unset=True) | {"labels": labels}
    assert read(Source.model_validate(given), path)[0]["label_prompt"].to_list() == ["unharmful", "harmful", "harmful"]


def test_a_hint_that_goes_for_several_faults_stands_once(read, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("q;bad\na;yes\n")
    with pytest.raises(InputError) as e:
        read(source(), path)
    result = str(e.value)
    assert "column 'q'" in result and "column 'bad'" in result and result.count("delimiter: ") == 1
