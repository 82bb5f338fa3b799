"""Hard samples: what counts as hard, how hard it is, and which outputs make a preference pair. Frames and arrays in, frames and arrays out."""

from toolkit.mining._agreement import agreement, fleiss
from toolkit.mining._closest import length_auc, length_figures, pick_closest
from toolkit.mining._condensed import Condensed, condense
from toolkit.mining._drawing import SCREENED, SETTLED, Aim, Decided, best_order, decide, wanted
from toolkit.mining._draws import Screen, check_counts_alone, check_screen, choose_screen, first_doubt, settled, share_low
from toolkit.mining._irt import ItemResponse, fit_item_response, item_response
from toolkit.mining._judged import OUTCOMES, judged, judged_expressions, outcome
from toolkit.mining._measures import MEASURES, measures
from toolkit.mining._pairing import Candidates, Chosen, Faults, Lines, hard_units, pair_candidates, pick_best
from toolkit.mining._ranked_disputes import ranked_disputes
from toolkit.mining._rule import Rule, load_rule, rule_names
from toolkit.mining._rule_apply import HARD_OF, STATUSES, WHOLE, Missing, apply_rule, rule_outcomes
from toolkit.mining._rule_keys import PairsPart
from toolkit.mining._tally import TaskVotes, Votes, count_votes, tally
from toolkit.mining._weights import SCHEMES, Normalise, Scheme, pair_weights

__all__ = [
    "HARD_OF",
    "MEASURES",
    "OUTCOMES",
    "SCHEMES",
    "SCREENED",
    "SETTLED",
    "STATUSES",
    "WHOLE",
    "Aim",
    "Candidates",
    "Chosen",
    "Condensed",
    "Decided",
    "Faults",
    "ItemResponse",
    "Lines",
    "Missing",
    "Normalise",
    "PairsPart",
    "Rule",
    "Scheme",
    "Screen",
    "TaskVotes",
    "Votes",
    "agreement",
    "apply_rule",
    "best_order",
    "check_counts_alone",
    "check_screen",
    "choose_screen",
    "condense",
    "count_votes",
    "decide",
    "first_doubt",
    "fit_item_response",
    "fleiss",
    "hard_units",
    "item_response",
    "judged",
    "judged_expressions",
    "length_auc",
    "length_figures",
    "load_rule",
    "measures",
    "outcome",
    "pair_candidates",
    "pair_weights",
    "pick_best",
    "pick_closest",
    "ranked_disputes",
    "rule_names",
    "rule_outcomes",
    "settled",
    "share_low",
    "tally",
    "wanted",
]
