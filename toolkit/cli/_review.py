"""The verb ``guardkit review``."""

from __future__ import annotations

import os
import sys
import webbrowser
from collections.abc import Mapping
from getpass import getuser
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from toolkit.cli import _complete, _say
from toolkit.cli._view import stopped_by_signals
from toolkit.common.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from toolkit.api.command import Item, Review, Shown, Tool

_KEYS = {
    "s": "skip: it comes again after the others",
    "u": "unsure: the label stays, the trail says that you looked",
    "d": "drop: the row is to go",
    "n": "note: why; it goes with your next decision",
    "v": "view the texts that are hidden",
    "w": "write: names of categories, where a row's categories are asked about",
    "z": "undo your last decision",
    "?": "these instructions",
    "q": "quit; all decisions are kept",
}
_WORDS = {"s": "skip", "u": "unsure", "d": "drop", "n": "note", "v": "view", "w": "write", "z": "undo", "?": "help", "q": "quit"}


def review(
    place: Annotated[str, typer.Argument(metavar="PLACE", help="A run, a step of one, shards, or files of rows.", show_default=False)],
    step: Annotated[str | None, typer.Option("--step", metavar="ID", help="Of a run, the step (default: the last with doubtful labels).")] = None,
    kind: Annotated[
        str | None,
        typer.Option("--kind", metavar="KIND", help="noise, disputes, blind, categories, flags, rejects or labels (default: the first there is)."),
    ] = None,
    reviewer: Annotated[str | None, typer.Option("--reviewer", metavar="NAME", help="Who decides (default: your user name).")] = None,
    team: Annotated[list[str] | None, typer.Option("--team", metavar="NAME", help="Another reviewer, who gets a share. Repeatable.")] = None,
    double: Annotated[float | None, typer.Option("--double", metavar="SHARE", help="Share of the labels that two decide (default 0).")] = None,
    seed: Annotated[int | None, typer.Option("--seed", metavar="N", help="Which labels two decide, and who (default 0).")] = None,
    adjudicate: Annotated[bool, typer.Option("--adjudicate", help="Decide what others disagree on.")] = False,
    show: Annotated[str, typer.Option("--show", metavar="HOW", help="Text that may be harmful, before you ask: hidden, start or all.")] = "hidden",
    most: Annotated[int, typer.Option("--most", metavar="N", min=1, help="Labels, at most: the most doubtful.")] = 1000,
    export: Annotated[
        Path | None, typer.Option("--export", metavar="FILE", help="Write what is settled (.csv, .parquet, .jsonl; add it: .overlay.jsonl), and end.")
    ] = None,
    tool: Annotated[str | None, typer.Option("--tool", metavar="NAME", help="argilla or label-studio, for --send and --bring.")] = None,
    send: Annotated[Path | None, typer.Option("--send", metavar="FOLDER", help="Write what is not decided as the tool's files, and end.")] = None,
    bring: Annotated[Path | None, typer.Option("--bring", metavar="FILE", help="Record what the tool's export has, and end.")] = None,
    name: Annotated[list[str] | None, typer.Option("--name", metavar="THEIRS=OURS", help="A reviewer of the tool's. Repeatable.")] = None,
    page: Annotated[bool, typer.Option("--page", help="Decide in a browser instead (extra `view`), until Ctrl-C.")] = False,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Of the page; 0 takes a free one.")] = 8600,
    to: Annotated[Path | None, typer.Option("--to", metavar="FOLDER", help="Folder of the review (default: PLACE.review).")] = None,
    guard: Annotated[
        str | None, typer.Option("--guard", help="Whose tasks (default: the recipe's).", autocompletion=_complete.schemas("guards"))
    ] = None,
    taxonomy: Annotated[
        str | None, typer.Option("--taxonomy", help="Whose policies (default: the recipe's).", autocompletion=_complete.schemas("taxonomies"))
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Progress and agreement as one JSON document; nothing is asked.")] = False,
) -> None:
    """Decide on doubtful labels, one at a time by keys; figures of agreement; the list that the operator `review` takes.

    Example: guardkit review outputs/quickstart --reviewer anna --double 0.2
    """
    from toolkit.api import bring_review, send_review
    from toolkit.api import review as open_review
    from toolkit.api.command import SHOWN

    if show not in SHOWN:
        raise InputError(f"unknown value of --show: {show!r}", hint=did_you_mean(show, SHOWN))
    if (send is not None or bring is not None) and tool is None:
        raise InputError("--send and --bring need --tool", hint="--tool argilla or --tool label-studio")
    asks = export is None and send is None and bring is None and not json
    if reviewer is None and asks:
        reviewer = getuser()
    where: dict[str, Any] = {"step": step, "kind": kind, "most": most, "to": to, "guard": guard, "taxonomy": taxonomy}
    who: dict[str, Any] = {"reviewer": reviewer if asks else None, "team": team or () if asks else (), "double": double, "seed": seed}
    with open_review(place, **where, **who, adjudicate=adjudicate) as opened:
        if asks and page:
            _on_page(place, port, opened, next(s for s in SHOWN if s == show))
        elif asks and opened.queue.items:
            _Asking(opened, next(s for s in SHOWN if s == show)).all()
        brought = bring_review(opened, bring, cast("Tool", tool), _say.columns(name)) if bring is not None else None
        sent = send_review(opened, send, cast("Tool", tool)) if send is not None else []
        written = opened.export(export) if export is not None else None
        figures = opened.figures()
    if json:
        _say.document({**figures, "export": written, "sent": sent, "brought": brought})
        return
    _figures(figures)
    if brought is not None:
        _brought(brought)
    _say.lines(*(f"Written: {file}" for file in sent))
    if written is not None:
        _say.lines(f"Written: {written['output']} ({written['lines']:,} decisions), for the operator `review`: decisions: {written['output']}")


def _on_page(place: str, port: int, review: Review, show: Shown) -> None:
    """A page in a browser, until Ctrl-C."""
    from toolkit.api import view

    viewer = view(place, port=port, review=review, shown=show)
    stopped_by_signals(viewer)
    _say.lines(f"The page of the review: {viewer.address}", "Ctrl-C ends it.")
    if sys.stdout.isatty():
        webbrowser.open(viewer.address)
    viewer.wait()


class _Asking:
    """One label after the other, until none is left or the reviewer quits."""

    def __init__(self, review: Review, show: Shown) -> None:
        self._review, self._show = review, show
        self._note: str | None = None

    def all(self) -> None:
        """Ask for each label that is left."""
        total = len(self._review.left())
        item = self._review.next()
        if item is None:
            _say.lines("Nothing is left for you." if not self._review.adjudicates else "Nobody disagrees, or all of it is adjudicated.")
        elif sys.stdin.isatty():
            self._help(item)
        while item is not None:
            _say.lines("", f"{total - len(self._review.left()) + 1} of {total}, {self._review.queue.kind}")
            self._lines(item, self._show)
            if not self._one(item):
                return
            item = self._review.next()

    def _one(self, item: Item) -> bool:
        """Ask about one label until it is decided, skipped, or another is taken back; False for quitting."""
        labels = list(item.words(self._review.queue.guard)[:9])
        while (answer := _answer(self._prompt(item, labels))) is not None:
            word, rest = _split(answer, labels)
            if word == "quit":
                return False
            if word == "help":
                self._help(item)
            elif word == "view":
                self._lines(item, "all")
            elif word == "note":
                self._note = rest or _line("note: ")
            elif word == "write":
                if self._decided(item, rest or _line("categories: "), self._note):
                    return True
            elif word == "skip":
                self._review.skip(item)
                return True
            elif word == "undo":
                undone = self._review.undo()
                _say.lines("there is nothing to take back" if undone is None else f"taken back: {undone.id}, {undone.task}")
                if undone is not None:
                    return True
            elif len(word) == 1 and not rest and word not in labels:
                _say.lines(f"no key {word!r} here; ? shows what each key does")
            elif word and self._decided(item, word, rest or self._note):
                return True
        return False

    def _decided(self, item: Item, word: str, note: str | None) -> bool:
        try:
            recorded = self._review.decide(item, word, note)
        except InputError as e:
            _say.lines(str(e))
            return False
        self._note = None
        _say.lines(f"recorded: {recorded}")
        return True

    def _lines(self, item: Item, show: Shown) -> None:
        from toolkit.api.command import item_lines

        _say.lines(*item_lines(item, self._review.queue.guard, self._review.queue.taxonomy, shown=show))

    def _help(self, item: Item) -> None:
        from toolkit.api.command import instructions

        labels = {str(n): label for n, label in enumerate(item.words(self._review.queue.guard)[:9], 1)}
        _say.lines(*instructions(self._review.queue.guard, labels | _KEYS))

    def _prompt(self, item: Item, labels: list[str]) -> str:
        words = {key: word for key, word in _WORDS.items() if key != "w" or item.about_categories(self._review.queue.guard)}
        keys = [*(f"{n} {label}" for n, label in enumerate(labels, 1)), *(f"{key} {word}" for key, word in words.items())]
        return f"[{'  '.join(keys)}]{f' (note: {_say.short(self._note, 40)})' if self._note else ''} "


def _split(answer: str, labels: list[str]) -> tuple[str, str]:
    """What an answer means, and the note behind it: a key, a label or another decision."""
    keys = {str(n): label for n, label in enumerate(labels, 1)} | _WORDS
    whole = answer.strip()
    for word in sorted((*keys, *_WORDS.values(), *labels), key=len, reverse=True):
        if whole.casefold() == word.casefold() or whole.casefold().startswith(f"{word.casefold()} "):
            return keys.get(word, word), whole[len(word) :].strip()
    first, _, rest = whole.partition(" ")
    return first, rest.strip()


def _answer(prompt: str) -> str | None:
    """The next answer: a key on a terminal, else a line; None where no more come."""
    if not sys.stdin.isatty():
        line = sys.stdin.readline()
        return line.strip() if line else None
    import termios
    import tty

    sys.stdout.write(prompt)
    sys.stdout.flush()
    before = termios.tcgetattr(sys.stdin)
    try:
        tty.setcbreak(sys.stdin)
        key = os.read(sys.stdin.fileno(), 64).decode("utf-8", "replace")
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
    if len(key) > 1:  # an arrow, Home and their like, or a paste: in it is no decision
        sys.stdout.write("(one key at a time)\n")
        return ""
    sys.stdout.write(f"{key if key.isprintable() else ''}\n")
    return key if key != "\x04" else None


def _line(prompt: str) -> str:
    """A line of text."""
    if sys.stdin.isatty():
        sys.stdout.write(prompt)
        sys.stdout.flush()
    return sys.stdin.readline().strip()


def _figures(figures: Mapping[str, Any]) -> None:
    """Progress and agreement as tables."""
    step = f", step {figures['step']}" if figures["step"] else ""
    title = f"Review of {figures['of']}{step} ({figures['kind'] or 'nothing'})"
    double = figures["double"]
    state = [f"{figures['decided']:,} of {figures['labels']:,} labels are decided"]
    if double["labels"]:
        state.append(f"{double['decided']:,} of {double['labels']:,} by two")
    _say.lines(f"{title}: {', '.join(state)}.")
    if figures["reviewers"]:
        rows = [[r["reviewer"], f"{r['decisions']:,}", f"{r['left']:,}"] for r in figures["reviewers"]]
        _say.table("Reviewers", ["reviewer"], ["decisions", "left"], rows)
    if figures["agreement"]:
        rows = []
        for a in figures["agreement"]:
            rows.append([a["task"], "all (Krippendorff's alpha)", f"{a['rows']:,}", f"{a['same']:,}", _number(a["alpha"])])
            rows += [[a["task"], f"{p['a']}, {p['b']} (Cohen's kappa)", f"{p['rows']:,}", f"{p['same']:,}", _number(p["kappa"])] for p in a["pairs"]]
        _say.table("Agreement", ["task", "who"], ["rows", "the same", "beyond chance"], rows)
    if figures["disagreements"]:
        _say.lines(f"Disagreed on: {figures['disagreements']:,}; --adjudicate decides them.")
    if figures["gone"]:
        _say.lines(
            f"{figures['gone']:,} decisions are about labels that are not in this queue any more; they stay in the list, and"
            " `review` stops at a row that is gone unless it has `unknown: skip`."
        )
    if figures["stale"]:
        _say.lines(f"{figures['stale']:,} decisions are about labels that have changed since: these are asked about again.")
    _say.lines(*(f"Note: {note}" for note in figures["notes"]))


def _brought(brought: Mapping[str, Any]) -> None:
    left = {"known": "were there already", "gone": "are about no label of this queue", "stale": "are about labels that have changed since"}
    left |= {"passed_over": "are drafts, skipped or discarded"}
    recorded = f"{brought['decisions']:,} decisions by {', '.join(brought['reviewers']) or 'nobody'}"
    more = [f"{brought[key]:,} {words}" for key, words in left.items() if brought[key]]
    _say.lines(f"Recorded from {brought['file']}: {'; '.join([recorded, *more])}.")


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"
