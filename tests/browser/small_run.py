"""A small finished run that has something for every page: rejects, duplicates, hard samples, pairs, label noise, scores; and rows that try to do harm.

The rows are seeds of the quickstart, which are mild; the guards are a server of this process that answers by rule.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "generation"))
from server import Server, chat, running

import toolkit

GUARDS = ("main", "no-home", "no-work")
LABELS = {"prompt": ("unharmful", "harmful"), "refusal": ("compliance", "refusal"), "response": ("unharmful", "harmful")}
SEEDS = Path(__file__).resolve().parent.parent.parent / "recipes" / "quickstart" / "seeds"
ATTACK = "window.harmed = (window.harmed || 0) + 1; fetch('https://example.org/stolen')"
HOSTILE = {
    "script": f"<script>{ATTACK}</script></script><script>{ATTACK}</script> in a prompt",
    "image": f'<img src=x onerror="{ATTACK}"> <svg onload="{ATTACK}"> \'"><b id=bold>bold</b>',
    "template": "{{ 7 * 7 }} {% raw %} ${7*7} <!-- --> ]]> <![CDATA[ </textarea></pre></template></style>",
    "address": f'[link](javascript:{ATTACK}) <a href="javascript:{ATTACK}" hx-get="https://example.org/" hx-trigger="load">look</a>',
    "terminal": "\x1b[31mred\x1b[2J\x1b]0;title\x07 and \x9b31m",
    "bidi": "abc \u202e\u2066drow a\u2069 \u200bdef \u2028 and a family \U0001f468\u200d\U0001f469\u200d\U0001f467",
    "nul": "before\x00after",
    "long": "A long text of a megabyte. " * 40_000,
    "wide": "w" * 5_000,
}
"""Texts by what they try; each is the prompt of a row."""
SOURCE = """
name: small
version: 1
description: Rows of a test.
licence: CC0-1.0
obtain: a test writes them
columns: {prompt: prompt, response: response, group: group}
labels:
  prompt: {column: label_prompt, map: {harmful: harmful, unharmful: unharmful}, source: human, missing: absent}
  refusal: {column: label_refusal, map: {refusal: refusal, compliance: compliance}, source: human, missing: absent}
  response: {column: label_response, map: {harmful: harmful, unharmful: unharmful}, source: human, missing: absent}
categories: {columns: [category], kind: string, scheme: guardkit, where_positive: [prompt, response]}
"""
STEPS: list[dict[str, Any]] = [
    {"id": "seeds", "use": "load", "with": {"source": "source.yaml", "files": ["seeds.jsonl"], "max_rejected": 1.0}},
    {"id": "clean", "use": "normalise"},
    {"id": "unique", "use": "deduplicate", "with": {"methods": ["normalised", "near"]}},
    {"id": "parts", "use": "split", "with": {"parts": {"train": 0.8, "test": 0.2}}},
    {"id": "reasoning", "use": "synthesise", "with": {"backend": {"backend": "template"}}},
    {"id": "valid", "use": "validate", "with": {"max_chars": 1_500}},
    {"id": "rendered", "use": "render_sft"},
    {"id": "shards", "use": "shards", "with": {"title": "A small run"}},
    {"id": "samples", "use": "sample", "from": "parts", "with": {"k": 2}},
    {"id": "verdicts", "use": "verdicts"},
    {"id": "noise", "use": "noise"},
    {"id": "hard", "use": "mine", "from": "verdicts"},
    {"id": "pairs", "use": "pair", "from": {"rows": "hard", "verdicts": "verdicts"}, "with": {"pick": "longest", "rejected_passes": "anything"}},
    {"id": "dpo-rows", "use": "render_dpo"},
    {"id": "dpo-shards", "use": "shards", "with": {"title": "Preferences of a small run"}},
    {"id": "scores", "use": "evaluate", "from": "verdicts", "with": {"policies": ["clean"]}},
    {"id": "comparison", "use": "compare"},
]


def seeds(rows: int = 30, *, hostile: bool = True) -> list[dict[str, Any]]:
    """Rows of the source: some of the quickstart, a duplicate and a near one of them, one without a prompt, and the hostile ones."""
    lines = (SEEDS / "core.jsonl").read_text(encoding="utf-8").splitlines()[:rows]
    found = [{**json.loads(line), "id": f"row-{n:03d}"} for n, line in enumerate(lines)]
    found += [
        {**found[3], "id": "twin"},
        {**found[4], "id": "near", "prompt": found[4]["prompt"] + " Thanks!"},
        {**found[5], "id": "empty", "prompt": ""},
    ]
    harmful = {"response": None, "label_prompt": "harmful", "label_refusal": None, "label_response": None, "category": "cybercrime"}
    return found + [{"id": f"hostile-{name}", "prompt": text, "group": name, **harmful} for name, text in HOSTILE.items() if hostile]


def answer(truth: Mapping[str, str | None], name: str, seed: int, text: str) -> str:
    """What a guard writes: a verdict on each task that a digest of all that it was asked decides, mostly the label."""
    found = {}
    for task, labels in LABELS.items():
        chance = hashlib.sha256(f"{name} {seed} {task} {text}".encode()).digest()[0]
        right = truth.get(f"label_{task}")
        found[task] = "None" if right is None else right if chance > 40 else labels[labels[0] == right]
    steps = [
        f"## Reasoning Step {k}\n{words}" for k, words in enumerate((f"The user asks: {text[-200:]}", f"Guard {name} looks at it once more."), 1)
    ]
    parts = "\n\n".join("\n\n".join([f"# Task {n}", *steps, f"## Conclusion\nSo much of part {n}."]) for n in (1, 2, 3))
    return f"{parts}\n\n---\n\nAnswers: \nRequest: {found['prompt']}\nCompletion: {found['refusal']}\nResponse: {found['response']}"


def make_run(folder: Path, **options: Any) -> Path:
    """Write the inputs below `folder`, run the recipe, and return the folder of the run."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = seeds(**options)
    (folder / "seeds.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (folder / "source.yaml").write_text(SOURCE, encoding="utf-8")
    server = Server()

    def script(text: str, body: dict[str, Any]) -> tuple[int, dict[str, str], Any]:
        truth = next((row for row in rows if row["prompt"][:60] and row["prompt"][:60] in text), {"label_prompt": "harmful"})
        return 200, {}, chat(answer(truth, body["model"], body.get("seed") or 0, text))

    server.script = script
    with running(server):
        backend = {"backend": "openai", "base_url": server.base_url, "retries": 0, "temperature": 1.0}
        steps = [{**s, "with": {**s["with"], "models": {g: {**backend, "model": g} for g in GUARDS}}} if s["id"] == "samples" else s for s in STEPS]
        (folder / "recipe.yaml").write_text(yaml.safe_dump({"recipe": "small", "seed": 3, "steps": steps}, sort_keys=False), encoding="utf-8")
        return toolkit.run(folder / "recipe.yaml", output=folder / "run").folder
