"""One raw row to one seed, as a source definition, a guard and a taxonomy say."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from toolkit.common.errors import InputError, InputErrors, did_you_mean
from toolkit.guards import Guard, Task, load_guard, parse
from toolkit.records import Media
from toolkit.sources._chat_column import Messages, conversation
from toolkit.sources._faults import RowError
from toolkit.sources._labels import agreed, camps, category_values, column_label, derived_value, exact, text_of, uncsv, value_of, vote_label
from toolkit.sources._media_files import MediaReader, row_media
from toolkit.sources._released import split_released_input
from toolkit.sources._source_definition import Label, Part, Source, VoteMethod
from toolkit.taxonomy import Taxonomy

Row = dict[str, Any]
Labelled = tuple[str | None, str]
"""A label and its source; or None and the reason why there is none."""
GUARDS = "guards/"
"""What the names of guards among a step's files begin with."""

_MESSAGE = frozenset({"role", "content"})


@dataclass(frozen=True)
class Seed:
    """A row before it has ids. `labels`: by task, in the guard's order; `votes`: as in the record ``seed``."""

    context: list[dict[str, str]]
    prompt: str
    response: str | None
    labels: list[Labelled]
    categories: list[str]
    votes: list[dict[str, Any]]
    language: str | None
    group: str | None
    split: str | None
    media: tuple[Media, ...] = ()


class Converter:
    """Turns rows of one source, or of one of its parts, into seeds.

    Args:
        source: the source.
        guard: its tasks are the labels that are read.
        taxonomy: knows the schemes that the source names.
        part: name of the part, where the source has parts.
        vote: how several annotators make a label (see `Vote`).
        csv: rows hold text only, to be read as the kinds that the source declares.
        files: reads the files that rows name or hold.

    Raises:
        InputError: source, guard and taxonomy do not fit together; InputErrors for several faults.
    """

    required: list[str]
    optional: list[str]
    sparse: frozenset[str]

    def __init__(
        self,
        source: Source,
        guard: Guard,
        taxonomy: Taxonomy,
        *,
        part: str | None = None,
        vote: VoteMethod | None = None,
        csv: bool = False,
        files: MediaReader | None = None,
    ) -> None:
        if source.each:
            self.views = [Converter(view, guard, taxonomy, part=part, vote=vote, csv=csv, files=files) for view in source.views]
            self.required = list(dict.fromkeys(c for view in self.views for c in view.required))
            self.optional = list(dict.fromkeys(c for view in self.views for c in view.optional))
            self.sparse = frozenset[str]().union(*(view.sparse for view in self.views))
            return
        self.views = [self]
        """What makes a seed each of a row: itself, or one for each value of the source's `each`."""
        self._source, self._guard = source, guard
        self._vote: VoteMethod = vote or "unsafe_or_safe"
        self._csv, self._files = csv, files
        self._rules = _rules(source, guard)
        self._messages = _message_reader(source, guard)
        self._answers = _answer_reader(source, source.parts[part], guard) if part else None
        _check(source, guard, self._rules)
        self._schemes = {name: taxonomy.scheme(name) for name in _schemes(source, self._rules)}
        self._kinds = _kinds(source, self._rules)
        self._maps = {t: rule.map or {w: w for w in guard.task(t).labels} for t, rule in self._rules.items() if rule.columns}
        positive = source.categories.where_positive if source.categories else []
        self._positive = [(i, t.positive) for i, t in enumerate(guard.tasks) if t.name in positive]
        self._blank = {rule.column for rule in self._rules.values() if rule.map and "" in rule.map}
        self._blank |= {source.filter.column} if source.filter and source.filter.equals == "" else set()
        self.required, self.optional = _columns(source, self._rules)
        self.sparse = frozenset[str](c for rule in self._rules.values() for c in (*(rule.any or ()), *(rule.all or ())))
        """Those of the required columns that a row may lack, as long as some row has them."""

    @property
    def wanted(self) -> list[str]:
        """All columns that are used."""
        return [*self.required, *self.optional]

    def keeps(self, row: Row) -> bool:
        """Whether the source's filter keeps the row.

        Raises:
            RowError: the filter's column is missing, null or of another type.
        """
        f = self._source.filter
        if f is None:
            return True
        return bool(exact(value_of(row, f.column), self._kinds[f.column], f.column) == f.equals)

    def read_ahead(self, rows: list[Row]) -> None:
        """Begin to read the files of rows whose seeds are asked for next."""
        for view in self.views:
            columns, files = view._source.columns, view._files
            if files is not None and columns is not None and isinstance(columns.media, list):
                files.forget()
                files.read_ahead(filter(view._may_keep, rows), columns.media)

    def _may_keep(self, row: Row) -> bool:
        try:
            return self._source.filter is None or self.keeps(self.typed(row))
        except RowError:
            return False

    def typed(self, row: Row) -> Row:
        """A CSV row with the kinds that the source declares; any other row as it is."""
        if not self._csv:
            return row
        return {**row, **{c: self._uncsv(row[c], c, kinds) for c, kinds in self._kinds.items() if c in row}}

    def _uncsv(self, value: Any, column: str, kinds: frozenset[type]) -> Any:
        if value is None and column in self._blank:
            return ""
        found = uncsv(value, kinds)
        missing = isinstance(found, str) and kinds <= {bool, int, float} and found.strip().lower() == "nan"
        return None if missing else found

    def seed(self, row: Row) -> Seed:
        """The seed of a row.

        Raises:
            RowError: the row cannot be one, with the reason.
        """
        context, prompt, response = self._messages(row)
        c = self._source.columns
        media = row_media(row, c.media, self._files) if c is not None and c.media is not None else ()
        if prompt is None or not prompt.strip():
            if not media:
                raise RowError("empty_prompt", "the prompt is missing" if prompt is None else "the prompt is empty")
            prompt = prompt or ""
        labels = self._answers(row, response) if self._answers else [self._label(row, t, response) for t in self._guard.tasks]
        return Seed(
            context=context,
            prompt=prompt,
            response=response,
            labels=labels,
            categories=self._categories(row, labels),
            votes=self._votes(row, labels),
            language=_mark(row, c.language if c else None),
            group=_mark(row, c.group if c else None),
            split=_mark(row, c.split if c else None),
            media=media,
        )

    def _label(self, row: Row, task: Task, response: str | None) -> Labelled:
        rule = self._rules.get(task.name)
        label = None
        if rule is not None and rule.derived:
            value = derived_value(row, rule)
            label = None if value is None else self._maps[task.name][value]
        elif rule is not None and rule.column is not None:
            label = column_label(row, rule.column, self._maps[task.name], self._kinds[rule.column])
        elif rule is not None and rule.vote is not None:
            label = vote_label(row, rule.vote, self._schemes[rule.vote.scheme], self._vote)
        return _labelled(task, label, rule.source if rule else None, rule.missing if rule else None, response)

    def _votes(self, row: Row, labels: list[Labelled]) -> list[dict[str, Any]]:
        """The annotators' votes, for each task that has a label."""
        out: list[dict[str, Any]] = []
        for task, (label, _) in zip(self._guard.tasks, labels, strict=True):
            rule = self._rules.get(task.name)
            if rule is None or (task.applies == "response" and label is None):
                continue
            if rule.vote is not None:
                counts = camps(row, rule.vote)
                n = sum(counts.values())
                out += [{"task": task.name, "label": word, "share": c / n, "n": c} for word, c in counts.items() if c]
            elif rule.agreement is not None and label is not None and (share := agreed(row, rule.agreement)) is not None:
                out.append({"task": task.name, "label": label, "share": share, "n": None})
            elif rule.shares and rule.map and (share := agreed(row, rule.columns[0])) is not None:
                shares = ((rule.map[True], share), (rule.map[False], 1 - share))
                out += [{"task": task.name, "label": word, "share": part, "n": None} for word, part in shares if part]
        return out

    def _categories(self, row: Row, labels: list[Labelled]) -> list[str]:
        rule = self._source.categories
        if rule is None:
            return []
        known = self._schemes[rule.scheme]
        out: list[str] = []
        for value in category_values(row, rule):
            if value not in known:
                raise RowError("unknown_category", f"{value[:80]!r} is not in the map of {rule.scheme!r}")
            category = known[value]
            if category is not None and category not in out:
                out.append(category)
        return out if not rule.where_positive or any(labels[i][0] == word for i, word in self._positive) else []


def _written_with(name: str, guard: Guard) -> Guard:
    """The guard that an exchange was written with, as far as its rows depend on it: the run's own, where that is the one."""
    return (guard if name == guard.name else load_guard(name)).only(("tasks", "input", "output"))


def guards_of(source: Source, own: Guard | None = None) -> dict[str, str]:
    """Guards other than the run's `own` whose form the rows of a source have, for the files that a step reads: ``{name: digest}``."""
    e = source.exchange
    if e is None or (own is not None and e.guard == own.name):
        return {}
    return {f"{GUARDS}{e.guard}": load_guard(e.guard).only(("tasks", "input", "output")).fingerprint}


def _message_reader(source: Source, own: Guard) -> Callable[[Row], Messages]:
    """How context, prompt and response are got from a row."""
    c, e = source.columns, source.exchange
    if c is not None and c.messages is not None:
        return partial(_conversation, c.messages, c.turns)
    if e is None:
        prompt, response, context = (c.prompt, c.response, c.context) if c else (None, None, None)
        return lambda row: (
            _context(row, context) if context else [],
            _prompt(row, prompt) if prompt else None,
            text_of(row, response) if response else None,
        )
    column, guard = e.column, _written_with(e.guard, own)

    def read(row: Row) -> Messages:
        text = text_of(row, column)
        if text is None:
            return [], None, None
        try:
            return [], *split_released_input(text, guard)
        except InputError as fault:
            raise RowError("bad_exchange", f"{column}: {fault.message}") from None

    return read


def _conversation(column: str, turns: str | None, row: Row) -> Messages:
    return conversation(value_of(row, column), column, turns)


def _prompt(row: Row, column: str) -> str | None:
    try:
        return text_of(row, column)
    except RowError as e:
        if e.reason != "wrong_type" or type(row[column]) is not list:
            raise
        raise RowError(e.reason, f"{e.detail}: a conversation is `columns: {{messages: {column}}}`") from None


def _answer_reader(source: Source, part: Part, guard: Guard) -> Callable[[Row, str | None], list[Labelled]] | None:
    """How the labels are got from a column that holds the part's one label; None where the source has label columns instead."""
    if source.answer is None or source.exchange is None or part.task is None:
        return None
    column, task, label_source, written_by = source.answer.column, part.task, part.label_source, _written_with(source.exchange.guard, guard)
    words = frozenset(written_by.task(task).labels)

    def read(row: Row, response: str | None) -> list[Labelled]:
        text = text_of(row, column)
        found: Mapping[str, str | None] = {task: text} if text in words else parse(written_by, text, "strict").labels
        if found.get(task) is None:
            raise RowError("unknown_label", f"{column}: no label of the task {task!r} in {str(text)[:80]!r}")
        # Such a file knows one label; whatever it does not say is absent, also where there is no response to judge.
        return [(None, "absent") if found.get(t.name) is None else _labelled(t, found[t.name], label_source, None, response) for t in guard.tasks]

    return read


def _labelled(task: Task, label: str | None, source: str | None, missing: str | None, response: str | None) -> Labelled:
    if task.applies == "response" and response is None:
        if label is not None:
            raise RowError("label_without_response", f"{task.name} is {label!r}, but there is no response")
        return None, "not_applicable"
    if label is None or source is None:
        return None, missing or task.missing
    return label, source


def _context(row: Row, column: str) -> list[dict[str, str]]:
    value = value_of(row, column) if column in row else None
    if value is None:
        return []
    if type(value) is not list:
        raise RowError("wrong_type", f"{column} is not a list of messages but {type(value).__name__}")
    out = []
    for i, message in enumerate(value):
        if type(message) is not dict or not message.keys() >= _MESSAGE:
            raise RowError("wrong_type", f"{column}[{i}] is not {{role, content}}")
        more = [k for k, v in message.items() if k not in _MESSAGE and v is not None]
        if more:
            raise RowError("wrong_type", f"{column}[{i}] holds more than text: {', '.join(map(str, more))}")
        role, content = text_of(message, "role"), text_of(message, "content")
        if not role or content is None:
            raise RowError("wrong_type", f"{column}[{i}] has no role or no content")
        out.append({"role": role, "content": content})
    return out


def _mark(row: Row, column: str | None) -> str | None:
    return text_of(row, column) if column is not None and column in row else None


def _rules(source: Source, guard: Guard) -> dict[str, Label]:
    """Rules of the tasks that the guard has."""
    return {t: rule for t, rule in source.labels.items() if t in guard.task_names}


def read_labels(source: Source, guard: Guard, part: str | None = None) -> list[tuple[str, list[str], list[str]]]:
    """For each task whose labels are in the rows of a source, or of one of its parts: its name, their columns, and the labels that they may give."""
    if source.answer is not None:
        task = source.parts[part].task if part else None
        return [(task, [source.answer.column], list(guard.task(task).labels))] if task in guard.task_names and task else []
    rules = [(t, rule) for view in source.views for t, rule in _rules(view, guard).items() if rule.columns]
    columns = {t: [c for name, rule in rules if name == t for c in rule.columns] for t, _ in rules}
    return [(t, columns[t], rule.words(guard.task(t).labels)) for t, rule in dict(rules).items()]


def _schemes(source: Source, rules: Mapping[str, Label]) -> list[str]:
    voted = [r.vote.scheme for r in rules.values() if r.vote]
    return [*voted, *([source.categories.scheme] if source.categories else [])]


def _check(source: Source, guard: Guard, rules: Mapping[str, Label]) -> None:
    """All that does not fit between source and guard, at once."""
    errors = []
    named = [*source.labels, *(p.task for p in source.parts.values() if p.task)]
    if not set(named) & set(guard.task_names):
        hint = f"guard: {', '.join(guard.task_names)}; source: {', '.join(dict.fromkeys(named))}"
        errors.append(InputError(f"source {source.name!r} has labels for no task of guard {guard.name!r}", hint=hint))
    for name, rule in rules.items():
        known = guard.task(name).labels
        for word in rule.words(known):
            if word not in known:
                where = f"source {source.name!r}, labels.{name}"
                errors.append(InputError(f"{word!r} is no label of guard {guard.name!r}", where=where, hint=did_you_mean(word, known)))
    if errors:
        raise errors[0] if len(errors) == 1 else InputErrors(errors)


def _kinds(source: Source, rules: Mapping[str, Label]) -> dict[str, frozenset[type]]:
    """What Python types the columns that are no plain text hold."""
    out: dict[str, frozenset[type]] = {}
    for rule in rules.values():
        if rule.derived:
            number = rule.threshold is not None or rule.bins is not None
            out |= dict.fromkeys(rule.columns, frozenset({float} if number else {bool, int}))
        elif rule.column:
            out[rule.column] = frozenset(map(type, rule.map)) if rule.map else frozenset({str})
        if rule.agreement:
            out[rule.agreement] = frozenset({float})
        if rule.vote and rule.vote.count:
            out[rule.vote.count] = frozenset({int})
    if source.filter:
        out[source.filter.column] = frozenset({type(source.filter.equals)})
    if source.categories and source.categories.kind in ("list", "struct"):
        out |= dict.fromkeys(source.categories.columns, frozenset({list if source.categories.kind == "list" else dict}))
    if source.columns and source.columns.context:
        out[source.columns.context] = frozenset({list})
    if source.columns and source.columns.messages:
        out[source.columns.messages] = frozenset({list})
    if source.columns and isinstance(source.columns.media, str):
        out[source.columns.media] = frozenset({list})
    return out


def _columns(source: Source, rules: Mapping[str, Label]) -> tuple[list[str], list[str]]:
    """Columns that must be there, and those that may be."""
    c = source.columns
    must = [source.exchange.column] if source.exchange else [n for n in (c.prompt, c.messages, c.response) if n] if c else []
    must += [source.answer.column] if source.answer else []
    for rule in rules.values():
        must += rule.columns if rule.vote is None else []
        must += [rule.agreement] if rule.agreement else []
        must += [*rule.vote.columns, *([rule.vote.count] if rule.vote.count else [])] if rule.vote else []
    must += [source.filter.column] if source.filter else []
    must += source.categories.columns if source.categories else []
    must += [spec.column for spec in source.media_files]
    given = c.media if c and isinstance(c.media, str) else None
    may = [name for name in (c.context, given, c.language, c.group, c.split) if name] if c else []
    return list(dict.fromkeys(must)), list(dict.fromkeys(may))
