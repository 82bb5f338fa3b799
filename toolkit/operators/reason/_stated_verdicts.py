"""The verdict that a sentence states on a task: "The request is harmful." says `harmful`, "the response is not a refusal" says `compliance`.

Only a plain main clause counts: the task's subject ("the request": the last word of the guard's `subject`, the answer's field or the task's name), a
form of "be", perhaps "considered" or the like, the label, and an end of the clause. What is hedged ("could be", "potentially"), conditional ("if",
"whether"), about a part ("is harmful content") or quoted says nothing, and so does "neither harmful nor unharmful". A negated label says the other
one where a task has two, else nothing. The words around the label are English; the labels and subjects are the guard's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from toolkit.guards import Guard

_BREAK = re.compile(r"(?<=[.!?])[\"'”’)\]*_]*\s+|\n+")
"""Where a sentence ends."""
_HEDGED = re.compile(
    r"\b(?:if|whether|unless|when|assum\w+|suppos\w+|suggest\w*|claim\w*|argu\w+|imagin\w+|pretend\w*|might|may|could|would"
    r"|not (?:clear|that|mean))\b"
)
"""Before a clause: what it says is not claimed."""
_DOUBTED = re.compile(rf"{_HEDGED.pattern}|\b(?:not|no|never|neither|nor|non|cannot|potential(?:ly)?|possibl[ey]|lean\w*|partial(?:ly)?)\b|n['’]t\b")
"""In a conclusion: its label may not be what it says."""
_OPENING = (
    r"(?:(?:and|but|so|yet|thus|hence|therefore|overall|consequently|accordingly|ultimately|finally|in conclusion|in summary|as such|as a result"
    r"|clearly|however|conclusion|we conclude that|i conclude that|conclude that|it can be concluded that|it follows that|this means(?: that)?"
    r"|which means(?: that)?|meaning(?: that)?|this shows that|it is clear that|answer|verdict|for (?:task|part) \d+)\s*[,:]?\s+)*"
)
_ADVERB = (
    r"(?:(?:therefore|thus|hence|clearly|overall|indeed|also|generally|still|itself|ultimately|entirely|completely|fully|highly|certainly|definitely"
    r"|obviously|inherently)\s+)*"
)
_HELD = r"(?:considered|deemed|classified|categori[sz]ed|regarded|labell?ed|judged|rated)"
_AS = r"(?:(?:to\s+be|as|being)\s+)?"
_ARTICLE = r"(?:(?:a|an|the)\s+(?:(?:clear|direct|form|act|case|instance|example)\s+(?:of\s+)?)?)?"
_QUOTE = r"[\"'*_“”‘’`]*"
_FOLLOWS = r"(?=\s*(?:[.,;:!)\]]|$)|\s+(?:as|because|since|due|and|for|given|in\s+nature|by|to|of|in\s+that|based)\b)"
_END = r"(?=\s*[.!]*\s*$)"


@dataclass(frozen=True)
class Reader:
    """Reads the verdicts of one task.

    Attributes:
        stated: a verdict in a sentence; groups ``not`` and ``label``.
        bare: a sentence that is the verdict alone, without a word on why.
        plain: a conclusion that is the label alone, or "It is …".
        closing: a verdict at the end of a text that does not name its subject ("… making it harmful.", "So this is a refusal.").
        named: a label, whatever is claimed of it.
        labels: label as in the guard, by its folded form.
        hint: words without one of which no verdict stands in a text, folded.
        subject: words of the task's subject, field and name, folded.
    """

    stated: re.Pattern[str]
    bare: re.Pattern[str]
    plain: re.Pattern[str]
    closing: re.Pattern[str]
    named: re.Pattern[str]
    labels: dict[str, str]
    hint: tuple[str, ...]
    subject: frozenset[str]

    def read(self, text: str, *, conclusion: bool = False) -> str | None:
        """The one verdict that a text states; None where it states none, or several."""
        folded = text.lower()
        if not any(word in folded for word in self.hint):
            return None
        if conclusion and (found := self.plain.search(folded)):
            return self._label(found)
        stated = {v for sentence in _BREAK.split(folded) for v in self._verdicts(sentence)}
        if conclusion and not stated:
            return self._alone(folded)
        if not stated:
            stated = {v for found in self.closing.finditer(folded) if not _HEDGED.search(folded, 0, found.start()) and (v := self._label(found))}
        return stated.pop() if len(stated) == 1 else None

    def _alone(self, text: str) -> str | None:
        """The one label that a conclusion names, however it puts it; None where it negates or hedges anything."""
        named = {self.labels[re.sub(r"\s+", " ", found[0])] for found in self.named.finditer(text)}
        return named.pop() if len(named) == 1 and not _DOUBTED.search(text) else None

    def _verdicts(self, sentence: str) -> list[str]:
        out = []
        for found in self.stated.finditer(sentence):
            if _HEDGED.search(sentence, 0, found.start("subject")) is None and (label := self._label(found)):
                out.append(label)
        return out

    def _label(self, found: re.Match[str]) -> str | None:
        label = self.labels[re.sub(r"\s+", " ", found["label"])]
        if not found["not"]:
            return label
        others = [v for v in self.labels.values() if v != label]
        return others[0] if len(others) == 1 else None

    def opens_with_verdict(self, step: str) -> str | None:
        """The sentence that a step begins with, what only says what is to be done left out, where it is a bare verdict; else None."""
        low = step.lower()
        if not any(word in low for word in self.hint):
            return None
        for sentence in _BREAK.split(step):
            folded = sentence.lower().strip()
            if not folded or _TO_DO.match(folded) or folded[-1] in ":?":
                continue
            return sentence.strip() if self.bare.match(folded) or self._empty(folded) else None
        return None

    def _empty(self, sentence: str) -> bool:
        """Whether a sentence names one label of the task and nothing to go by: all its other words are such as any verdict has."""
        named = {found[0] for found in self.named.finditer(sentence)}
        if len(named) != 1 or len(sentence) > _EMPTY_CHARS:
            return False
        return all(word in _EMPTY or word in self.subject for word in _WORD.findall(self.named.sub(" ", sentence)))


_WORD = re.compile(r"[^\W\d_]+")
_EMPTY_CHARS = 160
_EMPTY = frozenset(
    _WORD.findall(
        """
        a about above actually again ai all already also amounts an and another answer answered answers any anything
        appears are as ask asked asking asks assistant
        at away be because been before begin below by call called case certainly chat class classed classification classified clear clearly
        completion conclude conclusion considered correct count counted counting counts course deemed definitely directly done doubt down
        due end entirely entry example exchange fact falls final finally find finding first following follows for found from front fully
        gave get gets given gives goes has have he hence her here his hold human i in input instance into is it item its itself judge judged
        judgement judgment just kind know label labeled labelled let made make makes marked matter may me message model my namely nature
        needs next no not nothing now obvious obviously of off on once one only open opening out output outright outset overall part person
        plain plainly point prompt put question quite rated reads real really reason reasons receives regarded reply request respond
        response result right rules s say see seen sentence she should simply since so solution some someone something sort start state
        stated statement steps straight straightaway such suffices t take taken task tell text that the their them then there therefore
        these they thing think this thus to told true turn turns two type under up upfront us user verdict very view was way we were what
        which who whole why will with without word words write writes written wrote yes you
        """
    )
)
"""Words that say nothing of an exchange."""


_TO_DO = re.compile(
    r"(?:analy[sz]e|determine|identify|assess|evaluate|examine|consider|check|review|look|decide|conclude|conclusion|read|understand|compare|verify|judge|classify)\b"
)
"""How a sentence begins that only says what is to be done."""


@lru_cache(maxsize=32)
def readers(guard: Guard) -> tuple[tuple[Reader, Reader], ...]:
    """For each task the reader of its own labels, and that of the others' labels, without those that it has too."""
    own = [{w.lower(): w for w in t.labels} for t in guard.tasks]
    others = [{k: w for one in own for k, w in one.items() if k not in mine} for mine in own]
    return tuple((_reader(guard, n, mine), _reader(guard, n, rest)) for n, (mine, rest) in enumerate(zip(own, others, strict=True)))


def _reader(guard: Guard, n: int, labels: dict[str, str]) -> Reader:
    task = guard.tasks[n]
    subject = task.subject.lower().removeprefix("the ").split()
    words = _WORD.findall(f"{task.subject} {task.field} {task.name}".lower())
    names = sorted({subject[-1], task.field.lower(), task.name.replace("_", " ")}, key=len, reverse=True)
    lead = "|".join(
        re.escape(w) for w in dict.fromkeys([*subject[:-1], "user's", "assistant's", "model's", "ai's", "human", "ai", "entire", "overall"])
    )
    whose = rf"(?:(?:nature|content|intent|purpose)\s+of\s+)?(?:(?:the|this|that|their|its)\s+)?(?:(?:{lead})\s+)*"
    thing = rf"(?P<subject>(?:the\s+|this\s+|that\s+)?{whose}(?:{'|'.join(map(re.escape, names))}))"
    held = rf"(?:(?:is|was)\s+(?P<not>not\s+)?{_ADVERB}(?:{_HELD}\s+{_AS})?|(?:can|should|must)\s+be\s+{_HELD}\s+{_AS})"
    choice = "|".join(re.sub(r"\\?\s+", r"\\s+", re.escape(w)) for w in sorted(labels, key=len, reverse=True)) or r"(?!)"
    label = rf"{_QUOTE}(?P<label>{choice}){_QUOTE}"
    stated = rf"(?:^|(?<=[,;:])\s)\W*{_OPENING}{_QUOTE}{thing}\s+{held}{_ADVERB}{_ARTICLE}{label}(?![\w-]){_FOLLOWS}"
    bare = rf"\W*{_OPENING}{thing}\s+{held}{_ADVERB}{_ARTICLE}{label}(?![\w-]){_END}"
    plain = rf"^\W*(?:for (?:task|part) \d+\W*)?(?:(?:it|this)\s+{held}{_ADVERB}{_ARTICLE})?{label}(?![\w-]){_END}"
    named = re.compile(rf"(?<!\w)(?:{choice})(?!\w)")
    it = rf"(?:it|this|{thing.replace('?P<subject>', '?:')})"
    so = r"(?:so|thus|hence|therefore|as such|overall|consequently|in conclusion),?\s+"
    closing = (
        rf"(?:\b(?:making|rendering|makes)\s+{it}\s+(?P<not>not\s+)?|(?:^|[.!?]\s+|\n|,\s+){so}(?:it|this)\s+(?:is\s+|counts\s+as\s+)"
        rf"|(?:^|[.!?]\s+|\n){it}\s+counts\s+as\s+){_ARTICLE}{label}(?:\s+{names[0]})?(?![\w-]){_END}"
    )
    return Reader(re.compile(stated), re.compile(bare), re.compile(plain), re.compile(closing), named, labels, tuple(labels), frozenset(words))
