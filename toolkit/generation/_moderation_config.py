"""The config of the backend ``openai-moderation``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal
from urllib.parse import urlsplit

from toolkit.common.errors import InputError
from toolkit.common.files import canonical_json
from toolkit.generation._addresses import is_near
from toolkit.generation._base_config import NOT_IN_KEY, Opening, Price
from toolkit.generation._endpoint_config import Paced

if TYPE_CHECKING:
    from toolkit.generation._protocol import Backend
    from toolkit.guards import Guard


class ModerationConfig(Paced):
    """OpenAI's moderation endpoint (``/moderations``), or another in its form: a guard that is asked by a text alone and answers in JSON."""

    backend: Literal["openai-moderation"]
    model: str = "omni-moderation-latest"
    """The model's name at the endpoint."""
    price: Price | None = None
    """What the endpoint charges; default: nothing at OpenAI's own address, where it is free, and unknown elsewhere."""

    not_in_key: ClassVar[dict[str, str]] = NOT_IN_KEY

    def shaping(self) -> dict[str, Any]:
        """The endpoint samples nothing. ``extra`` is not sent: it tells these requests from those to a chat model of the same name."""
        nothing = {"temperature": None, "top_p": None, "max_tokens": 1, "seed": None}
        return nothing | {"extra": canonical_json({"asks": "moderations"}), "revision": self.revision}

    def guard_fault(self, guard: Guard) -> str | None:
        plain = bool(guard.calls) and all([m.role for m in call.messages] == ["user"] and not call.chat_template_kwargs for call in guard.calls)
        return None if plain else "the moderation endpoint takes one text and no instruction; ask it as the guard 'openai_moderation'"

    def stated_price(self) -> Price | None:
        free = urlsplit(self.base_url).hostname == "api.openai.com" or is_near(self.base_url)
        return self.price or (Price(input=0.0, output=0.0) if free else None)

    def open(self, at: Opening) -> Backend:
        if not at.judges:
            raise InputError("the moderation endpoint judges, and writes nothing: it is a guard, no teacher")
        from toolkit.generation.backends._moderation import MODERATIONS
        from toolkit.generation.backends._openai import OpenAIBackend

        return OpenAIBackend(self, beside=at.beside, form=MODERATIONS)
