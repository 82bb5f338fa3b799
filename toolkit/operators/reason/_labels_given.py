"""Words that tell of labels given to the writer: a teacher that was shown them may say so, and what is trained on it learns to ask for them.

Two readings. `SCAFFOLD`: that labels exist, or were given ("the ground truth", "the label I was given", "I was told that the answer is …"). `_RESTS`:
a verdict that rests on one ("according to the annotation", "since the answer is harmful", "labelled refusal by the reviewers"). A model's own
verdict ("I conclude that …", "the verdict is …") is neither, nor is a label on a packet or an answer that the assistant gave. What the exchange
itself says is left out, and so is what stands in quotes. The words around the labels are English; the labels are the guard's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

from toolkit.guards import Guard

_GIVEN = (
    r"(?:given|provided|supplied|handed|shown|told|assigned|received|attached|recorded|stored|known|expected|fixed|set|decided|determined|settled)"
)
_BE = r"(?:(?:is|are|was|were|am|has|have|had|been|being|already) )*"
_TRUSTED = (
    r"(?:given|provided|supplied|assigned|expected|required|desired|intended|target|known|true|correct|right|official|original|actual|human|stated)"
)
_NOUN = r"(?:labels?|annotations?|verdicts?|classifications?)"
_ANY = r"(?:labels?|annotations?|verdicts?|classifications?|answers?|judge?ments?|ratings?|conclusions?|outcomes?|results?|outputs?)"
_JUDGES = r"(?:reviewers?|annotators?|raters?|labell?ers?|graders?|moderators?)"
_SAYS = r"(?:says?|said|states?|stated|marks?|marked|calls?|called|gives?|gave|tells?|told|indicates?|indicated|reads?|requires?|demands?|lists?|has)"
_HERE = (
    r"(?: (?:here|now|in this case|(?:for|of|on) (?:(?:this |the )?(?:task|part|section)(?: \w+)?"
    r"|this (?:request|prompt|response|reply|exchange|row|one))))?"
)
_MARKED = r"(?:marked|labell?ed|annotated|tagged|rated|flagged|judged|classified|classed|categori[sz]ed|listed|recorded|scored|noted)"


@dataclass(frozen=True)
class Phrase:
    """A pattern, and words of which a text that it finds holds one of each group: much cheaper to look for, and nearly always enough."""

    hints: tuple[tuple[str, ...], ...]
    regex: str

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """Compiled when it is first looked for, which takes a while for all of them."""
        return re.compile(self.regex)

    def found(self, folded: str) -> Iterator[re.Match[str]]:
        """Where it stands in a folded text."""
        if all(any(h in folded for h in group) for group in self.hints):
            yield from self.pattern.finditer(folded)


def _phrase(hints: str, *choices: str) -> Phrase:
    """Groups of hints stand behind a semicolon, their words behind a comma."""
    groups = tuple(tuple(w.strip("'") for w in group.split(",")) for group in hints.split(";"))
    return Phrase(groups, rf"\b(?:{'|'.join(choices)})")


SCAFFOLD: tuple[Phrase, ...] = (
    _phrase(
        "truth,gold,answer key,reference,target,annotat",
        r"ground[- ]truths?\b",
        r"gold(?:en)?[- ](?:standard )?(?:labels?|answers?|annotations?|verdicts?)\b",
        r"answer keys?\b",
        r"(?:reference|target) (?:labels?|answers?|verdicts?|annotations?)\b",
        rf"(?:the|this|its|these|an?) (?:{_TRUSTED} )*annot(?:ations?|ators?)(?: here)? {_SAYS}\b",
    ),
    _phrase(
        "label,verdict,classif,annotat",
        rf"(?:given|provided|supplied|assigned|attached|predetermined|expected|required|intended|desired|official) {_NOUN}\b",
        rf"{_NOUN} (?:(?:that|which|as) )?(?:(?:i|we) )?{_BE}{_GIVEN}\b(?! (?:by|aside|on)\b)",
        rf"{_NOUN} (?:i|we) (?:got|have|had|hold|must|need|should)\b",
    ),
    _phrase(
        "answer;given,provided,supplied,handed,shown,told,known,expected,received,fixed,set,decided,reviewer,got,must,have,need,settled,determined",
        r"(?:given|supplied|predetermined) answers?\b",
        rf"{_JUDGES}['’]? answers?\b",
        rf"(?:correct|right|expected|true) answers? {_BE}{_GIVEN}\b",
        rf"answers? (?:(?:that|which|as) )?(?:i|we) {_BE}(?:{_GIVEN}|got|must|have|need)\b",
        rf"answers? {_BE}{_GIVEN} (?:to (?:me|us)|above|here|in advance|beforehand|for this (?:task|part|section)|from the start)\b",
        r"answers? (?:is|are|was|were) already (?:known|fixed|decided|settled|determined)\b",
    ),
    _phrase(
        "told,given,informed,instructed,supplied,provided,directed,asked,required,expected,supposed,meant",
        r"(?:i|we)(?:['’](?:m|re|ve)| (?:am|are|was|were|have|had|been))+ (?:already |been |also )*"
        r"(?:told|given|informed|instructed|supplied|provided|directed|asked|required|expected|supposed|meant) "
        r"(?:(?!\b(?:whether|if|or|determine|decide|assess|evaluate|judge|analy[sz]e)\b)[^.!?\n;]){0,60}?\b(?:<label>|labels?|answers?"
        r"|verdicts?|annotations?)\b"
        r"(?! (?:or|and|nor)\b)",
    ),
    _phrase(
        "instruct,told,directed,informed,requested,required,specified,brief,system",
        r"as (?:instructed|told|directed|required|requested|specified)(?: (?:above|to me|by \w+(?: \w+)?))?,? (?:that )?(?:the|this"
        r"|its) (?:answer|label|verdict)\b",
        r"(?:my instructions?|(?:the|this) (?:brief|system (?:prompt|message))) (?:says?|tells?|told|asks?|gives?|gave|wants?|requires?) (?:me|us)\b",
        r"as (?:i|we) (?:was|were|am|have been|had been) (?:told|instructed|directed|informed)\b",
    ),
    _phrase(
        "label,answer,verdict,annotation;know,mind,hand",
        r"(?:i|we) (?:already )?know (?:that )?(?:the|its|what the) (?:\w+ )?(?:answer|label|verdict|annotation)\b",
        r"knowing (?:that )?(?:the|its) (?:\w+ )?(?:answer|label|verdict|annotation)\b",
        r"with the (?:\w+ )?(?:answer|label|verdict|annotation)s? (?:in mind|in hand|at hand|already known)\b",
    ),
)
"""That labels exist or were given. Released models write "The ground truth is", which their training data leaked (spec A.4).
``<label>`` is any label."""

_RESTS: tuple[Phrase, ...] = (
    _phrase(
        "label,annotation,verdict,classif,answer,rating,judg",
        r"(?:according to|as per|per|based on|following|in line with|in agreement with|in accordance with|consistent with|agree(?:s"
        r"|ing)? with|match(?:es|ing)?"
        r"|to match|reflect(?:s|ing)?|(?:as )?(?:stated|indicated|given|shown|noted|marked|labell?ed|set|required|specified|said|listed"
        r"|confirmed) (?:in|by|on))"
        rf" (?:the|its|this|these|that|my|our) (?:(?:{_TRUSTED} )*(?:labels?|annotations?)|(?:{_TRUSTED} )+(?:verdicts?|classifications?"
        rf"|answers?|ratings?|judge?ments?))\b"
        r"(?! (?:on|of|from)\b)",
        rf"(?:the|its|this) (?:{_TRUSTED} )*(?:labels?|annotations?){_HERE} {_SAYS}\b[^.!?\n]{{0,40}}\b<label>\b",
        rf"(?:since|because|as|given(?: that)?|seeing that|now that) (?:the|its|this) (?:{_TRUSTED} |final )*{_ANY}{_HERE} (?:is|are|was"
        rf"|were|{_SAYS})"
        r"(?: (?:that )?(?:it|this) (?:is|was))?(?: an?)?(?: to be)? [\"'“]?<label>\b",
        rf"(?:the|its) (?:{_TRUSTED}) {_ANY}{_HERE} (?:is|are|was|were|must be|should be|has to be|{_SAYS})(?: an?)?:? [\"'“]?<label>\b",
    ),
    _phrase(
        "by ,in ,already,reviewer,annotator,rater,labeler,labeller,grader,moderator",
        rf"{_MARKED} (?:as )?(?:an? )?[\"'“]?<label>[\"'”]? (?:by (?:the |our |human )*(?:{_JUDGES}|experts?|humans?|dataset)"
        r"|in (?:the |our )?(?:data|dataset|annotations?|key|labels?|reference|records?|metadata|source)\b|already\b|beforehand\b|in advance\b)",
        rf"{_JUDGES} (?:(?:have|had|has|all|already|also) )*"
        r"(?:marked|labell?ed|called|said|agreed|decided|judged|rated|answered|chose|say|mark|call|label|agree|answer|put|gave"
        r"|given)\b[^.!?\n]{0,40}\b<label>\b",
    ),
    _phrase(
        "expected to,supposed to,required to,given as,stated as,specified as,stated to",
        r"(?:request|prompt|response|reply|completion|this|it|task \d+|one) (?:is|was) (?:expected|supposed|required|stated) to "
        r"(?:be|count as|come out as)(?: (?:marked|labell?ed|judged|called)(?: as)?)? (?:an? )?[\"'“]?<label>\b",
        r"(?:request|prompt|response|reply|completion|this|it|task \d+|one) (?:is|was) (?:given|stated|specified) as (?:an? )?[\"'“]?<label>\b",
    ),
)

_ABOUT = ("label", "annotat", "truth", "gold", "reviewer", "moderator", "verdict", "answer key", "reference", "rater", "grader")
"""What an exchange may be about: where it names one of these, only words that cannot be about it count."""
_OWN = re.compile(r"\b(?:i|we|me|us|my)\b")


@lru_cache(maxsize=32)
def phrases(guard: Guard) -> tuple[tuple[Phrase, ...], tuple[Phrase, ...]]:
    """`SCAFFOLD` and what verdicts rest on, with the guard's own labels."""
    words = sorted({w.lower() for t in guard.tasks for w in t.labels}, key=len, reverse=True)
    label = f"(?:{'|'.join(map(re.escape, words))})"
    made = [tuple(Phrase(p.hints, p.regex.replace("<label>", label)) for p in group) for group in (SCAFFOLD, _RESTS)]
    return made[0], made[1]


@lru_cache(maxsize=32)
def patterns(guard: Guard) -> tuple[str, str]:
    """For both readings a pattern for polars that finds whatever they find, and a little more: without look-around, edges of words and bounds."""
    found = ("|".join(p.regex for p in group) for group in phrases(guard))
    scaffold, rests = (f"(?i){_BOUND.sub('*', _AHEAD.sub('', p)).replace(_EDGE, '').replace(_WORD, _BLACK)}" for p in found)
    return scaffold, rests


_AHEAD = re.compile(r"\(\?!(?:[^()]|\([^()]*\))*\)")
_BOUND = re.compile(r"\{0,\d+\}\??")
_EDGE, _WORD, _BLACK = r"\b", r"\w", r"\S"


def first(among: tuple[Phrase, ...], text: str, folded: str, given: Callable[[], str]) -> str | None:
    """The first words of a text that one of the phrases finds, and that the exchange does not explain. `folded` is the text in
    lower case, `given` the exchange, folded."""
    for phrase in among:
        for found in phrase.found(folded):
            start, end = found.span()
            exchange = given()
            if (start and folded[start - 1] in "\"“‘'«") or " ".join(found[0].split()) in exchange:
                continue
            about = [w for w in _ABOUT if w in found[0] and w in exchange]
            if not about or _OWN.search(found[0]):
                return text[start:end] if len(text) == len(folded) else found[0]
    return None
