"""The progress of work: what the work tells (`contract`), the time left that follows, and what a person sees of it."""
