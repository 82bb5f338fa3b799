"""How a model declines in its own voice, where reasoning should stand.

A sentence declines where it speaks in the first person and says no ("I'd rather not take this on", "this is not something I can help with", "my
guidelines do not allow it"), or is one of a few forms that have no first person ("Request denied", "Unable to comply"). It does not where it reports
what somebody says ("the assistant says that it cannot"), quotes it, or says what cannot be seen ("I cannot find any harm"). English.
"""

from __future__ import annotations

import re

import polars as pl

_OWN = re.compile(r"(?<![\w'’\"“])(?:i|i['’](?:m|d|ll|ve)|im|me|my|mine|we|we['’](?:re|d|ll|ve)|us|our)(?![\w'’])")
"""The first person."""
_OTHER = re.compile(
    r"\b(?:assistants?|ai|users?|humans?|person|persons|respon(?:se|ses|ds?)|repl(?:y|ies|ied)|models?|prompts?|says?|said|writes?|wrote|asks?|asked"
    r"|states?|stated|claims?|answers|phrases?|words|sentences?|lyrics?|character|quotes?|speaker)\b|[:\"“”]"
)
"""Before the first person: it is somebody else's."""
_NO = re.compile(
    r"\b(?:sorry|apologi[sz]e|apologies|afraid|decline|declining|refuse|refusing|unable|unwilling|uncomfortable|forbidden|prohibited|barred"
    r"|can ?not|can['’]?t|couldn['’]?t|could not|won['’]?t|will not|shall not|shan['’]?t|wouldn['’]?t|would not|shouldn['’]?t|should not"
    r"|must not|may not"
    r"|rather not|prefer not|(?:['’]m|am|are|['’]re|is|be|['’]s|was|isn['’]t|aren['’]t) not|isn['’]t|aren['’]t|do not|don['’]?t|not (?:able"
    r"|willing|allowed|permitted|comfortable"
    r"|going to|prepared|designed|programmed|here to|meant to|let me|something)|(?:choose|chosen|decided|prefer|programmed|designed"
    r"|instructed|trained) not to"
    r"|(?:prevent|prohibit|forbid|bar|stop|keep)(?:s|ed)? (?:me|us)|against|outside|beyond|pass on|have to (?:pass|stop|skip|leave)|no part"
    r"|draw the line|steer clear|stay away|opt out)\b"
)
"""That it says no."""
_DEED = re.compile(
    r"\b(?:sorry|apologi[sz]e|apologies|afraid|declin\w+|refus\w+|help|assist|answer|comply|complete|continue|fulfil+|provide|give|support"
    r"|discuss|write|judge|judging|engage"
    r"|participate|take part|take (?:this|that|it) on|go (?:along|ahead|there|into|further)|respond|analy[sz]e|analy[sz]ing|evaluate|assess"
    r"|do (?:this|that|it|so|what)|touch|handle|deal|work on|look at|process|proceed"
    r"|carry (?:out|on)|offer|share|create|generate|produce|review|(?:allow|permit)(?:s|ted|ed)? (?:me|us|it|this|that|for)|comfortable"
    r"|guidelines?|polic(?:y|ies)"
    r"|rules?|principles|programming"
    r"|values|training|purpose|pass|stop|part|steer|stay|line|able|willing|go on|be of|get into|involved|weigh in|comment|rate|classify"
    r"|grade|something|here to)\b"
)
"""That what it says no to is a deed, not a sight."""
SEES = re.compile(
    r"\b(?:can ?not|not|can['’]?t|n['’]t|unable to|able to)(?: \w+ly)? (?:find|see|identify|detect|tell|determine|infer|discern|conclude|spot"
    r"|think of|say (?:that|whether|who|what|if)|notice|observe|know)\b"
)
_BARE = re.compile(
    r"\W*(?:(?:unfortunately|sorry|regrettably|no|apologies)[,.:;!]? )?(?:request (?:denied|declined|rejected|refused)"
    r"|(?:(?:this|your) )?(?:request|task|question) (?:can ?not|can['’]?t|could not) be (?:fulfilled|processed|completed|answered))[.!]*$"
    r"|\W*(?:unable|not able|declining|refusing) to (?:help|assist|comply|answer|do|provide|continue|proceed|judge|respond|process|fulfil+)"
    r"|\W*(?:sorry|apologies|my apologies)\b[,.!]*(?: but)?(?: no\b| this| that| not|$)"
    r"|\W*let['’]?s (?:talk about|discuss|change|move on|focus on) (?:something|anything|another|the subject|other|a different)"
    r"|\W*please (?:contact|consult|seek|ask (?:me )?(?:something|another)|reach out|try (?:something|another)|rephrase)"
)
"""A refusal without the first person."""
_HINTS = (
    " i ",
    "i'",
    "i’",
    "\ni ",
    " me ",
    " me.",
    " me,",
    " my ",
    "\nmy ",
    " we ",
    "\nwe ",
    "we'",
    "we’",
    " us ",
    " our ",
    "unable",
    "denied",
    "declin",
    "please",
    "let's",
    "let’s",
    "sorry",
    "apologi",
)
"""One of these stands in a text that declines."""
_END = re.compile(r"[.!?](?:\s|$)|\n")
_OPENING = re.compile(
    r"\W*(?:(?:sorry|no|unfortunately|apologies|regrettably|thanks?|thank you|hello|hi|as an ai|however|well|i (?:understand|appreciate|see"
    r"|hear|know)\b[^.!?\n]*)[.!,]\s+)+"
)


def may_hold(text: pl.Expr) -> pl.Expr:
    """Whether a text may hold a sentence that declines: whatever does has the first person and a no, or one of a few forms."""
    own, bare = text.str.contains(_OWN_WIDE), text.str.contains(_BARE_WIDE)
    return (own & text.str.contains("(?i)" + _NO.pattern.replace(r"\b", ""))) | bare


_OWN_WIDE = r"(?i)(?-u:\b)(?:i|im|me|my|mine|we|us|our)(?-u:\b)"
_BARE_WIDE = (
    r"(?i)unable to|not able to|(?:declining|refusing) to|request (?:denied|declined|rejected|refused)|be (?:fulfilled|processed|completed|answered)"
    r"|sorry|apologies|let['’]s |please "
)


def may_decline(folded: str) -> bool:
    """Whether a text, in lower case, may hold a sentence that declines."""
    return folded[:2] in ("i ", "i'", "i’", "we", "my", "no") or any(h in folded for h in _HINTS)


def declines(text: str) -> bool:
    """Whether the first sentence of a text declines; a short opening ("No.", "I understand.") goes with the next one."""
    folded = text[:400].lower().lstrip(" \t\n\r#*_->")
    opening = _OPENING.match(folded)
    start = opening.end() if opening else 0
    end = _END.search(folded, start)
    sentence = folded[: end.start() + 1] if end else folded
    if _BARE.match(sentence):
        return True
    own = _OWN.search(sentence)
    if not own or _OTHER.search(sentence[: own.start()].replace("as an ai", "")) or SEES.search(sentence):
        return False
    unquoted = re.sub(r"[\"“][^\"”]*[\"”]", " ", sentence)
    return bool(_NO.search(unquoted) and _DEED.search(unquoted))


def sentences(text: str, most: int) -> list[str]:
    """A text from each of its first sentences on."""
    starts = [0, *(m.end() for m in _END.finditer(text[:1000]))][:most]
    return [text[s:] for s in starts]
