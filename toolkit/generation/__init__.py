"""Questions to models and their answers: requests and keys, the journal, the engine, and the backends behind one interface.

    config = read_config({"backend": "openai", "model": "m", "base_url": "http://localhost:8000/v1"})
    backend = open_backend(config)
    with Journal(workspace() / "journal") as journal:
        for completion in complete((build_request(backend, config, m) for m in messages), backend, journal):
            ...

Importing this room loads no model library and no HTTP client; opening a backend loads what it needs.
"""

from toolkit.generation._attached import Attached, MediaError, attached, attached_to, not_carried
from toolkit.generation._backend import build_request, open_backend
from toolkit.generation._backend_registry import BackendConfig, OpenUnion
from toolkit.generation._base_config import BACKENDS, BaseBackendConfig, Destination, Listed, Opening, Price, Sampling
from toolkit.generation._budget import Meter
from toolkit.generation._chat import Chat, ControlTextError
from toolkit.generation._config import (
    OpenAIBatchConfig,
    OpenAIConfig,
    TemplateArguments,
    TemplateConfig,
    TransformersConfig,
    VllmConfig,
    VllmServerConfig,
)
from toolkit.generation._declared import only_looking
from toolkit.generation._engine import Completions, complete
from toolkit.generation._hand_out import handed_out
from toolkit.generation._journal_care import (
    Verified,
    compact_journal,
    find_records,
    migrate_journal,
    purge_journal,
    verify_journal,
)
from toolkit.generation._journal_errors import unread
from toolkit.generation._journal_look import Figures, Group, journal_figures, near_names, read_records
from toolkit.generation._journal_records import Record
from toolkit.generation._journal_repair import Repaired, repair_journal
from toolkit.generation._journal_store import Journal
from toolkit.generation._logprobs import Choice, choices, in_body
from toolkit.generation._prices import price_of, unpriced
from toolkit.generation._protocol import Backend, Drops, HandsOn, Tells, Wakes
from toolkit.generation._read_config import read_config
from toolkit.generation._request import ADDED, EXCLUDED, FAILURES, FINAL, Completion, Request, as_messages
from toolkit.generation._vocabulary import FINISHED, ended
from toolkit.generation.backends._vllm_engine import kept_warm

__all__ = [
    "ADDED",
    "BACKENDS",
    "EXCLUDED",
    "FAILURES",
    "FINAL",
    "FINISHED",
    "Attached",
    "Backend",
    "BackendConfig",
    "BaseBackendConfig",
    "Chat",
    "Choice",
    "Completion",
    "Completions",
    "ControlTextError",
    "Destination",
    "Drops",
    "Figures",
    "Group",
    "HandsOn",
    "Journal",
    "Listed",
    "MediaError",
    "Meter",
    "OpenAIBatchConfig",
    "OpenAIConfig",
    "OpenUnion",
    "Opening",
    "Price",
    "Record",
    "Repaired",
    "Request",
    "Sampling",
    "Tells",
    "TemplateArguments",
    "TemplateConfig",
    "TransformersConfig",
    "Verified",
    "VllmConfig",
    "VllmServerConfig",
    "Wakes",
    "as_messages",
    "attached",
    "attached_to",
    "build_request",
    "choices",
    "compact_journal",
    "complete",
    "ended",
    "find_records",
    "handed_out",
    "in_body",
    "journal_figures",
    "kept_warm",
    "migrate_journal",
    "near_names",
    "not_carried",
    "only_looking",
    "open_backend",
    "price_of",
    "purge_journal",
    "read_config",
    "read_records",
    "repair_journal",
    "unpriced",
    "unread",
    "verify_journal",
]
