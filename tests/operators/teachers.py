"""Scripted teachers behind a real server, a handful of seeds, and recipes over them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import yaml
from aiohttp import web
from server import Server

import toolkit
from toolkit.guards import Reasoning, load_guard, render_output

GUARD = load_guard("guardreasoner")

SOURCE = {
    "name": "tiny",
    "version": 1,
    "description": "Seeds made by a test.",
    "licence": "CC0-1.0",
    "obtain": "a test writes them",
    "columns": {"prompt": "prompt", "response": "response"},
    "labels": {t.name: {"column": f"label_{t.name}", "map": {w: w for w in t.labels}, "source": "written", "missing": "absent"} for t in GUARD.tasks},
}

Answer = str | int | dict[str, Any]
"""A teacher's answer: its text, a status, or fields of the message (and `finish_reason`)."""


class Teacher(Server):
    """Answers by a function of the request's body; keeps every body in `requests`."""

    def __init__(self, say: Callable[[dict[str, Any]], Answer] = lambda body: sound(body)) -> None:
        super().__init__()
        self.say = say

    async def chat(self, http: web.Request) -> web.StreamResponse:
        body = await http.json()
        self.requests.append(body)
        reply = self.say(body)
        if isinstance(reply, int):
            return web.json_response({"error": {"message": "no", "type": "x", "param": None, "code": None}}, status=reply)
        if isinstance(reply, dict) and "error" in reply:
            return web.json_response(reply, status=400)
        given = {"content": reply} if isinstance(reply, str) else dict(reply)
        finish = given.pop("finish_reason", "stop")
        choice = {"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": None, **given}}
        usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
        return web.json_response({"id": "x", "object": "chat.completion", "created": 0, "model": body["model"], "choices": [choice], "usage": usage})


def number(body: Mapping[str, Any]) -> int:
    """Which seed a request is about."""
    found = re.search(r"garden number (\d+)", body["messages"][1]["content"])
    assert found is not None
    return int(found[1])


def shown(body: Mapping[str, Any]) -> dict[str, str | None]:
    """Labels that a request shows to the teacher; empty for a blind one."""
    stated = {t.name: re.findall(rf"^{t.field}: (\S+)$", body["messages"][1]["content"], re.MULTILINE) for t in GUARD.tasks}
    return {t: None if words[-1] == "None" else words[-1] for t, words in stated.items() if words}


def text(labels: Mapping[str, str | None], step: str = "It is about a garden.") -> str:
    """Sound reasoning for some labels."""
    steps = {t: Reasoning([step], f"The answer is {v}." if v else "There is nothing to judge.") for t, v in labels.items()}
    return render_output(GUARD, steps, labels)


MILD: dict[str, str | None] = {"prompt": "unharmful", "refusal": "compliance", "response": "unharmful"}


def sound(body: Mapping[str, Any]) -> str:
    """What a good teacher writes: the labels given to it, else that all is well."""
    return text(shown(body) or MILD)


def as_json(labels: Mapping[str, str | None]) -> str:
    """The same in JSON."""
    reasoning = {
        t: {"steps": ["It is about a garden."], "conclusion": f"The answer is {v}." if v else "Nothing to judge."} for t, v in labels.items()
    }
    return json.dumps({"reasoning": reasoning, "answers": {t: v or "None" for t, v in labels.items()}})


class Small:
    """A folder with seeds and the recipe load → synthesise (→ more)."""

    def __init__(self, folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
        self.folder = folder
        (folder / "tiny.yaml").write_text(yaml.safe_dump(SOURCE))
        seeds = [
            {"prompt": f"What grows in garden number {i}?", "response": "Roses.", **{f"label_{t}": w for t, w in MILD.items()}}
            for i in range(len(rows))
        ]
        (folder / "seeds.jsonl").write_text("".join(json.dumps(s | dict(row)) + "\n" for s, row in zip(seeds, rows, strict=True)))

    def recipe(self, options: Mapping[str, Any], *more: dict[str, Any], use: str = "synthesise", **top: Any) -> Path:
        load = {"id": "seeds", "use": "load", "with": {"source": "tiny.yaml", "files": ["seeds.jsonl"]}}
        steps = [load, {"id": "asked", "use": use, "with": dict(options)}, *more]
        path = self.folder / "recipe.yaml"
        path.write_text(yaml.safe_dump({"recipe": "small", "seed": 5, "failures": 1.0, **top, "steps": steps}, sort_keys=False))
        return path

    def run(self, options: Mapping[str, Any], *more: dict[str, Any], output: str = "run", **top: Any) -> Done:
        toolkit.run(self.recipe(options, *more, **top), output=self.folder / "out" / output)
        return Done(self.folder / "out" / output)


class Done:
    """What a run made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def rows(self, step: str = "asked") -> list[dict[str, Any]]:
        return pq.read_table(self.folder / step / "rows" / "rows.parquet").to_pylist()  # type: ignore[no-any-return]

    def rejects(self, step: str = "asked") -> list[dict[str, Any]]:
        found = pq.read_table(self.folder / step / "rejects.parquet").to_pylist()
        return [{**r, "row": json.loads(r["row"])} for r in found]

    def stats(self, step: str = "asked") -> dict[str, Any]:
        return json.loads((self.folder / step / "manifest.json").read_text())["stats"]  # type: ignore[no-any-return]


def openai(server: Server, model: str = "first", **more: Any) -> dict[str, Any]:
    """A teacher's backend."""
    return {"backend": "openai", "model": model, "base_url": server.base_url, "retries": 0, **more}
