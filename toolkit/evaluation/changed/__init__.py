"""Rows under changes that keep their labels, and the verdicts that flip."""
