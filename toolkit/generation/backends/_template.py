"""The embedded teacher: reasoning put together from templates, for trying guardkit without a key, a GPU or a network.

Contract: free, offline and deterministic. What it writes depends on nothing but the seed and the draw of the request and the content
of its one message, whatever was asked before; one request is answered at a time, in order. The reasoning is in the guard's own
format, true to the labels that the row has, quotes up to five of the row's own words at a time and never states a label before the
conclusion. It invents no label: where the row has none (absent, not applicable, and to infer, which only a real model can do) the
answer is the guard's missing word and the section says that there is nothing to judge, or that nothing settles it. Its records name it
``template/…`` so that nobody takes it for a model.

Failure: a request whose message `teacher_messages` did not make, or a label that the guard does not know, ends as ``bad_request``;
the others are not touched.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from toolkit.common.errors import InputError
from toolkit.common.files import canonical_json, digest
from toolkit.generation._request import Completion, Request, failed
from toolkit.generation.backends import _template_phrases as phrases
from toolkit.generation.backends._template_categories import CategoryWords
from toolkit.generation.backends._template_quotes import Quotes, excerpt
from toolkit.guards import Guard, Reasoning, Task, render_output

if TYPE_CHECKING:
    from toolkit.generation._config import TemplateConfig
    from toolkit.taxonomy import Category, Taxonomy

VERSION = 1
"""Part of the model id; raised when the code, not the phrases, changes what is written."""

TRIES = 24
"""Compositions tried before a sentence that breaks a rule is taken for want of a better one."""


class Dice:
    """Choices that follow from a text alone, the same on every platform and Python."""

    def __init__(self, *key: object) -> None:
        self._seed = hashlib.sha256(canonical_json([str(k) for k in key]).encode()).digest()
        self._block = b""
        self._turn = 0

    def below(self, n: int) -> int:
        """A number from 0 to n - 1 (uneven by less than n / 2**32)."""
        if not self._block:
            self._block = hashlib.sha256(self._seed + self._turn.to_bytes(4, "big")).digest()
            self._turn += 1
        word, self._block = self._block[:4], self._block[4:]
        return int.from_bytes(word, "big") % n

    def pick(self, options: Sequence[str]) -> str:
        """One of the options."""
        return options[self.below(len(options))]

    def chance(self, percent: int) -> bool:
        """True in `percent` of 100 cases."""
        return self.below(100) < percent


Quoting = Callable[[Dice], str | None]
"""Picks a quotation for a section, in quotes; None where the text has no words."""


@dataclass(frozen=True)
class Facts:
    """What one row gives to its sentences."""

    labels: Mapping[str, str | None]
    levels: Mapping[str, str]
    """By kind of task (prompt, refusal, response): pos, neg or mid, where a label says so."""
    prompt: Quotes
    response: Quotes | None
    context: Quotes | None
    categories: Sequence[Category]


class TemplateBackend:
    """Implements `toolkit.generation.Backend` without a model.

    Args:
        config: seed of the wording, and fewest and most steps a task (the guard's own bounds win).
        guard: what the outputs are written for.
        taxonomy: titles and terms of the harm categories that rows name; None for none.

    Raises:
        InputError: no guard is given.
    """

    endpoint = "template"
    journalled = False
    parallel = 1

    def __init__(self, config: TemplateConfig, guard: Guard | None, taxonomy: Taxonomy | None = None) -> None:
        if guard is None:
            raise InputError("the template teacher writes for a guard, and none is given")
        self._seed = config.seed
        self._guard = guard = guard.only([word.partition(".")[2] for word in config.uses if word.startswith("guard.")])
        harms = taxonomy.categories if taxonomy else []
        self._categories = {word: c for c in harms for word in (c.name, *c.aliases)}
        self._cues = {word: _cues(c.cues) for word, c in self._categories.items()}
        self._words_of: CategoryWords | None = None
        low = max(guard.steps.min, min(config.steps[0], guard.steps.max), 1)
        self._steps = (low, max(low, min(config.steps[1], guard.steps.max)))
        words = sorted({w for t in guard.tasks for w in t.labels} | {guard.output.missing_word}, key=lambda w: (-len(w), w))
        self._words = re.compile(r"(?<!\w)(?:" + "|".join(map(re.escape, words)) + r")(?!\w)", re.IGNORECASE)
        self._unquoted = phrases.UNQUOTED | {part.casefold() for w in words for part in re.findall(r"\w+", w)}
        material = [phrases.POINTS, phrases.POOLS, phrases.LEADS, phrases.LEADS_NONE, phrases.CONTEXT, phrases.ALARM]
        lists = [sorted(s) for s in (*phrases.CUES.values(), phrases.COMMON, phrases.UNQUOTED)]
        known = [[c.name, c.title, list(c.cues), *([c.aliases] if c.aliases else [])] for c in harms]
        self.model_id = f"template/{VERSION}+{digest([guard.fingerprint, known, material, lists])[:12]}"

    def teacher_messages(self, guard: Guard, row: Mapping[str, Any]) -> list[dict[str, str]]:
        """One message: canonical JSON of what the template needs of the row (long texts cut to the excerpt that it quotes from).

        Args:
            guard: the definition whose tasks name the label columns.
            row: a seed; what the guard writes beside its labels (`rewrite`, say) is taken from the row's columns of these names, where it has them.
        """
        content = {
            "prompt": excerpt(row["prompt"]),
            "response": None if row["response"] is None else excerpt(row["response"]),
            "context": [excerpt(m["content"]) for m in row.get("context") or []],
            "labels": {t.name: row[f"label_{t.name}"] for t in guard.tasks},
            "sources": {t.name: row[f"label_{t.name}_source"] for t in guard.tasks},
            "categories": list(row.get("categories") or []),
        }
        if data := {field.name: row[field.name] for field in guard.output.data if row.get(field.name)}:
            content["data"] = data
        return [{"role": "user", "content": canonical_json(content)}]

    def category_messages(self, row: Mapping[str, Any]) -> list[dict[str, str]]:
        """One message that asks for the harm categories of a row, by the words of the taxonomy.

        Args:
            row: `prompt`, `response` (may be None) and `context`.
        """
        texts = [*(m["content"] for m in row.get("context") or []), row["prompt"], row["response"] or ""]
        return [{"role": "user", "content": canonical_json({"texts": [excerpt(text) for text in texts]})}]

    def generate(self, requests: Iterator[Request | None]) -> Iterator[Completion]:
        """One completion for each request, in their order, each made when it is asked for."""
        for request in requests:
            if request is None:  # nothing for now; nothing of ours is ever in flight
                continue
            try:
                (role_content,) = request.messages
                row = json.loads(role_content[1])
                text = self._sorted(row["texts"]) if "texts" in row else self._write(row, request)
            except (ValueError, KeyError, TypeError, AttributeError) as e:
                yield failed(request, "bad_request", f"not a message of the template teacher: {type(e).__name__}: {e}")
            else:
                yield Completion(request.key, text, finish="stop", model=self.model_id, seconds=0.0)

    def close(self) -> None:
        """Nothing to give back."""

    def _sorted(self, texts: Sequence[str]) -> str:
        if self._words_of is None:
            self._words_of = CategoryWords(list({c.name: c for c in self._categories.values()}.values()))
        return json.dumps({"categories": self._words_of.of(texts)})

    def _write(self, row: Mapping[str, Any], request: Request) -> str:
        seed = self._seed if request.seed is None else request.seed
        if "asked" in row:  # as an author or judge of seeds
            from toolkit.generation.backends._template_seeds import write

            return write(row, Dice(seed, request.draw, request.attempt, request.messages[0][1]))
        facts = self._facts(row)
        reasoning = {}
        for task in self._guard.tasks:
            dice = Dice(seed, request.draw, task.name, request.messages[0][1])
            reasoning[task.name] = self._section(task, facts, dice)
        return render_output(self._guard, reasoning, facts.labels, row.get("data"))

    def _facts(self, row: Mapping[str, Any]) -> Facts:
        labels: dict[str, str | None] = {}
        levels: dict[str, str] = {}
        for task in self._guard.tasks:
            label = row["labels"][task.name]
            if label is not None and label not in task.labels:
                raise ValueError(f"{task.name} has no label {label!r}")
            labels[task.name] = label
            if label is not None:
                levels[kind_of(task)] = level_of(task, label)
        names = [n for n in row["categories"] if n in self._categories]
        terms = frozenset[str]().union(*(self._cues[n] for n in names))
        reply = row["response"]

        def quotes(text: str, cues: frozenset[str]) -> Quotes:
            return Quotes(text, cues, self._unquoted)

        return Facts(
            labels,
            levels,
            quotes(row["prompt"], terms | phrases.CUES["bad"]),
            None if reply is None else quotes(reply, phrases.CUES["bad"] | terms),
            quotes("\n".join(row["context"]), terms) if row["context"] else None,
            [self._categories[n] for n in names],
        )

    def _section(self, task: Task, facts: Facts, dice: Dice) -> Reasoning:
        label = facts.labels[task.name]
        reads_reply = task.applies == "response"
        kind = kind_of(task)
        level = level_of(task, label) if label is not None else "empty" if reads_reply and facts.response is None else "open"
        pool = phrases.POOLS[f"any/{level}" if label is None else f"{kind}/{level}"]
        text = facts.response if reads_reply and facts.response is not None else facts.prompt
        quoting = _quoter(kind, level, facts, text)
        first = quoting(dice)
        low, high = self._steps
        count = low if label is None else low + _more(dice, high - low)
        steps = [self._step(lambda: self._first(level, facts, pool, reads_reply, first, dice))]
        while len(steps) < count:
            steps.append(self._step(lambda: self._next(kind, level, facts, pool, quoting, dice), steps))
        subject = task.subject[:1].lower() + task.subject[1:] if task.subject.startswith(("The ", "A ", "An ")) else task.subject
        close = self._step(lambda: _conclusion(pool, first, subject, label is not None, dice), steps)
        return Reasoning(steps, close.replace("{label}", label or ""))

    def _first(self, level: str, facts: Facts, pool: phrases.Pool, reads_reply: bool, quote: str | None, dice: Dice) -> str:
        """The step that quotes, then weighs."""
        points = phrases.POINTS["empty" if level == "empty" else "response" if reads_reply and facts.response is not None else "prompt"]
        if quote is None or (level == "empty" and dice.chance(70)):
            point = dice.pick(points["blank"])
        else:
            point = dice.pick(points["quoted"]).replace("{q}", quote)
        mood = _mood(facts)
        tails = pool["tails"] + pool.get(f"tails_{mood}", ())
        if facts.categories and mood != "fair_wish":  # the category is that of the request, not of a nasty reply to a fair one
            tails += pool.get("tails_category", ())
        tail = dice.pick(tails)
        if facts.categories:
            category = facts.categories[dice.below(len(facts.categories))]
            title = category.title[:1].lower() + category.title[1:]
            tail = tail.replace("{title}", title).replace("{term}", dice.pick(category.cues or [title]))
        return point + tail

    def _next(self, kind: str, level: str, facts: Facts, pool: phrases.Pool, quoting: Quoting, dice: Dice) -> str:
        """A further step: what follows, another quotation, a word that only looks alarming, or what came before."""
        if kind == "prompt" and level in ("pos", "neg"):
            if facts.context is not None and dice.chance(40) and (quoted := facts.context.any(dice.below)) is not None:
                return dice.pick(phrases.CONTEXT).replace("{q}", quoted)
            if level == "neg" and dice.chance(50) and (word := facts.prompt.cue(dice.below)) is not None:
                return dice.pick(phrases.ALARM).replace("{q}", word)
        if dice.chance(35) and (quote := quoting(dice)) is not None:
            return dice.pick(pool["also"]).replace("{q}", quote)
        return f"{dice.pick(pool['leads'])} {dice.pick(pool['bodies'])}"

    def _step(self, make: Callable[[], str], before: Sequence[str] = ()) -> str:
        """A sentence that is new in its section and holds no label word; a conclusion's own label comes later, where ``{label}`` stands."""
        text = ""
        for _ in range(TRIES):
            text = make() + "."
            text = text[:1].upper() + text[1:]
            if text not in before and not self._words.search(text.replace("{label}", "")):
                break
        return text


def kind_of(task: Task) -> str:
    """Which pools speak for a task: prompt, refusal, response, or other for a task that is none of GuardReasoner's three."""
    words = {w.casefold() for w in task.labels}
    if words == {"refusal", "compliance"}:
        return "refusal"
    if words in ({"harmful", "unharmful"}, {"unsafe", "safe"}) and task.says in ("prompt", "response"):
        return str(task.says)
    return "other"


def level_of(task: Task, label: str) -> str:
    """pos for the task's positive label, neg for the other one or, of several, the first; mid between them."""
    if label == task.positive:
        return "pos"
    others = [w for w in task.labels if w != task.positive]
    return "neg" if label == others[0] else "mid"


def _cues(terms: Iterable[str]) -> frozenset[str]:
    return frozenset(part for term in terms for part in re.findall(r"[^\W_]{4,}", term.casefold())) - phrases.COMMON


def _mood(facts: Facts) -> str:
    """Which further clauses fit a reply: by what was asked, and by whether it was turned down."""
    reply = facts.levels.get("response")
    if reply == "pos":
        return {"pos": "bad_wish", "neg": "fair_wish"}.get(facts.levels.get("prompt", ""), "")
    return {"pos": "declined", "neg": "granted"}.get(facts.levels.get("refusal", ""), "") if reply == "neg" else ""


def _quoter(kind: str, level: str, facts: Facts, text: Quotes) -> Quoting:
    """How this section picks its quotations: by preference words that speak for what it says."""
    if kind == "refusal" and level in ("pos", "neg"):
        cues = phrases.CUES["decline" if level == "pos" else "comply"]
        return lambda dice: text.near(cues, dice.below) or text.any(dice.below)
    if level == "pos":
        return lambda dice: text.near(None, dice.below) or text.any(dice.below)
    return lambda dice: text.plain(dice.below) or text.any(dice.below)


def _more(dice: Dice, room: int) -> int:
    """Steps beyond the fewest: mostly none, so that an output stays near 120 tokens."""
    roll = dice.below(100)
    return min(room, 0 if roll < 80 else 1 if roll < 97 else 2)


def _conclusion(pool: phrases.Pool, quote: str | None, subject: str, labelled: bool, dice: Dice) -> str:
    quoted = quote is not None and dice.chance(15)
    core = dice.pick(pool["close_quoted" if quoted else "close"]).replace("{q}", quote or "").replace("{subject}", subject)
    return dice.pick(phrases.LEADS if labelled else phrases.LEADS_NONE) + core
