"""Operators that make seeds: whole labelled interactions, written by a model and confirmed by another."""
