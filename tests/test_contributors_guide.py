"""The examples of CONTRIBUTING.md pass the project's own lint and types, and do what the page says."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import toolkit
from toolkit.common.files import canonical_json, tree_digests
from toolkit.common.models import MODEL
from toolkit.generation import BackendConfig, build_request, complete, open_backend, unpriced
from toolkit.operators.base import DETAIL, OUTCOME, REASON
from toolkit.shards.exporters import Format

PROJECT = Path(__file__).resolve().parent.parent
GUIDE = (PROJECT / "CONTRIBUTING.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```python\n(.*?)^```", GUIDE, re.DOTALL | re.MULTILINE)


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The names of the example in which a word stands."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def load(word: str) -> dict[str, Any]:
        (text,) = (e for e in EXAMPLES if word in e)
        (tmp_path / "from_the_guide.py").write_text(text, encoding="utf-8")
        monkeypatch.delitem(sys.modules, "from_the_guide", raising=False)
        return vars(import_module("from_the_guide"))

    yield load
    sys.modules.pop("from_the_guide", None)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("guide")
    for i, text in enumerate(EXAMPLES):
        (folder / f"example_{i}.py").write_text(text, encoding="utf-8")
    return sorted(map(str, folder.iterdir()))


@pytest.mark.parametrize("check", [["ruff", "check"], ["ruff", "format", "--check", "--diff"]], ids=" ".join)
def test_the_examples_pass_our_lint(files: list[str], check: list[str]) -> None:
    done = subprocess.run([sys.executable, "-m", *check, "--config", str(PROJECT / "pyproject.toml"), *files], capture_output=True, text=True)
    assert len(files) >= 4 and done.returncode == 0, done.stdout + done.stderr


def test_the_examples_pass_our_types(files: list[str]) -> None:
    command = [sys.executable, "-m", "mypy", "--config-file", str(PROJECT / "pyproject.toml"), *files]
    done = subprocess.run(command, capture_output=True, text=True, cwd=PROJECT)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_row_operator_marks(made: Any) -> None:
    space = made("class DropShort(")
    op = space["DropShort"](space["DropShortConfig"](min_chars=4))
    rows = pl.LazyFrame({"prompt": ["abc", "abcd"]}).with_columns(pl.lit(None, pl.String).alias(m) for m in (OUTCOME, REASON, DETAIL))
    assert op.apply(rows, None).collect()[REASON].to_list() == ["too_short", None]


def test_the_backend_answers_and_its_price_is_not_known_before_it_is_stated(made: Any) -> None:
    space = made("class ShoutConfig(")
    config = space["ShoutConfig"](backend="shout", model="small")
    backend = open_backend(config)
    request = build_request(backend, config, [{"role": "user", "content": "good morning"}])
    assert [c.text for c in complete([request], backend, None)] == ["GOOD MORNING"]
    assert build_request(backend, config.model_copy(update={"timeout": 1.0}), [{"role": "user", "content": "good morning"}]).key == request.key
    assert unpriced([config]) and not unpriced([config.model_copy(update={"price": space["Price"](input=1, output=1)})])


def test_the_generation_operator_derives_what_its_backend_says(made: Any) -> None:
    space = made("class Translate(")
    option = {"backend": "openai", "model": "m", "timeout": 3}
    op, slower = (space["Translate"](space["TranslateConfig"].model_validate({"backend": option | {"timeout": t}})) for t in (3, 9))
    assert canonical_json(op.identity()) == canonical_json(slower.identity()) and op.identity()["backend"]["model"] == "m"
    assert list(op.backends()) == [""] and BackendConfig is not None


def test_the_format_and_the_section_say_what_they_should(made: Any) -> None:
    space = made("class Stars(")
    assert issubclass(space["Stars"], Format) and space["RATED"].wants == ("prompt", "completion", "rating")
    assert "| 5 | as good as can be |" in space["ratings"]({})


def test_the_trainer_writes_a_model_that_guardkit_knows_as_its_own(made: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import transformers

    class Saved:
        @classmethod
        def from_pretrained(cls, name: str) -> Saved:
            return cls()

        def save_pretrained(self, folder: Path) -> None:
            (folder / "config.json").write_text("{}")

    for name in ("AutoModelForCausalLM", "AutoTokenizer"):
        monkeypatch.setattr(transformers, name, Saved)
    space = made('Trainer("grpo"')
    rows = toolkit.apply("load", source="quickstart", limit=2).kept
    reasoned = toolkit.apply("synthesise", rows, backend={"backend": "template"}, work=tmp_path).kept
    toolkit.apply("shards", toolkit.apply("render_sft", reasoned).kept, artefacts=tmp_path / "made")
    trainer, shards = space["GRPO"], tmp_path / "made" / "shards"
    for _ in range(2):
        assert trainer.train(shards, tmp_path / "model", trainer.config(model="small"), None, None) == {"updates": 0}
    assert MODEL.wrote(tmp_path / "model") == {"guardkit.json": None, "config.json": tree_digests(tmp_path / "model")["config.json"]}
