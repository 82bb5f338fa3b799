"""Guards sampled, their verdicts read, scored and compared."""
