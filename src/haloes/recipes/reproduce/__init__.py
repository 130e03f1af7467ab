"""Experiments of the KTO paper, small but real: one file an experiment."""
