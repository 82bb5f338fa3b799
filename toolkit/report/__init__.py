"""What a run came to: figures for machines, tables for people."""

from toolkit.report._figures import Figures, Lines, as_html, as_text
from toolkit.report._summary import run_state, summarise
from toolkit.report._tables import print_summary

__all__ = ["Figures", "Lines", "as_html", "as_text", "print_summary", "run_state", "summarise"]
