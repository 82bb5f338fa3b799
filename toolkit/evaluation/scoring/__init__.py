"""Figures of an evaluation, from its per-row table."""
