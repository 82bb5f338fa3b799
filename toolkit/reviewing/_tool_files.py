"""The queue as files of Argilla and Label Studio, and what people decided there as decisions.

Formats: of Argilla 2 the JSON of `Settings.from_json` and of a dataset's `records.to_json` / `from_json`; of Label Studio a labelling configuration
(XML), tasks for its import, and its export "JSON". Each task of the guard is a dataset or project of its own, since its labels are: ``<task>/``.

What comes back names its row in `metadata` (Argilla) or `data` (Label Studio), with the task and the label that the decision is about.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args
from xml.sax.saxutils import quoteattr

from toolkit.common.errors import GuardkitError, InputError, InputErrors, did_you_mean, short_path
from toolkit.common.files import make_folder, write_atomic
from toolkit.common.paths import at_door, near_file
from toolkit.common.reading import unreadable
from toolkit.common.text import whole
from toolkit.reviewing._decision_log import NAME, DecisionLog, read_log
from toolkit.reviewing._decision_words import ALWAYS
from toolkit.reviewing._item import Item
from toolkit.reviewing._item_text import definition
from toolkit.reviewing._session import Review

Tool = Literal["argilla", "label-studio"]
TOOLS: tuple[Tool, ...] = get_args(Tool)
_TEXTS = ("prompt", "response", "context", "evidence")
_SHOWN_FAULTS = 20
_EXPORT = "give the tool's export, of what {--send|send_review} wrote (docs/review.md)"


@dataclass(frozen=True)
class _Answer:
    """What somebody decided elsewhere."""

    row: str
    task: str
    label: str | None
    decision: str
    reviewer: str
    note: str | None
    when: str | None
    where: str


def send(review: Review, folder: str | Path, tool: Tool) -> list[str]:
    """Write the labels of the queue that are not decided yet for another tool (not categories); the files, as people write them.

    Raises:
        InputError: no such tool, or the files cannot be written.
    """
    _check(tool)
    decided = {(str(line["id"]), str(line["task"])) for line in review.settled()}
    items = [i for i in review.queue.items if i.key not in decided and not i.about_categories(review.queue.guard)]
    written = []
    for task in dict.fromkeys(item.task for item in items):
        mine = [item for item in items if item.task == task]
        place = at_door(folder) / task
        files = _argilla(review, task, mine) if tool == "argilla" else _label_studio(review, task, mine)
        try:
            make_folder(place)
            for name, text in files.items():
                write_atomic(place / name, text)
                written.append(short_path(place / name))
        except OSError as e:
            raise unreadable(e, place) from None
    return written


def bring(review: Review, file: str | Path, tool: Tool, names: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Record what people decided in another tool, each in the log of its reviewer; what is there already is not recorded again.

    Args:
        review: of the queue that was sent.
        file: of the tool's export.
        tool: whose it is.
        names: reviewers' names by those that the tool has.

    Returns:
        ``file``, ``decisions`` that are new, ``known``, ``gone`` (no such label in the queue), ``stale`` (about a label that has changed since),
        ``passed_over`` (drafts, skipped and discarded ones), ``reviewers``.

    Raises:
        InputError: no such file or tool, not its export; InputErrors: decisions that are none, each with its place. Nothing is recorded then.
    """
    _check(tool)
    path = at_door(file)
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise InputError("no such file", where=str(path), hint=near_file(path)) from None
    except OSError as e:
        raise unreadable(e, path) from None
    except ValueError as e:
        raise InputError(f"not JSON: {e}", where=str(path), hint=_EXPORT) from None
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise InputError(f"no export of {tool}: that is a list of objects", where=str(path), hint=_EXPORT)
    read: Callable[..., Iterator[_Answer | None]] = _from_argilla if tool == "argilla" else _from_label_studio
    figures = dict.fromkeys(("decisions", "known", "gone", "stale", "passed_over"), 0)
    last: dict[tuple[str, str, str], _Answer] = {}
    faults: list[GuardkitError] = []
    for n, record in enumerate(found, 1):
        try:
            for answer in read(record, f"{path}, {n}"):
                if answer is None:
                    figures["passed_over"] += 1
                    continue
                reviewer = _reviewer((names or {}).get(answer.reviewer, answer.reviewer), answer.where)
                at = review.queue.place((answer.row, answer.task))
                if at is None or review.queue.items[at].label != answer.label:
                    figures["gone" if at is None else "stale"] += 1
                    continue
                word = _word(review, review.queue.items[at], answer)
                last[reviewer, answer.row, answer.task] = _Answer(**{**vars(answer), "reviewer": reviewer, "decision": word})
        except InputError as e:
            faults.append(e)
        except (AttributeError, TypeError):  # lists or texts where the tool writes objects
            faults.append(InputError(f"not as {tool} writes it", where=f"{path}, {n}", hint=_EXPORT))
    if faults:
        raise faults[0] if len(faults) == 1 else InputErrors(faults[:_SHOWN_FAULTS])
    for name in dict.fromkeys(answer.reviewer for answer in last.values()):
        with DecisionLog(review.folder / "decisions", name) as log:
            there = {(d.id, d.task, d.label, d.decision, d.note) for d in read_log(log.path)}
            for a in (a for a in last.values() if a.reviewer == name):
                known = (a.row, a.task, a.label, a.decision, a.note) in there
                figures["known" if known else "decisions"] += 1
                if not known:
                    log.add(a.row, a.task, a.label, a.decision, note=a.note, step=review.queue.step, when=a.when)
    return {"file": short_path(path), **figures, "reviewers": sorted({a.reviewer for a in last.values()})}


def _check(tool: str) -> None:
    if tool not in TOOLS:
        raise InputError(f"no files of {tool!r} are known", hint=did_you_mean(tool, TOOLS))


def _reviewer(name: str, where: str) -> str:
    if not re.fullmatch(NAME, name):
        raise InputError(f"{name[:60]!r} cannot name a reviewer", where=where, hint="give it a name with {--name|names}")
    return name


def _word(review: Review, item: Item, answer: _Answer) -> str:
    try:
        return review.word(item, answer.decision)
    except InputError as e:
        raise InputError(e.message, where=answer.where, hint=e.hint) from None


def _texts(item: Item) -> dict[str, str]:
    """The texts by the names that the tools' forms have; empty where there is none."""
    own = {name if name in _TEXTS else "prompt": whole(text) for name, text in item.texts}
    evidence = "\n\n".join(f"{e.name}: {whole(e.text)}" for e in item.evidence)
    return {name: own.get(name, "") for name in _TEXTS} | {"evidence": evidence}


def _choices(review: Review, task: str) -> list[str]:
    return [*review.queue.guard.task(task).labels, *ALWAYS]


# Argilla --------------------------------------------------------------------------------------------------------------


def _argilla(review: Review, task: str, items: Sequence[Item]) -> dict[str, str]:
    asked = review.queue.guard.task(task)
    options = [{"value": word, "text": word} for word in _choices(review, task)]
    settings = {
        "guidelines": f"{definition(asked)}\n\nWhat is doubted of the label is in `evidence`. drop: the row is to go; unsure: the label stays.",
        "allow_extra_metadata": True,
        "fields": [
            {"name": name, "title": name, "required": name == "prompt", "settings": {"type": "text", "use_markdown": False}} for name in _TEXTS
        ],
        "questions": [
            {"name": "decision", "title": definition(asked), "required": True, "settings": {"type": "label_selection", "options": options}},
            {"name": "note", "title": "Why?", "required": False, "settings": {"type": "text", "use_markdown": False}},
        ],
        "vectors": [],
        "metadata": [],
        "distribution": {"strategy": "overlap", "min_submitted": 2 if review.double == 1 else 1},
    }
    records = [
        {
            "id": item.id,
            "fields": {n: t for n, t in _texts(item).items() if t or n == "prompt"},
            "metadata": {"row": item.id, "task": task, **({"label": item.label} if item.label is not None else {})},
            "suggestions": {"decision": {"value": item.suggested, "agent": "guardkit"}} if item.suggested in asked.labels else {},
            "responses": {},
            "vectors": {},
        }
        for item in items
    ]
    return {"settings.json": _json(settings), "records.json": _json(records)}


def _from_argilla(record: Mapping[str, Any], where: str) -> Iterator[_Answer | None]:
    about, responses = _about(record.get("metadata")), record.get("responses")
    if about is None or not isinstance(responses, dict):
        raise InputError("no record that was sent: no `metadata` with row and task, or no `responses`", where=where, hint=_EXPORT)
    notes = {str(r.get("user_id")): r.get("value") for r in responses.get("note") or []}
    for response in responses.get("decision") or []:
        user = str(response.get("user_id"))
        done = response.get("status", record.get("status") if record.get("status") in ("draft", "discarded") else "submitted") == "submitted"
        yield (
            _Answer(about["row"], about["task"], about.get("label"), str(response.get("value")), user, _note(notes.get(user)), None, where)
            if done
            else None
        )


# Label Studio ---------------------------------------------------------------------------------------------------------


def _label_studio(review: Review, task: str, items: Sequence[Item]) -> dict[str, str]:
    asked = review.queue.guard.task(task)
    choices = "\n".join(f"    <Choice value={quoteattr(word)}/>" for word in _choices(review, task))
    shown = "\n".join(f'  <Header value="{name}"/>\n  <Text name="{name}" value="${name}"/>' for name in _TEXTS)
    config = (
        f"<View>\n  <Header value={quoteattr(definition(asked))}/>\n{shown}\n"
        f'  <Choices name="decision" toName="prompt" choice="single" required="true">\n{choices}\n  </Choices>\n'
        '  <TextArea name="note" toName="prompt" maxSubmissions="1" placeholder="Why?"/>\n</View>\n'
    )
    tasks = []
    for item in items:
        result = {"from_name": "decision", "to_name": "prompt", "type": "choices", "value": {"choices": [item.suggested]}}
        data: dict[str, str | None] = {"row": item.id, "task": task, "label": item.label, **_texts(item)}
        suggested = [{"model_version": "guardkit", "result": [result]}] if item.suggested in asked.labels else []
        tasks.append({"data": data, "predictions": suggested})
    return {"config.xml": config, "tasks.json": _json(tasks)}


def _from_label_studio(record: Mapping[str, Any], where: str) -> Iterator[_Answer | None]:
    about, annotations = _about(record.get("data")), record.get("annotations")
    if about is None or not isinstance(annotations, list):
        raise InputError("no task that was sent: no `data` with row and task, or no `annotations`", where=where, hint=_EXPORT)
    for annotation in annotations:
        values = {r.get("from_name"): r.get("value") or {} for r in annotation.get("result") or [] if isinstance(r, dict)}
        chosen = (values.get("decision") or {}).get("choices") or []
        if annotation.get("was_cancelled") or not chosen:
            yield None
            continue
        by = annotation.get("completed_by")
        who = str(by.get("email") or f"user-{by.get('id')}") if isinstance(by, dict) else f"user-{by}"
        note = _note((values.get("note") or {}).get("text"))
        when = annotation.get("updated_at") or annotation.get("created_at")
        yield _Answer(
            about["row"], about["task"], about.get("label"), str(chosen[0]), who, _note(note), when if isinstance(when, str) else None, where
        )


def _about(value: Any) -> dict[str, Any] | None:
    """What a record is about; None where guardkit did not send it."""
    return value if isinstance(value, dict) and isinstance(value.get("row"), str) and isinstance(value.get("task"), str) else None


def _note(value: Any) -> str | None:
    text = "\n".join(map(str, value)) if isinstance(value, list) else value
    return text.strip() or None if isinstance(text, str) else None


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=1) + "\n"
