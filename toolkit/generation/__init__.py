"""Questions to models and their answers: requests and keys, the journal, the engine, and the backends behind one interface.

    config = read_config({"backend": "openai", "model": "m", "base_url": "http://localhost:8000/v1"})
    backend = open_backend(config)
    with Journal(workspace() / "journal") as journal:
        for completion in complete((build_request(backend, config, m) for m in messages), backend, journal):
            ...

Importing this room loads no model library and no HTTP client; opening a backend loads what it needs.
"""

from typing import TYPE_CHECKING

from toolkit.common.lazy import lazily

if TYPE_CHECKING:
    from toolkit.generation._attached import Attached as Attached
    from toolkit.generation._attached import MediaError as MediaError
    from toolkit.generation._attached import attached as attached
    from toolkit.generation._attached import attached_to as attached_to
    from toolkit.generation._attached import not_carried as not_carried
    from toolkit.generation._backend import build_request as build_request
    from toolkit.generation._backend import open_backend as open_backend
    from toolkit.generation._backend_registry import BackendConfig as BackendConfig
    from toolkit.generation._backend_registry import OpenUnion as OpenUnion
    from toolkit.generation._base_config import BACKENDS as BACKENDS
    from toolkit.generation._base_config import BaseBackendConfig as BaseBackendConfig
    from toolkit.generation._base_config import Destination as Destination
    from toolkit.generation._base_config import Listed as Listed
    from toolkit.generation._base_config import Opening as Opening
    from toolkit.generation._base_config import Price as Price
    from toolkit.generation._base_config import Sampling as Sampling
    from toolkit.generation._budget import Meter as Meter
    from toolkit.generation._chat import Chat as Chat
    from toolkit.generation._chat import ControlTextError as ControlTextError
    from toolkit.generation._chat import with_media as with_media
    from toolkit.generation._config import OpenAIBatchConfig as OpenAIBatchConfig
    from toolkit.generation._config import OpenAIConfig as OpenAIConfig
    from toolkit.generation._config import TemplateArguments as TemplateArguments
    from toolkit.generation._config import TemplateConfig as TemplateConfig
    from toolkit.generation._config import TransformersConfig as TransformersConfig
    from toolkit.generation._config import VllmConfig as VllmConfig
    from toolkit.generation._config import VllmServerConfig as VllmServerConfig
    from toolkit.generation._declared import only_looking as only_looking
    from toolkit.generation._engine import Completions as Completions
    from toolkit.generation._engine import complete as complete
    from toolkit.generation._hand_out import handed_out as handed_out
    from toolkit.generation._journal_care import Verified as Verified
    from toolkit.generation._journal_care import compact_journal as compact_journal
    from toolkit.generation._journal_care import find_records as find_records
    from toolkit.generation._journal_care import migrate_journal as migrate_journal
    from toolkit.generation._journal_care import purge_journal as purge_journal
    from toolkit.generation._journal_care import verify_journal as verify_journal
    from toolkit.generation._journal_errors import unread as unread
    from toolkit.generation._journal_look import Figures as Figures
    from toolkit.generation._journal_look import Group as Group
    from toolkit.generation._journal_look import journal_figures as journal_figures
    from toolkit.generation._journal_look import near_names as near_names
    from toolkit.generation._journal_look import read_records as read_records
    from toolkit.generation._journal_records import Record as Record
    from toolkit.generation._journal_repair import Repaired as Repaired
    from toolkit.generation._journal_repair import repair_journal as repair_journal
    from toolkit.generation._journal_store import Journal as Journal
    from toolkit.generation._logprobs import Choice as Choice
    from toolkit.generation._logprobs import choices as choices
    from toolkit.generation._logprobs import in_body as in_body
    from toolkit.generation._media_processor import TAKES as TAKES
    from toolkit.generation._media_processor import MediaProcessor as MediaProcessor
    from toolkit.generation._media_processor import Prepared as Prepared
    from toolkit.generation._media_processor import media_processor as media_processor
    from toolkit.generation._prices import price_of as price_of
    from toolkit.generation._prices import unpriced as unpriced
    from toolkit.generation._protocol import Backend as Backend
    from toolkit.generation._protocol import Drops as Drops
    from toolkit.generation._protocol import HandsOn as HandsOn
    from toolkit.generation._protocol import Tells as Tells
    from toolkit.generation._protocol import Wakes as Wakes
    from toolkit.generation._read_config import read_config as read_config
    from toolkit.generation._request import ADDED as ADDED
    from toolkit.generation._request import EXCLUDED as EXCLUDED
    from toolkit.generation._request import FAILURES as FAILURES
    from toolkit.generation._request import FINAL as FINAL
    from toolkit.generation._request import Completion as Completion
    from toolkit.generation._request import Request as Request
    from toolkit.generation._request import as_messages as as_messages
    from toolkit.generation._vocabulary import FINISHED as FINISHED
    from toolkit.generation._vocabulary import ended as ended
    from toolkit.generation.backends._vllm_engine import kept_warm as kept_warm

__getattr__, __dir__ = lazily(__name__)
