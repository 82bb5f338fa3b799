"""A guard behind HTTP."""
