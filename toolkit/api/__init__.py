"""All that the command line does, in Python. Every function raises `GuardkitError` for what a user can mend; nothing here prints.

`toolkit` itself offers these names. Nothing is loaded before it is used. What the command line needs beside them: `toolkit.api.command`.
"""

from typing import TYPE_CHECKING

from toolkit.common.lazy import lazily

if TYPE_CHECKING:
    from toolkit.api._apply import Applied as Applied
    from toolkit.api._apply import apply as apply
    from toolkit.api._audit import audit as audit
    from toolkit.api._builder import Recipe as Recipe
    from toolkit.api._categories import describe_category as describe_category
    from toolkit.api._categories import list_categories as list_categories
    from toolkit.api._categories import map_categories as map_categories
    from toolkit.api._category_check import check_category as check_category
    from toolkit.api._category_check import new_category as new_category
    from toolkit.api._category_migrate import migrate_category as migrate_category
    from toolkit.api._certify import certify as certify
    from toolkit.api._ci_gate import gate as gate
    from toolkit.api._compare import compare as compare
    from toolkit.api._compare import published as published
    from toolkit.api._coverage import coverage as coverage
    from toolkit.api._disputes import disputes as disputes
    from toolkit.api._doctor import doctor as doctor
    from toolkit.api._evaluate import evaluate as evaluate
    from toolkit.api._export import export as export
    from toolkit.api._generate import generate as generate
    from toolkit.api._hygiene import hygiene as hygiene
    from toolkit.api._init import init as init
    from toolkit.api._init import list_recipes as list_recipes
    from toolkit.api._journal import journal_compact as journal_compact
    from toolkit.api._journal import journal_export as journal_export
    from toolkit.api._journal import journal_migrate as journal_migrate
    from toolkit.api._journal import journal_purge as journal_purge
    from toolkit.api._journal import journal_records as journal_records
    from toolkit.api._journal import journal_repair as journal_repair
    from toolkit.api._journal import journal_show as journal_show
    from toolkit.api._journal import journal_verify as journal_verify
    from toolkit.api._judge import Judged as Judged
    from toolkit.api._judge import judge as judge
    from toolkit.api._look import Steps as Steps
    from toolkit.api._look import check_sources as check_sources
    from toolkit.api._look import clean_run as clean_run
    from toolkit.api._look import describe_operator as describe_operator
    from toolkit.api._look import describe_source as describe_source
    from toolkit.api._look import list_guards as list_guards
    from toolkit.api._look import list_operators as list_operators
    from toolkit.api._look import list_runs as list_runs
    from toolkit.api._look import read_run as read_run
    from toolkit.api._look import recipe_schema as recipe_schema
    from toolkit.api._look import sources_table as sources_table
    from toolkit.api._mine import mine as mine
    from toolkit.api._moderate import Moderator as Moderator
    from toolkit.api._moderate import open_guard as open_guard
    from toolkit.api._overlay import overlay as overlay
    from toolkit.api._recipes import check as check
    from toolkit.api._recipes import explain as explain
    from toolkit.api._recipes import plan as plan
    from toolkit.api._report_page import report_page as report_page
    from toolkit.api._review import bring_review as bring_review
    from toolkit.api._review import review as review
    from toolkit.api._review import send_review as send_review
    from toolkit.api._reward import reward as reward
    from toolkit.api._rows import diff as diff
    from toolkit.api._rows import overlaps as overlaps
    from toolkit.api._rows import rejects as rejects
    from toolkit.api._run import Result as Result
    from toolkit.api._run import run as run
    from toolkit.api._seeds import seeds as seeds
    from toolkit.api._serve import serve as serve
    from toolkit.api._train import plan_training as plan_training
    from toolkit.api._train import train as train
    from toolkit.api._verify import sign as sign
    from toolkit.api._verify import verify as verify
    from toolkit.api._view import view as view
    from toolkit.serving import Judgement as Judgement
    from toolkit.serving import Served as Served
    from toolkit.taxonomy import Taxonomy as Taxonomy
    from toolkit.taxonomy import load_taxonomy as load_taxonomy
    from toolkit.viewing import Viewer as Viewer

__getattr__, __dir__ = lazily(__name__)
