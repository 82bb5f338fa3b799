"""How the backend ``openai-moderation`` asks: an endpoint in the form of OpenAI's ``/moderations``, asked as `_openai` asks chat completions.

Contract: as `toolkit.generation.Backend`; retries, limits, outages and secrets are those of `toolkit.generation.backends._openai`. A request has one
message, of the user, whose text is the input. The answer's text is the JSON of the first result (`toolkit.generation._answers`): ``flagged``,
``categories``, ``category_scores``. Tokens are neither read nor written.
"""

from __future__ import annotations

import orjson

from toolkit.generation._request import Request
from toolkit.generation.backends._lane import Form


def _input(request: Request) -> bytes:
    """The request's body.

    Raises:
        ValueError: it has other messages than one of the user, or files.
    """
    if request.media or len(request.messages) != 1 or request.messages[0][0] != "user":
        raise ValueError("the moderation endpoint takes one text of the user, and nothing beside it")
    text = request.messages[0][1]
    text.encode()  # half of a surrogate pair is no text
    return orjson.dumps({"model": request.model_id, "input": text})


MODERATIONS: Form = ("/moderations", _input)
