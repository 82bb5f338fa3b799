"""What an option reaches beyond the rows: code that it would run, a secret that it would send, a name that it would fetch.

A recipe is data that others write, so that nothing in it may run code, send a secret or write elsewhere unless whoever runs it says so by name
(``--allow trust_remote_code``, ``--allow api_key_env=MY_KEY``; in Python ``allow=[…]``). One mechanism for all options: an option whose values may
need leave carries a `NeedsLeave` in its annotation, `asked` finds what a config asks for, `refused` what of it was not allowed. Of a free dictionary
the rule allows the keys that are known to be plain data; whatever else it holds needs leave. A `HubName` is listed by ``guardkit check``.

Leave shapes no result: it is part of no fingerprint.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from toolkit.common.errors import InputError, nearest

if TYPE_CHECKING:
    from pydantic import BaseModel

Key = tuple[str | int, ...]


@dataclass(frozen=True)
class Asked:
    """What an option needs leave for.

    Attributes:
        name: as ``--allow`` takes it.
        why: what would happen, in words.
        key: place of the option below the config.
    """

    name: str
    why: str
    key: Key = ()


@dataclass(frozen=True)
class NeedsLeave:
    """In an option's annotation: `rule` gets its value and the config that it is in, and gives what needs leave, each with its place below it."""

    rule: Callable[[Any, Any], Iterator[Asked]]


@dataclass(frozen=True)
class HubName:
    """In an option's annotation: a text that is no folder here is a name on the Hugging Face hub."""

    what: str = "model"


def asked(config: BaseModel) -> Iterator[Asked]:
    """All that a config asks leave for."""
    for place, value, parent, notes in _options(config, ()):
        for note in notes:
            if isinstance(note, NeedsLeave) and value is not None:
                yield from (Asked(a.name, a.why, (*place, *a.key)) for a in note.rule(value, parent))


def hub_names(config: BaseModel) -> Iterator[tuple[Key, str, str]]:
    """Options that may name something on the hub: place, what it is, the name."""
    for place, value, _, notes in _options(config, ()):
        for note in notes:
            if isinstance(note, HubName) and isinstance(value, str) and value:
                yield place, note.what, value


def inner(config: BaseModel) -> Iterator[BaseModel]:
    """A config and all the models below it."""
    yield config
    yield from (model for _, model in placed(config))


def placed(config: BaseModel) -> Iterator[tuple[Key, BaseModel]]:
    """All the models below a config, each with its place."""
    for place, value, _, _ in _options(config, ()):
        if _is_model(value):
            yield place, value


def refused(config: BaseModel, allow: Collection[str], where: Callable[[Key], str]) -> list[InputError]:
    """An error for each thing that a config asks leave for and `allow` does not name; `where` gives the place of an option."""
    hint = "it is done only if you say so: {{--allow {0}|allow=['{0}']}}, once you have read what the recipe does"
    return [InputError(a.why, where=where(a.key), hint=hint.format(a.name)) for a in asked(config) if a.name not in allow]


def unknown(configs: Iterable[BaseModel], allow: Collection[str]) -> list[InputError]:
    """An error for each name that is allowed and that nothing in these configs is called or asks leave for, with the nearest that something does."""
    names, known = set[str](), set[str]()
    for config in configs if allow else ():
        names |= {a.name for a in asked(config)}
        known |= {name for model in inner(config) for name in type(model).model_fields}
    known |= {name.partition("=")[0] for name in names}
    odd = [name for name in allow if name.partition("=")[0] not in known]
    return [InputError(f"nothing here asks leave for {name!r}", where="{--allow|allow}", hint=nearest(name, names) or "leave it out") for name in odd]


def _options(config: BaseModel, at: Key) -> Iterator[tuple[Key, Any, BaseModel, list[Any]]]:
    """Each option below a config: place, value, the model that it is in, the metadata of its annotation."""
    for name, field in type(config).model_fields.items():
        value, place = getattr(config, name), (*at, field.alias or name)
        yield place, value, config, field.metadata
        for part, below in _models(value, place):
            if part != place:
                yield part, below, config, []
            yield from _options(below, part)


def _models(value: Any, at: Key) -> Iterator[tuple[Key, Any]]:
    if _is_model(value):
        yield at, value
    elif isinstance(value, Mapping | list | tuple):
        for part, item in value.items() if isinstance(value, Mapping) else enumerate(value):
            yield from _models(item, (*at, part))


def _is_model(value: Any) -> bool:
    return hasattr(type(value), "model_fields")
