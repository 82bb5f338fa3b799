"""Licences as data: which licence a set of rows may carry, by the licences of its rows.

The table is ``schemas/licences/*.yaml``: guardkit's, and over it the user's own in the working folder, where an entry replaces the one of the
same name. Each entry says where it is taken from. A word that the table does not know goes into nothing but "other": nothing is guessed.

The algebra: a licence X *goes into* T where T is X, or X lists it, or T takes X; one that forbids sharing what was changed goes into none,
for rows with reasoning are changed ones. A set may carry what all its rows go into, so one more row
never widens what is allowed. Where no target is asked for, the least strict allowed licence is taken; where none is allowed, there is none, and each
row keeps its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from toolkit.common.errors import InputError, InputErrors, did_you_mean
from toolkit.common.files import sha256_file
from toolkit.common.paths import Beside
from toolkit.common.resources import schema_folders
from toolkit.common.yamlfile import YamlFile, parse_yaml, read_text
from toolkit.shards._row_counts import SEED_MODELS, UNKNOWN

ADD = "describe it in schemas/licences/mine.yaml of your workspace: licences: {NAME: {name, text, source, permits, asks, into}}"
"""What to do about a licence that the table does not know."""
ANY = "*"


class Permits(BaseModel):
    """What a licence lets one do."""

    model_config = ConfigDict(defer_build=True, extra="forbid", frozen=True)

    commercial: bool
    """Use for commercial advantage."""
    derivatives: bool
    """Sharing what was changed."""


class Asks(BaseModel):
    """What a licence asks for."""

    model_config = ConfigDict(defer_build=True, extra="forbid", frozen=True)

    attribution: bool
    """Naming whose work it is."""
    share_alike: bool
    """Passing what is made of it on under the same licence."""


class Licence(BaseModel):
    """One entry of the table."""

    model_config = ConfigDict(defer_build=True, extra="forbid", frozen=True)

    name: str
    """Its full name."""
    text: str
    """Where its text is."""
    source: str
    """Where `into` is taken from: a page, or a section of the text."""
    permits: Permits
    asks: Asks
    restrictions: tuple[str, ...] = ()
    """Uses that are ruled out."""
    into: tuple[str, ...] = ()
    """Licences that an adapted set holding such rows may carry; ``*`` for any."""
    takes: tuple[str, ...] = ()
    """Licences whose rows may go into this one."""
    hub: str = "other"
    """The Hugging Face hub's identifier."""
    aliases: tuple[str, ...] = ()
    """Other words for it."""
    obligations: tuple[str, ...] = ()
    """What to do, in words."""


class Terms(BaseModel):
    """Terms of a provider for what its models write."""

    model_config = ConfigDict(defer_build=True, extra="forbid", frozen=True)

    models: tuple[str, ...] = Field(min_length=1)
    """Words; a model whose name holds one of them is meant."""
    name: str
    terms: str
    """Where they are."""
    note: str


class _File(BaseModel):
    model_config = ConfigDict(defer_build=True, extra="forbid")

    licences: dict[str, Licence] = {}
    outputs: list[Terms] = []


@dataclass(frozen=True)
class Licences:
    """The table: entries by SPDX identifier, and the terms for models' outputs."""

    entries: Mapping[str, Licence]
    outputs: tuple[Terms, ...] = ()

    @cached_property
    def _known(self) -> dict[str, str]:
        return {word.casefold(): spdx for spdx, entry in self.entries.items() for word in (*entry.aliases, spdx)}

    def find(self, word: str) -> str | None:
        """Identifier of a licence by any word for it, or None."""
        return self._known.get(word.strip().casefold())

    def goes_into(self, row: str, target: str) -> bool:
        """Whether rows under `row` may go into a set under `target`; both are identifiers."""
        entry = self.entries[row]
        return entry.permits.derivatives and (row == target or ANY in entry.into or target in entry.into or row in self.entries[target].takes)

    def allowed(self, row: str) -> frozenset[str]:
        """Licences that a set holding rows under this one may carry."""
        return frozenset(t for t in self.entries if self.goes_into(row, t))

    def terms(self, model: str) -> Terms | None:
        """Terms for what a model writes, where they are known."""
        return next((t for t in self.outputs if any(word.casefold() in model.casefold() for word in t.models)), None)


@dataclass(frozen=True)
class Resolved:
    """What a set of rows may carry.

    Attributes:
        licence: identifier of the licence that the set carries; None for "other": each row keeps its own.
        allowed: identifiers of all that it may carry.
        refused: words of the rows that may not go into the target, in order.
        unknown: those among all words that the table does not know, in order.
    """

    licence: str | None
    allowed: frozenset[str]
    refused: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


def resolve(rows: Iterable[str], target: str | None, table: Licences) -> Resolved:
    """The licence of a set with these rows. Order and number of the rows play no part.

    Args:
        rows: words for their licences.
        target: word for the licence that the set is to carry; None takes the least strict one that is allowed.
        table: of licences.

    Raises:
        InputError: the table does not know the target.
    """
    words = sorted(set(rows))
    ids = {word: table.find(word) for word in words}
    unknown = tuple(word for word, spdx in ids.items() if spdx is None)
    allowed = frozenset(table.entries)
    for spdx in ids.values():
        allowed &= frozenset() if spdx is None else table.allowed(spdx)
    if target is None:
        return Resolved(_least(allowed, {spdx for spdx in ids.values() if spdx}, table), allowed, (), unknown)
    wanted = known(target, table)
    refused = tuple(word for word, spdx in ids.items() if spdx is None or not table.goes_into(spdx, wanted))
    return Resolved(None if refused else wanted, allowed, refused, unknown)


def known(target: str, table: Licences) -> str:
    """Identifier of a target (InputError: the table does not know it)."""
    found = table.find(target)
    if found is None:
        raise InputError(f"the licence {target!r} is not known", hint=f"{did_you_mean(target, table.entries)}; or {ADD}")
    return found


def _least(allowed: frozenset[str], own: set[str], table: Licences) -> str | None:
    """Of some licences the one that goes into most of them; among equals one of the rows' own, then the first by name."""
    return min(allowed, key=lambda spdx: (-len(table.allowed(spdx) & allowed), spdx not in own, spdx), default=None)


def licence_files(beside: Beside = None) -> list[Path]:
    """The files of the table: guardkit's, then the user's own. `beside`: see `toolkit.common.resources.find`."""
    roots = reversed(schema_folders("licences", beside))
    found = {p.resolve(): p for root in roots if root.is_dir() for p in sorted(root.glob("*.yaml"))}
    return list(found.values())


def licence_digests(beside: Beside = None) -> dict[str, str]:
    """``{name: sha256}`` of the files of the table; no name says where the machine keeps them."""
    return {f"licences/{i}.{p.name}": sha256_file(p) for i, p in enumerate(licence_files(beside))}


def load_licences(beside: Beside = None) -> Licences:
    """The table.

    Raises:
        InputErrors: faults in a file, each with its line: a key that is unknown or missing, a licence that is not there, or an entry that lets rows
            go into a laxer licence.
    """
    return _table(tuple((str(path), read_text(path)) for path in licence_files(beside)))


@lru_cache(maxsize=2)
def _table(files: tuple[tuple[str, str], ...]) -> Licences:
    entries: dict[str, Licence] = {}
    outputs: list[Terms] = []
    came: dict[str, YamlFile] = {}
    for path, text in files:
        file = parse_yaml(text, path)
        data = file.model(_File)
        for spdx, entry in data.licences.items():
            same = next((k for k in entries if k.casefold() == spdx.casefold()), spdx)  # an own entry replaces guardkit's
            entries[same], came[same] = entry, file
        outputs[:0] = data.outputs
    table = Licences(entries, tuple(outputs))
    if faults := [fault for spdx in entries for fault in _faults(spdx, table, came[spdx])]:
        raise InputErrors(faults)
    return table


def _faults(spdx: str, table: Licences, file: YamlFile) -> list[InputError]:
    """What cannot be true of an entry."""
    entry = table.entries[spdx]
    out = []
    for key, other in [*(("into", i) for i in entry.into if i != ANY), *(("takes", i) for i in entry.takes)]:
        where = file.where(("licences", spdx, key))
        if other not in table.entries:
            out.append(InputError(f"no licence called {other!r}", where=where, hint=did_you_mean(other, table.entries)))
            continue
        row, target = (entry, table.entries[other]) if key == "into" else (table.entries[other], entry)
        if lost := _laxer(row, target):
            out.append(InputError(f"{spdx} and {other}: the rows' licence {lost}, the set's does not", where=where))
    return out


def _laxer(row: Licence, target: Licence) -> str | None:
    """What a row's licence asks for and the target would drop."""
    checks: list[tuple[str, Any, Any]] = [
        ("forbids commercial use", not row.permits.commercial, not target.permits.commercial),
        ("asks for attribution", row.asks.attribution, target.asks.attribution),
        ("asks for the same licence", row.asks.share_alike, target.asks.share_alike),
        ("forbids sharing what was changed", not row.permits.derivatives, False),
        *((f"rules out: {r}", True, r in target.restrictions) for r in row.restrictions),
    ]
    return next((words for words, has, kept in checks if has and not kept), None)


def licence_section(rows: Mapping[str, int], target: str | None, table: Licences) -> dict[str, Any]:
    """What the manifest says of licences.

    Args:
        rows: number of rows by the word for their licence.
        target: licence that the set is to carry.
        table: of licences.

    Returns:
        id: SPDX identifier of the set's licence, None for "other"; target; name, text, hub: of that licence (None, None and ``other`` where there is
        none); rows: for each word {licence, id, rows, name, text, obligations, restrictions}.

    Raises:
        InputError: the target is not known, or a row may not go into it.
    """
    found = resolve(rows, target, table)
    if found.refused:
        raise InputError(f"rows under {', '.join(found.refused)} may not go into {target}")
    own = table.entries[found.licence] if found.licence else None
    lines = []
    for word, n in sorted(rows.items()):
        spdx = table.find(word)
        entry = table.entries[spdx] if spdx else None
        about = {"name": entry.name, "text": entry.text} if entry else {"name": None, "text": None}
        more = (
            {"obligations": list(entry.obligations), "restrictions": list(entry.restrictions)} if entry else {"obligations": [], "restrictions": []}
        )
        lines.append({"licence": word, "id": spdx, "rows": n, **about, **more})
    head = {"name": own.name, "text": own.text, "hub": own.hub} if own else {"name": None, "text": None, "hub": "other"}
    return {"id": found.licence, "target": target, **head, "rows": lines}


def models_section(counts: Mapping[str, Mapping[str, int]], table: Licences) -> list[dict[str, Any]]:
    """The models that wrote in the rows: {role, model, rows, terms}; `terms` ({name, terms, note}) where the table has them, else None."""
    roles = [name for name in ("teacher", "chosen_model", "rejected_model", *SEED_MODELS) if name in counts]
    out = []
    for role in roles:
        for model, n in counts[role].items():
            if role in SEED_MODELS and model == UNKNOWN:  # rows that no model wrote
                continue
            terms = table.terms(model)
            about = {"name": terms.name, "terms": terms.terms, "note": terms.note} if terms else None
            out.append({"role": role, "model": model, "rows": n, "terms": about})
    return out
