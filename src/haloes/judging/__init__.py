"""Two answers to a prompt to verdicts, by whatever can tell which is better."""
