"""Asking the openai backend in tests: through the engine (`run`), bare (`bare`), or in a program of its own (`CLIENT`)."""

from __future__ import annotations

from typing import Any

from server import Server

from toolkit.generation import Completion, Journal, Meter, OpenAIConfig, build_request, complete, open_backend


def config(server: Server | None, **more: Any) -> OpenAIConfig:
    base = {"base_url": server.base_url} if server else {}
    return OpenAIConfig.model_validate({"backend": "openai", "model": "m", "timeout": 20, **base, **more})


def run(c: OpenAIConfig, texts: list[str], journal: Journal | None = None) -> list[Completion]:
    backend = open_backend(c)
    try:
        return list(complete((build_request(backend, c, [{"role": "user", "content": t}]) for t in texts), backend, journal))
    finally:
        backend.close()


def bare(c: OpenAIConfig, texts: list[str], meter: Meter | None = None) -> list[Completion]:
    """What the backend itself gives, in the order of the texts."""
    backend = open_backend(c)
    backend.meter = meter  # type: ignore[attr-defined]
    requests = [build_request(backend, c, [{"role": "user", "content": t}]) for t in texts]
    out = {x.key: x for x in backend.generate(iter(requests)) if x is not None}
    backend.close()
    return [out[r.key] for r in requests]


CLIENT = """
import sys
from pathlib import Path
from toolkit.generation import Journal, OpenAIConfig, build_request, complete, open_backend
url, folder, rows = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
config = OpenAIConfig(backend="openai", model="m", base_url=url, concurrency=16)
backend = open_backend(config)
with Journal(folder) as journal:
    for n, c in enumerate(complete((build_request(backend, config, [{"role": "user", "content": f"t{n}"}]) for n in range(rows)), backend, journal)):
        print(n, c.text, flush=True)
backend.close()
"""
