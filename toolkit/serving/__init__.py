"""A guard in front of an application: many threads ask one open guard, and a server that puts it behind HTTP.

    with Desk(OpenGuard(guard, config)) as desk:               # any number of threads may ask; the engine's batch is shared
        judged = desk.judge({"prompt": "…", "response": None})
        judged.labels, judged.unread, judged.steps, judged.probabilities

    with Served(desk, Settings(name, Alarm.of(guard)), port=8000) as served:
        served.url                                             # POST /v1/moderations, /v1/judge; GET /health, /metrics

Contract: each question gets exactly one answer or one error. A question whose asker has gone holds no place. What one question does to the engine
costs that question, not its neighbours. No text of a question is kept, written or logged. Importing this room loads no web library and no model
library.
"""

from toolkit.serving._alarm import Alarm
from toolkit.serving._app import Settings
from toolkit.serving._desk import Desk
from toolkit.serving._feed import Closed, Down, Feed, Full
from toolkit.serving._interactions import checked
from toolkit.serving._judgement import Judgement
from toolkit.serving._limits import Limits
from toolkit.serving._listener import Listener, is_loopback
from toolkit.serving._server import TOKEN, Served, check_access

__all__ = [
    "TOKEN",
    "Alarm",
    "Closed",
    "Desk",
    "Down",
    "Feed",
    "Full",
    "Judgement",
    "Limits",
    "Listener",
    "Served",
    "Settings",
    "check_access",
    "checked",
    "is_loopback",
]
