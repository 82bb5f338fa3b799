"""Hard samples: what counts as hard, how hard it is, and which outputs make a preference pair. Frames and arrays in, frames and arrays out."""

from typing import TYPE_CHECKING

from toolkit.common.lazy import lazily

if TYPE_CHECKING:
    from toolkit.mining._agreement import agreement as agreement
    from toolkit.mining._agreement import fleiss as fleiss
    from toolkit.mining._closest import length_auc as length_auc
    from toolkit.mining._closest import length_figures as length_figures
    from toolkit.mining._closest import pick_closest as pick_closest
    from toolkit.mining._condensed import Condensed as Condensed
    from toolkit.mining._condensed import condense as condense
    from toolkit.mining._drawing import SCREENED as SCREENED
    from toolkit.mining._drawing import SETTLED as SETTLED
    from toolkit.mining._drawing import Aim as Aim
    from toolkit.mining._drawing import Decided as Decided
    from toolkit.mining._drawing import best_order as best_order
    from toolkit.mining._drawing import decide as decide
    from toolkit.mining._drawing import replay as replay
    from toolkit.mining._drawing import wanted as wanted
    from toolkit.mining._draws import Screen as Screen
    from toolkit.mining._draws import check_counts_alone as check_counts_alone
    from toolkit.mining._draws import check_screen as check_screen
    from toolkit.mining._draws import choose_screen as choose_screen
    from toolkit.mining._draws import first_doubt as first_doubt
    from toolkit.mining._draws import settled as settled
    from toolkit.mining._draws import share_low as share_low
    from toolkit.mining._expected_draws import ExpectedDraws as ExpectedDraws
    from toolkit.mining._expected_draws import expected_draws as expected_draws
    from toolkit.mining._expected_draws import made_up as made_up
    from toolkit.mining._irt import ItemResponse as ItemResponse
    from toolkit.mining._irt import fit_item_response as fit_item_response
    from toolkit.mining._irt import item_response as item_response
    from toolkit.mining._judged import OUTCOMES as OUTCOMES
    from toolkit.mining._judged import judged as judged
    from toolkit.mining._judged import judged_expressions as judged_expressions
    from toolkit.mining._judged import outcome as outcome
    from toolkit.mining._measures import MEASURES as MEASURES
    from toolkit.mining._measures import measures as measures
    from toolkit.mining._pairing import Candidates as Candidates
    from toolkit.mining._pairing import Chosen as Chosen
    from toolkit.mining._pairing import Faults as Faults
    from toolkit.mining._pairing import Lines as Lines
    from toolkit.mining._pairing import hard_units as hard_units
    from toolkit.mining._pairing import pair_candidates as pair_candidates
    from toolkit.mining._pairing import pick_best as pick_best
    from toolkit.mining._ranked_disputes import ranked_disputes as ranked_disputes
    from toolkit.mining._rule import Rule as Rule
    from toolkit.mining._rule import load_rule as load_rule
    from toolkit.mining._rule import rule_names as rule_names
    from toolkit.mining._rule_apply import HARD_OF as HARD_OF
    from toolkit.mining._rule_apply import STATUSES as STATUSES
    from toolkit.mining._rule_apply import WHOLE as WHOLE
    from toolkit.mining._rule_apply import Missing as Missing
    from toolkit.mining._rule_apply import apply_rule as apply_rule
    from toolkit.mining._rule_apply import rule_outcomes as rule_outcomes
    from toolkit.mining._rule_keys import PairsPart as PairsPart
    from toolkit.mining._tally import TaskVotes as TaskVotes
    from toolkit.mining._tally import Votes as Votes
    from toolkit.mining._tally import count_votes as count_votes
    from toolkit.mining._tally import tally as tally
    from toolkit.mining._weights import SCHEMES as SCHEMES
    from toolkit.mining._weights import Normalise as Normalise
    from toolkit.mining._weights import Scheme as Scheme
    from toolkit.mining._weights import pair_weights as pair_weights

__getattr__, __dir__ = lazily(__name__)
