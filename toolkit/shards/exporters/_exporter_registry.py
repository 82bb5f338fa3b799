"""The exporters that there are, by name; other packages bring theirs through the entry-point group ``guardkit.exporters`` (``module:Class``)."""

from __future__ import annotations

from toolkit.common.plugins import Registry
from toolkit.shards.exporters._shapes import Format

_HERE = "toolkit.shards.exporters"
EXPORTERS: Registry[type[Format]] = Registry(
    "format",
    "guardkit.exporters",
    {
        "trl": f"{_HERE}._trl:Trl",
        "llamafactory": f"{_HERE}._llamafactory:LlamaFactory",
        "verl": f"{_HERE}._verl:Verl",
        "easyr1": f"{_HERE}._easyr1:EasyR1",
        "ms-swift": f"{_HERE}._ms_swift:MsSwift",
        "openai": f"{_HERE}._openai_files:OpenAi",
        "guardreasoner": f"{_HERE}._guardreasoner:GuardReasoner",
    },
    lambda name, found: isinstance(found, type) and issubclass(found, Format) and found.name == name,
    "Format of that name",
)
"""Classes by the name that ``--format`` takes."""
