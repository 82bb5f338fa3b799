"""The report of a run: one file that loads nothing and runs nothing but its own script, with what operators show, from whatever texts there are."""

from __future__ import annotations

import base64
import hashlib
import html.parser
import json
import re
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import toolkit
from toolkit.common.errors import InputError, Missing
from toolkit.report import report_html

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parents[1] / "other_package")]
from workspace import furnish  # noqa: E402

DRAWS = find_spec("vl_convert") is not None
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)> \x1b[31mred \u202egnp.exe \u200b \x00 end"
VOID = {"meta", "link", "img", "br", "input", "hr"}


class Parsed(html.parser.HTMLParser):
    """Elements, attributes and the text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.stack: list[str] = []
        self.wrong: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID and not (self.stack and "svg" in self.stack and self.get_starttag_text().endswith("/>")):  # type: ignore[union-attr]
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self.stack or self.stack.pop() != tag:
            self.wrong.append(tag)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A workspace with a run, and one of rows that are up to no good."""
    folder = tmp_path_factory.mktemp("workspace")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("GUARDKIT_WORKSPACE", raising=False)
        furnish(folder)
        toolkit.run("small.yaml")
        rows = [{"id": f"r{n}", "prompt": f"{HOSTILE} {n}", "label_prompt": "harmful", "source": HOSTILE, "licence": "synthetic"} for n in range(3)]
        rows.append({**rows[0], "id": "long", "prompt": "x" * 1_000_000, "label_prompt": "unharmful"})
        Path("rows.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
        steps = [
            {"id": "rows", "use": "read", "with": {"files": ["rows.jsonl"], "columns": {c: c for c in rows[0]}}},
            {"id": "few", "use": "select", "with": {"where": {"label_prompt": "harmful"}}},
        ]
        toolkit.run({"recipe": "hostile", "steps": steps})
        yield folder


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages without pictures, for speed."""
    monkeypatch.setattr("toolkit.report._report_page.drawable", lambda: False)


def test_a_page_holds_all_it_shows_and_asks_for_nothing(place: Path) -> None:
    made = toolkit.report_page("outputs/small")
    text = Path(made.output).read_text()
    page = Parsed(text)
    assert page.wrong == [] and page.stack == [] and made.bytes == len(text.encode()) < 5_000_000
    assert {t for t, _ in page.tags} & {"link", "img", "iframe", "object", "embed", "base", "form", "foreignObject", "use", "image"} == set()
    for tag, attributes in page.tags:
        assert not {a for a in attributes if a.startswith("on") or a in ("style", "src", "srcset", "action")}, tag
        assert (attributes.get("href") or "#").startswith("#")
    policy = next(a["content"] for _, a in page.tags if a.get("http-equiv") == "Content-Security-Policy") or ""
    for tag in ("style", "script"):
        own = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.S)
        assert len(own) == 1 and f"'sha256-{base64.b64encode(hashlib.sha256(own[0].encode()).digest()).decode()}'" in policy
    assert policy.startswith("default-src 'none'") and "unsafe" not in policy
    links = {(a["href"] or "#")[1:] for t, a in page.tags if t == "a" and a.get("href")}
    ids = [a["id"] for _, a in page.tags if a.get("id")]
    assert links <= set(ids) and len(ids) == len(set(ids)), "each link leads somewhere, and no identifier is there twice"
    assert report_html(Path("outputs/small")).html.decode() == text, "the same run, the same bytes"


def test_it_says_what_became_of_the_rows_with_examples(place: Path, undrawn: None) -> None:
    text = report_html(Path("outputs/small")).html.decode()
    for words in ("few: set aside, not_selected (9)", "rows in the shards of shards", "GuardReasonerTrain (paper)", "127,544", "Rows at random"):
        assert words in text, words
    assert text.count("<article>") >= 3
    assert report_html(Path("outputs/small"), samples=0).html.count(b"<article>") == 0


@pytest.mark.skipif(not DRAWS, reason="needs vl-convert")
def test_each_picture_is_drawn_has_its_table_and_is_written_as_a_file(place: Path) -> None:
    made = toolkit.report_page("outputs/small", images="svg", image_folder="images")
    text = Path(made.output).read_text()
    assert text.count("<svg") == len(made.pictures) == len(made.images) >= 4
    assert text.count('role="img"') == text.count("The numbers as a table") == len(made.pictures)
    assert "currentColor" in text and "<svg" in Path(made.images[0]).read_text()
    assert toolkit.report_page("outputs/small", output="png.html", images="png", image_folder="png").images
    assert all(p.read_bytes().startswith(b"\x89PNG") for p in Path("png").iterdir())


def test_without_vl_convert_the_tables_stand(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    import toolkit.report._report_page as module

    monkeypatch.setattr(module, "drawable", lambda: False)
    page = report_html(Path("outputs/small"))
    text = page.html.decode()
    assert "<svg" not in text and "pip install &#39;guardkit[pictures]&#39;" in text and "What became of the rows, step by step" in text
    assert page.notes == [module.NO_PICTURES]
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(Missing, match=r"guardkit\[pictures\]"):
        toolkit.report_page("outputs/small", images="png", image_folder="none")


def test_hostile_texts_do_nothing_and_are_seen(place: Path) -> None:
    text = report_html(Path("outputs/hostile")).html.decode()
    page = Parsed(text)
    assert page.wrong == [] and [t for t, _ in page.tags].count("script") == 1 and "img" not in {t for t, _ in page.tags}
    assert not set(text) & set("\x1b\x00\u202e\u200b"), "nothing that is obeyed or not seen"
    assert "\\x1b[31mred" in text and "\\u202e" in text and "&lt;script&gt;alert(1)" in text
    rows = toolkit.read_run("outputs/hostile")["few"]._repr_html_()
    assert "<script" not in rows and "\\x1b[31mred" in rows and "<th>label_prompt</th>" in rows
    assert len(text) < 1_000_000 and "998,500 more characters" in text


def test_redacted_it_holds_no_text_of_a_row(place: Path, undrawn: None) -> None:
    prompts = toolkit.read_run("outputs/small")["seeds"].polars()["prompt"].to_list()
    whole, redacted = (report_html(Path("outputs/small"), texts=t, samples=20).html.decode() for t in (True, False))
    shown = [p for p in prompts if p.isalnum() or re.fullmatch(r"[\w ,.?]+", p)]
    assert any(p in whole for p in shown) and not any(p in redacted for p in prompts)
    assert "not_selected" in redacted and "Texts of rows are left out" in redacted


PLUGIN = """
from typing import Any
import polars as pl
from toolkit.common.pictures import Picture, columns
from toolkit.operators import Config, RowOperator
from toolkit.operators.figures import Figure, Table

def drawn(step, figure, value):
    yield columns("Rows by stars", [{"stars": s, "rows": n} for s, n in value.items()], name="stars", number="rows")
    secret = {"mark": {"type": "image", "width": 9, "height": 9}, "encoding": {"url": {"value": "https://example.org/x.png"}, "href": {"value": "https://example.org"}}}
    yield Picture("A picture from elsewhere", secret, [{"x": 1}])
    yield Picture("No picture", {"mark": "nonsense"}, [{"x": 1}])

def shown(step, figure, value):
    yield Table("Planets", ("planet",), ("moons",), [["Mars", 2], ["Earth", 1]])

class Stars(RowOperator):
    \"\"\"Nothing but figures.\"\"\"
    name = "stars"
    figures = (
        Figure("stars", "rows by their stars", lambda step: {"one": 1, "two": 3}, shown=lambda *_: (), drawn=drawn),
        Figure("moons", "planets by their moons", lambda step: 3, shown=shown),
        Figure("quotes", "what rows say of it", lambda step: "never to be shared", texts=True),
    )
    def apply(self, rows, ctx):
        return rows
"""


@pytest.mark.skipif(not DRAWS, reason="needs vl-convert")
def test_what_the_operator_of_another_package_shows_is_in_it(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "guardkit_stars.py").write_text(PLUGIN)
    (tmp_path / "stars-1.0.dist-info").mkdir()
    (tmp_path / "stars-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: stars\nVersion: 1.0\n")
    (tmp_path / "stars-1.0.dist-info" / "entry_points.txt").write_text("[guardkit.operators]\nstars = guardkit_stars:Stars\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    steps = [{"id": "seeds", "use": "load", "with": {"source": "quickstart", "limit": 1}}, {"id": "sky", "use": "stars"}]
    toolkit.run({"recipe": "sky", "steps": steps}, output="outputs/sky")
    page = report_html(Path("outputs/sky"))
    text = page.html.decode()
    assert {"Rows by stars", "Planets", "A picture from elsewhere", "No picture"} <= {p.title for p in page.pictures.values()}
    assert "What other operators show" in text and "never to be shared" in text and "example.org" not in text
    assert text.count("<svg") == len(page.pictures) - 1, "the one that is none has its table alone"
    redacted = report_html(Path("outputs/sky"), texts=False).html.decode()
    assert "never to be shared" not in redacted and "what rows say of it (sky): texts of rows, left out" in redacted


def test_shards_are_known_by_what_is_there_and_not_by_their_operators_name(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undrawn: None
) -> None:
    own = 'from toolkit.operators.export.shards import Shards\n\n\nclass Pack(Shards):\n    """Shards by another name."""\n\n    name = "pack"\n'
    (tmp_path / "guardkit_pack.py").write_text(own)
    (tmp_path / "pack-1.0.dist-info").mkdir()
    (tmp_path / "pack-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: pack\nVersion: 1.0\n")
    (tmp_path / "pack-1.0.dist-info" / "entry_points.txt").write_text("[guardkit.operators]\npack = guardkit_pack:Pack\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    steps = [
        {"id": "seeds", "use": "load", "with": {"source": "quickstart", "limit": 1}},
        {"id": "reasoning", "use": "synthesise", "with": {"backend": {"backend": "template"}}},
        {"id": "rendered", "use": "render_sft"},
        {"id": "packed", "use": "pack"},
    ]
    toolkit.run({"recipe": "pack", "steps": steps}, output="outputs/pack")
    text = report_html(Path("outputs/pack")).html.decode()
    assert "rows in the shards of packed" in text and re.search(r"packed: 4 rows; a row counts", text)


def test_a_run_that_is_not_done_says_so(place: Path, undrawn: None) -> None:
    toolkit.run("small.yaml", output="outputs/half", until="few")
    assert "3 of 7 steps are built" in (text := report_html(Path("outputs/half")).html.decode())
    assert "run the recipe again, and it goes on" in text
    log = Path("outputs/half/events.jsonl")
    line = json.loads(log.read_text().splitlines()[-1])
    before = log.read_text()
    log.write_text(before + json.dumps({**line, "event": "started", "step": "reasoning", "pid": 2**22 + 1}) + "\n")
    assert "The run ended in the step &#39;reasoning&#39;, which is not finished" in report_html(Path("outputs/half")).html.decode()
    lines = [{**line, "event": event, "step": "reasoning", "pid": 1} for event in ("started", "progress")]
    log.write_text(before + "".join(json.dumps(one) + "\n" for one in lines))
    assert "The run is being built in the step &#39;reasoning&#39;" in report_html(Path("outputs/half")).html.decode()
    rejects = Path("outputs/half/few/rejects.parquet")
    rejects.write_bytes(b"torn")
    assert "few is not shown: " in report_html(Path("outputs/half")).html.decode()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"run": "nowhere"}, "not the folder of a run"),
        ({"run": "outputs"}, "not the folder of a run"),
        ({"output": "page.pdf"}, r"must end in \.html"),
        ({"output": "outputs/small/seeds/page.html"}, "the output would"),
        ({"output": "rows.jsonl/page.html"}, "cannot be written"),
        ({"samples": -1}, "samples is a number of rows"),
        ({"images": "gif", "image_folder": "x"}, "svg or png"),
        ({"images": "svg"}, "images need a folder"),
        ({"images": "svg", "image_folder": "rows.jsonl"}, "is a file, not a folder"),
        ({"images": "svg", "image_folder": "outputs/small/seeds"}, "the output would"),
    ],
)
def test_what_cannot_be_done_is_an_error_with_its_reason(place: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        toolkit.report_page(**{"run": "outputs/small", **options})


def test_a_page_that_would_be_too_large_holds_fewer_rows_then_fewer_pictures(place: Path, undrawn: None, monkeypatch: pytest.MonkeyPatch) -> None:
    import toolkit.report._report_page as module

    usual = report_html(Path("outputs/small"), samples=20)
    monkeypatch.setattr(module, "LARGEST", len(usual.html) - 1)
    less = report_html(Path("outputs/small"), samples=20)
    assert len(less.html) < len(usual.html) and less.notes == [module.NO_PICTURES, module.FEWER] and module.FEWER.encode() in less.html
    monkeypatch.setattr(module, "drawable", lambda: DRAWS)
    monkeypatch.setattr(module, "LARGEST", 40_000)
    least = report_html(Path("outputs/small"), samples=20).html
    assert b"<svg" not in least and b"<article>" not in least and b"What became of the rows, step by step" in least
