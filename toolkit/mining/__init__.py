"""Hard samples: what counts as hard, how hard it is, and which outputs make a preference pair. Frames and arrays in, frames and arrays out."""

from toolkit.mining._agreement import agreement, fleiss
from toolkit.mining._irt import ItemResponse, item_response
from toolkit.mining._judged import OUTCOMES, judged, judged_expressions, outcome
from toolkit.mining._measures import MEASURES, measures
from toolkit.mining._tally import TaskVotes, Votes, count_votes

__all__ = [
    "MEASURES",
    "OUTCOMES",
    "ItemResponse",
    "TaskVotes",
    "Votes",
    "agreement",
    "count_votes",
    "fleiss",
    "item_response",
    "judged",
    "judged_expressions",
    "measures",
    "outcome",
]
