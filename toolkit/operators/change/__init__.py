"""Rows changed so that their labels stay."""
