"""People decide on rows: a queue of doubtful labels, decisions that are durable at once, agreement, what goes back into the next build."""

from typing import TYPE_CHECKING

from toolkit.common.lazy import lazily

if TYPE_CHECKING:
    from toolkit.reviewing._decision_log import DecisionLog as DecisionLog
    from toolkit.reviewing._decision_log import read_log as read_log
    from toolkit.reviewing._item import SHOWN as SHOWN
    from toolkit.reviewing._item import Item as Item
    from toolkit.reviewing._item import Shown as Shown
    from toolkit.reviewing._item_text import ADVICE as ADVICE
    from toolkit.reviewing._item_text import START as START
    from toolkit.reviewing._item_text import definition as definition
    from toolkit.reviewing._item_text import instructions as instructions
    from toolkit.reviewing._item_text import item_lines as item_lines
    from toolkit.reviewing._item_text import policy_lines as policy_lines
    from toolkit.reviewing._item_text import question as question
    from toolkit.reviewing._queue import KINDS as KINDS
    from toolkit.reviewing._queue import Kind as Kind
    from toolkit.reviewing._queue import Queue as Queue
    from toolkit.reviewing._queue import open_queue as open_queue
    from toolkit.reviewing._reviewer_agreement import cohen_kappa as cohen_kappa
    from toolkit.reviewing._reviewer_agreement import krippendorff_alpha as krippendorff_alpha
    from toolkit.reviewing._session import Review as Review
    from toolkit.reviewing._session import open_review as open_review
    from toolkit.reviewing._tool_files import TOOLS as TOOLS
    from toolkit.reviewing._tool_files import Tool as Tool
    from toolkit.reviewing._tool_files import bring as bring
    from toolkit.reviewing._tool_files import send as send

__getattr__, __dir__ = lazily(__name__)
