"""Whole runs: the configuration and the functions that carry it out."""
