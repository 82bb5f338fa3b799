"""What the command line needs beside the verbs: progress, a run's figures as tables, what there is of operators and guards, errors.

Nothing is loaded before it is used.
"""

from typing import TYPE_CHECKING

from toolkit.common.lazy import lazily

if TYPE_CHECKING:
    from toolkit.api._certify import fails as fails
    from toolkit.api._compare import as_text as as_text
    from toolkit.api._compare import write_spread as write_spread
    from toolkit.api._doctor import EXTRAS as EXTRAS
    from toolkit.api._evaluate_plan import model_name as model_name
    from toolkit.api._evaluate_whole import unreliable as unreliable
    from toolkit.api._generate import too_many as too_many
    from toolkit.api._interactions import interactions as interactions
    from toolkit.api._interactions import plain_text as plain_text
    from toolkit.api._interactions import written as written
    from toolkit.api._journal import EXPORT_COLUMNS as EXPORT_COLUMNS
    from toolkit.api._journal import journal_near as journal_near
    from toolkit.api._journal import journal_unread as journal_unread
    from toolkit.api._quickstart import quickstart_folder as quickstart_folder
    from toolkit.api._quickstart import quickstart_on as quickstart_on
    from toolkit.api._train import other_trainers as other_trainers
    from toolkit.api._trained import backend_for as backend_for
    from toolkit.guards import load_guard as load_guard
    from toolkit.operators import describe_operator as describe_operator
    from toolkit.operators import operator_names as operator_names
    from toolkit.operators.describe import as_step as as_step
    from toolkit.pipeline import Progress as Progress
    from toolkit.pipeline import load_recipe as load_recipe
    from toolkit.pipeline import recipe_steps as recipe_steps
    from toolkit.report import audit_text as audit_text
    from toolkit.report import certificate_text as certificate_text
    from toolkit.report import coverage_text as coverage_text
    from toolkit.report import evaluation_text as evaluation_text
    from toolkit.report import gate_text as gate_text
    from toolkit.report import print_figures as print_figures
    from toolkit.report import print_summary as print_summary
    from toolkit.report import summarise as summarise
    from toolkit.report import training_lines as training_lines
    from toolkit.reviewing import SHOWN as SHOWN
    from toolkit.reviewing import Item as Item
    from toolkit.reviewing import Review as Review
    from toolkit.reviewing import Shown as Shown
    from toolkit.reviewing import Tool as Tool
    from toolkit.reviewing import instructions as instructions
    from toolkit.reviewing import item_lines as item_lines
    from toolkit.serving import Alarm as Alarm
    from toolkit.serving import checked as checked

__getattr__, __dir__ = lazily(__name__)
