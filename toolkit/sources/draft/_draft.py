"""A source drafted by looking at a file: which columns hold prompt and response, which values mean which label.

A draft is for a person to read: what was chosen says why, what could not be decided is beside it with the candidates (`Draft.notes`,
`Draft.open`). It always is a definition that `Source` takes, and the rows that were looked at have been read with it (`Draft.kept`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from toolkit.common.errors import GuardkitError, InputError
from toolkit.common.yamlfile import YamlFile
from toolkit.guards import Guard
from toolkit.sources._chat_column import conversation
from toolkit.sources._convert import Converter
from toolkit.sources._faults import RowError
from toolkit.sources._read_source import read_source
from toolkit.sources._released import split_released_input
from toolkit.sources._source_definition import LabelSource, Source, load_source
from toolkit.sources.draft._draft_labels import LabelDraft, draft_labels
from toolkit.sources.draft._meanings import named
from toolkit.sources.draft._profile import LOOK, ColumnLook, Look, look_at
from toolkit.taxonomy import Taxonomy

_PROMPTS = [
    "prompt",
    "user_prompt",
    "user_input",
    "user_message",
    "user",
    "question",
    "query",
    "instruction",
    "request",
    "input",
    "human",
    "goal",
    "behavior",
    "behaviour",
    "utterance",
    "message",
    "comment_text",
    "comment",
    "text",
    "content",
    "sentence",
    "post",
    "tweet",
]
_RESPONSES = [
    "response",
    "model_response",
    "assistant_response",
    "assistant",
    "completion",
    "answer",
    "reply",
    "model_output",
    "output",
    "generation",
    "generated_text",
    "bot",
    "gpt",
    "model_answer",
]
_MARKS = {
    "language": ("language", "lang", "locale"),
    "group": ("group", "group_id", "conversation_id", "conv_id", "dialogue_id", "dialog_id", "thread_id", "prompt_id"),
    "split": ("split", "partition"),
}
_CHATS = frozenset(["messages", "conversation", "conversations", "turns", "dialog", "dialogue", "chat", "utterances"])
_CONTEXTS = ("context", "history", "previous_messages", "chat_history")
_LABEL = frozenset(("label", "labels", "is", "score", "agreement", "category", "type", "level", "severity"))
_ID = frozenset(("id", "uuid", "hash", "sha256", "url", "index", "idx", "key"))


@dataclass
class Draft:
    """What `draft_source` found.

    Attributes:
        source: the definition, as its file says it.
        notes: by part of the definition (``prompt``, ``labels.refusal``, …) what to say beside it.
        open: what a person has to decide, a line each.
        uses: by column what it was taken for.
        unused: columns that nothing was made of.
        look: the rows that were looked at.
        kept: how many of them are seeds by this definition.
        rejected: why the others are not, with the number of rows.
    """

    source: dict[str, Any]
    look: Look
    notes: dict[str, list[str]] = field(default_factory=dict)
    open: list[str] = field(default_factory=list)
    uses: dict[str, str] = field(default_factory=dict)
    unused: list[str] = field(default_factory=list)
    kept: int = 0
    rejected: Counter[str] = field(default_factory=Counter)

    @property
    def looked(self) -> int:
        """Rows looked at."""
        return len(self.look.rows) + self.look.faults

    @property
    def share(self) -> float:
        """Share of the rows that are rejected."""
        return self.rejected.total() / max(1, self.kept + self.rejected.total())

    def note(self, part: str, text: str, *, undecided: bool = False) -> None:
        """Say something beside a part; `undecided`: a person has to look."""
        self.notes.setdefault(part, []).append(f"CHECK: {text}" if undecided else text)
        if undecided:
            self.open.append(f"{part}: {text}")


def draft_source(path: Path, name: str, *, guard: Guard, taxonomy: Taxonomy, labelled_by: LabelSource | None = None) -> Draft:
    """A source drafted from the first rows of a file.

    Args:
        path: parquet, JSON Lines, JSON, CSV or TSV.
        name: of the source.
        guard: its tasks are looked for.
        taxonomy: its schemes are looked for.
        labelled_by: who gave the labels, where the user says.

    Raises:
        InputError: the file cannot be read, or no column of it could be a prompt.
    """
    look = look_at(path)
    source: dict[str, Any] = {"name": name, "version": 1, "description": f"Rows of {path.name}.", "licence": "unknown", "files": [path.name]}
    if look.stated is not None:
        source["format"] = look.stated
    if look.delimiter is not None:
        source["delimiter"] = look.delimiter
    draft = Draft(source, look)
    draft.note("licence", "the SPDX id of the rows' licence, which they carry", undecided=True)
    columns = _with_each(look, draft)
    response = _texts(columns, draft, guard)
    made = draft_labels(columns, set(draft.uses), guard, response)
    _labels(draft, made, guard, labelled_by)
    _categories(columns, draft, taxonomy, guard)
    draft.unused = [c for c in columns if c not in draft.uses]
    _tried(draft, guard, taxonomy)
    _shipped(draft, guard, taxonomy)
    return draft


# Texts ----------------------------------------------------------------------------------------------------------------


def _with_each(look: Look, draft: Draft) -> dict[str, ColumnLook]:
    """The columns; two answers of a row (``response_0``, ``response_1``), and the columns about each, are one column ``response_{k}``."""
    plain = dict(look.columns)
    groups: dict[str, dict[int, ColumnLook]] = {}
    for name, column in plain.items():
        found = re.findall(r"\d+", name)
        if len(found) == 1:
            groups.setdefault(re.sub(r"\d+", "{k}", name), {})[int(found[0])] = column
    answers = [(t, g) for t, g in groups.items() if len(g) > 1 and _rank(t, _RESPONSES) is not None and all(c.kind == "text" for c in g.values())]
    if not answers or any(_rank(n, _RESPONSES) == 0 for n in plain):
        return plain
    template, group = min(answers, key=lambda a: (_rank(a[0], _RESPONSES) or 0, -sum(c.length for c in a[1].values())))
    numbers = sorted(group)
    draft.source["each"] = {"k": numbers}
    draft.note("each", f"a row holds {len(numbers)} answers, {template}: it is read once for each, and the seeds are of one group")
    together = {t: g for t, g in groups.items() if sorted(g) == numbers}
    gone = {c.name for g in together.values() for c in g.values()}
    first = next(iter(plain.values())).rows
    out = {n: c for n, c in plain.items() if n not in gone}
    for t, group in together.items():
        out[t] = ColumnLook(t, [v for c in group.values() for v in c.values], first * len(numbers), sum(c.lacking for c in group.values()))
    return out


def _rank(name: str, known: list[str]) -> int | None:
    """How well a name fits a list of usual ones, 0 the best; None for not at all."""
    words = [w for w in re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower().replace("{k}", "").replace("-", "_").split("_") if w]
    joined = "_".join(words)
    if joined in known:
        return 0
    return 1 if words and (words[-1] in known[:18] or words[0] in known[:18]) else None


def _texts(columns: Mapping[str, ColumnLook], draft: Draft, guard: Guard) -> bool:
    """Where prompt and response stand; whether there are responses."""
    exchange = next((c for c in columns.values() if c.kind == "text" and _is_exchange(c, guard)), None)
    if exchange is not None:
        draft.source["exchange"] = {"column": exchange.name, "guard": guard.name}
        draft.uses[exchange.name] = "prompt and response, as the guard reads them"
        return any(split_released_input(v, guard)[1] is not None for v in exchange.values[:100])
    chosen = draft.source["columns"] = {}
    chats = [c for c in columns.values() if c.kind == "list" and c.values and _is_chat(c)]
    prompts = _candidates(columns, _PROMPTS)
    talk = next((c for c in chats if not (prompts and c.name.lower() in _CONTEXTS)), None)
    if talk is not None:
        response = _chat(talk, draft)
        if others := [c.name for c in (*prompts, *chats) if c is not talk and (c in chats or _rank(c.name, _PROMPTS) == 0)]:
            draft.note("columns", f"{talk.name} holds whole conversations and is taken; also there: {', '.join(others)}", undecided=True)
    elif prompts:
        response = _prompt_and_response(columns, prompts, draft)
    else:
        raise InputError(f"no column could be a prompt: {', '.join(columns)}", where=str(draft.look.path), hint="a prompt is a column of texts")
    context = next((c for c in chats if c is not talk and c.name.lower() in _CONTEXTS), None)
    if context is not None and talk is None:
        chosen["context"] = context.name
        draft.uses[context.name] = "context"
    for mark, names in _MARKS.items():
        found = next((c for n in names for c in columns.values() if c.name.lower() == n and c.name not in draft.uses), None)
        if found is not None and _can_mark(found, mark, draft.look.csv):
            chosen[mark] = found.name
            draft.uses[found.name] = mark
    return response


def _can_mark(column: ColumnLook, mark: str, csv: bool) -> bool:
    texts = column.kind == "text" or (csv and column.kind in ("number", "flag"))
    return texts and (mark != "split" or (all(re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", str(v)) for v in column.counts) and bool(column.counts)))


def _candidates(columns: Mapping[str, ColumnLook], known: list[str]) -> list[ColumnLook]:
    """Columns of texts that could be what some names say, the likeliest first: by name, then by how long their texts are."""
    found = []
    for column in columns.values():
        if column.kind != "text" or (set(column.words) & _ID and _rank(column.name, known) != 0):
            continue
        rank = _rank(column.name, known)
        if rank == 0 or not (_repeats(column) or named(column.words) or set(column.words) & _LABEL):
            place = known.index("_".join(column.words)) if rank == 0 and "_".join(column.words) in known else 0
            found.append(((2 if rank is None else rank), place, -column.length, column))
    return [c for *_, c in sorted(found, key=lambda f: f[:3])]


def _repeats(column: ColumnLook) -> bool:
    """Whether a column is rather a vocabulary than texts."""
    return bool(column.counts) and len(column.counts) * 3 <= len(column.values) and column.length <= 24


def _prompt_and_response(columns: Mapping[str, ColumnLook], prompts: list[ColumnLook], draft: Draft) -> bool:
    chosen = draft.source["columns"]
    responses = [c for c in _candidates(columns, _RESPONSES) if _rank(c.name, _RESPONSES) is not None]
    prompt = next((c for c in prompts if c not in responses or _rank(c.name, _PROMPTS) == 0), prompts[0])
    responses = [c for c in responses if c is not prompt]
    chosen["prompt"] = prompt.name
    draft.uses[prompt.name] = "prompt"
    others = [c.name for c in prompts if c is not prompt and c not in responses[:1] and _rank(c.name, _PROMPTS) is not None]
    if (rank := _rank(prompt.name, _PROMPTS)) is None:
        named = ", ".join(c.name for c in prompts[1:4]) or "none"
        draft.note("columns", f"no name says which column is the prompt; {prompt.name} has the longest texts; others: {named}", undecided=True)
    elif others or rank:
        draft.note("columns", f"{prompt.name} is taken for the prompt" + (f"; others: {', '.join(others)}" if others else ""), undecided=bool(others))
    if not responses:
        return False
    response = responses[0]
    chosen["response"] = response.name
    draft.uses[response.name] = "response"
    if len(responses) > 1:
        more = ", ".join(c.name for c in responses[1:])
        draft.note("columns", f"{response.name} is taken for the response; others: {more}", undecided=True)
    for column in (prompt, response):
        if column.lacking:
            draft.note("columns", f"{column.lacking:,} of {column.rows:,} rows have no key {column.name}: they are rejected", undecided=True)
    return bool(response.values)


def _is_exchange(column: ColumnLook, guard: Guard) -> bool:
    """Whether its texts are inputs of the guard, prompt and response in one."""
    some = column.values[:20]
    try:
        return bool(some) and all(split_released_input(v, guard) for v in some)
    except InputError:
        return False


def _is_chat(column: ColumnLook) -> bool:
    """Whether most of its values are conversations; of lists of plain texts its name has to say so, too."""
    some = column.values[:50]
    if all(isinstance(v, str) for value in some for v in value) and not set(column.words) & _CHATS:
        return False
    return sum(_chat_fault(v, "alternating") is None for v in some) * 2 > len(some)


def _chat_fault(value: Any, turns: str | None) -> str | None:
    try:
        conversation(value, "", turns)
    except RowError as e:
        return e.reason
    return None


def _chat(column: ColumnLook, draft: Draft) -> bool:
    """A column that holds whole conversations; whether any ends with the assistant's answer."""
    chosen = draft.source["columns"]
    chosen["messages"] = column.name
    draft.uses[column.name] = "context, prompt and response"
    turns = None
    if any(isinstance(v, list) and v and all(isinstance(text, str) for text in v) for v in column.values):
        turns = chosen["turns"] = "alternating" if any(len(v) > 1 for v in column.values if isinstance(v, list)) else "user"
        draft.note(
            "columns", "plain texts: `turns` says whose they are, the user's alone (user) or the user's and the assistant's by turns", undecided=True
        )
    for value in column.values:
        try:
            if conversation(value, column.name, turns)[2] is not None:
                return True
        except RowError:
            continue
    return False


# Labels and categories ------------------------------------------------------------------------------------------------


def _labels(draft: Draft, made: Mapping[str, LabelDraft], guard: Guard, labelled_by: LabelSource | None) -> None:
    labels = draft.source["labels"] = {}
    for task in guard.tasks:
        found = made.get(task.name)
        if found is None or found.rule is None:
            labels[task.name] = {"missing": "absent"}
        else:
            labels[task.name] = {**found.rule, "source": labelled_by or "inferred"}
            draft.uses.update(dict.fromkeys(found.columns, f"label of {task.name}"))
        for text in found.notes if found else ():
            draft.note(f"labels.{task.name}", text)
        for text in found.open if found else ():
            draft.note(f"labels.{task.name}", text, undecided=True)
    if not draft.uses.keys() & {c for f in made.values() for c in f.columns}:
        draft.note("labels", "no column has values that fit a label; `missing: to_infer` asks the teacher", undecided=True)
    elif labelled_by is None:
        draft.note(
            "labels", "`source` says who gave the labels: human, vote, inferred (a model), …; nobody is taken for a person unasked", undecided=True
        )


def _categories(columns: Mapping[str, ColumnLook], draft: Draft, taxonomy: Taxonomy, guard: Guard) -> None:
    """A column all of whose values one scheme of the taxonomy knows."""
    for column in columns.values():
        if column.name in draft.uses or "{k}" in column.name or not (found := _category_values(column)):
            continue
        kind, values = found
        for scheme in (taxonomy.name, *taxonomy.maps):
            if values <= set(taxonomy.scheme(scheme)):
                draft.source["categories"] = {"columns": [column.name], "kind": kind, "scheme": scheme}
                draft.uses[column.name] = "categories"
                return


def _category_values(column: ColumnLook) -> tuple[str, set[str]] | None:
    if column.kind == "text" and column.counts:
        whole = {str(v) for v in column.counts}
        parts = {p.strip() for v in whole for p in v.split(",") if p.strip()}
        return ("string", whole) if len(whole) > 1 else ("comma", parts) if len(parts) > 1 else None
    if column.kind == "list" and all(isinstance(v, str) for row in column.values for v in row):
        return "list", {v for row in column.values for v in row}
    if column.kind == "object" and all(type(v) is bool for row in column.values for v in row.values() if v is not None):
        return "struct", {k for row in column.values for k in row}
    return None


# What the draft makes of the rows -------------------------------------------------------------------------------------


def _tried(draft: Draft, guard: Guard, taxonomy: Taxonomy) -> None:
    """Read the first rows with what was drafted, as a check of the recipe will."""
    source = YamlFile("draft", draft.source).model(Source)
    for block in read_source(source, guard=guard, taxonomy=taxonomy, files=[draft.look.path], first=LOOK):
        draft.kept += block.rows.height
        bad = block.rejects.filter(block.rejects["outcome"] == "rejected")
        draft.rejected.update(f"{reason}: {detail}" for reason, detail in bad.select("reason", "detail").iter_rows())
    of = draft.kept + draft.rejected.total()
    draft.open += [f"{n:,} of {of:,} rows looked at would be rejected: {why}" for why, n in draft.rejected.most_common(3)]


def _shipped(draft: Draft, guard: Guard, taxonomy: Taxonomy) -> None:
    """Shipped sources that read files of these very columns."""
    from toolkit.common.resources import names

    there = frozenset(draft.look.columns)
    for name in names("sources"):
        try:
            source = load_source(name)
            needed = Converter(source, guard, taxonomy, part=next(iter(source.parts), None)).required
        except GuardkitError:
            continue
        if len(needed) > 2 and there >= frozenset(needed):
            draft.note("name", f"the columns are those of the shipped source {name} (`guardkit sources {name}`), which reads such files as they are")
            draft.open.append(
                f"the columns are those of the shipped source {name}: {{source: {name}, files: [{draft.look.path.name}]}} reads them as it says"
            )
