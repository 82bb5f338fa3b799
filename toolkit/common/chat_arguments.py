"""Arguments of a model's chat template, as an option of whoever asks or trains the model."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator

from toolkit.common.files import canonical_json

_GIVEN = frozenset(
    (
        *("add_generation_prompt", "chat_template", "continue_final_message", "conversation", "documents", "max_length", "messages", "padding"),
        *("return_assistant_tokens_mask", "return_dict", "return_tensors", "tokenize", "tokenizer_kwargs", "tools", "truncation"),
    )
)
"""What a chat template is given otherwise, or `apply_chat_template` takes for itself."""


def _plain_arguments(value: dict[str, Any]) -> dict[str, Any]:
    if bad := sorted(n for n in value if not n.isidentifier() or n in _GIVEN or n.endswith("_token")):
        raise ValueError(f"chat_template_kwargs may not hold {bad}: no names of a template's own arguments")
    try:
        canonical_json(value)
    except (TypeError, ValueError) as e:
        raise ValueError(f"chat_template_kwargs must be plain data: {e}") from None
    return value


TemplateArguments = Annotated[dict[str, Any], AfterValidator(_plain_arguments)]
"""Arguments of a chat template, beside the messages."""
