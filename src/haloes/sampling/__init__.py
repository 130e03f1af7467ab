"""Prompts and a model to completions."""
