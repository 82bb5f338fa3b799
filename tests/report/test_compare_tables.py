"""A comparison as tables: nothing of its texts is obeyed or lost in any format, and what is written reads back."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from evaluated import evaluated, verdict_lines
from hypothesis import given
from hypothesis import strategies as st

import toolkit
from toolkit.common.csvfile import read_sheet
from toolkit.common.errors import InputError
from toolkit.common.tables import Column
from toolkit.report._table_text import Sheet, latex, markdown, sheets_latex, sheets_markdown, sheets_text

NASTY = "=cmd|'/c'!A1 50% a_b & c#1 {x} $y$ ~ ^ \\ <b> `code` \x1b[31mred\x07 | \u202e\u4e2d\u6587 \u00e9"


@pytest.fixture
def nasty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A comparison of models and rows with names and texts that nobody should use."""
    monkeypatch.chdir(tmp_path)
    texts: dict[str, Any] = {"prompt": f"```\n{NASTY}\n```", "output": NASTY, "categories": [NASTY], "source": "\x1b]0;t\x07"}
    models = {NASTY: verdict_lines(NASTY, "prompt", "++--", "-+--", **texts), "b": verdict_lines(NASTY, "prompt", "++--", "++-+", **texts)}
    evaluated(tmp_path / "e", models)
    return toolkit.compare("e")


def controls(text: str) -> list[str]:
    return [c for c in text if (ord(c) < 32 and c not in "\n\t") or 127 <= ord(c) < 160 or "\u202a" <= c <= "\u202e"]


@pytest.mark.parametrize("form", ["table", "markdown", "latex"])
def test_no_control_character_of_data_reaches_a_reader(nasty: Any, form: str) -> None:
    assert controls(nasty.as_text(form)) == []
    assert "50" in nasty.as_text(form)


def test_a_terminal_is_shown_what_a_text_hides(nasty: Any) -> None:
    text = nasty.as_text()
    assert "\\x1b[31mred\\x07" in text and "\\u202e" in text


def cells(row: str) -> list[str]:
    """The cells of a line of a Markdown table."""
    return re.split(r"(?<!\\)\|", row)[1:-1]


def test_markdown_tables_have_as_many_cells_in_each_line(nasty: Any) -> None:
    blocks = re.findall(r"(?:^\|.*\n)+", nasty.as_text("markdown"), re.M)
    assert len(blocks) >= 3
    for block in blocks:
        assert len({len(cells(row)) for row in block.splitlines()}) == 1, block


def test_markdown_texts_stand_in_fences_that_they_do_not_end(nasty: Any) -> None:
    text = nasty.as_text("markdown")
    assert re.search(r"^````text\n```\n", text, re.M), "a fence longer than the one within"
    outside = re.sub(r"^(`{3,})text\n.*?^\1$", "", text, flags=re.M | re.S)
    assert not re.search(r"(?<!\\)<b>|(?<!\\)`code", outside)


def compiles(text: str) -> None:
    """What TeX would stop at: a special character that is not escaped, braces and environments that do not pair, lines of a table that do not fit."""
    assert text.startswith("\\documentclass") and text.rstrip().endswith("\\end{document}")
    body = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    bare = re.sub(r"\\[A-Za-z]+|\\[\\{}$&#%_]|\$(?:-|\\pm)\$", "", body)
    assert not re.search(r"[#%_$^~\\]", bare), re.search(r".{0,40}[#%_$^~\\].{0,40}", bare)
    depth = 0
    for c in re.sub(r"\\[{}]", "", body):
        depth += (c == "{") - (c == "}")
        assert depth >= 0
    assert depth == 0
    begun = re.findall(r"\\(begin|end)\{(\w+)\}", body)
    stack: list[str] = []
    for what, name in begun:
        if what == "begin":
            stack.append(name)
        else:
            assert stack.pop() == name
    assert stack == []
    for columns, rows in re.findall(r"\\begin\{tabular\}\{([^\n]*)\}\n(.*?)\\end\{tabular\}", body, re.S):
        n = len(re.findall(r"[lr]|p\{[^}]*\}", columns))
        for row in rows.splitlines():
            if row != "\\hline":
                assert row.endswith("\\\\") and len(re.findall(r"(?<!\\)&", row)) == n - 1, row
    assert all(ord(c) < 0x100 for c in body), "a letter that TeX's fonts lack"


def test_latex_of_any_names_is_well_formed(nasty: Any) -> None:
    compiles(nasty.as_text("latex"))
    assert "\\texttt{U+4E2D}" in nasty.as_text("latex")


@given(st.text(), st.text())
def test_any_text_is_well_formed_in_latex_and_one_cell_in_markdown(a: str, b: str) -> None:
    sheet = Sheet(a, [Column(a), Column(b, "number"), Column("c", "prose")], [[b, a, b], [a, b, a]], [b], [(a, [(b, a)])])
    compiles(sheets_latex([sheet]))
    rows = re.findall(r"(?:^\|.*\n)+", sheets_markdown([Sheet("t", sheet.columns, sheet.rows)]), re.M)[0].splitlines()
    assert {len(cells(row)) for row in rows} == {3}
    assert controls(sheets_markdown([sheet])) == controls(sheets_latex([sheet])) == controls(sheets_text([sheet])) == []


def test_a_wide_table_is_parted_in_latex_with_its_keys_in_each() -> None:
    columns = [Column("benchmark"), Column("n", "number"), *(Column(f"m{i}", "number") for i in range(12))]
    sheet = Sheet("F1", columns, [["one", "2", *(f"{i}.00" for i in range(12))]], keys=2)
    text = sheets_latex([sheet])
    compiles(text)
    assert text.count("\\begin{tabular}") == 3 and text.count("one & 2 &") == 3 and "(3 of 3)" in text
    assert all(f"{i}.00" in text for i in range(12))


def test_a_minus_is_a_minus_and_a_dash_no_ligature() -> None:
    text = sheets_latex([Sheet("t", [Column("a"), Column("d", "number")], [["x--y", "-1.20 (-2.00 to +0.10)"]])])
    assert "x{-}{-}y & $-$1.20 ($-$2.00 to +0.10)" in text


def test_escapes() -> None:
    assert markdown("a|b*c_d <i>&amp;") == r"a\|b\*c\_d \<i\>&amp;amp;"
    assert latex(r"50% & {x}_y \z") == r"50\% \& \{x\}\_y \textbackslash{}z"


def test_csv_reads_back_and_executes_nothing(nasty: Any, tmp_path: Path) -> None:
    toolkit.compare("e", output="out.csv")
    columns, rows = read_sheet(tmp_path / "out.csv")
    found = [row for _, row in rows]
    assert {"table", "model", "f1", "difference", "p_corrected"} <= set(columns)
    assert {r["model"] for r in found if r["table"] == "figure"} == {NASTY, "b"}
    whole = list(csv.reader(io.StringIO((tmp_path / "out.csv").read_text("utf-8-sig"))))
    assert not any(c.startswith(("=", "+", "@")) for row in whole for c in row)
    figures = {(r["model"], r["f1"]) for r in found if r["table"] == "figure"}
    assert figures == {(c["model"], f"{c['f1']}") for x in nasty.lines for c in x["cells"]}
    assert {r["table"] for r in found} == {"figure", "mean", "cost", "difference", "verdict", "category", "source"}


def test_the_format_is_that_of_the_name_or_of_the_option(nasty: Any, tmp_path: Path) -> None:
    for name, form, begins in (
        ("a.md", None, "### In words"),
        ("a.tex", None, "\\documentclass"),
        ("a.txt", None, "prompt: F1 in percent"),
        ("a.x", "markdown", "### In words"),
    ):
        toolkit.compare("e", output=name, form=form)  # type: ignore[arg-type]
        assert (tmp_path / name).read_text().startswith(begins), name
    toolkit.compare("e", output="a.json")
    assert json.loads((tmp_path / "a.json").read_text()) == json.loads(json.dumps(nasty))
    with pytest.raises(InputError, match=r"must end in \.txt"):
        toolkit.compare("e", output="a.doc")
    with pytest.raises(InputError, match="no format 'latx'"):
        toolkit.compare("e", output="a", form="latx")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="take the place"):
        toolkit.compare("e", output="e/evaluation.json")


def test_every_format_is_there_as_text_and_no_other(nasty: Any) -> None:
    assert json.loads(nasty.as_text("json")) == json.loads(json.dumps(nasty))
    assert nasty.as_text("csv").startswith('\ufeff"table"')
    with pytest.raises(InputError, match="no format 'latx'"):
        nasty.as_text("latx")


def test_a_cell_that_begins_with_a_star_or_a_bracket_is_no_option_of_the_line_before() -> None:
    text = sheets_latex([Sheet("t", [Column("a")], [["x"], ["*y"], ["[z]"]])])
    assert "x \\\\\n{*}y \\\\\n{[}z{]} \\\\" in text


def test_equal_evaluations_give_equal_bytes(nasty: Any, tmp_path: Path) -> None:
    for name in ("one.md", "two.md"):
        toolkit.compare("e", output=name)
    assert (tmp_path / "one.md").read_bytes() == (tmp_path / "two.md").read_bytes()


def test_reasons_stand_below_the_figures_once_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    golds = "+-" * 10
    evaluated(
        tmp_path / "e", {"mine": verdict_lines("toxic_chat", "prompt", golds, golds) + verdict_lines("openai_moderation", "prompt", golds, golds)}
    )
    text = toolkit.compare("e", published=["GuardReasoner 8B"]).as_text()
    assert text.count("2,853 rows against 20") == 1 and text.count("1,680 rows against 20") == 1
    assert re.search(r"Toxic_Chat \*1", text)


def test_a_spread_is_a_table_in_each_format() -> None:
    from toolkit.report import spread_text

    found = toolkit.published("WildGuard 7B", spread=True)
    for form in ("table", "markdown", "latex"):
        text = spread_text(found, form)
        assert "17.69" in text and ("singguard" in text)
    compiles(spread_text(found, "latex"))


@pytest.mark.parametrize("width", [40, 60, 80, 100])
def test_a_narrow_terminal_loses_no_figure(width: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    golds = "+-" * 20
    models = {f"a-guard-with-a-long-name-{i}": verdict_lines("toxic_chat", "prompt", golds, "-+" * i + golds[2 * i :]) for i in range(5)}
    evaluated(tmp_path / "e", models)
    found = toolkit.compare("e", published="guardreasoner", errors=0)
    text = re.sub(r"\s+", "", found.as_text(width=width))
    for line in found.lines:
        for c in line["cells"]:
            assert f"{c['f1']:.2f}" in text and re.sub(r"\s+", "", c["model"]) in text
    for d in found.differences:
        assert f"{d['difference']:+.2f}({d['low']:+.2f}to{d['high']:+.2f})" in text
