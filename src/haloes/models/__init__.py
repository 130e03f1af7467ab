"""Load a model, run it packed, and score completions under policy and reference."""
