"""Hard samples: what counts as hard, how hard it is, and which outputs make a preference pair. Frames and arrays in, frames and arrays out."""

from toolkit.mining._judged import OUTCOMES, judged, judged_expressions, outcome

__all__ = ["OUTCOMES", "judged", "judged_expressions", "outcome"]
