"""Drafting a source by looking at a file, for a person to read and mend. Nothing that reads data uses it."""

from toolkit.sources.draft._draft import Draft, draft_source
from toolkit.sources.draft._draft_text import draft_yaml, flow

__all__ = ["Draft", "draft_source", "draft_yaml", "flow"]
