"""Guards sampled, their verdicts read, mined and scored."""
