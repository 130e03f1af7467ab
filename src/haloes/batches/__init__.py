"""The contents of an optimizer step: its examples, mismatched completions, packing."""
