"""Models and tokenizers to start from: by hub name, by local folder, or from scratch.

A tokenizer leaves here with an end token, a padding token and a chat template, and the model folder that a training writes carries all
three, so that sampling needs nothing but the folder.
"""

from __future__ import annotations

import logging
import re
import secrets
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from toolkit.common.errors import InputError, Missing
from toolkit.common.models import is_model_folder, model_folder
from toolkit.generation import Chat
from toolkit.training._ranks import first_alone, of_the_first
from toolkit.training._scratch_media import media_template, scratch_media_model, tokenizer_names
from toolkit.training._shared import refusals
from toolkit.training._training_config import AnyConfig, Scratch

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from toolkit.training._lora_training import Start

_log = logging.getLogger(__name__)

# Special tokens of a tokenizer from scratch. The roles' markers are tokens of their own, so that the tokens of a prompt are always a
# prefix of those of prompt and completion; the template breaks such a marker in a message's text, so that no text can end its turn.
BEGIN, END, PAD = "<|guardkit_begin|>", "<|guardkit_end|>", "<|guardkit_pad|>"
ROLES = ("system", "user", "assistant")
_MARK = "<|guardkit_{}|>"
# Standard deviation of random weights. With transformers' 0.02 a model of this size learns the layout of the answers but, within the
# minute or two that it has, not the answers: measured on 481 seeds, 5 epochs, training loss 0.55 against 0.30.
_INIT = 0.05
_SCRATCH_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}"
    "{{ '<|guardkit_' + m.role + '|>' + m.content | replace('<|guardkit_', '<|guardkit ') + eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|guardkit_assistant|>' }}{% endif %}"
)
# Role names on lines of their own, in plain text: for a base model whose tokenizer has no chat template.
_PLAIN = (
    "{{ bos_token or '' }}{% for m in messages %}{{ m.role + ':\n' + m.content }}"
    "{{ eos_token if m.role == 'assistant' else '' }}{{ '\n\n' if not loop.last or add_generation_prompt else '' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant:\n' }}{% endif %}"
)
# The format of Meta's Llama 3 model card (the template that spec B names); the turn, not the text, ends with <|eot_id|>.
_LLAMA3 = (
    "{{ bos_token }}{% for m in messages %}"
    "{{ '<|start_header_id|>' + m.role + '<|end_header_id|>\n\n' + m.content + '<|eot_id|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
_LLAMA3_TOKENS = ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")


def scratch_tokenizer(scratch: Scratch, texts: Iterable[str]) -> PreTrainedTokenizerBase:
    """A byte-level BPE tokenizer learnt from `texts`: any text can be encoded, the same texts give the same tokenizer.

    A line that is in a third of the texts (the guard's instruction, its headings) becomes one token, so that a small model
    spends its few tokens on what differs.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    messages = [text.splitlines(keepends=True) for text in texts]
    common = _common_lines(messages)
    names = {} if scratch.architecture == "llama" else tokenizer_names(scratch.architecture)
    special = [PAD, BEGIN, END, *(_MARK.format(r) for r in ROLES), *names.values()]
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=scratch.vocab - len(common),
        special_tokens=special,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        min_frequency=2,
        show_progress=False,
    )
    bpe.train_from_iterator(("".join(line for line in lines if line not in common) for lines in messages), trainer)
    bpe.add_tokens([AddedToken(line, normalized=False) for line in common])
    make: Any = PreTrainedTokenizerFast
    tokenizer: PreTrainedTokenizerBase = make(
        tokenizer_object=bpe,
        bos_token=BEGIN,
        eos_token=END,
        pad_token=PAD,
        additional_special_tokens=[_MARK.format(r) for r in ROLES],
        **({"extra_special_tokens": names} if names else {}),
        model_max_length=scratch.max_length,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = _SCRATCH_TEMPLATE if scratch.architecture == "llama" else _scratch_template(media_template(scratch.architecture))
    return tokenizer


def _scratch_template(media: str) -> str:
    """`_SCRATCH_TEMPLATE` for messages whose content may be a list of parts; `media` writes a file."""
    text = "m.content | replace('<|guardkit_', '<|guardkit ')"
    parts = f"{{% for p in m.content %}}{media}{{% else %}}{{{{ {text.replace('m.content', 'p.text')} }}}}{{% endif %}}{{% endfor %}}"
    content = f"{{% if m.content is string %}}{{{{ {text} }}}}{{% else %}}{parts}{{% endif %}}"
    return _SCRATCH_TEMPLATE.replace(
        f"{{{{ '<|guardkit_' + m.role + '|>' + {text} + eos_token }}}}", f"{{{{ '<|guardkit_' + m.role + '|>' }}}}{content}{{{{ eos_token }}}}"
    )


def _common_lines(messages: list[list[str]]) -> list[str]:
    """Lines, newline included, that are in at least a third of the messages; 32 at most, commonest first."""
    counts = Counter(line for lines in messages for line in set(lines) if len(line) > 6)
    return [line for line, n in sorted(counts.items(), key=lambda c: (-c[1], c[0]))[:32] if 3 * n >= len(messages)]


def scratch_model(scratch: Scratch, tokenizer: PreTrainedTokenizerBase, seed: int) -> PreTrainedModel:
    """A model with random weights, the same for the same seed."""
    from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, set_seed

    ids = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    make_generation: Any = GenerationConfig
    if scratch.architecture != "llama":
        set_seed(seed)
        seeing = scratch_media_model(scratch, tokenizer, _INIT)
        seeing.generation_config = make_generation(**ids)
        return seeing
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=scratch.width,
        intermediate_size=scratch.feed_forward or 3 * scratch.width,
        num_hidden_layers=scratch.layers,
        num_attention_heads=scratch.heads,
        num_key_value_heads=scratch.heads,
        max_position_embeddings=scratch.max_length,
        tie_word_embeddings=True,
        attention_dropout=0.0,
        initializer_range=_INIT,
        **ids,
    )
    set_seed(seed)
    make: Any = LlamaForCausalLM
    model: PreTrainedModel = make(config)
    model.generation_config = make_generation(**ids)
    return model


def load_tokenizer(name: str, chat_template: str | None, args: Any, arguments: Mapping[str, Any] | None = None) -> PreTrainedTokenizerBase:
    """The tokenizer of a model by name or folder, with a chat template and tokens for end and padding.

    Args:
        name: hub name or folder.
        chat_template: see `SftConfig`.
        arguments: of the chat template, which becomes one that has them.
        args: TRL's configuration, for its ``trust_remote_code`` and the ``revision`` of its ``model_init_kwargs``.

    Raises:
        InputError: a path with no model in it, a template that is not valid, a tokenizer without an end token.
        Missing: the hub does not have it, wants a token, or cannot be reached.
    """
    from transformers import AutoTokenizer

    local = model_folder(name, short=True)
    if local is not None and not is_model_folder(str(local)):
        raise InputError("not a model folder: no config.json", where=name)
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(local or name), **_hub_options(args))
    except (OSError, ValueError) as e:  # transformers raises these for a missing repository, a gated one, no network, a broken folder
        first = str(e).strip().split("\n")[0]
        if local is not None:
            raise InputError(f"no usable tokenizer: {first}", where=name) from None
        hint = "a gated model needs its licence accepted on the hub and a token in HF_TOKEN; without network give a local folder"
        raise Missing(f"cannot load the model {name!r}: {first}", hint=hint) from None
    _set_template(tokenizer, chat_template, name)
    if arguments:
        tokenizer.chat_template = with_arguments(str(tokenizer.chat_template), arguments)
        _try_template(tokenizer)
    if tokenizer.eos_token is None:
        raise InputError("the tokenizer has no end-of-sequence token, so that a model could not learn to stop", where=name)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_start(start: Start, config: AnyConfig, args: Any) -> tuple[Any, int | None, int | None]:
    """Tokenizer, positions and embedded tokens of the model by name or folder that a training starts from; see `load_tokenizer`."""
    tokenizer = load_tokenizer(start.tokenizer, config.chat_template, args, config.chat_template_kwargs)
    room, embedded = sizes(start.base, args)
    pad_inside(tokenizer, embedded)
    return tokenizer, room, embedded


def sizes(name: str, args: Any) -> tuple[int | None, int | None]:
    """How many tokens a model can take at once, and how many it embeds, as its configuration says; None where it does not."""
    from transformers import AutoConfig

    text = AutoConfig.from_pretrained(name, **_hub_options(args)).get_text_config()
    found = (getattr(text, n, None) for n in ("max_position_embeddings", "vocab_size"))
    room, embedded = (int(n) if n else None for n in found)
    return room, embedded


def pad_inside(tokenizer: Any, embedded: int | None) -> None:
    """Pad with the end token where the tokenizer's padding token came after the model's embeddings, as many scripts leave it."""
    if embedded is None or tokenizer.pad_token_id < embedded:
        return
    message = "the padding token %r (%d) lies beyond the model's %d embeddings: padded with %r instead"
    _log.warning(message, tokenizer.pad_token, tokenizer.pad_token_id, embedded, tokenizer.eos_token)
    tokenizer.pad_token = tokenizer.eos_token


_SET = re.compile(r"\{% set \w+ = [^\n]* %\}\{# chat_template_kwargs #\}\n")


def with_arguments(template: str, arguments: Mapping[str, Any]) -> str:
    """A chat template that has its arguments itself, in place of those that it was given so before."""
    sets = "".join(f"{{% set {name} = {_jinja(value)} %}}{{# chat_template_kwargs #}}\n" for name, value in sorted(arguments.items()))
    return sets + _SET.sub("", template)


def _jinja(value: Any) -> str:
    """A value as Jinja writes it."""
    if value is None or isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(map(_jinja, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_jinja(k)}: {_jinja(v)}' for k, v in value.items())}}}"
    return ascii(value)


def _hub_options(args: Any) -> dict[str, Any]:
    return {"revision": (args.model_init_kwargs or {}).get("revision"), "trust_remote_code": args.trust_remote_code}


def _set_template(tokenizer: Any, wanted: str | None, name: str) -> None:
    if isinstance(tokenizer.chat_template, dict):  # several by name: transformers takes this one
        tokenizer.chat_template = tokenizer.chat_template.get("default")
    if wanted is None and tokenizer.chat_template is not None:
        return
    vocab = tokenizer.get_vocab()
    if wanted is None:
        wanted = "llama3" if all(t in vocab for t in _LLAMA3_TOKENS) else "plain"
    if wanted == "llama3":
        if lacking := [t for t in _LLAMA3_TOKENS if t not in vocab]:
            raise InputError(f"chat_template llama3: the tokenizer of {name} lacks {', '.join(lacking)}", where="chat_template")
        tokenizer.eos_token = _LLAMA3_TOKENS[-1]
        tokenizer.chat_template = _LLAMA3
        return
    tokenizer.chat_template = _PLAIN if wanted == "plain" else wanted
    _try_template(tokenizer)


def _try_template(tokenizer: Any) -> None:
    try:
        text = tokenizer.apply_chat_template([{"role": "user", "content": "x"}], tokenize=False, add_generation_prompt=True)
    except Exception as e:  # noqa: BLE001  a chat template is a program: whatever it raises on a plain message is its own fault
        raise InputError(f"not a valid chat template: {type(e).__name__}: {str(e)[:300]}", where="chat_template") from None
    if "x" not in text:
        raise InputError("the chat template does not render the message", where="chat_template", hint="use llama3, plain or Jinja text")


def check_ending(chat: Chat, name: str) -> None:
    """Check that a guard can learn to stop.

    Raises:
        InputError: the chat template ends an answer with no token of its own.
    """
    if chat.end is None:
        hint = "give a chat_template that writes the end token after an answer (chat_template: plain, say)"
        raise InputError(
            f"the chat template of {name} ends an answer with no token of its own: a guard could not learn to stop", where="chat_template", hint=hint
        )


LOOKED_AT = 64
"""Rows of a training set that `prompts_cut` looks at, evenly spread."""


def prompts_cut(chat: Chat, data: Any, answer: str) -> dict[str, int]:
    """Check that a guard is trained on the words that it is asked in, and count where the tokens differ all the same.

    The text of prompt and answer must begin with what inference renders of the prompt. Its tokens may yet not begin with the prompt's, where
    the answer's first characters join the prompt's last token: the answer then starts where the two part.

    Args:
        chat: tokenizer and chat template.
        data: rows with ``prompt`` and `answer`.
        answer: column of the answer.

    Returns:
        ``{"looked_at": n, "cut": k}``: rows, and in how many of them the prompt's tokens are no prefix.

    Raises:
        InputError: a chat template under which the texts differ, or that opens a thought where it is asked and has closed it where it is trained.
    """
    rows = data.select(range(0, len(data), max(1, len(data) // LOOKED_AT)))
    cut, added = 0, set()
    with refusals():
        for row in rows:
            between = _check_text(chat, row["prompt"], row[answer])
            head, whole = chat.tokens(row["prompt"], ask=True), chat.tokens(row["prompt"] + row[answer], ask=False)
            if parts := whole[: len(head)] != head:
                cut += 1
            if between and (parts or chat.opens_thought(row["prompt"])):
                raise _other_words(chat, f"a prompt and then {between!r}", "the prompt alone")
            added |= {between} - {""}
    if cut:
        _log.warning("the chat template changes the prompt once an answer follows, in %d of %d rows looked at", cut, len(rows))
    for words in sorted(added):
        _log.warning("the chat template writes %r before an answer, which the guard learns to write, too: see chat_template_kwargs", words)
    return {"looked_at": len(rows), "cut": cut}


def _check_text(chat: Chat, prompt: Any, answer: Any) -> str:
    """What the template writes between a prompt as it is asked and the answer that is trained."""
    asked, trained = chat.text(prompt, ask=True), chat.text(prompt + answer, ask=False)
    if trained.startswith(asked):
        rest, answered = trained[len(asked) :], answer[0]["content"].strip()
        return rest.partition(answered)[0].strip() if answered and answered in rest else ""
    at = next((i for i, (a, b) in enumerate(zip(asked, trained, strict=False)) if a != b), min(len(asked), len(trained)))
    raise _other_words(chat, repr(trained[max(0, at - 20) : at + 40]), repr(asked[max(0, at - 20) : at + 40]))


def _other_words(chat: Chat, trained: str, asked: str) -> InputError:
    hint = "give a chat_template whose generation prompt is how an answer begins (chat_template: plain, say)"
    if "enable_thinking" in str(chat.tokenizer.chat_template):
        hint = "set chat_template_kwargs: {enable_thinking: false}, with which this template writes no thoughts of its own"
    words = "the chat template renders a prompt in other words once its answer follows: the guard would be trained on"
    return InputError(f"{words} {trained} and asked with {asked}", where="chat_template", hint=hint)


def tokenised(chat: Chat, data: Any, answers: Mapping[str, str], *, processes: int | None = None) -> Any:
    """The rows with the tokens of prompt and answers.

    Args:
        chat: tokenizer and chat template.
        data: rows with ``prompt``.
        answers: for each column with an answer the column that gets its tokens; ``prompt_ids`` gets the prompt's, as far as they are the same
            before each of the answers.
        processes: of `datasets`.

    Raises:
        InputError: a row whose text the tokenizer cannot tell from control tokens.
    """

    def tokens(row: Mapping[str, Any]) -> dict[str, list[int]]:
        try:
            head = chat.tokens(row["prompt"], ask=True)
            whole = {made: chat.tokens(row["prompt"] + row[column], ask=False) for column, made in answers.items()}
        except ValueError as e:
            raise InputError(str(e), where=f"row {row.get('id')}") from None
        same = min(_common(head, ids) for ids in whole.values())
        return {"prompt_ids": head[:same]} | {made: ids[same:] for made, ids in whole.items()}

    fingerprint = of_the_first(lambda: secrets.token_hex(8))  # else `datasets` hashes tokenizer and all
    with first_alone():
        return data.map(tokens, num_proc=processes, new_fingerprint=fingerprint)


def _common(first: Sequence[int], second: Sequence[int]) -> int:
    """Tokens that two texts begin with alike."""
    return next((i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), min(len(first), len(second)))
