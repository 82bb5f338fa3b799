"""What `plan` says a run will cost, held against what it does cost; a real server, a real journal."""

from __future__ import annotations

import json
import random
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web

import toolkit
from toolkit.cli import _say, main
from toolkit.common.errors import InputErrors, Stopped
from toolkit.generation import Journal, OpenAIConfig, Price
from toolkit.pipeline._estimate import Estimate, Looked, estimate

sys.path.insert(0, str(Path(__file__).parent / "generation"))  # its small server
from server import Server, running

PRICE = {"input": 2.5, "output": 10.0}


class Teacher(Server):
    """Counts tokens as an endpoint would: 4.4 characters a token read, 140 to 159 written."""

    def __init__(self) -> None:
        super().__init__()
        self.dollars = 0.0

    async def _reply(self, http: web.Request, body: dict[str, Any], text: str, fault: str | None) -> web.StreamResponse:
        size = sum(len(m["content"]) for m in body["messages"])
        read, written = round(size / 4.4) + 11, 140 + size % 20
        self.answered[text] += 1
        self.dollars += (read * PRICE["input"] + written * PRICE["output"]) / 1e6
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Fine."}}
        usage = {"prompt_tokens": read, "completion_tokens": written}
        return web.json_response({"model": body["model"], "choices": [choice], "usage": usage})


@pytest.fixture
def teacher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Teacher]:
    """A running server, and an empty working folder."""
    monkeypatch.chdir(tmp_path)
    with running(Teacher()) as server:
        assert isinstance(server, Teacher)
        yield server


def recipe(teacher: Teacher, limit: int = 10, **backend: Any) -> str:
    """A file: four sources of `limit` mild seeds each, reasoned about by the teacher."""
    config = {"backend": "openai", "model": "teacher", "base_url": teacher.base_url, "price": PRICE, **backend}
    steps: list[dict[str, Any]] = [
        {"id": "seeds", "use": "load", "with": {"source": "quickstart", "limit": limit}},
        {"id": "clean", "use": "normalise"},
        {"id": "some", "use": "select", "with": {"share": 0.8}},
        {"id": "reasoning", "use": "synthesise", "with": {"backend": {k: v for k, v in config.items() if v is not None}}},
    ]
    Path("r.yaml").write_text(yaml.safe_dump({"recipe": "r", "seed": 4, "steps": steps}, sort_keys=False))
    return "r.yaml"


def model(found: dict[str, Any], step: str = "reasoning") -> dict[str, Any]:
    (line,) = (s for s in found["steps"] if s["step"] == step)
    (out,) = line["models"]
    return out  # type: ignore[no-any-return]


def holds(span: dict[str, float], value: float) -> bool:
    """Whether a value is in an interval, but for rounding."""
    return span["low"] - 1e-4 <= value <= span["high"] + 1e-4


def calls(teacher: Teacher) -> int:
    return sum(teacher.answered.values())


def test_before_anything_ran_the_interval_holds_and_nothing_is_touched(teacher: Teacher) -> None:
    file = recipe(teacher)
    found = model(toolkit.plan(file, sample=15))
    assert calls(teacher) == 0 and sorted(p.name for p in Path().iterdir()) == ["r.yaml"], "looking asks nothing and changes nothing"
    assert found["model"] == "teacher" and found["endpoint"] == teacher.base_url and found["seconds"] is None
    toolkit.run(file)
    assert holds(found["calls"], calls(teacher)) and found["calls"]["low"] < found["calls"]["high"], "a sample of a selection"
    assert holds(found["dollars"], teacher.dollars)
    assert any("4 characters a token" in b for b in found["basis"]) and any("table 9" in b for b in found["basis"])


def test_answers_that_are_there_cost_nothing_and_make_the_interval_narrow(teacher: Teacher) -> None:
    wide = model(toolkit.plan(recipe(teacher, 20)))
    toolkit.run(recipe(teacher, 10))
    asked, spent = calls(teacher), teacher.dollars
    found = model(toolkit.plan(recipe(teacher, 20), output="outputs/more"))
    assert found["answered"]["mid"] == asked, "the sample is all rows here"
    toolkit.run(recipe(teacher, 20), output="outputs/more")
    more, dollars = calls(teacher) - asked, teacher.dollars - spent
    assert found["calls"]["low"] == found["calls"]["high"] == more
    assert holds(found["dollars"], dollars)
    assert found["dollars"]["high"] - found["dollars"]["low"] < 0.1 * (wide["dollars"]["high"] - wide["dollars"]["low"])
    assert found["seconds"] is not None and any("prompt tokens: 4.2" in b and "32 answers" in b for b in found["basis"]), "as they were"


class History:
    """A journal that has seen some answers."""

    def __init__(self, seen: list[tuple[int, int, float]]) -> None:
        self.seen = seen

    def history(self, shape: str | None, most: int = 1000) -> list[tuple[int, int, float]]:
        return self.seen


@pytest.mark.parametrize(("answered", "looked_at"), [(6, 20), (40, 60), (300, 200)])
def test_nine_in_ten_intervals_hold(answered: int, looked_at: int) -> None:
    """A step of 2,000 calls whose prompts and answers vary as real ones do (log-normal), many times over."""
    dice = random.Random(5)
    config = OpenAIConfig(backend="openai", model="m", price=Price(**PRICE))
    trials, held = 200, 0
    for _ in range(trials):
        sizes = [round(dice.lognormvariate(7, 0.7)) for _ in range(2000 + answered)]
        tokens = [(c, round(c / dice.gauss(4.4, 0.3)), min(2048, round(dice.lognormvariate(5, 0.5)))) for c in sizes]
        known, asked = tokens[:answered], tokens[answered:]
        pairs = [(c, t) for c, t, _ in known]
        looked = Looked(looked_at, 0, looked_at, 0, [c for c, _, _ in asked[:looked_at]], pairs, "{}", 2048, looked_at, 2000)
        found = Estimate("t", "m", "e")
        estimate(found, looked, config, History([(t, w, 1.0) for _, t, w in known]))  # type: ignore[arg-type]
        truth = sum(t * PRICE["input"] + w * PRICE["output"] for _, t, w in asked) / 1e6
        assert found.dollars is not None
        held += found.dollars.low <= truth <= found.dollars.high
    assert held >= 0.87 * trials, f"{held} of {trials}"


def test_with_its_rows_finished_a_step_is_counted_and_not_sampled(teacher: Teacher) -> None:
    file = recipe(teacher, 10)
    toolkit.run(file)
    asked = calls(teacher)
    shutil.rmtree("outputs/r/reasoning")
    found = model(toolkit.plan(file, sample=3))
    assert found["calls"] == {"low": 0, "mid": 0, "high": 0} and found["answered"] == {"low": asked, "mid": asked, "high": asked}
    assert found["dollars"]["high"] == 0 and "all there are" in " ".join(found["basis"])
    assert [s["models"] for s in toolkit.plan(recipe(teacher, 10), output="outputs/r")["steps"]][:3] == [[], [], []]


def test_a_probe_measures_and_the_run_reuses_its_answers(teacher: Teacher) -> None:
    file = recipe(teacher)
    found = toolkit.plan(file, probe=8)
    assert calls(teacher) == 8 and any("probed 8 requests for $0.0" in n for n in found["notes"])
    one = model(found)
    assert one["answered"]["mid"] == 8 and "table 9" not in " ".join(one["basis"])
    spent = teacher.dollars
    toolkit.run(file)
    assert calls(teacher) == 8 + one["calls"]["mid"] and max(teacher.answered.values()) == 1
    assert holds(one["dollars"], teacher.dollars - spent)


def test_a_budget_needs_every_price_and_holds_for_the_probe(teacher: Teacher) -> None:
    file = recipe(teacher, price=None)
    unpriced = toolkit.plan(file)
    assert model(unpriced)["dollars"] is None and unpriced["total"]["dollars"] is None
    with pytest.raises(InputErrors, match=r"'teacher' at http://127.0.0.1:\d+/v1\n.*price: \{input: …, output: …\}"):
        toolkit.plan(file, budget=5.0)
    file = recipe(teacher)
    assert not any("budget" in n for n in toolkit.plan(file, budget=50.0)["notes"])
    assert "more than the budget of $0.01" in toolkit.plan(file, budget=0.01)["notes"][-1]
    assert calls(teacher) == 0
    with pytest.raises(Stopped, match="budget"):
        toolkit.plan(file, probe=20, budget=0.05)
    assert teacher.dollars <= 0.05 and 0 < calls(teacher) < 20
    with Journal(Path("outputs/journal"), readonly=True) as journal:
        assert journal.counts()["completions"] == calls(teacher), "what was paid for is kept"


def test_a_run_stops_at_its_budget_and_goes_on_later(teacher: Teacher) -> None:
    with pytest.raises(InputErrors, match="none is known for the model 'teacher'"):
        toolkit.run(recipe(teacher, price=None), budget=5.0)
    assert not Path("outputs").exists() and calls(teacher) == 0, "refused before anything is done"
    file, cap = recipe(teacher), 0.06
    with pytest.raises(Stopped, match=r"budget of \$0\.06 is used up"):
        toolkit.run(file, budget=cap)
    first = calls(teacher)
    assert 0.6 * cap < teacher.dollars <= cap and first > 0
    with pytest.raises(Stopped):
        toolkit.run(file, budget=0.001)
    assert calls(teacher) == first, "not one request fits"
    left = model(toolkit.plan(file))
    toolkit.run(file)
    assert calls(teacher) == first + left["calls"]["mid"] and max(teacher.answered.values()) == 1
    asked = calls(teacher)
    toolkit.run(file, force=True, budget=0.0)
    assert calls(teacher) == asked, "what the journal has costs nothing"


def test_the_batch_api_costs_half(teacher: Teacher) -> None:
    plain = recipe(teacher, model="gpt-4o-2024-08-06", base_url=None, price=None)
    dollars = [model(toolkit.plan(plain, overrides=[f"reasoning.backend.backend={kind}"]))["dollars"] for kind in ("openai", "openai-batch")]
    assert dollars[0]["mid"] > 0
    for end in ("low", "mid", "high"):
        assert dollars[1][end] == pytest.approx(dollars[0][end] / 2, abs=1e-4)
    found = model(toolkit.plan(plain))["basis"][0]
    assert found.startswith("$2.5 a million tokens read, $10 written (https://") and "2026-" in found


def test_rates_bound_the_time(teacher: Teacher) -> None:
    toolkit.run(recipe(teacher, 10))
    file = recipe(teacher, 20, requests_per_minute=6)
    found = model(toolkit.plan(file, output="outputs/more"))
    assert found["seconds"]["low"] == pytest.approx(found["calls"]["low"] * 10)


def test_what_depends_on_a_model_or_on_data_elsewhere_is_not_guessed(teacher: Teacher) -> None:
    file = Path(recipe(teacher))
    whole = yaml.safe_load(file.read_text())
    whole["steps"] += [{**whole["steps"][3], "id": "second", "from": "picked"}]
    whole["steps"].insert(4, {"id": "picked", "use": "select", "with": {"where": {"reasoning_finish": "stop"}}})
    file.write_text(yaml.safe_dump(whole, sort_keys=False))
    found = toolkit.plan(file)
    assert model(found)["dollars"] is not None
    second = model(found, "second")
    assert any("the step 'reasoning' gets from a model" in b for b in second["basis"])
    assert any("assumed" in b for b in second["basis"]) and second["dollars"]["low"] < second["dollars"]["high"], "from stated averages"
    away = model(toolkit.plan(recipe(teacher), overrides=["seeds.source=wildguard_train", "seeds.limit=50"]))
    assert away["calls"]["mid"] == 40 and away["dollars"]["mid"] > 0 and any("not on this machine" in b for b in away["basis"])


def test_the_command(teacher: Teacher, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def found(*args: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["guardkit", "plan", *args])
        monkeypatch.setattr(_say, "documents", 0)
        with pytest.raises(SystemExit) as end:
            main()
        return int(end.value.code or 0), capsys.readouterr().out

    file = recipe(teacher)
    code, shown = found(file, "--sample", "20")
    assert code == 0 and "tokens written" in shown and "– $" in shown and "table 9" in shown
    code, stated = found(file, "--probe", "6", "--json")
    assert code == 0 and json.loads(stated)["total"]["calls"]["mid"] > 0 and calls(teacher) == 6
    code, refused = found(recipe(teacher, price=None), "--budget", "5", "--json")
    assert code == 2 and "none is known for the model 'teacher'" in json.loads(refused)["faults"][0]["message"]
