"""Audits of guards of which it is known what their reasoning does, and what an audit refuses."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

sys.path[:0] = [str(Path(__file__).resolve().parent / folder) for folder in ("generation", "cli")]

from chain_guards import definition, output, prompts, trained  # noqa: E402
from commands import guardkit  # noqa: E402
from server import Server, chat, running  # noqa: E402
from tiny import tiny_llama  # noqa: E402

import toolkit  # noqa: E402
from toolkit.common.errors import InputError  # noqa: E402
from toolkit.evaluation import CHAINS  # noqa: E402
from toolkit.generation import read_config  # noqa: E402
from toolkit.judging import OpenGuard, chain_probes  # noqa: E402

ROWS = prompts(24, 9)


@pytest.fixture(scope="module")
def guards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the definition ``colours.yaml`` and its guards ``follows``, ``ignores`` and ``twin``."""
    folder = tmp_path_factory.mktemp("guards")
    guard = definition(folder)
    for name, follows, forms in (("follows", True, True), ("ignores", False, True), ("twin", False, False)):
        trained(folder / name, guard, follows=follows, forms=forms)
    return folder


def backend(folder: Path, name: str) -> dict[str, Any]:
    return {"backend": "transformers", "model": str(folder / name), "device": "cpu", "max_tokens": 80}


def audit(folder: Path, name: str, rows: Any = ROWS, **more: Any) -> Any:
    more = {"work": folder / "work", "bootstrap": 200, "draws": 0, **more}
    return toolkit.audit(backend(folder, name), rows, guard=folder / "colours.yaml", **more)


def flips(found: Any) -> dict[str, tuple[int, int]]:
    return {one["change"]: (one["read"], one["flips"]) for one in found.flips}


def test_a_verdict_that_follows_its_chain(guards: Path) -> None:
    """Settled by the step that names the colour; another row's chain turns it, one of the same verdict does not."""
    found = audit(guards, "follows", draws=3)
    stages = {one["stage"]: one for one in found.stages}
    assert (found.chains["with"], found.chains["steps"], found.chains["without"]) == (24, 2.0, {})
    assert (stages["before"]["agree"], stages["whole"]["agree"]) == (50.0, 100.0)
    assert stages["before"]["agree_low"] < stages["before"]["chance"] == 50.0 < stages["before"]["agree_high"] < 90
    assert (stages["before"]["f1"], stages["whole"]["f1"], stages["whole"]["auroc"]) == (66.67, 100.0, 100.0)
    (settled,) = found.settled
    assert settled["before"] <= 50.0 and settled["by_step"][2] >= 12 and settled["never"] == 0
    turned = flips(found)
    assert (turned["other"], turned["same"], turned["whole"], turned["removed"]) == ((24, 24), (24, 0), (24, 0), (24, 12))
    drawn = next(one for one in found.flips if one["change"] == "drawn again")
    assert drawn["n"] == 72 and drawn["flip_low"] <= drawn["flip_rate"] <= drawn["flip_high"]
    early = {(one["measure"], one["fpr"]): one for one in found.early}
    assert early["f1", None]["difference"] == 33.33 and early["f1", None]["low"] > 0


def test_a_verdict_that_does_not(guards: Path) -> None:
    """It is there before the chain, and no other chain turns it."""
    found = audit(guards, "ignores")
    before = next(one for one in found.stages if one["stage"] == "before")
    assert (before["agree"], before["f1"], before["auroc"]) == (100.0, 100.0, 100.0)
    turned = flips(found)
    assert (turned["other"], turned["same"], turned["removed"]) == ((24, 0), (24, 0), (24, 0))
    assert all(one["difference"] == 0 for one in found.early)
    shown = repr(found)
    assert "another row's, other verdict" in shown and "before the chain" in shown and "24 of 24 outputs have a chain" in shown


def test_beside_a_twin_without_reasoning(guards: Path) -> None:
    found = audit(guards, "follows", twin=backend(guards, "twin"))
    held = {(one["measure"], one["fpr"]): one for one in found.twin["held"]}
    assert set(held) == {("f1", None), ("auroc", None), *(("recall", rate) for rate in (1.0, 2.0, 5.0, 10.0))}
    assert all((one["n"], one["value_b"], one["difference"]) == (24, 100.0, 0.0) for one in held.values())
    assert not found.notes


def test_what_was_asked_is_not_asked_again(guards: Path, tmp_path: Path) -> None:
    first = audit(guards, "ignores", work=tmp_path / "own", output=tmp_path / "lines.parquet")
    again = audit(guards, "ignores", work=tmp_path / "own")
    assert first.spent["asked"] > 0 and again.spent["asked"] == 0 and again.spent["from_journal"] >= first.spent["asked"]
    assert {**first, "spent": None} == {**again, "spent": None}
    lines = pl.read_parquet(tmp_path / "lines.parquet")
    assert dict(lines.schema) == CHAINS and lines["id"].n_unique() == 24
    assert set(lines["probe"]) == {"before", "step", "same", "other"}


def test_swaps_are_a_permutation_of_the_rows(guards: Path) -> None:
    guard = toolkit.load_guard(guards / "colours.yaml")
    read = [{"id": r["id"], "response": None, "output": output(guard, "red", r["label_prompt"]), "verdict_prompt": r["label_prompt"]} for r in ROWS]
    label = {r["id"]: r["label_prompt"] for r in ROWS}
    probes, left = chain_probes(guard, read, seed=3)
    same = {p.row: p.donor for p in probes if p.kind == "same"}
    other = {p.row: p.donor for p in probes if p.kind == "other"}
    assert not left and sorted(same.values()) == sorted(same) == sorted(label), "each chain is given once"  # type: ignore[type-var]
    assert all(row != donor and label[row] == label[donor or ""] for row, donor in same.items())
    assert all(label[row] != label[donor or ""] for row, donor in other.items())
    assert {p.row: p.donor for p in chain_probes(guard, read[::-1], seed=3)[0] if p.kind == "same"} == same, "whatever their order"
    assert {p.row: p.donor for p in chain_probes(guard, read, seed=4)[0] if p.kind == "same"} != same


def test_labels_behind_a_beginning_add_up_and_name_the_failed(guards: Path) -> None:
    guard = toolkit.load_guard(guards / "colours.yaml")
    with OpenGuard(guard, read_config(backend(guards, "follows"))) as one:
        asked = [{**ROWS[0], "begun": text, "opened": True} for text in ("", "## Step 1\nIt has w0.\n\n## Step 2\nIt is blue.", "It is red. " * 400)]
        none, blue, long = one.forced(asked)
    assert sum(none.probabilities["prompt"].values()) == pytest.approx(1) and none.label("prompt") == "harmful"
    assert blue.label("prompt") == "unharmful" and long.error == "bad_request" and long.label("prompt") is None


def test_too_few_rows_for_a_swap_are_named(guards: Path) -> None:
    found = audit(guards, "follows", [ROWS[0], ROWS[-1]])
    assert flips(found)["other"] == (2, 2) and "same" not in flips(found)
    assert found.notes == ["prompt: no two rows of one kind have the same verdict and a chain, so that none could be swapped for such a one"]
    assert [one["p"] for one in audit(guards, "follows", ROWS[:2]).early if one["measure"] == "auroc"] == [None], "one label alone"


def test_a_model_without_a_chain_is_named(guards: Path) -> None:
    with pytest.raises(InputError, match=r"none of twin's 24 outputs has a chain of reasoning to audit: no_chain 24 \(first r0\)") as e:
        audit(guards, "twin")
    assert "--twin" in (e.value.hint or "")


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"task": "promt"}, "no task 'promt'"),
        ({"rows": []}, "no rows to audit"),
        ({"rows": [{"prompt": "a", "label_prompt": "bad"}]}, "'bad'"),
        ({"rows": [{"prompt": "a"}, {"prompt": "a"}]}, "two rows have the id"),
        ({"rows": [{"id": "x"}]}, "a row without a prompt"),
        ({"rows": None}, "audit on which rows"),
        ({"temperature": 0.0}, "temperature is a number above 0"),
        ({"draws": -1}, "draws is a number from 0"),
        ({"guard": "llama_guard_3"}, "has no reasoning of ours"),
        ({"output": "x.txt"}, "the output must end in"),
    ],
)
def test_what_cannot_be_audited(more: dict[str, Any], words: str, guards: Path) -> None:
    with pytest.raises(InputError, match=words):
        toolkit.audit(backend(guards, "follows"), **{"rows": ROWS, "guard": guards / "colours.yaml", "work": guards / "none", **more})
    assert not (guards / "none").exists()


def test_a_twin_of_other_labels_or_the_guard_itself(guards: Path, tmp_path: Path) -> None:
    other = tiny_llama(tmp_path / "other")
    (other / "guardkit.json").write_text(json.dumps({"guard": "qwen3guard 1"}))
    with pytest.raises(InputError, match="twin's guard 'qwen3guard' has the labels"):
        audit(guards, "follows", twin={"backend": "transformers", "model": str(other)})
    with pytest.raises(InputError, match="the twin is the model itself"):
        audit(guards, "follows", twin=backend(guards, "follows"))


def test_a_backend_that_scores_no_given_text_says_what_still_works(guards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    guard = toolkit.load_guard(guards / "colours.yaml")
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    with running(Server()) as server:
        server.script = lambda text, _: (200, {}, chat(output(guard, "red", "harmful").replace("It is red.", "The request is unharmful.")))
        asked = {"backend": "openai", "model": "m", "base_url": server.base_url}
        how: dict[str, Any] = {"guard": guards / "colours.yaml", "work": guards / "endpoint"}
        with pytest.raises(InputError, match="'openai' gives no log-probabilities of a given text") as e:
            toolkit.audit(asked, ROWS, **how)
        assert "transformers" in (e.value.hint or "") and server.asked.total() == 0
        found = toolkit.audit(asked, ROWS, forced=False, draws=2, **how)
    assert (found.stages, found.settled, found.early) == ([], [], []) and flips(found) == {"drawn again": (48, 0)}
    (against,) = found.contradictions
    assert (against["stated"], against["contradict"], against["rate"]) == (24, 24, 100.0) and against["low"] > 80


def test_the_command(guards: Path, tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps({"id": r["id"], "prompt": r["prompt"], "label": r["label_prompt"]}) + "\n" for r in ROWS))
    command = ["audit", guards / "follows", "--guard", guards / "colours.yaml", "--data", rows, "--task", "prompt", "--set", "max_tokens=80"]
    command += ["--work", guards / "work", "--draws", 0, "--twin", guards / "twin"]
    shown, plain = guardkit(*command, cwd=tmp_path), guardkit(*command, "--json", cwd=tmp_path)
    assert (shown.code, plain.code) == (0, 0), shown.err
    assert "another row's, other verdict" in shown.out and "follows and its twin without reasoning, twin" in shown.out
    assert plain.json["chains"]["with"] == 24 and plain.json["twin"]["model"] == "twin"
    assert guardkit(*command[:2], "--task", "x", cwd=tmp_path).code == 2
