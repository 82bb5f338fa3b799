"""Chat messages as a local model's tokens: what a message says is text, whatever it says.

A tokenizer takes ``<|im_end|>`` for its control token wherever it reads it, so that a text could end its own turn and go on in another's name. Here
control tokens come from the chat template alone, in training and in sampling alike.

*Control tokens* are the tokenizer's special tokens, and the other added tokens that the template writes around messages (DeepSeek's ``<｜User｜>`` is
no special one). Reasoning marks (``<think>``) are none, since guards write them as text, nor is the token for what a tokenizer does not know.

Contract: where no message holds a control token, `Chat.tokens` are exactly those of ``apply_chat_template``. That none does is not taken from the
texts alone: the control tokens among the ids must be those that the template writes around any messages of these roles. Else the template's control
tokens are written by names that nobody can guess, which a copy of the tokenizer knows them by; there a message's own are no tokens and come apart
like any other text. A template whose turns are plain text (``assistant:`` on a line) has nothing to keep apart but its end token.

A template that takes the content of a message as a list of parts alone (Llama Guard 3 1B) is given one. A message with files says so under ``media``
(`toolkit.generation._media_processor.Place`, as mappings): the template is given a part for each, before the text, and the placeholder that it writes
for a file is repeated as often as is said there. A prompt that no template writes
(`Request.raw`) begins as the tokenizer begins any text; the control tokens of its own pieces are control tokens, those of what it quotes are text.

Failure semantics: whatever the template raises; `ControlTextError` where a text cannot be distinguished from a control token: the tokenizer is not a
fast one, or its model makes the token out of the text by itself.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from toolkit.generation._thoughts import MARKS

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from toolkit.generation._request import Messages, Request

Talk = Sequence[Mapping[str, Any]]

_REASONING = frozenset(mark for pair in MARKS.values() for mark in pair)
_OPENING = tuple(opens for opens, _ in MARKS.values())
_MARK = re.compile(r"[^\w\s]\S*")
"""What an added token looks like that a template may mark turns with: neither white space nor words."""


class ControlTextError(ValueError):
    """A text holds a control token, and this tokenizer cannot take it for text."""


class Chat:
    """A tokenizer with its chat template.

    Args:
        tokenizer: of transformers, with a chat template.
        arguments: for the template, beside the messages (``enable_thinking``, …).
    """

    def __init__(self, tokenizer: Any, arguments: Mapping[str, Any] | None = None) -> None:
        self.tokenizer = tokenizer
        self._arguments = dict(arguments or {})
        self._secret = secrets.token_hex(12)
        self._shapes: dict[tuple[bool, tuple[tuple[str, bool, tuple[str, ...]], ...]], list[int] | None] = {}
        # rows that are too long are counted by whoever asks: this warning of transformers would say that they are cut
        tokenizer.deprecation_warnings["sequence-length-is-longer-than-the-specified-maximum"] = True
        added = {t.content: (i, t.special) for i, t in getattr(tokenizer, "added_tokens_decoder", {}).items()}
        control = {t: i for t, (i, special) in added.items() if special and t.strip()}
        control |= {t: i for t, i in zip(tokenizer.all_special_tokens, tokenizer.all_special_ids, strict=True) if t.strip() and i is not None}
        if tokenizer.unk_token not in (tokenizer.eos_token, tokenizer.bos_token):
            control.pop(str(tokenizer.unk_token), None)
        self._others: dict[str, Chat] = {}
        self._in_parts = self._takes_parts_alone()
        around, after = self._frame()
        marks = _pattern(t for t in added if t not in control and t not in _REASONING and _MARK.fullmatch(t))
        if marks is not None:
            control |= {t: added[t][0] for t in marks.findall(around)}
        self._control = control
        self._ids = frozenset(control.values())
        self._found = _pattern(control)
        self._firsts = {t[0] for t in control}
        ending = self._found.search(after) if self._found is not None else None
        self.end: int | None = control[ending.group()] if ending is not None else None
        """The token that ends an answer; None where the template has none."""
        self.ends = [] if self.end in (None, tokenizer.eos_token_id) else [self.end]
        """Tokens at which an answer ends beside the tokenizer's end token."""

    def text(self, messages: Talk, *, ask: bool) -> str:
        """What the template writes.

        Args:
            messages: ``{"role", "content"}`` each, and perhaps ``media``.
            ask: end where the answer is to begin.
        """
        talk = [_message(m, self._in_parts) for m in messages]
        written: str = self.tokenizer.apply_chat_template(talk, tokenize=False, add_generation_prompt=ask, **self._arguments)
        return written

    def prompt(self, request: Request, media: Sequence[Mapping[str, Any]] = ()) -> list[int]:
        """The token ids of what a request asks. `media`: what stands for each of its files.

        Raises:
            ValueError: files, and no message of the user or a `raw` prompt.
        """
        if request.raw:
            if request.media:
                raise ValueError("a prompt that no template writes has no place for files")
            return self._raw(request.messages)
        asked = replace(request, media=()).messages_list() if request.media else request.messages_list()
        if request.media:
            asked = with_media(asked, media)
        found = request.template_arguments
        if not found or found == self._arguments:
            return self.tokens(asked, ask=True)
        if request.extra not in self._others:
            self._others[request.extra] = Chat(self.tokenizer, found)
        return self._others[request.extra].tokens(asked, ask=True)

    def tokens(self, messages: Talk, *, ask: bool) -> list[int]:
        """The token ids of the same; see the module's docstring.

        Raises:
            ControlTextError: see there; ValueError: a template that has no place for files.
        """
        places = [place for m in messages for place in m.get("media") or ()]
        ids = self._written(messages, ask)
        return _repeated(ids, places) if places else ids

    def _written(self, messages: Talk, ask: bool) -> list[int]:
        """The token ids with one placeholder for each file."""
        if not self.holds(messages):
            ids: list[int] = self.tokenizer(self.text(messages, ask=ask), add_special_tokens=False)["input_ids"]
            if self._found is None or self._controls(ids) == self._of_template(messages, ask):
                return ids
        return self._apart(messages, ask)

    def lengths(self, talks: Sequence[Talk]) -> list[int]:
        """How many tokens `tokens` gives each of some whole conversations; faster for many."""
        plain = [not self.holds(talk) and not any(m.get("media") for m in talk) for talk in talks]
        texts = [self.text(talk, ask=False) for talk, easy in zip(talks, plain, strict=True) if easy]
        counts = iter([len(ids) for ids in self.tokenizer(texts, add_special_tokens=False)["input_ids"]] if texts else [])
        return [next(counts) if easy else len(self.tokens(talk, ask=False)) for talk, easy in zip(talks, plain, strict=True)]

    def holds(self, messages: Talk) -> bool:
        """Whether a message holds a control token as it is written."""
        found = self._found
        return found is not None and any(
            found.search(text) for text in (m["content"] for m in messages) if any(first in text for first in self._firsts)
        )

    def opens_thought(self, messages: Talk) -> bool:
        """Whether the template, where the answer is to begin, has opened a thought for the model to go on with."""
        return self.text(messages, ask=True).rstrip().endswith(_OPENING)

    def _raw(self, pieces: Messages) -> list[int]:
        """The token ids of a prompt in pieces."""
        talk = [{"role": role, "content": content} for role, content in pieces if role != "text"]
        if not self.holds(talk):
            ids: list[int] = self.tokenizer("".join(content for _, content in pieces))["input_ids"]
            frame = self.tokenizer("".join(content if role == "text" else "x" for role, content in pieces))["input_ids"]
            if self._found is None or self._controls(ids) == self._controls(frame):
                return ids
        copy, names, numbers = self._renamed
        assert self._found is not None  # noqa: S101  else there is nothing to tell apart
        own = [self._found.subn(lambda found: names[found.group()], content) if role == "text" else (content, 0) for role, content in pieces]
        start = self.tokenizer("")["input_ids"]
        begun = [i for i in start if i != self.tokenizer.eos_token_id]  # what it puts before a text, not behind
        ids = [numbers.get(i, i) for i in copy.encode("".join(text for text, _ in own), add_special_tokens=False).ids]
        if len(self._controls(ids)) != sum(n for _, n in own):
            raise ControlTextError("a text holds what this tokenizer takes for a control token, however it is written")
        return [*begun, *ids]

    def _takes_parts_alone(self) -> bool:
        """Whether the template leaves out a content that is a text, and writes one that is a list of parts."""
        word = f"{self._secret}p"
        try:
            if word in self.tokenizer.apply_chat_template([{"role": "user", "content": word}], tokenize=False, **self._arguments):
                return False
        except Exception:  # noqa: BLE001, S110  a chat template is a program, and may refuse a message as it likes
            pass
        try:
            parts = [{"role": "user", "content": [{"type": "text", "text": word}]}]
            written: str = self.tokenizer.apply_chat_template(parts, tokenize=False, **self._arguments)
        except Exception:  # noqa: BLE001  as above
            return False
        return word in written and not any(mark + word in written for mark in ("'text': '", '"text": "'))

    def _controls(self, ids: Iterable[int]) -> list[int]:
        return list(filter(self._ids.__contains__, ids))

    def _of_template(self, messages: Talk, ask: bool) -> list[int] | None:
        """Control tokens that the template writes around messages of these roles; None where it takes no others in their place."""
        shape = (ask, tuple((m["role"], not m["content"] or m["content"].isspace(), _kinds(m)) for m in messages))
        if shape not in self._shapes:
            others = [{"role": role, "content": "" if blank else "x", "media": [{"kind": kind} for kind in kinds]} for role, blank, kinds in shape[1]]
            try:
                ids = self.tokenizer(self.text(others, ask=ask), add_special_tokens=False)["input_ids"]
                self._shapes[shape] = self._controls(ids)
            except Exception:  # noqa: BLE001  a chat template is a program, and may refuse these messages as it likes
                self._shapes[shape] = None
        return self._shapes[shape]

    def _apart(self, messages: Talk, ask: bool) -> list[int]:
        """The tokens where the messages' control tokens are text."""
        copy, names, numbers = self._renamed
        assert self._found is not None  # noqa: S101  else there is nothing to tell apart
        places = {t: f"{self._secret}{n:06}x" for n, t in enumerate(names)}
        hidden = [{**m, "content": self._found.sub(lambda found: places[found.group()], m["content"])} for m in messages]
        text, written = self._found.subn(lambda found: names[found.group()], self.text(hidden, ask=ask))
        texts = {place: t for t, place in places.items()}
        text = re.sub(rf"{self._secret}\d{{6}}x", lambda found: texts[found.group()], text)
        ids = [numbers.get(i, i) for i in copy.encode(text, add_special_tokens=False).ids]
        if len(self._controls(ids)) != written:
            raise ControlTextError("a text holds what this tokenizer takes for a control token, however it is written")
        return ids

    @cached_property
    def _renamed(self) -> tuple[Tokenizer, dict[str, str], dict[int, int]]:
        """A copy of the tokenizer that knows the control tokens by other names, these names, and its ids that differ with those meant."""
        from tokenizers import Tokenizer

        if (backend := getattr(self.tokenizer, "backend_tokenizer", None)) is None:
            raise ControlTextError("a text holds a control token, which only a fast tokenizer (tokenizer.json) can take for text")
        spec = json.loads(backend.to_str())
        names = {t: f"\ue000{self._secret}{n:06}\ue001" for n, t in enumerate(self._control)}
        _rename_model(spec["model"], names)
        meant = {}
        for token in spec["added_tokens"]:
            name = names.get(token["content"])
            meant[name or token["content"]] = token["id"]
            if name is not None:
                token |= {"content": name, "normalized": False}
        copy: Tokenizer = Tokenizer.from_str(json.dumps(spec | {"truncation": None, "padding": None}))
        return copy, names, {now: number for t, number in meant.items() if (now := copy.token_to_id(t)) not in (None, number)}

    def _frame(self) -> tuple[str, str]:
        """What the template writes around messages of each role, and after an answer."""
        asked, answered = f"{self._secret}q", f"{self._secret}a"
        system, user, answer = ({"role": r, "content": c} for r, c in (("system", asked), ("user", asked), ("assistant", answered)))
        around, after = [], ""
        for talk, ask in (([system, user], True), ([user], True), ([user, answer], False)):
            try:
                text = self.text(talk, ask=ask)
            except Exception:  # noqa: BLE001, S112  as above
                continue
            around.append(text)
            after = text.rpartition(answered)[2] if answered in text else ""
        return "\n".join(around).replace(asked, "\n").replace(answered, "\n"), after


def with_media(messages: Talk, media: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The messages, files with the first of the user (ValueError: there is none)."""
    out = [dict(m) for m in messages]
    asks = next((m for m in out if m["role"] == "user"), None)
    if asks is None:
        raise ValueError("files, and no message of the user that asks about them")
    asks["media"] = list(media)
    return out


def _kinds(message: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(place["kind"] for place in message.get("media") or ())


def _message(message: Mapping[str, Any], in_parts: bool) -> dict[str, Any]:
    """A message as a template takes it."""
    kinds, text = _kinds(message), message["content"]
    others = {name: value for name, value in message.items() if name != "media"}
    if not kinds and not in_parts:
        return others
    return others | {"content": [{"type": kind} for kind in kinds] + ([{"type": "text", "text": text}] if text or not kinds else [])}


def _repeated(ids: Sequence[int], places: Sequence[Mapping[str, Any]]) -> list[int]:
    """Tokens with each file's placeholder as often as it is to be there (ValueError: the template writes others)."""
    tokens, left, out = {place["token"] for place in places}, iter(places), list[int]()
    for token in ids:
        if token not in tokens:
            out.append(token)
            continue
        place = next(left, None)
        if place is None or place["token"] != token:
            break
        out += [token] * place["times"]
    else:
        if next(left, None) is None:
            return out
    raise ValueError(f"the chat template does not write one place for each of {len(places)} files")


def _pattern(tokens: Iterable[str]) -> re.Pattern[str] | None:
    """What finds tokens in a text, the longest first; None for none."""
    words = sorted((t for t in tokens if t), key=lambda t: (-len(t), t))
    return re.compile("|".join(map(re.escape, words))) if words else None


def _rename_model(model: dict[str, Any], names: Mapping[str, str]) -> None:
    """Rename tokens in the vocabulary of a tokenizer's model, but those that it puts together itself: their ids stay, and no text makes them."""
    made: set[str] = set()
    for merge in model.get("merges") or ():
        first, second = merge if isinstance(merge, list) else merge.split(" ", 1)
        made |= {first, second, first + second}
    new = {t: name for t, name in names.items() if t not in made}
    vocabulary = model.get("vocab")
    if isinstance(vocabulary, dict):
        model["vocab"] = {new.get(t, t): i for t, i in vocabulary.items()}
    elif isinstance(vocabulary, list):  # Unigram: pieces with their scores
        model["vocab"] = [[new.get(t, t), *score] for t, *score in vocabulary]
    if isinstance(vocabulary, dict) and model.get("unk_token") in vocabulary:
        model["unk_token"] = new.get(model["unk_token"], model["unk_token"])
