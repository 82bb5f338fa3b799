"""Benchmarks and other rows with labels, what guards wrote about them, and what they hold twice."""
