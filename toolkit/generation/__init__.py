"""Questions to models and their answers: requests and keys, the journal, the engine, and the backends behind one interface.

    config = TypeAdapter(BackendConfig).validate_python({"backend": "openai", "model": "m", "base_url": "http://localhost:8000/v1"})
    backend = open_backend(config)
    with Journal(workspace() / "journal") as journal:
        for completion in complete((build_request(backend, config, m) for m in messages), backend, journal):
            ...

Importing this room loads no model library and no HTTP client; opening a backend loads what it needs.
"""

from toolkit.generation._backend import BACKENDS, Backend, build_request, open_backend
from toolkit.generation._budget import Meter
from toolkit.generation._config import (
    BackendConfig,
    OpenAIBatchConfig,
    OpenAIConfig,
    Price,
    Sampling,
    TemplateConfig,
    TransformersConfig,
    VllmConfig,
    VllmServerConfig,
)
from toolkit.generation._engine import Completions, Stats, complete
from toolkit.generation._journal import Journal
from toolkit.generation._request import ADDED, EXCLUDED, FAILURES, FINAL, Completion, Request, as_messages

__all__ = [
    "ADDED",
    "BACKENDS",
    "EXCLUDED",
    "FAILURES",
    "FINAL",
    "Backend",
    "BackendConfig",
    "Completion",
    "Completions",
    "Journal",
    "Meter",
    "OpenAIBatchConfig",
    "OpenAIConfig",
    "Price",
    "Request",
    "Sampling",
    "Stats",
    "TemplateConfig",
    "TransformersConfig",
    "VllmConfig",
    "VllmServerConfig",
    "as_messages",
    "build_request",
    "complete",
    "open_backend",
]
